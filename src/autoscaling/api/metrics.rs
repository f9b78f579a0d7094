//! The metrics of `autoscaling/v2`, with its names and meaning.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{QuantityText, quantity_text::above_zero};

/// A resource of the workload's pods, all containers together.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.target.type != 'Value'")
    .message("a resource is measured per pod: set target.type to Utilization or AverageValue")
    .field_path(".target.type"))]
#[serde(rename_all = "camelCase")]
pub struct ResourceMetric {
    /// The resource: cpu or memory.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What it should be.
    pub target: MetricTarget,
}

/// A resource of one container of the workload's pods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.target.type != 'Value'")
    .message("a resource is measured per pod: set target.type to Utilization or AverageValue")
    .field_path(".target.type"))]
#[serde(rename_all = "camelCase")]
pub struct ContainerResourceMetric {
    /// The resource: cpu or memory.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The container, by its name in the pod.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// What it should be.
    pub target: MetricTarget,
}

/// A value for each of the workload's pods, from the custom metrics API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.target.type == 'AverageValue'")
    .message("a metric of type Pods has a value per pod: set target.type to AverageValue")
    .field_path(".target.type"))]
#[serde(rename_all = "camelCase")]
pub struct PodsMetric {
    /// Which metric.
    pub metric: MetricIdentifier,
    /// What it should be, in the mean of the pods.
    pub target: MetricTarget,
}

/// A value of some object in the Autoscaler's namespace, from the custom metrics API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.target.type != 'Utilization'")
    .message("only a resource has a utilization: set target.type to Value or AverageValue")
    .field_path(".target.type"))]
#[serde(rename_all = "camelCase")]
pub struct ObjectMetric {
    /// The object that the metric is of.
    pub described_object: DescribedObject,
    /// Which metric.
    pub metric: MetricIdentifier,
    /// What it should be.
    pub target: MetricTarget,
}

/// A value from outside of the cluster, from the external metrics API. Several series are summed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.target.type != 'Utilization'")
    .message("only a resource has a utilization: set target.type to Value or AverageValue")
    .field_path(".target.type"))]
#[serde(rename_all = "camelCase")]
pub struct ExternalMetric {
    /// Which metric.
    pub metric: MetricIdentifier,
    /// What it should be.
    pub target: MetricTarget,
}

/// The object that a metric is of.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribedObject {
    /// Its API version, such as networking.k8s.io/v1. Default: v1.
    #[serde(default = "core")]
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Its kind, such as Ingress.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn core() -> String {
    "v1".to_owned()
}

/// A metric of an API, by name and labels.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// The name of the metric.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.contains('/') && !self.contains('%')")
        .message("the name of a metric must not contain / or %"))]
    pub name: String,
    /// Labels that its series must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<MetricSelector>,
}

/// Labels that are asked for; all of them must hold.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSelector {
    /// Labels with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Labels by condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// A condition on one label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0")
    .message("In and NotIn need values, Exists and DoesNotExist none"))]
#[serde(rename_all = "camelCase")]
pub struct SelectorRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What must hold.
    pub operator: SelectorOperator,
    /// The values of In and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub values: Vec<String>,
}

/// What must hold of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    In,
    #[expect(missing_docs, reason = "as above")]
    NotIn,
    #[expect(missing_docs, reason = "as above")]
    Exists,
    #[expect(missing_docs, reason = "as above")]
    DoesNotExist,
}

impl MetricSelector {
    /// As it is written in a URL: `a=b,c in (d,e)`. Source: `metav1.FormatLabelSelector`.
    pub fn text(&self) -> String {
        let equal = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let of = |requirement: &SelectorRequirement| {
            let SelectorRequirement { key, operator, values } = requirement;
            let values = values.join(",");
            match operator {
                SelectorOperator::In => format!("{key} in ({values})"),
                SelectorOperator::NotIn => format!("{key} notin ({values})"),
                SelectorOperator::Exists => key.clone(),
                SelectorOperator::DoesNotExist => format!("!{key}"),
            }
        };
        equal.chain(self.match_expressions.iter().map(of)).collect::<Vec<_>>().join(",")
    }
}

/// What a metric should be.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.averageUtilization) == (self.type == 'Utilization') && has(self.averageValue) == (self.type == 'AverageValue') && has(self.value) == (self.type == 'Value')")
        .message("set the one field that belongs to type: averageUtilization for Utilization, averageValue for AverageValue, value for Value"),
    validation = above_zero("averageValue"),
    validation = above_zero("value"),
)]
#[serde(rename_all = "camelCase")]
pub struct MetricTarget {
    /// `Utilization`: per cent of what the pods request. `AverageValue`: per replica. `Value`: in all.
    #[serde(rename = "type")]
    pub kind: MetricTargetType,
    /// Per cent of what the pods request, in the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("averageUtilization must be greater than 0, such as 80"))]
    pub average_utilization: Option<i32>,
    /// Per replica, such as "10" or "500m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<QuantityText>,
    /// In all, such as "10" or "500m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<QuantityText>,
}

/// How a target is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricTargetType {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Utilization,
    #[expect(missing_docs, reason = "as above")]
    AverageValue,
    #[expect(missing_docs, reason = "as above")]
    Value,
}
