//! Kubernetes' own workloads, whose pods do not start, or are not even made.

use serde_json::{Value, json};

use crate::{
    autoscalers::{apply, is, set_query, until, until_replicas, until_seen},
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
    let held_back = json!({"spec": {"pendingPods": {"count": 1, "longerThan": "1s"}}}).to_string();
    world.kubectl(["patch", "as", "replicasets", "-n", NAMESPACE, "--type=merge", "-p", &held_back]);
    set_query(world, "replicasets", "vector(45)");
    until(world, &[is("replicasets", "ScalingLimited", "PodsPending", "")]).await;
    until_replicas(world, &[("replicasets", "replicasets", 3)]).await;
    pods_that_a_quota_refuses(world).await;
    world.kubectl(["delete", "autoscalers,statefulsets,replicasets,deployments", "-n", NAMESPACE, "--all"]);
}

/// They are ordered and never made, which no pod tells of.
async fn pods_that_a_quota_refuses(world: &World) {
    let none = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE},
        "spec": {"hard": {"pods": "0"}}});
    let held_back = json!({"pendingPods": {"count": 1, "longerThan": "1s"}});
    apply(world, &[none, workload("ReplicaSet", "refused"), scales("ReplicaSet", "refused", held_back)]);
    until(world, &[is("refused", "ScalingLimited", "PodsPending", "have not been made")]).await;
    let pods = world.kubectl(["get", "pods", "-n", NAMESPACE, "-l", "app=refused", "-o", "name"]);
    assert_eq!(pods, "", "the quota lets them be made");
    let ordered = || -> i32 {
        let path = "jsonpath={.spec.replicas}";
        world.kubectl(["get", "replicaset", "refused", "-n", NAMESPACE, "-o", path]).parse().unwrap()
    };
    let before = ordered();
    set_query(world, "refused", "vector(45)");
    until_seen(world, "refused").await;
    until(world, &[is("refused", "ScalingLimited", "PodsPending", "have not been made")]).await;
    assert_eq!(ordered(), before, "no more are ordered");
    world.kubectl(["delete", "resourcequota", "none", "-n", NAMESPACE]);
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
