//! Sizes of the stack and of the nodes.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    proxy::Plan,
    world::{Ended, World},
};

/// No kubelet takes back what the node is said to have.
pub async fn a_profile_that_is_too_big_for_the_node_is_refused_before_anything_is_written(world: &World) {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let found = nodes.list(&ListParams::default()).await.unwrap().items;
    let name = found[0].name_any();
    let gives = async |amounts: serde_json::Value| {
        let patch = Patch::Merge(json!({"status": {"allocatable": amounts, "capacity": amounts}}));
        nodes.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    };
    let up = |profile: &'static str| [World::up("in-sized"), vec!["--profile", profile]].concat();
    gives(json!({"cpu": "2", "memory": "1Gi"})).await;
    let ended = world.run(Plan::default(), &up("team")).await;
    let Ended::Exited(3, words) = ended else { panic!("{ended:?}") };
    for expected in ["profile team is too big for this cluster", "1504 MiB", "1024 MiB", "--profile laptop"] {
        assert!(words.contains(expected), "{expected} is not in {words}");
    }
    assert_eq!(world.proxy.writes(), 0, "{words}");

    // The smallest fits, and so does the largest when there is room.
    world.runs(&up("edge")).await;
    gives(json!({"cpu": "2", "memory": "4Gi"})).await;
    world.runs(&up("team")).await;
    gives(json!({"cpu": null, "memory": null})).await;
}
