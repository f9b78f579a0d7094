//! A decision of a past time that nobody remembers, made again from what Prometheus kept.
//!
//! The same code decides, tick by tick over the longest window of the policy, with the counts that were ordered then, and for
//! what pods use with the pods of then. The Autoscaler is the one of today: what its spec was then, nobody knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{Api, api::ListParams};
use tokio::sync::Semaphore;

use super::{
    Key,
    observe::one,
    past::{self, PastPods, Span, seconds},
    source::Question,
    tick::Context,
    told,
    words::{ApiError, in_time},
};
use crate::{
    autoscaling::{
        api::{Autoscaler, AutoscalerSpec, MetricSpec, ScaleTargetRef},
        decision::{
            Observation, Path, Policy, Reading,
            observation::{Pod, Pods, ReadyCondition},
            policy::{Metric, Source, Target},
        },
        explain::{Explanation, Run},
        policy::{InvalidSpec, interval, longest_look_back, max_age},
        replay::replay,
    },
    prometheus::Track,
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
    #[error("no decision about Autoscaler {key} is remembered for {at}, and none can be made again: {metrics}")]
    NotReadable {
        /// The Autoscaler.
        key: Key,
        /// When.
        at: Timestamp,
        /// The metrics by name, each with why.
        metrics: String,
    },
}

/// What is known of a metric: its reading at each second, or why there is none.
type Known = Result<BTreeMap<i64, Reading>, String>;

/// Makes the decision of `at` again.
pub async fn recompute(context: &Context, key: &Key, at: Timestamp) -> Result<Explanation, NotRecomputed> {
    // It may take much memory for a moment, and of time that the looks want.
    static ONE: Semaphore = Semaphore::const_new(1);
    let _alone = ONE.acquire().await;
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
    let (metrics, mut pods) = known(context, key, (&object.spec, &policy), &spans).await;
    let around = [&counts.ordered, &counts.ready];
    let reading = |(of_metric, metric): (&Known, &Metric), second: i64| match of_metric {
        Ok(_) if told::alone_knows(metric) && !told::is_certain(metric, around, second) => {
            Reading::Failed("around that time the pods became more or fewer".to_owned())
        }
        Ok(readings) => readings.get(&second).cloned().unwrap_or_else(|| nothing(metric)),
        Err(why) => Reading::Failed(why.clone()),
    };
    let seen = counts.ordered.keys().map(|second| {
        let now = Timestamp::from_second(*second).unwrap_or(at);
        let readings = metrics.iter().zip(&policy.metrics).map(|metric| reading(metric, *second)).collect();
        let mut observation = counts.observation(*second, readings);
        if let Some(pods) = pods.remove(second) {
            observation.pods = Pods::Listed(pods);
        }
        (now, observation)
    });
    let decision = replay(&policy, seen).ok_or_else(|| NotRecomputed::Gone(key.clone()))?;
    if !matches!(decision.path, Path::Metrics | Path::NoData) {
        return Ok(Explanation { recomputed: true, ..Run::of(&decision, &policy, None).explain() });
    }
    // Made without a single metric it would be a hold, or a fallback, that nobody decided on.
    let unreadable = |metric: (&Known, &Metric)| match reading(metric, end) {
        Reading::Failed(why) if metric.1.source != Source::Prometheus => Some(format!("{}: {why}", metric.1.name)),
        _ => None,
    };
    let unreadable: Vec<String> = metrics.iter().zip(&policy.metrics).filter_map(unreadable).collect();
    if unreadable.len() == metrics.len() {
        return Err(NotRecomputed::NotReadable { key: key.clone(), at, metrics: unreadable.join("; ") });
    }
    // A window may hold what a metric called for that cannot be read now.
    let is_read = |reading: &Reading| !matches!(reading, Reading::Failed(_));
    let ever = |(known, _): &(&Known, &Metric)| known.as_ref().is_ok_and(|known| known.values().any(is_read));
    let read: Vec<&Metric> = metrics.iter().zip(&policy.metrics).filter(ever).map(|(_, metric)| metric).collect();
    Ok(Explanation { recomputed: true, assumed: assumed(&read), ..Run::of(&decision, &policy, None).explain() })
}

/// What is known of each metric, and of the pods where one is about them.
async fn known(
    context: &Context,
    key: &Key,
    (spec, policy): (&AutoscalerSpec, &Policy),
    spans: &[Span],
) -> (Vec<Known>, PastPods) {
    let namespace = &*key.namespace;
    let pods = if policy.metrics.iter().any(|metric| metric.source.is_per_pod()) {
        past::pods(context, namespace, &spec.scale_target_ref, &with_starts(policy, spans)).await
    } else {
        Ok(PastPods::new())
    };
    let (mut all, none) = (Vec::new(), PastPods::new());
    for (place, (of_spec, of_policy)) in spec.metrics.iter().zip(&policy.metrics).enumerate() {
        all.push(match &pods {
            Err(why) if of_policy.source.is_per_pod() => Err(why.clone()),
            Ok(pods) if past::resource(of_policy).is_some() => {
                past::readings(context, namespace, of_policy, pods, spans).await
            }
            _ if !told::alone_knows(of_policy) => readings((context, namespace), (place, of_spec), spans).await,
            pods => told::readings(context, key, of_policy, pods.as_ref().unwrap_or(&none), spans).await,
        });
    }
    (all, pods.unwrap_or_default())
}

/// What it means that nothing was kept of a metric at some second.
fn nothing(metric: &Metric) -> Reading {
    if told::alone_knows(metric) {
        return Reading::Failed(
            "at that time it was not read, or Prometheus was not told of it or of the pods".to_owned(),
        );
    }
    match past::resource(metric) {
        Some(_) => Reading::Failed("which pods there were at that time was not kept".to_owned()),
        None => Reading::Absent,
    }
}

/// What is taken for true of metrics, because no history has it.
fn assumed(metrics: &[&Metric]) -> Vec<String> {
    let names = |is: fn(&Metric) -> bool| {
        let names: Vec<&str> = metrics.iter().filter(|metric| is(metric)).map(|metric| &*metric.name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let any = |is: fn(&Metric) -> bool| metrics.iter().any(|metric| is(metric));
    let mut assumed = Vec::new();
    if let Some(names) = names(|metric| past::resource(metric).is_some()) {
        assumed.push(format!("{names}: read as without metrics.k8s.io, from what the kubelets told Prometheus"));
    }
    if let Some(names) = names(told::alone_knows) {
        assumed.push(format!(
            "{names}: what the scaler told Prometheus of it, which may be that of the look before or after"
        ));
    }
    if let Some(names) = names(|metric| metric.source == Source::Pods) {
        assumed.push(format!("{names}: each running pod had the mean, and none was silent"));
    }
    if any(|metric| metric.source.is_per_pod()) {
        assumed.push("pods: each started and became ready halfway between two looks, and none was ending".to_owned());
    }
    if any(|metric| matches!(metric.target, Some(Target::Utilization(_)))) {
        let requests =
            "requests: containers' alone, none of a pod as a whole or of an init container that keeps running";
        assumed.push(requests.to_owned());
    }
    assumed
}

/// The spans with what is before the last of them: a pod that started then is looked at with care.
fn with_starts(policy: &Policy, spans: &[Span]) -> Vec<Span> {
    let mut spans = spans.to_vec();
    if let Some(((begin, _), step)) = spans.last_mut() {
        *begin -= (policy.cpu_initialization_period.as_secs() / *step + 1) * *step;
    }
    spans
}

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
        let status_replicas = self.there.get(&second).copied().unwrap_or(spec_replicas);
        let pods = self.ready.get(&second).map_or_else(
            || Pods::Unknown("how many pods were ready then is not known".to_owned()),
            |ready| Pods::Listed((0..status_replicas.max(*ready)).map(|number| pod(number, number < *ready)).collect()),
        );
        Observation { spec_replicas, status_replicas, pods, readings, distrust: None }
    }
}

/// A pod of which no more is known than whether it was ready.
fn pod(number: i32, is_ready: bool) -> Pod {
    let ready = Some(ReadyCondition { status: Some(is_ready), since: Timestamp::MIN });
    Pod { ready, ..past::running(&number.to_string()) }
}

async fn numbers(
    context: &Context,
    query: &str,
    span: (i64, i64),
    step: i64,
) -> Result<BTreeMap<i64, i32>, NotRecomputed> {
    let question = Question { query: query.to_owned(), max_age: None };
    let server = context.credentials.default_server().map_err(NotRecomputed::Unanswered)?;
    let tracks = context.servers.range(&server, &question, span, seconds(step)).await;
    let by_second = by_second(tracks.map_err(NotRecomputed::Unanswered)?);
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; counts are small")]
    let number = |(second, values): (i64, Vec<f64>)| Some((second, *values.first()? as i32));
    Ok(by_second.into_iter().filter_map(number).collect())
}

/// The values of all series at each second that has any.
fn by_second(tracks: Vec<Track>) -> BTreeMap<i64, Vec<f64>> {
    let mut all: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (second, value) in tracks.into_iter().flat_map(|track| track.values) {
        all.entry(second).or_default().push(value);
    }
    all
}

/// What a metric was at each second, or why it cannot be known.
async fn readings(
    (context, namespace): (&Context, &str),
    (place, metric): (usize, &MetricSpec),
    spans: &[Span],
) -> Result<BTreeMap<i64, Reading>, String> {
    let Some(prometheus) = &metric.prometheus else {
        return Err("metrics of this type cannot be read for a past time".to_owned());
    };
    let server = context.credentials.server(namespace, prometheus).await?;
    // It was checked when the policy was made.
    let max_age = max_age(place, prometheus).unwrap_or_default();
    let question = Question { query: prometheus.query.clone(), max_age };
    let of = |(second, values): (i64, Vec<f64>)| {
        let milli: Option<Vec<i64>> = values.iter().map(|value| milli_from_f64(*value)).collect();
        let reading = milli.map_or_else(
            || Reading::Unusable { reason: "NotANumber", message: "the query gave what is no number".to_owned() },
            |milli| one(milli, prometheus.reduce),
        );
        (second, reading)
    };
    let mut readings = BTreeMap::new();
    for (span, step) in spans {
        let tracks = context.servers.range(&server, &question, *span, seconds(*step)).await?;
        readings.extend(by_second(tracks).into_iter().map(of));
    }
    Ok(readings)
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
