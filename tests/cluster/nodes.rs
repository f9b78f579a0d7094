//! A node that is lost, and a pod that was put off one: what the stack can do without.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, ReplicaSet},
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use scalekit::prometheus::TargetHealth;
use serde_json::{Value, json};

use crate::world::{World, becomes};

const LOST: &str = "scalekit-test-lost";
const EVICTED: &str = "scalekit-test-evicted";

/// Of the block that is for documentation: nobody answers there.
const NOWHERE: &str = "192.0.2.1";

/// Longer than a loaded machine takes for what comes by itself: a pod for the node, a scrape that fails.
pub const WITHIN: Duration = Duration::from_secs(180);

pub async fn a_node_that_is_not_ready_and_a_pod_that_was_evicted_hold_nothing_up(world: &World) {
    let nodes: Api<Node> = Api::all(world.client.clone());
    lose_a_node(&nodes).await;
    let exporters: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring-nodes");
    let on_the_lost = ListParams::default().fields(&format!("spec.nodeName={LOST}"));
    let exporter = until("a pod of node-exporter is bound to the lost node", async || {
        exporters.list(&on_the_lost).await.unwrap().items.pop()
    })
    .await;
    evict(world).await;
    until("Prometheus has tried the lost node's kubelet", async || {
        let targets = world.targets().await;
        targets.into_iter().find(|target| target.node.as_deref() == Some(LOST) && target.health == TargetHealth::Down)
    })
    .await;

    let ran = world.scalekit(["up"]).exits(0).says("on nodes that are not ready");
    println!("{}({:.1} s)", ran.stderr, ran.took.as_secs_f64());
    world.until_it_passes(&["status"]).await.says(&format!("not ready: {LOST}"));
    until_or_why("status blames the lost node alone, and only warns", async || {
        let status = world.status_once_healthy(&[]).await;
        if blames_the_lost_node_alone(&status) { Ok(()) } else { Err(format!("{status:#}")) }
    })
    .await;

    for (verb, findings) in [("check", "checks"), ("status", "findings")] {
        // Not said for two minutes after a pod of ours has started: until then a node may only not have listed it yet.
        let lacks = until(&format!("{verb} says that the image is not there"), async || {
            let report: Value = serde_json::from_str(&world.scalekit([verb, "-o", "json"]).stdout).unwrap();
            let is_it = |finding: &&Value| {
                finding["check"] == "image" && finding["message"].as_str().is_some_and(|words| words.contains(LOST))
            };
            report[findings].as_array().unwrap().iter().find(is_it).cloned()
        })
        .await;
        assert!(lacks["severity"] == "warning" && lacks["hint"].is_string(), "{lacks:#}");
    }
    let sets: Api<DaemonSet> = Api::namespaced(world.client.clone(), "monitoring-nodes");
    // Its pod there is deleted for one of the new template, and nobody ends it.
    template_of_node_exporter(&sets, &json!("new")).await;
    let ran = world.scalekit(["up"]).exits(0).says("on nodes that are not ready");
    println!("with another template of node-exporter: {:.1} s", ran.took.as_secs_f64());
    let status = sets.get("node-exporter").await.unwrap().status.unwrap();
    assert_eq!(status.updated_number_scheduled, Some(status.desired_number_scheduled - 1), "{status:?}");
    assert!(exporters.get(&exporter.name_any()).await.unwrap().metadata.deletion_timestamp.is_some());
    template_of_node_exporter(&sets, &Value::Null).await;

    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
    let at_once = DeleteParams::default().grace_period(0);
    // Whoever takes pods off a node that is lost may have been faster.
    if let Err(error) = pods.delete(EVICTED, &at_once).await {
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 404), "{error}");
    }
    let uid = nodes.get(LOST).await.unwrap().metadata.uid;
    nodes.delete(LOST, &at_once).await.unwrap();
    let gone = becomes(nodes, LOST, WITHIN, |node| node.is_none_or(|node| node.metadata.uid != uid));
    assert!(gone.await, "the lost node is not deleted");
    // Whoever collects pods without a node may have been faster.
    let _gone = exporters.delete(&exporter.name_any(), &at_once).await;
    let as_before = becomes(sets, "node-exporter", WITHIN, |set| {
        set.and_then(|set| Some((set.metadata.generation, set.status.as_ref()?))).is_some_and(|(generation, status)| {
            status.observed_generation == generation
                && status.updated_number_scheduled == Some(status.desired_number_scheduled)
                && status.desired_number_scheduled == status.number_ready
        })
    });
    assert!(as_before.await, "node-exporter is not as before");
    until("Prometheus has forgotten the lost node", async || {
        let targets = world.targets().await;
        targets.iter().all(|target| target.node.as_deref() != Some(LOST)).then_some(())
    })
    .await;
    until("no alert waits because of it any more", async || {
        world.query(&format!("ALERTS{{instance=\"{LOST}\"}}")).await.is_empty().then_some(())
    })
    .await;
    world.until_healthy(&[]).await;
}

/// Whether all that is down is on the lost node, and all that is found is a warning of it, with every component up to date.
fn blames_the_lost_node_alone(status: &Value) -> bool {
    let list = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let (components, down) = (list(&status["components"]), list(&status["targets"]["down"]));
    let warns = |finding: &Value| {
        finding["severity"] == "warning" && finding["message"].as_str().is_some_and(|words| words.contains(LOST))
    };
    status["healthy"] == true
        && !components.is_empty()
        && components.iter().all(|component| component["state"] == "current")
        && !down.is_empty()
        && down.iter().all(|target| target["node"] == LOST)
        && list(&status["findings"]).iter().all(warns)
}

/// Changes what every pod of node-exporter is made from, and nothing that we declare of it.
async fn template_of_node_exporter(sets: &Api<DaemonSet>, value: &Value) {
    let annotations = json!({"annotations": {"scalekit-test/template": value}});
    let patch = json!({"spec": {"template": {"metadata": annotations}}});
    sets.patch("node-exporter", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// A node whose kubelet has said that it is not ready, and nothing since.
async fn lose_a_node(nodes: &Api<Node>) {
    let node =
        json!({"metadata": {"name": LOST, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": LOST}}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let room = json!({"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "pods": "110"});
    let status = json!({"status": {"capacity": room, "allocatable": room,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "addresses": [{"type": "InternalIP", "address": NOWHERE}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "it is lost"}]}});
    nodes.patch_status(LOST, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// A pod of a Deployment of ours as the kubelet leaves it on record when it has put it off its node. It becomes one of the
/// Deployment's only then: before, its controller would take it for one too many.
async fn evict(world: &World) {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), "monitoring");
    let of_the_deployment = ListParams::default().labels("app.kubernetes.io/name=kube-state-metrics");
    let sets = sets.list(&of_the_deployment).await.unwrap().items;
    let set = sets.into_iter().find(|set| set.spec.replicas > Some(0)).unwrap();
    let template = serde_json::to_value(&set.spec.template).unwrap();
    let mut pod = json!({"metadata": {"name": EVICTED}, "spec": template["spec"]});
    pod["spec"]["nodeName"] = json!(LOST);
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = json!({"status": {"phase": "Failed", "reason": "Evicted",
        "message": "The node was low on resource: memory."}});
    pods.patch_status(EVICTED, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set.name_any(), "uid": set.uid(),
        "controller": true, "blockOwnerDeletion": true});
    let metadata = json!({"metadata": {"labels": template["metadata"]["labels"], "ownerReferences": [owner]}});
    pods.patch(EVICTED, &PatchParams::default(), &Patch::Merge(metadata)).await.unwrap();
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    until_or_why(what, async || ask().await.ok_or_else(|| "there is none".to_owned())).await
}

/// The same of whoever says why there is none.
pub async fn until_or_why<T>(what: &str, ask: impl AsyncFn() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) => assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
