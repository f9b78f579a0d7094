//! What was decided in the last day, in memory: lost with the process, and with the lead.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::Key;
use crate::autoscaling::{
    decision::{Decision, Policy},
    explain::{Explanation, Run},
};

/// How far back decisions are kept, in seconds.
const KEPT_S: i64 = 24 * 3600;
/// How many runs are forgotten at a time: with thousands of objects each has but a few.
const CHUNK: usize = 32;
/// How many bytes are kept in all: a day of 100 objects at 15 s whose metrics never stand still.
const MOST: usize = 64 << 20;

struct Chunk {
    id: u64,
    runs: Vec<Run>,
    bytes: usize,
}

struct Inner {
    by_object: HashMap<Arc<Key>, VecDeque<Chunk>>,
    /// Whose each chunk is, in the order in which they were begun.
    begun: BTreeMap<u64, Arc<Key>>,
    next_id: u64,
    bytes: usize,
    most: usize,
}

impl Default for Inner {
    fn default() -> Self {
        let (by_object, begun) = (HashMap::new(), BTreeMap::new());
        Self { by_object, begun, next_id: 0, bytes: 0, most: MOST }
    }
}

/// What was decided lately.
#[derive(Default)]
pub struct History(Mutex<Inner>);

impl History {
    /// A decision was made; `failed` is why it could not be carried out.
    pub fn decided(&self, key: &Key, decision: &Decision, policy: &Policy, failed: Option<&str>) {
        self.lock().note(key, decision.at, |before| match failed {
            Some(why) => Run::unwritten(decision, policy, why, before),
            None => Run::of(decision, policy, before),
        });
    }

    /// No decision could be made.
    pub fn blocked(&self, key: &Key, why: &str, at: Timestamp) {
        self.lock().note(key, at, |before| Run::blocked(why, at, before));
    }

    /// The last decision about an object, or the one that held at a time; `None` where none is known.
    pub fn explain(&self, key: &Key, at: Option<Timestamp>) -> Option<Explanation> {
        let inner = self.lock();
        let mut runs = inner.by_object.get(key)?.iter().flat_map(|chunk| &chunk.runs).rev();
        match at {
            None => runs.next(),
            Some(at) => runs.find(|run| run.began_by(at.as_second())),
        }
        .map(Run::explain)
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        for chunk in inner.by_object.remove(key).into_iter().flatten() {
            inner.begun.remove(&chunk.id);
            inner.bytes -= chunk.bytes;
        }
    }

    /// Everything is another's to tell.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, key: &Key, at: Timestamp, run: impl FnOnce(Option<&Run>) -> Run) {
        let owner = match self.by_object.get_key_value(key) {
            Some((owner, _)) => owner.clone(),
            None => Arc::new(key.clone()),
        };
        let chunks = self.by_object.entry(owner.clone()).or_default();
        let last = chunks.back_mut().and_then(|chunk| chunk.runs.last_mut());
        let run = run(last.as_deref());
        let bytes = run.bytes(last.as_deref());
        if last.is_some_and(|last| last.goes_on_with(&run)) {
            return;
        }
        if chunks.back().is_none_or(|chunk| chunk.runs.len() >= CHUNK) {
            // The first of an object is short: most objects do not change much.
            let runs = Vec::with_capacity(if chunks.is_empty() { 4 } else { CHUNK });
            chunks.push_back(Chunk { id: self.next_id, runs, bytes: 0 });
            self.begun.insert(self.next_id, owner);
            self.next_id += 1;
        }
        if let Some(chunk) = chunks.back_mut() {
            chunk.runs.push(run);
            chunk.bytes += bytes;
            self.bytes += bytes;
        }
        let oldest = at.as_second() - KEPT_S;
        while chunks.len() > 1
            && chunks.front().and_then(|chunk| chunk.runs.last()).is_some_and(|run| run.last_s() < oldest)
        {
            if let Some(chunk) = chunks.pop_front() {
                self.begun.remove(&chunk.id);
                self.bytes -= chunk.bytes;
            }
        }
        self.keep_within();
    }

    /// Forgets the oldest of all, whoever's it is, until the rest fits. The last decision about an object stays.
    fn keep_within(&mut self) {
        for _ in 0..self.begun.len() {
            if self.bytes <= self.most {
                return;
            }
            let Some((_, owner)) = self.begun.pop_first() else { return };
            let Some(chunks) = self.by_object.get_mut(&owner) else { continue };
            let Some(chunk) = chunks.pop_front() else { continue };
            self.bytes -= chunk.bytes;
            if chunks.is_empty()
                && let Some(last) = chunk.runs.into_iter().next_back()
            {
                let bytes = last.bytes(None);
                chunks.push_back(Chunk { id: self.next_id, runs: vec![last], bytes });
                self.begun.insert(self.next_id, owner);
                (self.next_id, self.bytes) = (self.next_id + 1, self.bytes + bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::autoscaling::decision::{
        Bounds, Memory, Observation, Reading, decide,
        memory::Recommendation,
        observation::Pods,
        policy::{Metric, OnAbsent, Source, Target},
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn key() -> Key {
        Key { namespace: "demo".to_owned(), name: "w".to_owned() }
    }

    fn record(history: &History, second: i64, tasks: i64) {
        record_of(history, &key(), second, tasks);
    }

    fn record_of(history: &History, key: &Key, second: i64, tasks: i64) {
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
        history.decided(key, &decide(&policy, &observation, &Memory::default(), now), &policy, None);
    }

    fn runs(history: &History) -> usize {
        history.lock().by_object.values().flatten().map(|chunk| chunk.runs.len()).sum()
    }

    #[test]
    fn a_day_of_a_hundred_objects_that_never_stand_still_fits() {
        let history = History::default();
        let (day, hour) = (24 * 3600, 3600);
        for tick in 0..hour / 15 {
            record(&history, tick * 15, 25 + tick % 2);
        }
        let bytes = history.lock().bytes * usize::try_from(day / hour).expect("few") * 100;
        assert!(bytes <= MOST, "{bytes}");
    }

    /// Two metrics that never stand still, of which the window holds the count.
    #[test]
    fn of_a_hundred_busy_objects_with_two_metrics_and_a_window_most_of_a_day_fits() {
        let history = History::default();
        let metric = |name| Metric::new(name, Source::Prometheus, Target::AverageValue(10_000), OnAbsent::Hold);
        let policy = Policy::new(Bounds::new(1, 5), vec![metric("tasks"), metric("requests")]);
        let mut memory = Memory::default();
        let hour = 3600;
        for tick in 0..hour / 15 {
            let now = NOW + SignedDuration::from_secs(tick * 15);
            let readings = [tick % 2, tick % 3].map(|more| Reading::Series(vec![(15 + more) * 1000]));
            let observation = Observation {
                spec_replicas: 3,
                status_replicas: 3,
                pods: Pods::Unknown(String::new()),
                readings: readings.to_vec(),
                distrust: None,
            };
            // A call for three every 4 minutes keeps it there.
            if tick % 16 == 0 {
                memory.recommendations.get_or_insert_default().push(Recommendation { replicas: 3, at: now });
            }
            let decision = decide(&policy, &observation, &memory, now);
            assert_eq!(decision.desired_replicas, 3);
            memory = decision.memory.clone();
            history.decided(&key(), &decision, &policy, None);
        }
        let hours = MOST / (history.lock().bytes * 100);
        assert!(hours >= 16, "{hours} h, {} bytes an hour", history.lock().bytes);
    }

    #[test]
    fn of_many_objects_the_oldest_decisions_are_forgotten_first_and_the_last_of_each_stays() {
        let history = History::default();
        history.lock().most = 256 << 10;
        let of = |place: i64| Key { namespace: "demo".to_owned(), name: format!("w-{place}") };
        // 400 objects take more with a handful of decisions each, before any of them has a second chunk.
        for tick in 0..20 {
            for place in 0..400 {
                record_of(&history, &of(place), tick * 15, 25 + tick % 2);
            }
        }
        let bytes = history.lock().bytes;
        assert!(bytes <= 256 << 10, "{bytes}");
        for place in [0, 399] {
            let last = history.explain(&of(place), None).expect("its last decision");
            assert_eq!(last.to.duration_since(NOW).as_secs(), 19 * 15);
        }
        // One that is quiet does not lose its last decision to the others either.
        record_of(&history, &key(), 0, 25);
        for tick in 20..40 {
            (0..400).for_each(|place| record_of(&history, &of(place), tick * 15, 25 + tick % 2));
        }
        assert!(history.explain(&key(), None).is_some());
        let counted: usize = history.lock().by_object.values().flatten().map(|chunk| chunk.bytes).sum();
        let bytes = history.lock().bytes;
        assert_eq!(bytes, counted);
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
        assert_eq!(runs(&history), 3);
        history.forget(&key());
        assert_eq!(history.explain(&key(), None), None);
        let inner = history.lock();
        assert_eq!((inner.bytes, inner.begun.len(), inner.by_object.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_a_day_old_is_forgotten() {
        let history = History::default();
        let day = 24 * 3600;
        for tick in 0..2 * day / 15 {
            record(&history, tick * 15, 25 + tick % 2);
        }
        let runs = i64::try_from(runs(&history)).expect("few");
        assert!((day / 15..day / 15 + 130).contains(&runs), "{runs}");
        assert!(history.explain(&key(), Some(NOW + SignedDuration::from_secs(day))).is_some());
        assert!(history.explain(&key(), Some(NOW + SignedDuration::from_secs(day - 3600))).is_none());
    }
}
