//! Whether a scale-down that the metrics call for may be a mistake: what many want at once, and whether a server has the
//! samples that a query looks back on.
//!
//! A server is asked about the latter only when the count would be lowered otherwise, and once by all who ask the same.
//! Without an answer nothing is known, and the metrics are believed: a server that does not understand the question
//! would hold a count for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{
    Key,
    clock::Ahead,
    crowd::Wants,
    servers::Answer,
    source::{Question, ServerRef},
    tick::Context,
};
use crate::{
    autoscaling::{
        api::{AutoscalerSpec, MetricSpec, MetricType, PrometheusMetric},
        decision::{Action, Decision, Mode, Path, observation::Distrust},
        look_back::LookBack,
    },
    metrics,
};

/// How long it counts that a history is too short. It lasts for as long as the range is, mostly: nobody is held for
/// much longer by that.
const SHORT_COUNTS: SignedDuration = SignedDuration::from_secs(30);

/// Histories that were too short lately: until when that counts, and the number of the range.
#[derive(Default)]
pub struct ShortHistories(Mutex<HashMap<(ServerRef, Question), (Timestamp, i64)>>);

impl ShortHistories {
    fn known(&self, asked: &(ServerRef, Question), now: Timestamp) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(asked).copied();
        known.filter(|(until, _)| *until > now).map(|(_, number)| number)
    }

    fn note(&self, asked: (ServerRef, Question), number: i64, now: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (until, _)| *until > now);
        known.insert(asked, (now.saturating_add(SHORT_COUNTS).unwrap_or(now), number));
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What is to be known to doubt a decision about one object at one look.
pub struct Doubts<'a> {
    /// What every look needs.
    pub context: &'a Context,
    /// Which object.
    pub key: &'a Key,
    /// Its spec.
    pub spec: &'a AutoscalerSpec,
    /// Whether its decisions are carried out.
    pub mode: Mode,
    /// How often it is looked at.
    pub interval: Duration,
    /// Now, by the steady clock.
    pub now: Timestamp,
    /// By how much the clock on the wall is ahead of that.
    pub ahead: Ahead,
}

impl Doubts<'_> {
    /// Why a scale-down must not be carried out, if it must not. To be asked about every decision: that most do not want
    /// fewer replicas has to be known too.
    pub async fn about(&self, decision: &Decision) -> Option<Distrust> {
        let crowd = self.of_a_crowd(decision);
        let falls = decision.action() == Action::ScaleDown && decision.path == Path::Metrics;
        if crowd.is_some() || !falls || decision.yields_to.is_some() {
            return crowd;
        }
        let metrics = self.spec.metrics.iter().filter_map(|metric| metric.prometheus.as_ref());
        let short = join_all(metrics.map(|metric| self.short_history(metric))).await;
        short.into_iter().flatten().next().map(Distrust::ShortHistory)
    }

    fn of_a_crowd(&self, decision: &Decision) -> Option<Distrust> {
        let fewer = decision.stabilized.is_some_and(|stabilized| stabilized.proposed < decision.current_replicas);
        let wants = match decision.action() {
            _ if self.mode != Mode::Auto => Wants::NoFewer,
            Action::ScaleDown if fewer => Wants::FewerNow,
            _ if fewer => Wants::Fewer,
            _ => Wants::NoFewer,
        };
        let crowd = &self.context.crowd;
        let fed_by = sources(self.spec, &self.context.default_server);
        let (source, until) = crowd.note(self.key, &fed_by, wants, self.now)?;
        Some(Distrust::ManyScaleDowns(crowd.message((source, self.ahead.of(until)))))
    }

    /// Which range of a metric's query the server has too few samples for, in a sentence.
    async fn short_history(&self, metric: &PrometheusMetric) -> Option<String> {
        let look_back = LookBack::of(&metric.query)?;
        let server = self.context.credentials.server(&self.key.namespace, metric).await.ok()?;
        let address = server.address.clone();
        let asked = (server, Question { query: look_back.question(), max_age: None });
        let now = self.context.clock.now();
        let known = self.context.short_histories.known(&asked, now);
        let number = match known {
            Some(number) => number,
            None => match self.context.servers.ask(&asked.0, &asked.1, self.interval).await {
                Answer::Values(values) | Answer::Partial { values, .. } => values.first()? / 1000,
                Answer::Stale(_) | Answer::Failed { .. } | Answer::LeftAlone { .. } => return None,
            },
        };
        let range = look_back.name(number)?;
        if known.is_none() {
            self.context.short_histories.note(asked, number, now);
        }
        Some(format!(
            "{address} has samples of {range} that the query of metric {} looks back, so the value may be too low",
            metric.name
        ))
    }
}

/// Where the metrics of a spec come from.
fn sources<'a>(spec: &'a AutoscalerSpec, default_server: &'a str) -> Vec<&'a str> {
    let of = |metric: &'a MetricSpec| match (metric.kind, &metric.prometheus) {
        (_, Some(prometheus)) => prometheus.server_address.as_deref().unwrap_or(default_server),
        (MetricType::Resource | MetricType::ContainerResource, _) => metrics::RESOURCE,
        (MetricType::External, _) => metrics::EXTERNAL,
        _ => metrics::CUSTOM,
    };
    let mut all: Vec<&str> = spec.metrics.iter().map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}
