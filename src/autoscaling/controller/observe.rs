//! Gather: what there is, and what the metrics say.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    line::decimal,
    servers::{Answer, Question, Servers},
    target::{ReadScale, Target},
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

/// What the metrics said.
pub struct Readings {
    /// One for each metric, in their order.
    pub readings: Vec<Reading>,
    /// When a server that was left alone is asked again.
    pub wake: Option<Timestamp>,
}

/// Asks for every metric at once.
pub async fn readings(spec: &AutoscalerSpec, servers: &Servers, default_server: &str, interval: Duration) -> Readings {
    let answers = spec.metrics.iter().enumerate().map(async |(place, metric)| {
        let Some(prometheus) = &metric.prometheus else {
            return Answer::Failed { reason: "InvalidSpec", message: "the field prometheus is not set".to_owned() };
        };
        let address = prometheus.server_address.as_deref().unwrap_or(default_server);
        // It was checked when the policy was made.
        let max_age = max_age(place, prometheus).unwrap_or_default();
        servers.ask(address, &Question { query: prometheus.query.clone(), max_age }, interval).await
    });
    let mut wake: Option<Timestamp> = None;
    let answers = join_all(answers).await;
    let of = |(answer, metric): (Answer, &MetricSpec)| match answer {
        Answer::Values(values) => one(values, metric.prometheus.as_ref().and_then(|metric| metric.reduce)),
        Answer::Failed { reason, message } => Reading::Unusable { reason, message },
        Answer::LeftAlone { reason, message, until } => {
            wake = Some(wake.map_or(until, |earlier| earlier.min(until)));
            Reading::Unusable { reason, message }
        }
    };
    let readings = answers.into_iter().zip(&spec.metrics).map(of).collect();
    Readings { readings, wake }
}

/// One number, nothing, or why there is none to scale on.
fn one(values: Vec<i64>, reduce: Option<ReduceSpec>) -> Reading {
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
            let message = format!(
                "the query gives {} series; aggregate them in the query, for example with sum(…), or set reduce",
                all.len()
            );
            return unusable("SeveralSeries", message);
        }
        (_, Some(ReduceSpec::Sum)) => sum(),
        (_, Some(ReduceSpec::Avg)) => sum() / count,
        (all, Some(ReduceSpec::Max)) => all.iter().copied().max().unwrap_or(0).into(),
        (all, Some(ReduceSpec::Min)) => all.iter().copied().min().unwrap_or(0).into(),
    };
    Reading::Series(vec![i64::try_from(value).unwrap_or(i64::MAX)])
}

/// Puts together what was seen. Pods are listed only for metrics that count them.
pub async fn observation(policy: &Policy, target: &Target, scale: &ReadScale, readings: &[Reading]) -> Observation {
    let counts_pods = policy.metrics.iter().any(|metric| matches!(metric.target, Some(policy::Target::Value(_))));
    let pods = if counts_pods && scale.spec_replicas() > 0 {
        target.pods(scale).await
    } else {
        Pods::Unknown("they were not listed".to_owned())
    };
    Observation {
        spec_replicas: scale.spec_replicas(),
        status_replicas: scale.status_replicas(),
        pods,
        readings: readings.to_vec(),
    }
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
        message: "the query gives 2 series; aggregate them in the query, for example with sum(…), or set reduce".to_owned(),
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
