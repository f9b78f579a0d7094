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

/// The name of a scrape pool (one job of the configuration), whether or not it has targets.
pub type ScrapePool = String;

/// All active targets, and all pools: a pool without a target is a finding, not a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Active targets.
    pub active: Vec<Target>,
    /// Every pool of the loaded configuration.
    pub pools: Vec<ScrapePool>,
}

impl Targets {
    /// Pools that have no target at all. No `up == 0` exists for them: only this list shows them.
    pub fn empty_pools(&self) -> Vec<&str> {
        self.pools
            .iter()
            .map(String::as_str)
            .filter(|pool| !self.active.iter().any(|target| target.scrape_pool == *pool))
            .collect()
    }
}

pub(super) fn targets(status: StatusCode, body: &[u8]) -> Result<Targets, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        active_targets: Vec<Target>,
    }
    let Data { active_targets } = open(status, body)?;
    Ok(Targets { active: active_targets, pools: Vec::new() })
}

pub(super) fn scrape_pools(status: StatusCode, body: &[u8]) -> Result<Vec<ScrapePool>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        /// `null` while no configuration is loaded.
        scrape_pools: Option<Vec<ScrapePool>>,
    }
    let Data { scrape_pools } = open(status, body)?;
    Ok(scrape_pools.unwrap_or_default())
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
        assert_eq!(found.active[0].node.as_deref(), expected);
        let shown = serde_json::to_value(&found.active[0]).unwrap();
        assert_eq!(shown.get("node").and_then(serde_json::Value::as_str), expected);
    }

    #[test]
    fn a_pool_without_a_target_is_named() {
        let targets = Targets {
            active: vec![Target {
                scrape_pool: "a".to_owned(),
                scrape_url: String::new(),
                last_error: String::new(),
                health: TargetHealth::Up,
                node: None,
            }],
            pools: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(targets.empty_pools(), ["b"]);
    }
}
