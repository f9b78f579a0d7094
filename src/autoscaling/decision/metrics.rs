//! Step three: every metric's proposal, and the one that wins.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    observation::{Observation, Pod, Pods, Reading},
    pods::{self, Startup},
    policy::{Metric, OnAbsent, Policy, Source, Target, Tolerances},
    replicas::{self, Basis, Proposal},
};

/// One metric in a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricResult {
    /// What the user calls it.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// What it should be.
    pub target: Option<Target>,
    /// Nothing was there to read, and it was taken as 0.
    pub absent_as_zero: bool,
    /// Why it could not be read, where the fallback stands in for it.
    pub stands_in_for: Option<Failure>,
    /// What it proposes, or why it proposes nothing.
    pub outcome: Result<Proposal, Failure>,
}

impl MetricResult {
    /// Why it has no value, whether or not something stands in for it.
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.as_ref().err().or(self.stands_in_for.as_ref())
    }

    /// Whether it was read, and is above 0.
    pub(super) fn is_positive(&self) -> bool {
        self.failure().is_none() && self.outcome.as_ref().is_ok_and(|proposal| proposal.total > 0)
    }
}

/// Why a metric proposes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// In one word, as the HPA spells it; `MetricAbsent` where the HPA has no word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
    /// The source answered and there is nothing, which the policy says to bear.
    pub expected: bool,
}

/// The result over all metrics.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Combined {
    /// A count, by the metric at this place; `failed` others proposed nothing.
    Proposed {
        /// The count, not below 0.
        replicas: i32,
        /// Which metric, by its place.
        by: usize,
        /// How many proposed nothing.
        failed: usize,
    },
    /// No metric proposed anything, or one did not and the others would scale down.
    Nothing(Failure),
}

/// Asks every metric.
pub fn evaluate(policy: &Policy, observation: &Observation, now: Timestamp) -> Vec<MetricResult> {
    let tolerances = policy.tolerances();
    let unread = Reading::Failed("it was not read".to_owned());
    policy
        .metrics
        .iter()
        .enumerate()
        .map(|(place, metric)| {
            let reading = observation.readings.get(place).unwrap_or(&unread);
            let absent = matches!(reading, Reading::Absent | Reading::Stale(_));
            let absent_as_zero = absent && metric.on_absent == OnAbsent::Zero;
            let zero = Reading::Series(vec![0]);
            let reading = if absent_as_zero { &zero } else { reading };
            MetricResult {
                name: metric.name.clone(),
                source: metric.source.clone(),
                target: metric.target,
                absent_as_zero,
                stands_in_for: None,
                outcome: propose(policy, metric, reading, observation, tolerances, now)
                    .map(|proposal| if observation.spec_replicas == 0 { asleep(metric, proposal) } else { proposal }),
            }
        })
        .collect()
}

/// At 0 replicas a value that is not above the activation calls for none. An activation of 0 is the formula.
fn asleep(metric: &Metric, proposal: Proposal) -> Proposal {
    if metric.activation > 0 && proposal.total <= metric.activation {
        Proposal { replicas: 0, basis: Basis::NotActivated, ..proposal }
    } else {
        proposal
    }
}

/// The largest proposal wins. A metric that proposes nothing stops a scale-down, not a scale-up.
pub fn combine(results: &[MetricResult], spec_replicas: i32) -> Combined {
    let mut best: Option<(i32, usize)> = None;
    let mut failures = results.iter().filter_map(|result| result.outcome.as_ref().err());
    for (place, result) in results.iter().enumerate() {
        if let Ok(proposal) = &result.outcome
            && best.is_none_or(|(replicas, _)| proposal.replicas > replicas)
        {
            best = Some((proposal.replicas, place));
        }
    }
    match (best, failures.next()) {
        (Some((replicas, by)), None) => Combined::Proposed { replicas: replicas.max(0), by, failed: 0 },
        (Some((replicas, by)), Some(_)) if replicas >= spec_replicas => {
            Combined::Proposed { replicas: replicas.max(0), by, failed: 1 + failures.count() }
        }
        (_, Some(first)) => Combined::Nothing(first.clone()),
        (None, None) => Combined::Nothing(Failure {
            reason: "InvalidMetricSourceType",
            message: "no metric is given".to_owned(),
            expected: false,
        }),
    }
}

fn propose(
    policy: &Policy,
    metric: &Metric,
    reading: &Reading,
    observation: &Observation,
    tolerances: Tolerances,
    now: Timestamp,
) -> Result<Proposal, Failure> {
    let reason = reason(&metric.source);
    let fail = |message: String| Failure { reason, message, expected: false };
    if let Source::Unknown(kind) = &metric.source {
        return Err(fail(format!("unknown metric source type `{kind}`")));
    }
    let target = metric.target.ok_or_else(|| fail("no target is set".to_owned()))?;
    if matches!(target, Target::Utilization(..=0) | Target::AverageValue(..=0) | Target::Value(..=0)) {
        return Err(fail("the target must be greater than 0".to_owned()));
    }
    match (reading, target) {
        (Reading::Failed(message), _) => Err(fail(message.clone())),
        (Reading::Unusable { reason, message }, _) => {
            Err(Failure { reason, message: message.clone(), expected: false })
        }
        (Reading::Partial { series, message }, _) => {
            // What is missing could only add to it. (A mean may be off either way; too many replicas are the lesser evil.)
            let whole = Reading::Series(series.clone());
            match propose(policy, metric, &whole, observation, tolerances, now) {
                Ok(proposal) if proposal.replicas > observation.spec_replicas => Ok(proposal),
                _ => Err(Failure { reason: "PartialAnswer", message: message.clone(), expected: false }),
            }
        }
        (Reading::Absent, _) => Err(absent(metric, reason)),
        (Reading::Stale(most), _) => Err(Failure {
            reason: "StaleSample",
            message: format!("the last sample of metric {} is older than its maxAge of {most:#}", metric.name),
            expected: metric.on_absent != OnAbsent::Error,
        }),
        (Reading::PerPod(samples), _) if samples.is_empty() => Err(absent(metric, reason)),
        (Reading::Series(series), _) if series.is_empty() => Err(absent(metric, reason)),
        (Reading::PerPod(samples), Target::Utilization(_) | Target::AverageValue(_)) => {
            let (resource, container) = match &metric.source {
                Source::Resource { resource } => (Some(resource.as_str()), None),
                Source::ContainerResource { resource, container } => {
                    (Some(resource.as_str()), Some(container.as_str()))
                }
                _ => (None, None),
            };
            let pods = pods_of(&observation.pods).map_err(|reason| fail(reason.to_owned()))?;
            if pods.is_empty() {
                return Err(fail("no pods returned by selector while calculating replica count".to_owned()));
            }
            let groups = pods::group(pods, samples, resource, Startup::from(policy), now);
            let (current, samples) = (observation.spec_replicas, samples.clone());
            match (target, resource) {
                (Target::Utilization(percent), Some(resource)) => {
                    pods::requests(pods, container, resource, policy.pod_level_resources).and_then(|requests| {
                        replicas::by_utilization(samples, &groups, &requests, percent, current, tolerances)
                    })
                }
                (Target::AverageValue(target), _) => {
                    replicas::by_average_per_pod(samples, &groups, target, current, tolerances)
                }
                _ => Err("a target of type Utilization needs a resource".to_owned()),
            }
            .map_err(fail)
        }
        (Reading::Series(series), Target::Value(target)) => {
            replicas::by_value(series, target, observation.spec_replicas, pods_of(&observation.pods), tolerances)
                .map_err(fail)
        }
        (Reading::Series(series), Target::AverageValue(target)) => {
            Ok(replicas::by_average(series, target, observation.status_replicas, tolerances))
        }
        (Reading::PerPod(_), Target::Value(_)) => {
            Err(fail("a target of type Value does not go with a metric per pod; use AverageValue".to_owned()))
        }
        (Reading::Series(_), Target::Utilization(_)) => {
            Err(fail("a target of type Utilization needs the pods' requests; use AverageValue or Value".to_owned()))
        }
    }
}

fn pods_of(pods: &Pods) -> Result<&[Pod], &str> {
    match pods {
        Pods::Listed(pods) => Ok(pods),
        Pods::Unknown(reason) => Err(reason),
    }
}

fn reason(source: &Source) -> &'static str {
    match source {
        Source::Resource { .. } => "FailedGetResourceMetric",
        Source::ContainerResource { .. } => "FailedGetContainerResourceMetric",
        Source::Pods => "FailedGetPodsMetric",
        Source::Object => "FailedGetObjectMetric",
        Source::External => "FailedGetExternalMetric",
        Source::Prometheus => "FailedGetPrometheusMetric",
        Source::Unknown(_) => "InvalidMetricSourceType",
    }
}

fn absent(metric: &Metric, reason: &'static str) -> Failure {
    let message = match &metric.source {
        Source::Resource { resource } | Source::ContainerResource { resource, .. } => {
            format!("unable to get metrics for resource {resource}: no metrics returned from resource metrics API")
        }
        Source::Pods | Source::Object => {
            format!("unable to get metric {}: no metrics returned from custom metrics API", metric.name)
        }
        Source::External => {
            format!("unable to get external metric {}: no metrics returned from external metrics API", metric.name)
        }
        Source::Prometheus | Source::Unknown(_) => format!("the query of metric {} gives no series", metric.name),
    };
    match metric.on_absent {
        OnAbsent::Error => Failure { reason, message, expected: false },
        OnAbsent::Hold | OnAbsent::Zero => Failure { reason: "MetricAbsent", message, expected: true },
    }
}
