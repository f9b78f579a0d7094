//! A metric that is the answer to a PromQL query.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{QuantityText, ServerAuth, quantity_text::above_zero};

/// The answer to a PromQL query.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.activation) || (type(self.activation) == int ? self.activation >= 0 : isQuantity(self.activation) && !quantity(self.activation).isLessThan(quantity('0')))")
    .message("activation must be a quantity of 0 or more, such as 5 or 500m")
    .field_path(".activation"))]
#[x_kube(
    validation = Rule::new("!has(self.auth) || has(self.serverAddress)")
        .message("auth is for a server of your own: set serverAddress too")
        .field_path(".serverAddress"),
    validation = Rule::new("!has(self.serverAddress) || !self.serverAddress.startsWith('https://') || has(self.auth) && has(self.auth.ca)")
        .message("an https server needs auth.ca: the scaler believes no certificate authority but that one")
        .field_path(".auth"),
)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusMetric {
    /// What the metric is called in the status, in events and in logs.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("name must be lower-case letters, digits and -, such as active-tasks"))]
    pub name: String,
    /// A PromQL expression that gives one number: a scalar or a vector of one series. For several see `reduce`.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// What the metric should be.
    pub target: PrometheusTarget,
    /// What it means when the query gives no series. Hold: nothing is known, do not scale down. Zero: it is
    /// 0. Error: do not scale down, and report it as an error. A server that does not answer is never absence.
    #[serde(default)]
    pub on_absent: OnAbsentSpec,
    /// What becomes of several series: `Sum`, `Max`, `Min` or `Avg`. Where it is not set, several are an error, for a
    /// query that suddenly gives two series would scale on something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce: Option<ReduceSpec>,
    /// At 0 replicas the metric counts only above this. Default 0: any value above 0 wakes the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<QuantityText>,
    /// How old a sample may be, 1s to 1h, as in Go (2m); an older one is absent. Where it is not set, it is what the
    /// server looks back for, 5 minutes by default. Ranges such as `[5m]` look back as far as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("maxAge must be a duration between 1s and 1h, such as 2m"))]
    pub max_age: Option<String>,
    /// The Prometheus server, such as `http://prometheus.monitoring:9090`. Where it is not set, the one that
    /// scalekit was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/ ]+')")
        .message("serverAddress must be an address such as http://prometheus.monitoring:9090"))]
    pub server_address: Option<String>,
    /// What that server wants to see, from Secrets in the Autoscaler's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ServerAuth>,
}

/// What a metric should be.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("self.type == 'AverageValue' ? has(self.averageValue) && !has(self.value) : has(self.value) && !has(self.averageValue)")
        .message("a target of type AverageValue needs averageValue and no value; one of type Value needs value and no averageValue"),
    validation = above_zero("averageValue"),
    validation = above_zero("value"),
)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusTarget {
    /// `AverageValue`: the answer is a total, and each replica takes `averageValue` of it. `Value`: the answer
    /// is a level, such as a latency, and the replicas are multiplied by how far it is above `value`.
    #[serde(rename = "type")]
    pub kind: TargetType,
    /// What one replica takes, such as "10" or "500m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<QuantityText>,
    /// What the metric should be, such as "10" or "500m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<QuantityText>,
}

/// How a target is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetType {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    AverageValue,
    #[expect(missing_docs, reason = "as above")]
    Value,
}

/// What it means when there is nothing to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnAbsentSpec {
    #[default]
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Hold,
    #[expect(missing_docs, reason = "as above")]
    Zero,
    #[expect(missing_docs, reason = "as above")]
    Error,
}

/// What becomes of several series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReduceSpec {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Sum,
    #[expect(missing_docs, reason = "as above")]
    Max,
    #[expect(missing_docs, reason = "as above")]
    Min,
    #[expect(missing_docs, reason = "as above")]
    Avg,
}
