//! What the controllers of a cluster make of an object at once: every workload works, every claim whose class
//! exists is bound, every definition is served.

use serde_json::{Value, json};

/// The status that an object of this kind gets. `held` is one that never becomes ready.
pub fn status(kind: &str, object: &Value, held: bool, classes: &[String]) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    let replicas = object["spec"]["replicas"].as_u64().unwrap_or(1);
    Some(match kind {
        "Namespace" => json!({"phase": "Active"}),
        "CustomResourceDefinition" => json!({"conditions": [
            {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}),
        "PersistentVolumeClaim" => {
            let class = object["spec"]["storageClassName"].as_str().unwrap_or_default();
            let bound = !held && classes.iter().any(|known| known == class);
            json!({"phase": if bound { "Bound" } else { "Pending" }})
        }
        "Deployment" | "StatefulSet" if held => {
            json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas})
        }
        "Deployment" => json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas, "conditions": [{"type": "Available", "status": "True"}]}),
        "StatefulSet" => json!({"observedGeneration": generation, "replicas": replicas, "readyReplicas": replicas,
            "currentRevision": "1", "updateRevision": "1"}),
        "DaemonSet" => {
            let ready = u64::from(!held);
            json!({"observedGeneration": generation, "currentNumberScheduled": 1, "desiredNumberScheduled": 1,
                "updatedNumberScheduled": 1, "numberReady": ready, "numberMisscheduled": 0})
        }
        _ => return None,
    })
}
