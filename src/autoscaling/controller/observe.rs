//! Gather: what there is, and what the metrics say.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    Key,
    answer::{Answer, Cause},
    line::decimal,
    measure::Measurement,
    pods, remedy,
    source::Question,
    target::{ReadScale, Target},
    tick::Context,
};
use crate::autoscaling::{
    api::{AutoscalerSpec, MetricSpec, ReduceSpec},
    decision::{
        Observation, Policy, Reading,
        observation::Pods,
        policy::{self},
    },
    policy::max_age,
};

/// What Prometheus said.
pub struct Readings {
    /// One for each metric, in their order; `None` where it is not Prometheus that is asked.
    pub readings: Vec<Option<Reading>>,
    /// When a server that was left alone is asked again.
    pub wake: Option<Timestamp>,
}

/// Asks Prometheus for every metric of its at once.
pub async fn readings(context: &Context, key: &Key, spec: &AutoscalerSpec, interval: Duration) -> Readings {
    let answers = spec.metrics.iter().enumerate().map(async |(place, metric)| {
        let prometheus = metric.prometheus.as_ref()?;
        let server = match context.credentials.server(&key.namespace, prometheus).await {
            Ok(server) => server,
            Err(message) => {
                let message = remedy::of_credentials(place, prometheus, message);
                return Some(Answer::Failed(Cause::new("CredentialsUnavailable", message)));
            }
        };
        // It was checked when the policy was made.
        let max_age = max_age(place, prometheus).unwrap_or_default();
        Some(context.servers.ask(&server, &Question { query: prometheus.query.clone(), max_age }, interval).await)
    });
    let mut wake: Option<Timestamp> = None;
    let answers = join_all(answers).await;
    let of = |(place, (answer, metric)): (usize, (Option<Answer>, &MetricSpec))| {
        let (answer, metric) = (answer?, metric.prometheus.as_ref()?);
        let status = answer.status();
        let reading = match answer {
            Answer::Values(values) => one(values, metric.reduce),
            Answer::Partial { values, message } => match one(values, metric.reduce) {
                Reading::Series(series) => Reading::Partial { series, message },
                Reading::Absent => Reading::Unusable { reason: "PartialAnswer", message },
                other => other,
            },
            other => {
                if let Answer::LeftAlone { until, .. } = other {
                    wake = Some(wake.map_or(until, |earlier| earlier.min(until)));
                }
                other.unusable()
            }
        };
        Some(match reading {
            Reading::Unusable { reason, message } => {
                Reading::Unusable { reason, message: remedy::said(place, metric, (reason, status), &message) }
            }
            Reading::Partial { series, message } => {
                Reading::Partial { series, message: remedy::said(place, metric, ("PartialAnswer", None), &message) }
            }
            other => other,
        })
    };
    let readings = answers.into_iter().zip(&spec.metrics).enumerate().map(of).collect();
    Readings { readings, wake }
}

/// One number, nothing, or why there is none to scale on.
pub fn one(values: Vec<i64>, reduce: Option<ReduceSpec>) -> Reading {
    let unusable = |reason, message: String| Reading::Unusable { reason, message };
    if let Some(negative) = values.iter().find(|value| **value < 0) {
        let message = format!("the query gives {}; a load is not below 0", decimal(*negative));
        return unusable("NegativeValue", message);
    }
    let sum = || values.iter().map(|value| i128::from(*value)).sum::<i128>();
    let count = i128::try_from(values.len()).unwrap_or(i128::MAX);
    let value = match (&values[..], reduce) {
        ([], _) => return Reading::Absent,
        ([value], _) => i128::from(*value),
        (all, None) => {
            return unusable("SeveralSeries", format!("the query gives {} series", all.len()));
        }
        (_, Some(ReduceSpec::Sum)) => sum(),
        (_, Some(ReduceSpec::Avg)) => sum() / count,
        (all, Some(ReduceSpec::Max)) => all.iter().copied().max().unwrap_or(0).into(),
        (all, Some(ReduceSpec::Min)) => all.iter().copied().min().unwrap_or(0).into(),
    };
    Reading::Series(vec![i64::try_from(value).unwrap_or(i64::MAX)])
}

/// Puts together what was seen. Pods are listed only for what counts them, and the metrics APIs are asked last: they
/// need to know the pods.
pub async fn observation(
    context: &Context,
    key: &Key,
    (spec, policy): (&AutoscalerSpec, &Policy),
    (target, scale): (&Target, &ReadScale),
    readings: Vec<Option<Reading>>,
    interval: Duration,
) -> Observation {
    let per_pod = policy.metrics.iter().any(|metric| metric.source.is_per_pod());
    let counts_pods = per_pod
        || policy.pending_pods.is_some()
        || policy.metrics.iter().any(|metric| matches!(metric.target, Some(policy::Target::Value(_))));
    let pods = if counts_pods && scale.spec_replicas() > 0 {
        pods::of_target(&context.client, &context.owners, &key.namespace, &target.kind, scale).await
    } else {
        Pods::Unknown("they were not listed".to_owned())
    };
    let known: &[_] = if let Pods::Listed(pods) = &pods { pods } else { &[] };
    let selector = scale.selector().unwrap_or_default();
    let measurement = Measurement::new(context, key, selector, known, interval);
    let all = readings.into_iter().zip(&spec.metrics).map(async |(reading, metric)| match (reading, &pods) {
        (Some(reading), _) => reading,
        // Without a pod there is nothing to measure per pod; why there is none is said when it is decided.
        (None, Pods::Unknown(why)) if is_per_pod(metric) => Reading::Failed(why.clone()),
        (None, _) => {
            let unset = || Reading::Failed("the field that belongs to its type is not set".to_owned());
            measurement.read(metric).await.unwrap_or_else(unset)
        }
    });
    let readings = join_all(all).await;
    Observation {
        spec_replicas: scale.spec_replicas(),
        status_replicas: scale.status_replicas(),
        pods,
        readings,
        distrust: None,
    }
}

fn is_per_pod(metric: &MetricSpec) -> bool {
    metric.resource.is_some() || metric.container_resource.is_some() || metric.pods.is_some()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one(vec![25_000], None, Reading::Series(vec![25_000]))]
    #[case::none(vec![], Some(ReduceSpec::Sum), Reading::Absent)]
    #[case::sum(vec![1, 2, 6], Some(ReduceSpec::Sum), Reading::Series(vec![9]))]
    #[case::mean(vec![1, 2, 6], Some(ReduceSpec::Avg), Reading::Series(vec![3]))]
    #[case::least(vec![1, 2, 6], Some(ReduceSpec::Min), Reading::Series(vec![1]))]
    #[case::most(vec![1, 2, 6], Some(ReduceSpec::Max), Reading::Series(vec![6]))]
    #[case::more_than_fits(vec![i64::MAX, i64::MAX], Some(ReduceSpec::Sum), Reading::Series(vec![i64::MAX]))]
    #[case::two(vec![1, 2], None, Reading::Unusable {
        reason: "SeveralSeries",
        message: "the query gives 2 series".to_owned(),
    })]
    #[case::negative(vec![1, -500], Some(ReduceSpec::Sum), Reading::Unusable {
        reason: "NegativeValue",
        message: "the query gives -0.5; a load is not below 0".to_owned(),
    })]
    fn series_become_one_number_or_say_why_not(
        #[case] values: Vec<i64>,
        #[case] reduce: Option<ReduceSpec>,
        #[case] expected: Reading,
    ) {
        assert_eq!(one(values, reduce), expected);
    }
}
