//! What the metrics APIs answer.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Error, ObjectValue, PodUsage};
use crate::quantity::Quantity;

/// What the HPA takes where a custom metric does not say what time it covers.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_secs(60);

#[derive(Deserialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
}

/// `metav1.APIGroup`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    versions: Vec<Version>,
    preferred_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

impl Group {
    /// The preferred version if it is readable, else the first readable one that is served.
    pub(super) fn best(&self, readable: &[&'static str]) -> Option<&'static str> {
        let served = self.preferred_version.iter().chain(&self.versions);
        served.filter_map(|served| readable.iter().find(|version| **version == served.version)).copied().next()
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// `metrics.k8s.io/v1beta1` `PodMetrics`.
#[derive(Deserialize)]
pub(super) struct PodMetrics {
    metadata: Named,
    timestamp: Timestamp,
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

impl PodMetrics {
    pub(super) fn usage(self) -> Result<PodUsage, Error> {
        let window: kube::core::Duration =
            self.window.parse().map_err(|_| Error::Unreadable(format!("`{}` is no window", self.window)))?;
        let containers = self.containers.into_iter().map(|container| {
            let usage = container.usage.into_iter().map(|(resource, text)| Ok((resource, milli(&text)?)));
            Ok((container.name, usage.collect::<Result<_, Error>>()?))
        });
        Ok(PodUsage {
            pod: self.metadata.name,
            at: self.timestamp,
            window: SignedDuration::try_from(std::time::Duration::from(window)).unwrap_or(DEFAULT_WINDOW),
            containers: containers.collect::<Result<_, Error>>()?,
        })
    }
}

/// `custom.metrics.k8s.io` `MetricValue`, of v1beta1 and v1beta2: what is used of it is the same in both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomValue {
    described_object: Named,
    timestamp: Timestamp,
    window_seconds: Option<i64>,
    value: String,
}

impl CustomValue {
    pub(super) fn value(self) -> Result<ObjectValue, Error> {
        Ok(ObjectValue {
            name: self.described_object.name,
            value: milli(&self.value)?,
            at: self.timestamp,
            window: self.window_seconds.map_or(DEFAULT_WINDOW, SignedDuration::from_secs),
        })
    }
}

/// `external.metrics.k8s.io/v1beta1` `ExternalMetricValue`.
#[derive(Deserialize)]
pub(super) struct ExternalValue {
    value: String,
}

impl ExternalValue {
    pub(super) fn milli(&self) -> Result<i64, Error> {
        milli(&self.value)
    }
}

fn milli(text: &str) -> Result<i64, Error> {
    let quantity = text.parse::<Quantity>().and_then(Quantity::milli);
    quantity.map_err(|error| Error::Unreadable(format!("`{text}` is not a quantity: {error}")))
}
