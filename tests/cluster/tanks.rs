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

/// The definition of tanks.
pub fn definition() -> Value {
    let integer = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {"spec": integer, "status": integer}});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tanks.scalekit-test.dev"},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"kind": "Tank", "plural": "tanks", "singular": "tank", "listKind": "TankList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}, "scale": scale}}],
        },
    })
}

/// The right to scale tanks, as `docs/autoscaler.md` has it.
pub fn role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scalekit-test-tanks"},
        "rules": [
            {"apiGroups": [GROUP], "resources": ["tanks/scale"], "verbs": ["get", "update", "patch"]},
            {"apiGroups": [GROUP], "resources": ["tanks"], "verbs": ["get"]},
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
