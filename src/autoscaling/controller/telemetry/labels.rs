//! The labels of the scaler's own metrics.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

use super::Key;
use crate::{
    autoscaling::decision::Condition,
    metrics,
    prometheus::{Error, Sample},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Object {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// What an object scales, in the words of the recorded series that says which pods are whose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectWorkload {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub workload: String,
    pub workload_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectMetric {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectTarget {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub metric: String,
    pub r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectCondition {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub condition: &'static str,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Rescale {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
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

impl Outcome {
    /// What came of a query to Prometheus.
    pub fn of(answer: &Result<Arc<[Sample]>, Error>) -> Self {
        let outcome = match answer {
            Ok(values) if values.is_empty() => "absent",
            Ok(_) => "value",
            Err(Error::Unreachable(_)) => "unreachable",
            Err(Error::Timeout(_)) => "timeout",
            Err(Error::TooLarge(_)) => "too_large",
            Err(Error::NotPrometheus { .. }) => "not_prometheus",
            Err(Error::Http(_)) => "http_error",
            Err(Error::Refused { .. }) => "refused",
            Err(Error::WrongType(_)) => "wrong_type",
            Err(Error::NotFinite(_)) => "not_finite",
            Err(Error::Partial { .. }) => "partial",
        };
        Self { outcome }
    }
}

impl MetricsApiOutcome {
    /// What came of a question to a metrics API.
    pub fn of<T>(api: &'static str, answer: &Result<T, metrics::Error>, is_empty: impl Fn(&T) -> bool) -> Self {
        let outcome = match answer {
            Ok(values) if is_empty(values) => "absent",
            Ok(_) => "value",
            Err(metrics::Error::Absent(_)) => "not_served",
            Err(metrics::Error::Refused(_)) => "refused",
            Err(metrics::Error::Unavailable { .. }) => "unavailable",
            Err(metrics::Error::Unreachable(_)) => "unreachable",
            Err(metrics::Error::Timeout(_)) => "timeout",
            Err(metrics::Error::Unreadable(_)) => "unreadable",
        };
        Self { api, outcome }
    }
}
