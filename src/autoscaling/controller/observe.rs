//! Gather: what there is, and what the metrics say.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    servers::{Answer, Servers},
    target::{ReadScale, Target},
};
use crate::autoscaling::{
    api::AutoscalerSpec,
    decision::{
        Observation, Policy, Reading,
        observation::Pods,
        policy::{self},
    },
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
    let answers = spec.metrics.iter().map(async |metric| match &metric.prometheus {
        Some(prometheus) => {
            let address = prometheus.server_address.as_deref().unwrap_or(default_server);
            servers.ask(address, &prometheus.query, interval).await
        }
        None => Answer::Failed("the field prometheus is not set".to_owned()),
    });
    let mut wake: Option<Timestamp> = None;
    let of = |answer: Answer| match answer {
        Answer::Values(values) if values.is_empty() => Reading::Absent,
        Answer::Values(values) => Reading::Series(values),
        Answer::Failed(reason) => Reading::Failed(reason),
        Answer::LeftAlone { reason, until } => {
            wake = Some(wake.map_or(until, |earlier| earlier.min(until)));
            Reading::Failed(reason)
        }
    };
    let readings = join_all(answers).await.into_iter().map(of).collect();
    Readings { readings, wake }
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
