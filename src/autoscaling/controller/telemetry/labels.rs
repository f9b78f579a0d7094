//! The labels of the scaler's own metrics.

use prometheus_client::encoding::EncodeLabelSet;

use super::Key;
use crate::autoscaling::decision::Condition;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Object {
    pub namespace: String,
    pub name: String,
}

/// What an object scales, in the words of the recorded series that says which pods are whose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectWorkload {
    pub namespace: String,
    pub name: String,
    pub workload: String,
    pub workload_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectMetric {
    pub namespace: String,
    pub name: String,
    pub metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectTarget {
    pub namespace: String,
    pub name: String,
    pub metric: String,
    pub r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectCondition {
    pub namespace: String,
    pub name: String,
    pub condition: &'static str,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Rescale {
    pub namespace: String,
    pub name: String,
    pub action: &'static str,
    pub reason: String,
    pub cause: String,
    pub from: i32,
    pub to: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    pub reason: String,
    pub action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    pub outcome: &'static str,
}

/// A metrics API, by its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MetricsApi {
    pub api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MetricsApiOutcome {
    pub api: &'static str,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Write {
    pub resource: &'static str,
    pub outcome: &'static str,
}

impl Object {
    pub fn of(key: &Key) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone() }
    }
}

impl ObjectMetric {
    pub fn of(key: &Key, metric: &str) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone(), metric: metric.to_owned() }
    }
}

impl ObjectTarget {
    pub fn of(key: &Key, metric: &str, r#type: &'static str) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone(), metric: metric.to_owned(), r#type }
    }
}

impl ObjectCondition {
    pub fn of(key: &Key, condition: &Condition) -> Self {
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            condition: condition.kind.as_str(),
            reason: condition.reason.clone(),
        }
    }
}
