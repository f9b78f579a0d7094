//! From an earlier build to this one.

use std::{collections::BTreeMap, env, path::PathBuf};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    killed::same,
    proxy::Plan,
    world::{Ended, World, finished},
};

/// `OLD_SCALEKIT` names the earlier build. It knows no way not to wait, so it ends with what is not ready.
pub async fn what_an_older_build_installed_is_brought_up_to_date_with_its_data(world: &World) {
    let Some(old) = env::var_os("OLD_SCALEKIT").map(PathBuf::from) else {
        println!("OLD_SCALEKIT names no earlier build: nothing to upgrade from");
        return;
    };
    world.runs(&World::up("in-reference")).await;
    let expected = world.everything("in-reference").await;
    world.clear().await;

    world.proxy.follow(Plan::default());
    let arguments = ["up", "-n", "in-upgraded", "--image", "scaler=example.org/scalekit:0", "--timeout", "15s"];
    let Ended::Exited(code, words) = finished(world.start(Some(&old), &arguments)).await else { unreachable!() };
    assert_eq!(code, 6, "{words}");
    let before = claims(world).await;
    assert_eq!(before.len(), 2, "{before:?}");

    world.runs(&World::up("in-upgraded")).await;
    println!("{} writes", world.proxy.writes());
    same(&world.everything("in-upgraded").await, &expected, "after an upgrade");
    assert_eq!(claims(world).await, before, "a claim was made anew");
    world.runs(&World::up("in-upgraded")).await;
    assert_eq!(world.proxy.writes(), 0);
}

/// Claims by name, with their UIDs.
async fn claims(world: &World) -> BTreeMap<String, Option<String>> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "in-upgraded");
    let list = claims.list(&ListParams::default()).await.unwrap();
    list.items.iter().map(|claim| (claim.name_any(), claim.uid())).collect()
}
