//! Kubernetes' own workloads, whose pods do not start, or are not even made.

use serde_json::{Value, json};

use crate::{
    autoscalers::{apply, listed, set_query, until_replicas, until_seen},
    nodes,
    tanks::{NAMESPACE, autoscaler},
    world::World,
};

/// Of Kubernetes' own kinds, a paused Deployment among them: pausing holds rollouts up, not the count. The pods are
/// given to a scheduler that does not exist: they cost nothing.
pub async fn every_kind_of_workload_is_scaled(world: &World) {
    let mut objects = Vec::new();
    let kinds = [("StatefulSet", "statefulsets"), ("ReplicaSet", "replicasets"), ("Deployment", "deployments")];
    for (kind, resource) in kinds {
        let mut workload = workload(kind, resource);
        if kind == "Deployment" {
            workload["spec"]["paused"] = json!(true);
        }
        objects.extend([workload, scales(kind, resource, json!({}))]);
    }
    apply(world, &objects);
    until_replicas(world, &kinds.map(|(_, resource)| (resource, resource, 3))).await;
    let explained = world.scalekit(["explain", "deploy/deployments", "-n", NAMESPACE]).exits(0);
    explained.says("note: Deployment deployments is paused");
    // None of those that are there starts: no more are ordered, however much is asked for.
    let held_back = json!({"spec": {"maxReplicas": 40, "pendingPods": {"count": 1, "longerThan": "1s"}}}).to_string();
    world.kubectl(["patch", "as", "replicasets", "-n", NAMESPACE, "--type=merge", "-p", &held_back]);
    are_held(world, "replicasets", "have been Pending for longer than").await;
    pods_that_a_quota_refuses(world).await;
    world.kubectl(["delete", "autoscalers,statefulsets,replicasets,deployments", "-n", NAMESPACE, "--all"]);
}

/// They are ordered and never made, which no pod tells of.
async fn pods_that_a_quota_refuses(world: &World) {
    let none = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE},
        "spec": {"hard": {"pods": "0"}}});
    let held_back = json!({"maxReplicas": 40, "pendingPods": {"count": 1, "longerThan": "1s"}});
    apply(world, &[none]);
    let hard = "jsonpath={.status.hard.pods}";
    nodes::until_or_why("the quota is counted", async || {
        match world.kubectl(["get", "resourcequota", "none", "-n", NAMESPACE, "-o", hard]) {
            counted if counted == "0" => Ok(()),
            other => Err(other),
        }
    })
    .await;
    apply(world, &[workload("ReplicaSet", "refused"), scales("ReplicaSet", "refused", held_back)]);
    are_held(world, "refused", "have not been made").await;
    let pods = world.kubectl(["get", "pods", "-n", NAMESPACE, "-l", "app=refused", "-o", "name"]);
    assert_eq!(pods, "", "the quota lets them be made");
    world.kubectl(["delete", "resourcequota", "none", "-n", NAMESPACE]);
}

/// Asks for one more at a time. Those that are ordered while the first are young are not held yet, and then no more are.
async fn are_held(world: &World, name: &str, says: &str) {
    let mut ordered = Vec::new();
    for wanted in 4..40 {
        set_query(world, name, &format!("vector({wanted}0)"));
        until_seen(world, name).await;
        let conditions = listed(world)[name]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_told = |one: &Value| one["reason"] == "PodsPending" && one["message"].as_str().unwrap().contains(says);
        if conditions.iter().any(is_told) {
            let path = "jsonpath={.spec.replicas}";
            ordered.push(world.kubectl(["get", "replicaset", name, "-n", NAMESPACE, "-o", path]));
        }
        if let [first, second] = &ordered[..] {
            assert_eq!(first, second, "more are ordered all the same");
            return;
        }
    }
    panic!("{name} is not held: {:#}", listed(world)[name]["status"]);
}

/// One pod of it, given to a scheduler that does not exist.
fn workload(kind: &str, name: &str) -> Value {
    let labels = json!({"app": name});
    let pod = json!({"schedulerName": "nobody", "containers": [{"name": "main", "image": "nothing"}]});
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod}}})
}

fn scales(kind: &str, name: &str, changes: Value) -> Value {
    let mut spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name}, "interval": "1s"});
    if let (Some(spec), Value::Object(changes)) = (spec.as_object_mut(), changes) {
        spec.extend(changes);
    }
    autoscaler(name, &spec)
}
