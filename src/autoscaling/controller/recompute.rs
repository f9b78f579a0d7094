//! A decision of a past time that nobody remembers, made again from what Prometheus kept.
//!
//! The same code decides, tick by tick over the longest window of the policy, with the counts that were ordered then.
//! The Autoscaler is the one of today: what its spec was then, nobody knows.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kube::{Api, api::ListParams};

use super::{
    Key,
    observe::one,
    source::Question,
    tick::Context,
    words::{ApiError, in_time},
};
use crate::{
    autoscaling::{
        api::{Autoscaler, MetricSpec, ScaleTargetRef},
        decision::{
            Observation, Path, Policy, Reading,
            observation::{Phase, Pod, Pods, ReadyCondition},
        },
        explain::{Explanation, Run},
        policy::{InvalidSpec, interval, longest_look_back, max_age},
        replay::replay,
    },
    prometheus::Instant,
    quantity::milli_from_f64,
};

/// The most ticks that are made again.
const MOST_TICKS: i64 = 700;

/// Why a decision cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum NotRecomputed {
    /// There is no such Autoscaler now.
    #[error("there is no Autoscaler {0}")]
    Gone(Key),
    /// It was not looked at yet.
    #[error("no decision about Autoscaler {0} has been made yet")]
    NotYet(Key),
    /// Its spec cannot be decided on.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// It could not be read.
    #[error("the Autoscaler cannot be read: {0}")]
    Api(#[from] ApiError),
    /// Prometheus did not answer.
    #[error("{0}")]
    Unanswered(String),
    /// Prometheus has no count for that time.
    #[error(
        "no decision about Autoscaler {key} is remembered for {at}, and {server} kept no replica count of that time"
    )]
    NotKept {
        /// The Autoscaler.
        key: Key,
        /// When.
        at: Timestamp,
        /// Which server.
        server: String,
    },
    /// It rests on metrics of which no server keeps what a decision needs.
    #[error(
        "no decision about Autoscaler {key} is remembered for {at}, and none can be made again: of {metrics} nothing is known for \
         a past time (only metrics of type Prometheus can be read for one)"
    )]
    NotReadable {
        /// The Autoscaler.
        key: Key,
        /// When.
        at: Timestamp,
        /// The metrics, by name.
        metrics: String,
    },
}

/// Makes the decision of `at` again.
pub async fn recompute(context: &Context, key: &Key, at: Timestamp) -> Result<Explanation, NotRecomputed> {
    let object = find(context, key).await?;
    let policy = Policy { largest_step: context.largest_step, ..Policy::try_from(&object.spec)? };
    let every = i64::try_from(interval(&object.spec)?.as_millis().div_ceil(1000)).unwrap_or(15);
    let end = at.as_second();
    let spans = spans(&policy, every, end);
    let mut counts = Counts::default();
    for (span, step) in &spans {
        counts.extend(Counts::ask(context, key, &object.spec.scale_target_ref, *span, *step).await?);
    }
    if !counts.ordered.contains_key(&end) {
        let server = context.default_server.clone();
        return Err(NotRecomputed::NotKept { key: key.clone(), at, server });
    }
    let mut metrics = Vec::new();
    for (place, metric) in object.spec.metrics.iter().enumerate() {
        let mut of_metric: Result<BTreeMap<i64, Reading>, String> = Ok(BTreeMap::new());
        for (span, step) in &spans {
            let found = readings((context, &key.namespace), (place, metric), *span, *step).await;
            of_metric = of_metric.and_then(|mut all| {
                all.extend(found?);
                Ok(all)
            });
        }
        metrics.push(of_metric);
    }
    let seen = counts.ordered.keys().map(|second| {
        let now = Timestamp::from_second(*second).unwrap_or(at);
        let readings = metrics.iter().map(|of_metric| match of_metric {
            Ok(readings) => readings.get(second).cloned().unwrap_or(Reading::Absent),
            Err(why) => Reading::Failed(why.clone()),
        });
        (now, counts.observation(*second, readings.collect()))
    });
    let decision = replay(&policy, seen).ok_or_else(|| NotRecomputed::Gone(key.clone()))?;
    // Made without a single metric it would be a hold, or a fallback, that nobody decided on.
    let rests_on_metrics = matches!(decision.path, Path::Metrics | Path::NoData);
    if rests_on_metrics && object.spec.metrics.iter().all(|metric| metric.prometheus.is_none()) {
        let names: Vec<&str> = policy.metrics.iter().map(|metric| metric.name.as_str()).collect();
        return Err(NotRecomputed::NotReadable { key: key.clone(), at, metrics: names.join(", ") });
    }
    Ok(Explanation { recomputed: true, ..Run::of(&decision, &policy, None).explain() })
}

/// A time from its start to its end, in seconds since the epoch, and how far apart the ticks in it are.
type Span = ((i64, i64), i64);

/// What is decided again, the earlier first. Windows and rates are seen tick by tick. A cooldown and the wait of a fallback
/// may be days: what is before the windows is looked at more coarsely.
fn spans(policy: &Policy, every: i64, end: i64) -> Vec<Span> {
    let look_back = longest_look_back(policy).as_secs();
    let step = every.max(look_back.div_euclid(MOST_TICKS) + 1);
    let begin = end - look_back / step * step - step;
    let waits = policy.cooldown.into_iter().chain(policy.fallback.map(|fallback| fallback.after));
    let before = waits.map(|wait| wait.as_secs()).max().unwrap_or(0) - (end - begin);
    let mut spans = vec![((begin, end), step)];
    if before >= 0 {
        let coarse = step.max(before.div_euclid(MOST_TICKS) + 1);
        spans.insert(0, ((begin - (before / coarse + 1) * coarse, begin - coarse), coarse));
    }
    spans
}

/// By a LIST: the scaler may list and watch Autoscalers, and needs no right more.
async fn find(context: &Context, key: &Key) -> Result<Autoscaler, NotRecomputed> {
    let api: Api<Autoscaler> = Api::namespaced(context.client.clone(), &key.namespace);
    let params = ListParams::default().fields(&format!("metadata.name={}", key.name));
    let found = in_time(api.list(&params)).await?.items;
    found.into_iter().next().ok_or_else(|| NotRecomputed::Gone(key.clone()))
}

/// Counts of the target over time, by second.
#[derive(Default)]
struct Counts {
    ordered: BTreeMap<i64, i32>,
    there: BTreeMap<i64, i32>,
    ready: BTreeMap<i64, i32>,
}

impl Counts {
    async fn ask(
        context: &Context,
        key: &Key,
        target: &ScaleTargetRef,
        span: (i64, i64),
        step: i64,
    ) -> Result<Self, NotRecomputed> {
        let own =
            format!("max(scalekit_autoscaler_current_replicas{{namespace={:?},name={:?}}})", key.namespace, key.name);
        // What kube-state-metrics says of the two kinds that it tells counts of.
        let of = |metric: &str| {
            let kind = match target.kind.as_str() {
                "Deployment" if target.api_version.starts_with("apps/") => "deployment",
                "StatefulSet" if target.api_version.starts_with("apps/") => "statefulset",
                _ => return None,
            };
            let metric = if (kind, metric) == ("deployment", "replicas") { "spec_replicas" } else { metric };
            Some(format!("max(kube_{kind}_{metric}{{namespace={:?},{kind}={:?}}})", key.namespace, target.name))
        };
        let or = |first: String, second: Option<String>| match second {
            Some(second) => format!("{first} or {second}"),
            None => first,
        };
        let ordered = numbers(context, &or(own.clone(), of("replicas")), span, step).await?;
        let there = match of("status_replicas") {
            Some(query) => numbers(context, &query, span, step).await?,
            None => BTreeMap::new(),
        };
        let ready = match of("status_replicas_ready") {
            Some(query) => numbers(context, &query, span, step).await?,
            None => BTreeMap::new(),
        };
        Ok(Self { ordered, there, ready })
    }

    fn extend(&mut self, other: Self) {
        self.ordered.extend(other.ordered);
        self.there.extend(other.there);
        self.ready.extend(other.ready);
    }

    fn observation(&self, second: i64, readings: Vec<Reading>) -> Observation {
        let spec_replicas = self.ordered.get(&second).copied().unwrap_or(0);
        let pods = self.ready.get(&second).map_or_else(
            || Pods::Unknown("how many pods were ready then is not known".to_owned()),
            |ready| Pods::Listed((0..*ready).map(ready_pod).collect()),
        );
        let status_replicas = self.there.get(&second).copied().unwrap_or(spec_replicas);
        Observation { spec_replicas, status_replicas, pods, readings, distrust: None }
    }
}

/// A pod of which no more is known than that it was ready.
fn ready_pod(number: i32) -> Pod {
    Pod {
        name: number.to_string(),
        phase: Phase::Running,
        ready: Some(ReadyCondition { status: Some(true), since: Timestamp::MIN }),
        started: None,
        created: None,
        deleting: false,
        requests: BTreeMap::new(),
        containers: Vec::new(),
    }
}

async fn numbers(
    context: &Context,
    query: &str,
    span: (i64, i64),
    step: i64,
) -> Result<BTreeMap<i64, i32>, NotRecomputed> {
    let question = Question { query: query.to_owned(), max_age: None };
    let server = context.credentials.default_server().map_err(NotRecomputed::Unanswered)?;
    let instants = context.servers.range(&server, &question, span, seconds(step)).await;
    let instants = instants.map_err(NotRecomputed::Unanswered)?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; counts are small")]
    let number = |(at, values): (f64, Vec<f64>)| Some((at.round() as i64, *values.first()? as i32));
    Ok(instants.into_iter().filter_map(number).collect())
}

/// What a metric was at each second, or why it cannot be known.
async fn readings(
    (context, namespace): (&Context, &str),
    (place, metric): (usize, &MetricSpec),
    span: (i64, i64),
    step: i64,
) -> Result<BTreeMap<i64, Reading>, String> {
    let Some(prometheus) = &metric.prometheus else {
        return Err("only metrics of type Prometheus can be read for a past time".to_owned());
    };
    let server = context.credentials.server(namespace, prometheus).await?;
    // It was checked when the policy was made.
    let max_age = max_age(place, prometheus).unwrap_or_default();
    let question = Question { query: prometheus.query.clone(), max_age };
    let instants = context.servers.range(&server, &question, span, seconds(step)).await?;
    let of = |(at, values): Instant| {
        let milli: Option<Vec<i64>> = values.iter().map(|value| milli_from_f64(*value)).collect();
        let reading = milli.map_or_else(
            || Reading::Unusable { reason: "NotANumber", message: "the query gave what is no number".to_owned() },
            |milli| one(milli, prometheus.reduce),
        );
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and seconds of this age fit")]
        let second = at.round() as i64;
        (second, reading)
    };
    Ok(instants.into_iter().map(of).collect())
}

fn seconds(step: i64) -> Duration {
    Duration::from_secs(step.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::autoscaling::decision::{Bounds, policy::Fallback};

    #[test]
    fn what_is_waited_for_is_seen_too_and_no_more_ticks_than_bearable_are_made() {
        let policy = Policy::new(Bounds::new(0, 5), Vec::new());
        assert_eq!(spans(&policy, 15, 9000), [((8685, 9000), 15)]);
        let fallback = Fallback { after: SignedDuration::from_mins(10), replicas: 2, below_current: false };
        let waits = Policy { fallback: Some(fallback), ..policy.clone() };
        assert_eq!(spans(&waits, 15, 9000), [((8385, 8670), 15), ((8685, 9000), 15)]);
        let week = Policy { cooldown: Some(SignedDuration::from_hours(168)), ..policy };
        let [((begin, end), step), near] = spans(&week, 1, 1_000_000)[..] else { panic!("two") };
        assert!(begin <= 1_000_000 - 168 * 3600 && end + step == near.0.0, "{begin} {end} {step}");
        assert!((end - begin) / step <= MOST_TICKS && (near.0.1 - near.0.0) / near.1 <= MOST_TICKS);
    }
}
