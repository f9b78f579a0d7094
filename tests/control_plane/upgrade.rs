//! From an earlier build to this one.

use std::{collections::BTreeMap, env, path::PathBuf};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use crate::{
    killed::same,
    proxy::Plan,
    world::{Ended, World, answered, finished},
};

/// The variable that names the earlier build.
pub const OLD: &str = "OLD_SCALEKIT";

/// The earlier build knows no way not to wait, so it ends with what is not ready.
pub async fn what_an_older_build_installed_is_brought_up_to_date_with_its_data(world: &World) {
    let old = PathBuf::from(env::var_os(OLD).unwrap());
    world.runs(&World::up("in-reference")).await;
    let expected = world.everything("in-reference").await;
    world.clear().await;

    let arguments = ["up", "-n", "in-upgraded", "--image", "scaler=example.org/scalekit:0", "--timeout", "15s"];
    let ended = answered(async || {
        world.proxy.follow(Plan::default());
        finished(world.start(Some(&old), &arguments)).await
    })
    .await;
    let Ended::Exited(code, words) = ended else { unreachable!() };
    assert_eq!(code, 6, "{words}");
    let before = claims(world).await;
    assert_eq!(before.len(), 2, "{before:?}");

    world.runs(&World::up("in-upgraded")).await;
    println!("{} writes", world.proxy.writes());
    let after = world.everything("in-upgraded").await;
    same(&unnumbered(after), &unnumbered(expected), "after an upgrade");
    assert_eq!(claims(world).await, before, "a claim was made anew");
    world.runs(&World::up("in-upgraded")).await;
    assert_eq!(world.proxy.writes(), 0);
}

/// Without the generations: what was brought up to date was changed once more than what was made.
pub fn unnumbered(everything: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let unnumbered = |text: String| {
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["metadata"].as_object_mut().unwrap().remove("generation");
        object.to_string()
    };
    everything.into_iter().map(|(name, text)| (name, unnumbered(text))).collect()
}

/// Claims by name, with their UIDs.
async fn claims(world: &World) -> BTreeMap<String, Option<String>> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "in-upgraded");
    let list = claims.list(&ListParams::default()).await.unwrap();
    list.items.iter().map(|claim| (claim.name_any(), claim.uid())).collect()
}
