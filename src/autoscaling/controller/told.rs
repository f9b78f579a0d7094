//! What a metric was at past times by what the scaler told Prometheus of it then: the custom and the external metrics API keep
//! nothing.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    Key,
    past::{PastPods, Span, instant, seconds},
    source::Question,
    tick::Context,
};
use crate::{
    autoscaling::decision::{
        Reading,
        observation::{Phase, Sample},
        policy::{Metric, Source},
    },
    quantity::milli_from_f64,
};

/// The scaler's own series of what it read.
const VALUE: &str = "scalekit_autoscaler_metric_value";

/// Whether what the scaler told is all that anybody has of this metric.
pub fn alone_knows(metric: &Metric) -> bool {
    matches!(metric.source, Source::Pods | Source::Object | Source::External)
}

/// What the metric was, at each second at which something was told of it. Of one per pod the sum was told: each pod that ran
/// then is given the mean.
///
/// # Errors
///
/// When Prometheus does not answer, or kept nothing of it: a clause that says so and what to do.
pub async fn readings(
    context: &Context,
    key: &Key,
    metric: &Metric,
    pods: &PastPods,
    spans: &[Span],
) -> Result<BTreeMap<i64, Reading>, String> {
    let Key { namespace, name } = key;
    let server = context.credentials.default_server()?;
    // Of two scalers the one that no longer leads tells nothing, but what it told counts for some minutes.
    let query = format!("max({VALUE}{{namespace={namespace:?},name={name:?},metric={:?}}})", metric.name);
    let question = Question { query, max_age: None };
    let mut readings = BTreeMap::new();
    for (span, step) in spans {
        for track in context.servers.range(&server, &question, *span, seconds(*step)).await? {
            let of = |(second, value): (i64, f64)| Some((second, reading(metric, second, value, pods)?));
            readings.extend(track.values.into_iter().filter_map(of));
        }
    }
    if readings.is_empty() {
        return Err(format!("{} kept no {VALUE} of that time; let it scrape the scaler", server.address));
    }
    Ok(readings)
}

fn reading(metric: &Metric, second: i64, value: f64, pods: &PastPods) -> Option<Reading> {
    let value = milli_from_f64(value)?;
    if metric.source != Source::Pods {
        return Some(Reading::Series(vec![value]));
    }
    let running: Vec<_> = pods.get(&second)?.iter().filter(|pod| pod.phase == Phase::Running).collect();
    let mean = value.checked_div(i64::try_from(running.len()).ok()?)?;
    let sample = Sample { value: mean, at: instant(second), window: SignedDuration::ZERO };
    Some(Reading::PerPod(running.into_iter().map(|pod| (pod.name.clone(), sample)).collect()))
}
