//! The scaler's own metrics.

mod labels;
mod page;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use axum::body::Bytes;
use jiff::SignedDuration;
use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use labels::{
    DecisionLabels, MetricsApi, MetricsApiOutcome, Object, ObjectCondition, ObjectMetric, ObjectTarget, ObjectWorkload,
    Outcome, Rescale, Write,
};
use page::Page;

use super::{Key, process::Own};
use crate::{
    autoscaling::{
        api::ScaleTargetRef,
        decision::{Action, Decision, Memory, metrics::MetricResult, policy::Target},
    },
    metrics,
    prometheus::{Error, Sample},
};

type FloatGauge = Gauge<f64, AtomicU64>;

/// Types of targets, as they are written in a spec.
const AVERAGE_VALUE: &str = "AverageValue";
const VALUE: &str = "Value";
const UTILIZATION: &str = "Utilization";

/// The series of one object whose labels change.
#[derive(Default)]
struct Known {
    workload: Option<ObjectWorkload>,
    metrics: Vec<String>,
    conditions: Vec<ObjectCondition>,
    last_rescale: Option<Rescale>,
}

/// All metrics, and how they are written down.
pub struct Telemetry {
    registry: Registry,
    desired: Family<Object, Gauge>,
    current: Family<Object, Gauge>,
    min: Family<Object, Gauge>,
    max: Family<Object, Gauge>,
    workload: Family<ObjectWorkload, Gauge>,
    value: Family<ObjectMetric, FloatGauge>,
    target: Family<ObjectTarget, FloatGauge>,
    conditions: Family<ObjectCondition, Gauge>,
    last_rescale: Family<Rescale, FloatGauge>,
    decisions: Family<DecisionLabels, Counter>,
    queries: Family<Outcome, Counter>,
    query_duration: Histogram,
    metrics_api_queries: Family<MetricsApiOutcome, Counter>,
    metrics_api_duration: Family<MetricsApi, Histogram, fn() -> Histogram>,
    lateness: Histogram,
    until_told: Histogram,
    leader: Gauge,
    writes: Family<Write, Counter>,
    /// What an object has, so that what it no longer has is forgotten.
    known: Mutex<HashMap<Key, Known>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (desired, current, min, max) =
            <(Family<Object, Gauge>, Family<_, _>, Family<_, _>, Family<_, _>)>::default();
        let workload = Family::<ObjectWorkload, Gauge>::default();
        let (value, target) = <(Family<ObjectMetric, FloatGauge>, Family<ObjectTarget, FloatGauge>)>::default();
        let (conditions, last_rescale) = <(Family<ObjectCondition, Gauge>, Family<Rescale, FloatGauge>)>::default();
        let (decisions, queries, writes) = <(Family<_, _>, Family<_, _>, Family<_, _>)>::default();
        let metrics_api_queries = Family::<MetricsApiOutcome, Counter>::default();
        let (query_duration, lateness, until_told) = (durations(), durations(), durations());
        let metrics_api_duration = Family::<MetricsApi, Histogram, fn() -> Histogram>::new_with_constructor(durations);

        let scaler = registry.sub_registry_with_prefix("scalekit_autoscaler");
        scaler.register("desired_replicas", "Replicas that the autoscaler decided on", desired.clone());
        scaler.register("current_replicas", "Replicas that are ordered", current.clone());
        scaler.register("min_replicas", "Fewest replicas", min.clone());
        scaler.register("max_replicas", "Most replicas", max.clone());
        scaler.register("target_info", "Which workload it scales", workload.clone());
        scaler.register("metric_value", "Value of a metric in all, in per cent for a utilization", value.clone());
        scaler.register("metric_target", "Target of a metric, for each replica where it is an average", target.clone());
        scaler.register("condition", "Whether a condition of the status holds, and why", conditions.clone());
        let help = "When the count was last changed, and why";
        scaler.register_with_unit("last_rescale_timestamp", help, Unit::Seconds, last_rescale.clone());
        scaler.register("decisions", "Decisions by reason and action", decisions.clone());
        scaler.register("queries", "Queries to Prometheus by outcome", queries.clone());
        scaler.register_with_unit("query_duration", "Time of a query", Unit::Seconds, query_duration.clone());
        let help = "Queries to the metrics APIs by API and outcome";
        scaler.register("metrics_api_queries", help, metrics_api_queries.clone());
        let help = "Time of a query to a metrics API";
        scaler.register_with_unit("metrics_api_query_duration", help, Unit::Seconds, metrics_api_duration.clone());
        scaler.register_with_unit("tick_lateness", "Delay of a look at an object", Unit::Seconds, lateness.clone());
        let help = "From when an object was due until it was decided on, scaled and told of";
        scaler.register_with_unit("decision_delay", help, Unit::Seconds, until_told.clone());
        scaler.register("api_writes", "Writes to the API server by resource and outcome", writes.clone());
        let leader = Gauge::default();
        scaler.register("leader", "Whether this controller leads", leader.clone());
        registry.register_collector(Box::new(Own));
        Self {
            registry,
            desired,
            current,
            min,
            max,
            workload,
            value,
            target,
            conditions,
            last_rescale,
            decisions,
            queries,
            query_duration,
            metrics_api_queries,
            metrics_api_duration,
            lateness,
            until_told,
            leader,
            writes,
            known: Mutex::default(),
        }
    }
}

impl Telemetry {
    /// All metrics as text, in pieces.
    pub fn page(&self) -> Vec<Bytes> {
        let mut page = Page::default();
        // Writing to memory does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page.pieces()
    }

    /// All metrics as text.
    #[cfg(test)]
    pub fn text(&self) -> String {
        String::from_utf8(self.page().concat()).expect("text")
    }

    /// An object scales this workload, which need not have its name.
    pub fn scales(&self, key: &Key, target: &ScaleTargetRef) {
        let now = ObjectWorkload {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            workload: target.name.clone(),
            workload_type: target.kind.to_lowercase(),
        };
        let before = self.known().entry(key.clone()).or_default().workload.replace(now.clone());
        if let Some(before) = before.filter(|before| *before != now) {
            self.workload.remove(&before);
        }
        self.workload.get_or_create(&now).set(1);
    }

    /// A decision was made.
    pub fn decision(&self, key: &Key, decision: &Decision, reason: &str) {
        let object = Object::of(key);
        self.desired.get_or_create(&object).set(decision.desired_replicas.into());
        self.current.get_or_create(&object).set(decision.current_replicas.into());
        self.min.get_or_create(&object).set(decision.bounds.min().into());
        self.max.get_or_create(&object).set(decision.bounds.max().into());
        let action = action(decision);
        self.decisions.get_or_create(&DecisionLabels { reason: reason.to_owned(), action }).inc();
        decision.metrics.iter().for_each(|metric| self.metric(key, metric));
        let now: Vec<String> = decision.metrics.iter().map(|metric| metric.name.clone()).collect();
        self.keep_metrics(key, now);
    }

    /// The count was changed as was decided.
    pub fn rescaled(&self, key: &Key, decision: &Decision, reason: &str) {
        // Not only when it is looked at again: a scrape in between would tell of the old count at a time of the new one.
        self.current.get_or_create(&Object::of(key)).set(decision.desired_replicas.into());
        let now = Rescale {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            action: action(decision),
            reason: reason.to_owned(),
            cause: decision.reason.clone(),
            from: decision.current_replicas,
            to: decision.desired_replicas,
        };
        let before = self.known().entry(key.clone()).or_default().last_rescale.replace(now.clone());
        if let Some(before) = before.filter(|before| *before != now) {
            self.last_rescale.remove(&before);
        }
        self.last_rescale.get_or_create(&now).set(units(decision.at.as_millisecond()));
    }

    /// What the status says. Without a decision nothing was read: what was read before would look like it.
    pub fn conditions(&self, key: &Key, memory: &Memory, decided: bool) {
        let now: Vec<_> =
            memory.conditions.iter().map(|condition| (ObjectCondition::of(key, condition), condition.status)).collect();
        for (condition, status) in &now {
            self.conditions.get_or_create(condition).set((*status).into());
        }
        let now: Vec<ObjectCondition> = now.into_iter().map(|(condition, _)| condition).collect();
        let before = std::mem::replace(&mut self.known().entry(key.clone()).or_default().conditions, now.clone());
        before.iter().filter(|old| !now.contains(old)).for_each(|old| _ = self.conditions.remove(old));
        if !decided {
            self.keep_metrics(key, Vec::new());
        }
    }

    fn keep_metrics(&self, key: &Key, now: Vec<String>) {
        let before = std::mem::replace(&mut self.known().entry(key.clone()).or_default().metrics, now.clone());
        before.iter().filter(|name| !now.contains(name)).for_each(|name| self.forget_metric(key, name));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self, key: &Key, metric: &MetricResult) {
        let labels = ObjectMetric::of(key, &metric.name);
        let read = metric.outcome.as_ref().ok().filter(|_| metric.failure().is_none());
        let value = read.map(|proposal| match metric.target {
            Some(Target::Utilization(_)) => proposal.utilization.map_or(f64::NAN, f64::from),
            _ => units(proposal.total),
        });
        match value {
            Some(value) => _ = self.value.get_or_create(&labels).set(value),
            // An old value would look like a new one.
            None => _ = self.value.remove(&labels),
        }
        let (r#type, target) = match metric.target {
            Some(Target::Utilization(percent)) => (UTILIZATION, percent.into()),
            Some(Target::AverageValue(milli)) => (AVERAGE_VALUE, units(milli)),
            Some(Target::Value(milli)) => (VALUE, units(milli)),
            None => return,
        };
        // Of another type before, perhaps.
        self.forget_target(key, &metric.name, Some(r#type));
        self.target.get_or_create(&ObjectTarget::of(key, &metric.name, r#type)).set(target);
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        let object = Object::of(key);
        for family in [&self.desired, &self.current, &self.min, &self.max] {
            family.remove(&object);
        }
        let Known { workload, metrics, conditions, last_rescale } = self.known().remove(key).unwrap_or_default();
        if let Some(workload) = workload {
            self.workload.remove(&workload);
        }
        for name in &metrics {
            self.forget_metric(key, name);
        }
        for condition in &conditions {
            self.conditions.remove(condition);
        }
        if let Some(rescale) = last_rescale {
            self.last_rescale.remove(&rescale);
        }
    }

    fn forget_metric(&self, key: &Key, name: &str) {
        self.value.remove(&ObjectMetric::of(key, name));
        self.forget_target(key, name, None);
    }

    fn forget_target(&self, key: &Key, name: &str, except: Option<&'static str>) {
        for r#type in [AVERAGE_VALUE, VALUE, UTILIZATION].into_iter().filter(|r#type| Some(*r#type) != except) {
            self.target.remove(&ObjectTarget::of(key, name, r#type));
        }
    }

    /// A query was answered, or not.
    pub fn query(&self, answer: &Result<Arc<[Sample]>, Error>, took: SignedDuration) {
        self.queries.get_or_create(&Outcome::of(answer)).inc();
        self.query_duration.observe(took.as_secs_f64());
    }

    /// A metrics API answered, or did not. One that the cluster does not have took no time: that is known beforehand.
    pub fn metrics_api_query<T>(
        &self,
        api: &'static str,
        answer: &Result<T, metrics::Error>,
        is_empty: impl Fn(&T) -> bool,
        took: SignedDuration,
    ) {
        self.metrics_api_queries.get_or_create(&MetricsApiOutcome::of(api, answer, is_empty)).inc();
        if !matches!(answer, Err(metrics::Error::Absent(_))) {
            self.metrics_api_duration.get_or_create(&MetricsApi { api }).observe(took.as_secs_f64());
        }
    }

    /// This controller leads, or does no longer: then what it knew of objects is another's to tell.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
        if !leads {
            let known: Vec<Key> = self.known.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
            for key in &known {
                self.forget(key);
            }
        }
    }

    /// An object was looked at, so long after its time.
    pub fn late(&self, by: SignedDuration) {
        self.lateness.observe(by.as_secs_f64().max(0.0));
    }

    /// A look at an object ended, so long after its time.
    pub fn ended(&self, after: SignedDuration) {
        self.until_told.observe(after.as_secs_f64().max(0.0));
    }

    /// Something was written, or could not be.
    pub fn write<T, E>(&self, resource: &'static str, result: &Result<T, E>) {
        let outcome = if result.is_ok() { "ok" } else { "error" };
        self.writes.get_or_create(&Write { resource, outcome }).inc();
    }
}

/// From a millisecond to eight seconds.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 14))
}

fn action(decision: &Decision) -> &'static str {
    match decision.action() {
        Action::Hold => "hold",
        Action::ScaleUp => "scale_up",
        Action::ScaleDown => "scale_down",
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
fn units(milli: i64) -> f64 {
    milli as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_scales_one_workload_at_a_time() {
        let telemetry = Telemetry::default();
        let key = Key::new("demo", "by-tasks");
        let scales = |kind: &str, name: &str| {
            let target = serde_json::json!({"apiVersion": "apps/v1", "kind": kind, "name": name});
            telemetry.scales(&key, &serde_json::from_value(target).unwrap());
            let text = telemetry.text();
            text.lines().filter(|line| line.contains("target_info{")).map(str::to_owned).collect::<Vec<_>>()
        };
        let line = |kind: &str, name: &str| {
            vec![format!(
                "scalekit_autoscaler_target_info{{namespace=\"demo\",name=\"by-tasks\",workload=\"{name}\",workload_type=\"{kind}\"}} 1"
            )]
        };
        assert_eq!(scales("Deployment", "web"), line("deployment", "web"));
        assert_eq!(scales("StatefulSet", "db"), line("statefulset", "db"));
        telemetry.forget(&key);
        assert!(!telemetry.text().contains("target_info{"));
    }

    #[test]
    fn the_text_has_the_names_that_dashboards_use() {
        let telemetry = Telemetry::default();
        telemetry.query(&Ok(Arc::from([])), SignedDuration::from_millis(3));
        telemetry.write::<(), ()>("scale", &Ok(()));
        let text = telemetry.text();
        for line in [
            "scalekit_autoscaler_queries_total{outcome=\"absent\"} 1",
            "scalekit_autoscaler_query_duration_seconds_count 1",
            "scalekit_autoscaler_api_writes_total{resource=\"scale\",outcome=\"ok\"} 1",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
