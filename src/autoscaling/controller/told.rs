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
        policy::{Metric, Source, Target},
    },
    quantity::milli_from_f64,
};

/// The scaler's own series of what it read.
const VALUE: &str = "scalekit_autoscaler_metric_value";

/// What a look read is told at the scrape after it: with the scrape interval of the stack, so many seconds later at most. By what
/// was told before, no change of the count could be made again, since it goes with the value that called for it.
const TOLD_WITHIN: &str = "15s";

/// For how many seconds around a change of the count or of the ready pods a value of all pods together is not known: it is
/// theirs of before or of after, and Prometheus was told of each at a scrape of its own.
const UNCERTAIN_S: i64 = 30;

/// Whether what the scaler told is all that anybody has of this metric.
pub fn alone_knows(metric: &Metric) -> bool {
    matches!(metric.source, Source::Pods | Source::Object | Source::External)
}

/// Whether a metric can be read for this second by what was told, going by counts of the time around it.
pub fn is_certain(metric: &Metric, counts: [&BTreeMap<i64, i32>; 2], second: i64) -> bool {
    let stays = |counts: &BTreeMap<i64, i32>| {
        let mut around = counts.range(second - UNCERTAIN_S..=second + UNCERTAIN_S).map(|(_, count)| count);
        let first = around.next();
        around.all(|count| Some(count) == first)
    };
    !matches!(metric.target, Some(Target::Value(_))) || counts.into_iter().all(stays)
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
    let series = format!("{VALUE}{{namespace={namespace:?},name={name:?},metric={:?}}}", metric.name);
    let question = Question { query: format!("max({series} offset -{TOLD_WITHIN})"), max_age: None };
    let mut told = BTreeMap::new();
    for (span, step) in spans {
        for track in context.servers.range(&server, &question, *span, seconds(*step)).await? {
            told.extend(track.values);
        }
    }
    if told.is_empty() {
        return Err(format!(
            "it was not read around that time, or {} does not scrape the scaler with `honor_labels`: it kept no {VALUE}",
            server.address
        ));
    }
    let of = |(second, value)| Some((second, reading(metric, second, value, pods)?));
    Ok(told.into_iter().filter_map(of).collect())
}

fn reading(metric: &Metric, second: i64, value: f64, pods: &PastPods) -> Option<Reading> {
    let value = milli_from_f64(value)?;
    if metric.source != Source::Pods {
        return Some(Reading::Series(vec![value]));
    }
    let running: Vec<_> = pods.get(&second)?.iter().filter(|pod| pod.phase == Phase::Running).collect();
    let Some(mean) = value.checked_div(i64::try_from(running.len()).ok()?) else {
        return Some(Reading::Failed("as far as is kept, no pod ran at that time".to_owned()));
    };
    let sample = Sample { value: mean, at: instant(second), window: SignedDuration::ZERO };
    Some(Reading::PerPod(running.into_iter().map(|pod| (pod.name.clone(), sample)).collect()))
}
