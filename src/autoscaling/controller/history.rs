//! What was decided in the last day, in memory: lost with the process, and with the lead.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::Key;
use crate::autoscaling::{
    decision::{Decision, Policy},
    explain::{Explanation, Run},
};

/// How far back decisions are kept, in seconds.
const KEPT_S: i64 = 24 * 3600;
/// How many runs are forgotten at a time. Chunks do not grow, so nothing is wasted on what might come.
const CHUNK: usize = 128;
/// How many runs are kept in all, about 64 MiB: a day of 100 objects at 15 s whose metrics never stand still.
const MOST: usize = 600_000;

#[derive(Default)]
struct Inner {
    by_object: HashMap<Key, VecDeque<Vec<Run>>>,
    runs: usize,
}

/// What was decided lately.
#[derive(Default)]
pub struct History(Mutex<Inner>);

impl History {
    /// A decision was made.
    pub fn record(&self, key: &Key, decision: &Decision, policy: &Policy) {
        let mut inner = self.lock();
        let Inner { by_object, runs } = &mut *inner;
        let chunks = by_object.entry(key.clone()).or_default();
        let last = chunks.back_mut().and_then(|chunk| chunk.last_mut());
        let run = Run::of(decision, policy, last.as_deref());
        if last.is_some_and(|last| last.goes_on_with(&run)) {
            return;
        }
        if let Some(chunk) = chunks.back_mut().filter(|chunk| chunk.len() < CHUNK) {
            chunk.push(run);
        } else {
            // The first of an object is short: most objects do not change much.
            let mut chunk = Vec::with_capacity(if chunks.is_empty() { 4 } else { CHUNK });
            chunk.push(run);
            chunks.push_back(chunk);
        }
        *runs += 1;
        let oldest = decision.at.as_second() - KEPT_S;
        let is_old = |chunk: &Vec<Run>| chunk.last().is_some_and(|run| run.last_s() < oldest);
        while chunks.len() > 1 && (chunks.front().is_some_and(is_old) || *runs > MOST) {
            *runs -= chunks.pop_front().map_or(0, |chunk| chunk.len());
        }
    }

    /// The last decision about an object, or the one that held at a time; `None` where none is known.
    pub fn explain(&self, key: &Key, at: Option<Timestamp>) -> Option<Explanation> {
        let inner = self.lock();
        let mut runs = inner.by_object.get(key)?.iter().flatten().rev();
        match at {
            None => runs.next(),
            Some(at) => runs.find(|run| run.began_by(at.as_second())),
        }
        .map(Run::explain)
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        let gone = inner.by_object.remove(key);
        inner.runs -= gone.iter().flatten().map(Vec::len).sum::<usize>();
    }

    /// Everything is another's to tell.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::autoscaling::decision::{
        Bounds, Memory, Observation, Reading, decide,
        observation::Pods,
        policy::{Metric, OnAbsent, Source, Target},
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn key() -> Key {
        Key { namespace: "demo".to_owned(), name: "w".to_owned() }
    }

    fn record(history: &History, second: i64, tasks: i64) {
        let metric = Metric::new("tasks", Source::Prometheus, Target::AverageValue(10_000), OnAbsent::Hold);
        let policy = Policy::new(Bounds::new(1, 5), vec![metric]);
        let observation = Observation {
            spec_replicas: 3,
            status_replicas: 3,
            pods: Pods::Unknown(String::new()),
            readings: vec![Reading::Series(vec![tasks * 1000])],
            distrust: None,
        };
        let now = NOW + SignedDuration::from_secs(second);
        history.record(&key(), &decide(&policy, &observation, &Memory::default(), now), &policy);
    }

    #[test]
    fn the_decision_of_a_past_time_is_found() {
        let history = History::default();
        for (second, tasks) in [(0, 25), (15, 25), (30, 35), (45, 25)] {
            record(&history, second, tasks);
        }
        let at = |second: i64| {
            let explanation = history.explain(&key(), Some(NOW + SignedDuration::from_secs(second)))?;
            Some((explanation.from.duration_since(NOW).as_secs(), explanation.desired_replicas))
        };
        assert_eq!(
            (at(-1), at(20), at(30), at(44), at(99)),
            (None, Some((0, 3)), Some((30, 4)), Some((30, 4)), Some((45, 3)))
        );
        assert_eq!(history.lock().runs, 3);
        history.forget(&key());
        assert_eq!((history.explain(&key(), None), history.lock().runs), (None, 0));
    }

    #[test]
    fn what_is_a_day_old_is_forgotten() {
        let history = History::default();
        let day = 24 * 3600;
        for tick in 0..2 * day / 15 {
            record(&history, tick * 15, 25 + tick % 2);
        }
        let runs = i64::try_from(history.lock().runs).expect("few");
        assert!((day / 15..day / 15 + 130).contains(&runs), "{runs}");
        assert!(history.explain(&key(), Some(NOW + SignedDuration::from_secs(day))).is_some());
        assert!(history.explain(&key(), Some(NOW + SignedDuration::from_secs(day - 3600))).is_none());
    }
}
