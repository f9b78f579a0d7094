//! Objects to try Autoscalers on: of a definition of our own with a scale subresource, for which no pod is ever made.

use serde_json::{Value, json};

/// Where they are.
pub const NAMESPACE: &str = "scalekit-test-autoscalers";
/// The kind of what is scaled. Nobody makes anything of it.
const GROUP: &str = "scalekit-test.dev";

/// An Autoscaler that scales the tank of its name by a load of 25, 10 each: 3.
pub fn autoscaler(name: &str, changes: &Value) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "scalekit-test.dev/v1", "kind": "Tank", "name": name},
        "maxReplicas": 5,
        "metrics": [metric("vector(25)")],
    });
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// A PromQL metric, 10 for each replica.
pub fn metric(query: &str) -> Value {
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    json!({"type": "Prometheus", "prometheus": {"name": "load", "query": query, "target": target}})
}

/// A metric with two targets, which is one too many.
pub fn both_targets() -> Value {
    let mut metric = metric("vector(1)");
    metric["prometheus"]["target"]["value"] = json!("10");
    metric
}

/// What is scaled, for which nobody makes anything.
pub fn tank(name: &str, replicas: i32) -> Value {
    json!({"apiVersion": "scalekit-test.dev/v1", "kind": "Tank", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": replicas}})
}

/// What keeps its count in `spec.size`.
pub fn cask(name: &str, size: i32) -> Value {
    json!({"apiVersion": "scalekit-test.dev/v1", "kind": "Cask", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"size": size}})
}

/// The definitions of tanks and casks.
pub fn definitions() -> [Value; 2] {
    [definition("Tank", "replicas"), definition("Cask", "size")]
}

fn definition(kind: &str, count: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let integer = |field: &str| json!({"type": "object", "properties": {field: {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {"spec": integer(count), "status": integer("replicas")}});
    let path = format!(".spec.{count}");
    let scale = json!({"specReplicasPath": path, "statusReplicasPath": ".status.replicas"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}, "scale": scale}}],
        },
    })
}

/// The right to scale them, as `docs/autoscaler.md` has it.
pub fn role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scalekit-test-tanks"},
        "rules": [
            {"apiGroups": [GROUP], "resources": ["tanks/scale", "casks/scale"], "verbs": ["get", "update", "patch"]},
            {"apiGroups": [GROUP], "resources": ["tanks", "casks"], "verbs": ["get"]},
        ],
    })
}

/// The scaler has that right.
pub fn binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "scalekit-test-tanks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scalekit-test-tanks"},
        "subjects": [{"kind": "ServiceAccount", "name": "scaler", "namespace": "monitoring"}],
    })
}
