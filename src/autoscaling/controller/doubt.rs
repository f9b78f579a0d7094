//! Whether a scale-down that the metrics call for may be a mistake: what many want at once, and whether a server has the
//! samples that a query looks back on.
//!
//! A server is asked about the latter only when the count would be lowered otherwise, and once by all who ask the same.
//! Without an answer nothing is known, and the metrics are believed: a server that does not understand the question
//! would hold a count for ever. So would a range that is never covered, which is why it counts for no longer than it is long.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{
    Key,
    answer::Answer,
    clock::Ahead,
    crowd::{Look, Wants},
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

/// How long an answer counts, whatever it was: what is not carried out (`mode: Recommend`) is decided at every look.
const ANSWER_COUNTS: SignedDuration = SignedDuration::from_secs(30);

/// What servers said about their histories lately.
#[derive(Default)]
pub struct ShortHistories(Mutex<HashMap<(ServerRef, Question), Said>>);

/// What a server said.
#[derive(Clone, Copy)]
struct Said {
    /// The number of the range that is too short; 0 where none is.
    number: i64,
    /// When.
    at: Timestamp,
    /// Since when it has said nothing else but that one is too short.
    since: Timestamp,
    /// How long that can be so.
    at_most: SignedDuration,
}

impl Said {
    /// The number of the range that is too short, unless it has been for longer than a range can be.
    fn short(self) -> i64 {
        if self.at.duration_since(self.since) > self.at_most { 0 } else { self.number }
    }
}

impl ShortHistories {
    fn known(&self, asked: &(ServerRef, Question), now: Timestamp) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(asked).copied();
        known.filter(|said| now.duration_since(said.at) < ANSWER_COUNTS).map(Said::short)
    }

    /// Notes an answer, and gives what it comes to.
    fn note(&self, asked: (ServerRef, Question), number: i64, at_most: SignedDuration, now: Timestamp) -> i64 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who did not ask for longer than a range is begins anew.
        known.retain(|_, said| now.duration_since(said.at) <= said.at_most);
        let before = known.get(&asked).filter(|said| said.number != 0);
        let since = before.map_or(now, |said| said.since);
        let said = Said { number, at: now, since, at_most };
        known.insert(asked, said);
        said.short()
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
        let crowd = &self.context.crowd;
        let current = decision.current_replicas;
        if current == 0 {
            crowd.forget(self.key);
            return None;
        }
        let fewer = decision.stabilized.is_some_and(|stabilized| stabilized.proposed < current);
        let wants = match decision.action() {
            Action::ScaleDown if fewer => Wants::FewerNow,
            _ if fewer => Wants::Fewer,
            _ => Wants::NoFewer,
        };
        let in_vain = self.mode != Mode::Auto || decision.yields_to.is_some() || current <= decision.bounds.min();
        let look =
            Look { wants, in_vain, interval: SignedDuration::try_from(self.interval).unwrap_or(SignedDuration::MAX) };
        let fed_by = sources(self.spec, &self.context.default_server);
        let (source, until) = crowd.note(self.key, &fed_by, look, self.now)?;
        Some(Distrust::ManyScaleDowns(crowd.message((source, self.ahead.of(until)))))
    }

    /// Which range of a metric's query the server has too few samples for, in a sentence.
    async fn short_history(&self, metric: &PrometheusMetric) -> Option<String> {
        let look_back = LookBack::of(&metric.query)?;
        let server = self.context.credentials.server(&self.key.namespace, metric).await.ok()?;
        let address = server.address.clone();
        let asked = (server, Question { query: look_back.question(), max_age: None });
        let histories = &self.context.short_histories;
        let number = match histories.known(&asked, self.now) {
            Some(number) => number,
            None => match self.context.servers.ask(&asked.0, &asked.1, self.interval).await {
                Answer::Values(values) | Answer::Partial { values, .. } => {
                    let at_most = SignedDuration::from_millis(look_back.at_most_ms());
                    histories.note(asked, values.first()? / 1000, at_most, self.now)
                }
                Answer::Stale(_) | Answer::Failed(_) | Answer::LeftAlone { .. } => return None,
            },
        };
        let range = look_back.name(number)?;
        Some(format!(
            "{address} has too few samples of {range} that the query of metric {} looks back, so the value may be too low",
            metric.name
        ))
    }
}

/// Where the metrics of a spec come from, each once: addresses of servers, and names of metrics APIs.
pub(super) fn sources<'a>(spec: &'a AutoscalerSpec, default_server: &'a str) -> Vec<&'a str> {
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
