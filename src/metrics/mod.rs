//! The metrics APIs of Kubernetes, read as the HPA reads them: `metrics.k8s.io`, `custom.metrics.k8s.io` and
//! `external.metrics.k8s.io`.
//!
//! Values are in milli-units, rounded up as the API's `MilliValue`. Nothing is cached but which APIs and versions there
//! are. Needed rights: get and list on what is read. Sources: the HPA's `metrics/client.go`, and the clients of
//! `k8s.io/metrics`.

mod answer;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::query::encode;

/// The API of resource metrics, which metrics-server serves.
pub const RESOURCE: &str = "metrics.k8s.io";
/// The API of custom metrics, which an adapter serves.
pub const CUSTOM: &str = "custom.metrics.k8s.io";
/// The API of external metrics, which an adapter serves.
pub const EXTERNAL: &str = "external.metrics.k8s.io";

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it is remembered whether an API is there, and in which version.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cluster does not have the API.
    #[error("the cluster has no API {0}")]
    Absent(&'static str),
    /// The API server, or what serves the API behind it, refused.
    #[error("{0}")]
    Refused(String),
    /// What serves the API is not there, or failed (HTTP 5xx).
    #[error("{message}")]
    Unavailable {
        /// HTTP status.
        code: u16,
        /// In a sentence.
        message: String,
    },
    /// No answer.
    #[error("the API server did not answer: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the API server did not answer: no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// An answer that is not what it should be.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

impl Error {
    /// Whether asking again soon would only be one more burden.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unreachable(_) | Self::Timeout(_))
    }

    /// Whether it is the API that is out, and not what was asked of it: the API server answers so where it does not
    /// reach what serves the API.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Unavailable { code: 503, .. } | Self::Unreachable(_))
    }
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// Name of the pod.
    pub pod: String,
    /// When it was measured.
    pub at: Timestamp,
    /// The time that it covers.
    pub window: SignedDuration,
    /// Its containers, each with what it uses of each resource.
    pub containers: Vec<(String, BTreeMap<String, i64>)>,
}

/// A value of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectValue {
    /// Name of the object.
    pub name: String,
    /// The value.
    pub value: i64,
    /// When it was measured.
    pub at: Timestamp,
    /// The time that it covers: a minute where the API does not say.
    pub window: SignedDuration,
}

/// The metrics APIs of a cluster.
pub struct MetricsApis {
    client: Client,
    /// By group: since when it is known, and the version to use, where the group is there.
    known: Mutex<HashMap<&'static str, (Instant, Option<&'static str>)>>,
}

impl MetricsApis {
    /// Nothing is asked yet.
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// What the pods of a selector use.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`] where there is no metrics-server; see [`Error`].
    pub async fn usage(&self, namespace: &str, selector: &str) -> Result<Vec<PodUsage>, Error> {
        let version = self.version(RESOURCE, &["v1beta1"]).await?;
        let query = query(&[("labelSelector", Some(selector))]);
        let path = format!("/apis/{RESOURCE}/{version}/namespaces/{namespace}/pods{query}");
        let list: answer::List<answer::PodMetrics> = self.get(&path).await?;
        list.items.into_iter().map(answer::PodMetrics::usage).collect()
    }

    /// A metric of each pod of a selector.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn pods(
        &self,
        namespace: &str,
        selector: &str,
        metric: &str,
        metric_selector: Option<&str>,
    ) -> Result<Vec<ObjectValue>, Error> {
        let query = query(&[("labelSelector", Some(selector)), ("metricLabelSelector", metric_selector)]);
        self.custom(&format!("namespaces/{namespace}/pods/*/{metric}{query}")).await
    }

    /// A metric of one object: `resource` is its plural, with the group behind a dot where it has one. A metric of a
    /// Namespace is that of the namespace itself, whatever its name.
    ///
    /// # Errors
    ///
    /// See [`Error`]; also when the answer is not one value.
    pub async fn object(
        &self,
        namespace: &str,
        (resource, name): (&str, &str),
        metric: &str,
        metric_selector: Option<&str>,
    ) -> Result<i64, Error> {
        let query = query(&[("metricLabelSelector", metric_selector)]);
        let of = if resource == "namespaces" { "metrics".to_owned() } else { format!("{resource}/{name}") };
        let values = self.custom(&format!("namespaces/{namespace}/{of}/{metric}{query}")).await?;
        match &values[..] {
            [only] => Ok(only.value),
            others => Err(Error::Unreadable(format!("it holds {} values of one object", others.len()))),
        }
    }

    /// Every series of an external metric.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn external(&self, namespace: &str, metric: &str, selector: Option<&str>) -> Result<Vec<i64>, Error> {
        let version = self.version(EXTERNAL, &["v1beta1"]).await?;
        let query = query(&[("labelSelector", selector)]);
        let path = format!("/apis/{EXTERNAL}/{version}/namespaces/{namespace}/{metric}{query}");
        let list: answer::List<answer::ExternalValue> = self.get(&path).await?;
        list.items.iter().map(answer::ExternalValue::milli).collect()
    }

    async fn custom(&self, path: &str) -> Result<Vec<ObjectValue>, Error> {
        let version = self.version(CUSTOM, &["v1beta2", "v1beta1"]).await?;
        let list: answer::List<answer::CustomValue> = self.get(&format!("/apis/{CUSTOM}/{version}/{path}")).await?;
        list.items.into_iter().map(answer::CustomValue::value).collect()
    }

    /// The version of a group to use: the one that the cluster prefers, if we can read it.
    async fn version(&self, group: &'static str, readable: &[&'static str]) -> Result<&'static str, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(group).copied();
        let version = if let Some((_, version)) = known.filter(|(since, _)| since.elapsed() < REMEMBERED) {
            version
        } else {
            let found = match self.get::<answer::Group>(&format!("/apis/{group}")).await {
                Ok(found) => found.best(readable),
                Err(Error::Absent(_)) => None,
                Err(error) => return Err(error),
            };
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(group, (Instant::now(), found));
            found
        };
        version.ok_or(Error::Absent(group))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request =
            http::Request::get(path).body(Vec::new()).map_err(|error| Error::Unreadable(error.to_string()))?;
        match tokio::time::timeout(ANSWER, self.client.request_text(request)).await {
            Ok(Ok(text)) => serde_json::from_str(&text).map_err(|error| Error::Unreadable(error.to_string())),
            // A group that is not there is answered in plain text, a metric that is not there with a Status.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && path.matches('/').count() == 2 => {
                Err(Error::Absent(""))
            }
            Ok(Err(kube::Error::Api(status))) => {
                let (code, message) = (status.code, status.message);
                let told =
                    if message.is_empty() { format!("the API server answered with status {code}") } else { message };
                Err(if code >= 500 { Error::Unavailable { code, message: told } } else { Error::Refused(told) })
            }
            Ok(Err(error)) => Err(Error::Unreachable(error.to_string())),
            Err(_) => Err(Error::Timeout(ANSWER)),
        }
    }
}

/// A query string of what is there, with `?`.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let there = pairs.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let there: Vec<_> = there.filter(|(_, value)| !value.is_empty()).collect();
    let text = encode(&there);
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
mod tests;
