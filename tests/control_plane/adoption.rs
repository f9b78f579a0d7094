//! Taking over what a tool applied, while somebody else writes to it.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt};

use crate::{
    ownership::rendered,
    proxy::{Plan, RIVAL},
    world::{Ended, World},
};

/// Who manages what is moved in one patch of what was read. Whoever has written since is seen, and stays.
pub async fn what_somebody_writes_while_an_object_is_taken_over_is_not_lost(world: &World) {
    let manifests = rendered(world, "in-raced").await;
    world.kubectl_apply(&manifests);
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-raced");
    let before = deployments.get("grafana").await.unwrap();
    let path = "/apis/apps/v1/namespaces/in-raced/deployments/grafana";
    let raced = Plan { overtaken: Some(path.to_owned()), ..Plan::default() };
    let ended = world.run(raced, &World::up("in-raced")).await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    // The controller writes too, and may be the faster one once more.
    let late = world.proxy.conflicts();
    assert!(late.iter().any(|late| late == path), "it was not too late: {late:?}");

    let after = deployments.get("grafana").await.unwrap();
    assert_eq!(after.annotations().get(RIVAL).map(String::as_str), Some("was here"), "{after:#?}");
    let entries = after.metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    let mut managers: Vec<&str> = entries.filter_map(|entry| entry.manager.as_deref()).collect();
    managers.sort_unstable();
    assert_eq!(managers, ["rival", "scalekit"]);
    assert_eq!((after.uid(), &after.spec), (before.uid(), &before.spec));
    world.runs(&World::up("in-raced")).await;
    assert_eq!(world.proxy.writes(), 0, "it is not settled");
}
