//! A node that is lost, and a pod that was put off one: what the stack can do without.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, ReplicaSet},
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use scalekit::prometheus::TargetHealth;
use serde_json::{Value, json};

use crate::world::World;

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
        let targets = world.targets().await.active;
        targets.into_iter().find(|target| target.node.as_deref() == Some(LOST) && target.health == TargetHealth::Down)
    })
    .await;

    let ran = world.scalekit(["up"]).exits(0).says("on nodes that are not ready");
    println!("{}({:.1} s)", ran.stderr, ran.took.as_secs_f64());
    world.scalekit(["status"]).exits(0).says(&format!("not ready: {LOST}"));
    let status: Value = serde_json::from_str(&world.scalekit(["status", "-o", "json"]).exits(0).stdout).unwrap();
    assert_eq!(status["healthy"], true, "{status:#}");
    let components = status["components"].as_array().unwrap();
    assert!(components.iter().all(|component| component["state"] == "current"), "{components:#?}");
    let down = status["targets"]["down"].as_array().unwrap();
    assert!(!down.is_empty() && down.iter().all(|target| target["node"] == LOST), "{down:#?}");
    for finding in status["findings"].as_array().unwrap() {
        let words = finding["message"].as_str().unwrap();
        assert!(finding["severity"] == "warning" && words.contains(LOST), "{finding:#}");
    }

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
    pods.delete(EVICTED, &at_once).await.unwrap();
    let uid = nodes.get(LOST).await.unwrap().metadata.uid.unwrap();
    nodes.delete(LOST, &at_once).await.unwrap();
    tokio::time::timeout(WITHIN, await_condition(nodes, LOST, is_deleted(&uid))).await.unwrap().unwrap();
    // Whoever collects pods without a node may have been faster.
    let _gone = exporters.delete(&exporter.name_any(), &at_once).await;
    let as_before = await_condition(sets, "node-exporter", |set: Option<&DaemonSet>| {
        set.and_then(|set| Some((set.metadata.generation, set.status.as_ref()?))).is_some_and(|(generation, status)| {
            status.observed_generation == generation
                && status.updated_number_scheduled == Some(status.desired_number_scheduled)
                && status.desired_number_scheduled == status.number_ready
        })
    });
    tokio::time::timeout(WITHIN, as_before).await.unwrap().unwrap();
    until("Prometheus has forgotten the lost node", async || {
        let targets = world.targets().await.active;
        targets.iter().all(|target| target.node.as_deref() != Some(LOST)).then_some(())
    })
    .await;
    until("no alert waits because of it any more", async || {
        world.query(&format!("ALERTS{{instance=\"{LOST}\"}}")).await.is_empty().then_some(())
    })
    .await;
    world.until_healthy(&[]).await;
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
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
