//! Workloads that are scaled, and stay when what scales them goes.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::Teardown;
use crate::object::ObjectRef;

/// A workload with the replica count that its Autoscaler gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scaled {
    /// The workload.
    pub target: ObjectRef,
    /// Replicas when its Autoscaler last looked.
    pub replicas: i64,
    /// The lower bound of its Autoscaler, at least 1: nobody would wake it from 0.
    pub least: i64,
}

/// The workloads of these Autoscalers that a removal leaves, each once.
pub fn scaled(autoscalers: &[DynamicObject], teardown: &Teardown) -> Vec<Scaled> {
    let mut found: Vec<Scaled> = autoscalers
        .iter()
        .filter_map(|autoscaler| {
            let text = |path: &str| autoscaler.data.pointer(path).and_then(Value::as_str);
            let namespace = autoscaler.metadata.namespace.as_deref();
            let target = ObjectRef::new(
                text("/spec/scaleTargetRef/apiVersion").unwrap_or("apps/v1"),
                text("/spec/scaleTargetRef/kind")?,
                namespace,
                text("/spec/scaleTargetRef/name")?,
            );
            let number = |path: &str| autoscaler.data.pointer(path).and_then(Value::as_i64);
            let replicas = number("/status/currentReplicas")?;
            Some(Scaled { target, replicas, least: number("/spec/minReplicas").unwrap_or(1).max(1) })
        })
        .filter(|scaled| {
            !teardown.delete.iter().map(|deleted| &deleted.object).any(|deleted| {
                deleted.same_object(&scaled.target)
                    || (deleted.kind == "Namespace" && Some(&deleted.name) == scaled.target.namespace.as_ref())
            })
        })
        .collect();
    found.sort_by(|one, other| one.target.cmp(&other.target));
    found.dedup_by(|one, other| one.target == other.target);
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Target;

    fn autoscaler(namespace: &str, target: &str, least: Option<i64>, replicas: Option<i64>) -> DynamicObject {
        let mut object: DynamicObject = serde_json::from_value(json!({"apiVersion": "scalekit.dev/v1alpha1",
            "kind": "Autoscaler", "metadata": {"name": "a", "namespace": namespace},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}}, "status": {}}))
        .unwrap();
        if let Some(least) = least {
            object.data["spec"]["minReplicas"] = json!(least);
        }
        if let Some(replicas) = replicas {
            object.data["status"]["currentReplicas"] = json!(replicas);
        }
        object
    }

    #[test]
    fn what_stays_is_named_with_its_count_and_what_goes_is_not() {
        let namespace = ObjectRef::new("v1", "Namespace", None, "demo");
        let teardown =
            Teardown { delete: vec![Target { object: namespace, uid: "u".to_owned(), first: false }], keep: vec![] };
        let all = [
            autoscaler("shop", "web", Some(0), Some(4)),
            autoscaler("shop", "api", None, Some(2)),
            autoscaler("shop", "never-seen", None, None),
            autoscaler("demo", "watcherbot", None, Some(3)),
        ];
        let found = scaled(&all, &teardown);
        let words: Vec<String> =
            found.iter().map(|one| format!("{} {} {}", one.target.name, one.replicas, one.least)).collect();
        assert_eq!(words, ["api 2 1", "web 4 1"]);
    }
}
