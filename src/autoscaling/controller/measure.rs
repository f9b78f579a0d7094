//! The metrics of `autoscaling/v2`: from the metrics APIs, as the HPA reads them, and resources from Prometheus where
//! the cluster has no metrics-server.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::OnceCell;

use super::{Key, kubelets, source::Question, tick::Context};
use crate::{
    autoscaling::{
        api::{MetricIdentifier, MetricSpec, ObjectMetric, ScaleTargetRef},
        decision::{
            Reading,
            observation::{Pod, Sample},
        },
    },
    metrics::{self, PodUsage},
    quantity::milli_from_f64,
};

/// What is measured about one target at one tick. What several metrics need is asked once.
pub struct Measurement<'a> {
    context: &'a Context,
    key: &'a Key,
    selector: &'a str,
    pods: &'a [Pod],
    interval: Duration,
    usage: OnceCell<Result<Vec<PodUsage>, metrics::Error>>,
}

impl<'a> Measurement<'a> {
    /// Nothing is asked yet.
    pub fn new(context: &'a Context, key: &'a Key, selector: &'a str, pods: &'a [Pod], interval: Duration) -> Self {
        Self { context, key, selector, pods, interval, usage: OnceCell::new() }
    }

    /// Reads a metric; `None` where it is none of these.
    pub async fn read(&self, metric: &MetricSpec) -> Option<Reading> {
        Some(if let Some(resource) = &metric.resource {
            self.resource(&resource.name, None).await
        } else if let Some(resource) = &metric.container_resource {
            self.resource(&resource.name, Some(&resource.container)).await
        } else if let Some(pods) = &metric.pods {
            self.per_pod(&pods.metric).await
        } else if let Some(object) = &metric.object {
            self.object(object).await
        } else {
            self.external(&metric.external.as_ref()?.metric).await
        })
    }

    async fn resource(&self, resource: &str, container: Option<&str>) -> Reading {
        let (namespace, selector) = (&*self.key.namespace, self.selector);
        let asked = || {
            let answer = self.context.metrics.usage(namespace, selector);
            self.unless_out(metrics::RESOURCE, format!("{namespace} {selector}"), answer, Vec::is_empty)
        };
        let usage = self.usage.get_or_init(asked).await;
        match usage {
            Ok(usage) => {
                let samples = usage.iter().filter_map(|pod| {
                    let value = used(pod, resource, container)?;
                    Some((pod.pod.clone(), Sample { value, at: pod.at, window: pod.window }))
                });
                self.own(samples.collect())
            }
            Err(metrics::Error::Absent(_)) => self.resource_from_prometheus(resource, container).await,
            Err(error) => Reading::Failed(format!("unable to get metrics for resource {resource}: {error}")),
        }
    }

    /// The same numbers from what the kubelets tell Prometheus about their containers.
    async fn resource_from_prometheus(&self, resource: &str, container: Option<&str>) -> Reading {
        let server = match self.context.credentials.default_server() {
            Ok(server) => server,
            Err(message) => {
                return Reading::Unusable {
                    reason: "CredentialsUnavailable",
                    message: format!("resource {resource}: {message}"),
                };
            }
        };
        let pods = self.pods.iter().map(|pod| &*pod.name);
        let Some(query) = kubelets::question(resource, &self.key.namespace, pods, container) else {
            return Reading::Failed(format!(
                "unable to get metrics for resource {resource}: the cluster has no API {}, and Prometheus is asked \
                 for cpu and memory only",
                metrics::RESOURCE
            ));
        };
        let question = Question { query, max_age: None };
        match self.context.servers.series(&server, &question, self.interval).await {
            Ok(series) => {
                let now = self.context.clock.wall();
                let samples = series.iter().filter_map(|series| {
                    let value = milli_from_f64(series.value)?;
                    Some((series.labels.get("pod")?.clone(), Sample { value, at: now, window: kubelets::RANGE }))
                });
                match self.own(samples.collect()) {
                    Reading::Absent => Reading::Failed(format!(
                        "unable to get metrics for resource {resource}: the cluster has no API {}, and {} has {}, or \
                         install metrics-server",
                        metrics::RESOURCE,
                        server.address,
                        kubelets::lacks(resource),
                    )),
                    reading => reading,
                }
            }
            Err(answer) => match answer.unusable() {
                Reading::Unusable { reason, message } => {
                    Reading::Unusable { reason, message: format!("resource {resource}: {message}") }
                }
                other => other,
            },
        }
    }

    async fn per_pod(&self, metric: &MetricIdentifier) -> Reading {
        let selector = selector(metric);
        let (namespace, pods, only) = (&*self.key.namespace, self.selector, selector.as_deref());
        let answer = self.context.metrics.pods(namespace, pods, &metric.name, only);
        let question = format!("{namespace} {pods} {} {only:?}", metric.name);
        match self.unless_out(metrics::CUSTOM, question, answer, Vec::is_empty).await {
            Ok(values) => {
                let of = |value: metrics::ObjectValue| {
                    (value.name, Sample { value: value.value, at: value.at, window: value.window })
                };
                self.own(values.into_iter().map(of).collect())
            }
            Err(error) => Reading::Failed(format!("unable to get metric {}: {error}", metric.name)),
        }
    }

    async fn object(&self, metric: &ObjectMetric) -> Reading {
        let of = &metric.described_object;
        let name = &metric.metric.name;
        let failed = |error: &dyn std::fmt::Display| {
            Reading::Failed(format!("unable to get metric {name}: {} on {}: {error}", of.kind, of.name))
        };
        let reference =
            ScaleTargetRef { api_version: of.api_version.clone(), kind: of.kind.clone(), name: of.name.clone() };
        let kind = match self.context.kinds.resolve(&self.context.client, &reference).await {
            Ok(kind) => kind,
            Err(error) => return failed(&error),
        };
        let resource =
            if kind.group.is_empty() { kind.plural.clone() } else { format!("{}.{}", kind.plural, kind.group) };
        let selector = selector(&metric.metric);
        let (namespace, object, only) = (&*self.key.namespace, (&*resource, &*of.name), selector.as_deref());
        let answer = self.context.metrics.object(namespace, object, name, only);
        let question = format!("{namespace} {object:?} {name} {only:?}");
        match self.unless_out(metrics::CUSTOM, question, answer, |_| false).await {
            Ok(value) => Reading::Series(vec![value]),
            Err(error) => failed(&error),
        }
    }

    async fn external(&self, metric: &MetricIdentifier) -> Reading {
        let selector = selector(metric);
        let (namespace, only) = (&*self.key.namespace, selector.as_deref());
        let answer = self.context.metrics.external(namespace, &metric.name, only);
        let question = format!("{namespace} {} {only:?}", metric.name);
        match self.unless_out(metrics::EXTERNAL, question, answer, Vec::is_empty).await {
            Ok(values) if values.is_empty() => Reading::Absent,
            Ok(values) => Reading::Series(values),
            Err(error) => Reading::Failed(format!("unable to get external metric {}: {error}", metric.name)),
        }
    }

    /// An answer, unless what was asked is left alone. It is measured if it was asked.
    async fn unless_out<T>(
        &self,
        api: &'static str,
        question: String,
        answer: impl Future<Output = Result<T, metrics::Error>>,
        is_empty: impl Fn(&T) -> bool,
    ) -> Result<T, metrics::Error> {
        let measured = async {
            let started = self.context.clock.now();
            let answer = answer.await;
            let took = self.context.clock.now().duration_since(started);
            self.context.telemetry.metrics_api_query(api, &answer, is_empty, took);
            answer
        };
        self.context.outages.ask(api, question, self.interval, measured).await
    }

    /// The samples of the target's own pods: a selector may match those of others.
    fn own(&self, mut samples: BTreeMap<String, Sample>) -> Reading {
        samples.retain(|name, _| self.pods.iter().any(|pod| pod.name == *name));
        if samples.is_empty() { Reading::Absent } else { Reading::PerPod(samples) }
    }
}

/// What a pod uses of a resource. A pod of which one container is silent counts as silent.
fn used(pod: &PodUsage, resource: &str, container: Option<&str>) -> Option<i64> {
    let mut all = pod.containers.iter().filter(|(name, _)| container.is_none_or(|wanted| wanted == name)).peekable();
    all.peek()?;
    all.try_fold(0_i64, |sum, (_, usage)| Some(sum.saturating_add(*usage.get(resource)?)))
}

fn selector(metric: &MetricIdentifier) -> Option<String> {
    metric.selector.as_ref().map(crate::autoscaling::api::MetricSelector::text)
}
