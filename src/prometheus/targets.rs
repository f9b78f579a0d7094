//! What Prometheus answers about its scrape targets.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Error, answer::open};

/// Health of a target as Prometheus spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetHealth {
    /// The last scrape worked.
    Up,
    /// The last scrape failed.
    Down,
    /// Not scraped yet.
    Unknown,
}

/// One scrape target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The scrape pool, that is the job of the configuration.
    pub scrape_pool: String,
    /// What is scraped.
    pub scrape_url: String,
    /// Why the last scrape failed; empty when it did not.
    #[serde(default)]
    pub last_error: String,
    /// Health.
    pub health: TargetHealth,
    /// The node that it is on, where its discovery says that.
    #[serde(
        default,
        rename(deserialize = "discoveredLabels"),
        deserialize_with = "node",
        skip_serializing_if = "Option::is_none"
    )]
    pub node: Option<String>,
}

/// Labels by which the discoveries of nodes, pods and slices of endpoints tell the node of a target.
const NODE_LABELS: [&str; 3] = [
    "__meta_kubernetes_node_name",
    "__meta_kubernetes_pod_node_name",
    "__meta_kubernetes_endpointslice_endpoint_node_name",
];

/// Reads the node out of the labels of a discovery.
fn node<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let mut labels = BTreeMap::<String, String>::deserialize(from)?;
    Ok(NODE_LABELS.iter().find_map(|label| labels.remove(*label)))
}

/// The active ones.
pub(super) fn targets(status: StatusCode, body: &[u8]) -> Result<Vec<Target>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        active_targets: Vec<Target>,
    }
    let Data { active_targets } = open(status, body)?;
    Ok(active_targets)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::of_the_nodes(json!({"__address__": "x", "__meta_kubernetes_node_name": "n1"}), Some("n1"))]
    #[case::of_pods(json!({"__meta_kubernetes_pod_node_name": "n2"}), Some("n2"))]
    #[case::of_endpoints(json!({"__meta_kubernetes_endpointslice_endpoint_node_name": "n3"}), Some("n3"))]
    #[case::of_a_list(json!({"__address__": "x"}), None)]
    fn a_target_is_on_the_node_that_its_discovery_names(
        #[case] labels: serde_json::Value,
        #[case] expected: Option<&str>,
    ) {
        let body = json!({"status": "success", "data": {"activeTargets": [{"scrapePool": "a", "scrapeUrl": "http://x",
            "lastError": "", "health": "up", "discoveredLabels": labels, "labels": {"job": "a"}}]}});
        let found = targets(StatusCode::OK, body.to_string().as_bytes()).unwrap();
        assert_eq!(found[0].node.as_deref(), expected);
        let shown = serde_json::to_value(&found[0]).unwrap();
        assert_eq!(shown.get("node").and_then(serde_json::Value::as_str), expected);
    }
}
