//! What was decided in the last day, in memory: lost with the process, and with the lead.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::Key;
use crate::autoscaling::{
    decision::{Decision, Policy},
    explain::{Explanation, Packed, Run},
};

/// How far back decisions are kept, in seconds.
const KEPT_S: i64 = 24 * 3600;
/// How many of an object's decisions are forgotten at a time.
const CHUNK: usize = 64;
/// How many bytes are kept in all: more than a day of 100 objects at 15 s whose metrics never stand still.
const MOST: usize = 64 << 20;
/// By how much that is less for each object, down to a quarter: what else it takes comes out of the same limit of the scaler's
/// memory, and ten thousand of them take most of it.
const EACH: usize = 4800;

/// What is remembered of one object.
struct Remembered {
    /// The last decision, which may be made again. It stays.
    last: Run,
    last_bytes: usize,
    /// Those before it.
    chunks: VecDeque<Chunk>,
}

struct Chunk {
    id: u64,
    decisions: Packed,
}

struct Inner {
    by_object: HashMap<Arc<Key>, Remembered>,
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

/// How much a [`History`] remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Decisions, those that were made several times in a row once.
    pub decisions: usize,
    /// What they take by its own account, which its limit goes by.
    pub bytes: usize,
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
        let Remembered { last, chunks, .. } = inner.by_object.get(key)?;
        let Some(second) = at.map(Timestamp::as_second).filter(|second| !last.began_by(*second)) else {
            return Some(last.explain());
        };
        let chunk = chunks.iter().rfind(|chunk| chunk.decisions.began_by(second))?;
        Some(chunk.decisions.runs().iter().rfind(|run| run.began_by(second))?.explain())
    }

    /// How much is remembered.
    pub fn held(&self) -> Held {
        let inner = self.lock();
        let of = |known: &Remembered| 1 + known.chunks.iter().map(|chunk| chunk.decisions.count()).sum::<usize>();
        Held { decisions: inner.by_object.values().map(of).sum(), bytes: inner.bytes }
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        let Some(Remembered { last_bytes, chunks, .. }) = inner.by_object.remove(key) else { return };
        inner.bytes -= last_bytes;
        for chunk in chunks {
            inner.forget(&chunk);
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
        let Some(known) = self.by_object.get_mut(key) else {
            let last = run(None);
            let last_bytes = last.bytes();
            self.bytes += last_bytes;
            self.by_object.insert(Arc::new(key.clone()), Remembered { last, last_bytes, chunks: VecDeque::new() });
            return;
        };
        let next = run(Some(&known.last));
        if known.last.goes_on_with(&next) {
            return;
        }
        let (over, bytes) = (std::mem::replace(&mut known.last, next), known.last.bytes());
        self.bytes = self.bytes - known.last_bytes + bytes;
        known.last_bytes = bytes;
        self.keep(key, &over);
        self.forget_until(key, at.as_second() - KEPT_S);
        self.keep_within();
    }

    /// Keeps a decision that is over.
    fn keep(&mut self, key: &Key, over: &Run) {
        let Some((owner, known)) = self.by_object.get_key_value(key) else { return };
        let is_full = known.chunks.back().is_none_or(|chunk| chunk.decisions.count() >= CHUNK);
        let owner = is_full.then(|| owner.clone());
        let Some(known) = self.by_object.get_mut(key) else { return };
        if let Some(owner) = owner {
            if let Some(full) = known.chunks.back_mut() {
                self.bytes -= full.decisions.bytes();
                full.decisions.seal();
                self.bytes += full.decisions.bytes();
            }
            let decisions = Packed::default();
            self.bytes += decisions.bytes();
            known.chunks.push_back(Chunk { id: self.next_id, decisions });
            self.begun.insert(self.next_id, owner);
            self.next_id += 1;
        }
        if let Some(chunk) = known.chunks.back_mut() {
            self.bytes -= chunk.decisions.bytes();
            chunk.decisions.push(over);
            self.bytes += chunk.decisions.bytes();
        }
    }

    /// Forgets what was over by then.
    fn forget_until(&mut self, key: &Key, second: i64) {
        while let Some(known) = self.by_object.get_mut(key)
            && known.chunks.front().is_some_and(|chunk| chunk.decisions.last_s() < second)
            && let Some(chunk) = known.chunks.pop_front()
        {
            self.forget(&chunk);
        }
    }

    /// Forgets the oldest of all, whoever's it is, until the rest fits. The last decision about an object stays.
    fn keep_within(&mut self) {
        let most = self.most.saturating_sub(self.by_object.len() * EACH).max(self.most / 4);
        while self.bytes > most
            && let Some((_, owner)) = self.begun.first_key_value()
            && let Some(chunk) = self.by_object.get_mut(owner).and_then(|known| known.chunks.pop_front())
        {
            self.forget(&chunk);
        }
    }

    fn forget(&mut self, chunk: &Chunk) {
        self.begun.remove(&chunk.id);
        self.bytes -= chunk.decisions.bytes();
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
        Key::new("demo", "w")
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
    fn a_day_of_a_hundred_busy_objects_with_two_metrics_and_a_window_fits() {
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
        assert!(hours >= 24, "{hours} h, {} bytes an hour", history.lock().bytes);
    }

    #[test]
    fn of_many_objects_the_oldest_decisions_are_forgotten_first_and_the_last_of_each_stays() {
        let history = History::default();
        // Of which a quarter is left where there are so many.
        history.lock().most = 1 << 20;
        let of = |place: i64| Key::new("demo", &format!("w-{place}"));
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
        let of = |known: &Remembered| {
            known.last.bytes() + known.chunks.iter().map(|chunk| chunk.decisions.bytes()).sum::<usize>()
        };
        let counted: usize = history.lock().by_object.values().map(of).sum();
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
        assert_eq!(history.held().decisions, 3);
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
        let decisions = i64::try_from(history.held().decisions).expect("few");
        assert!((day / 15..day / 15 + 130).contains(&decisions), "{decisions}");
        assert!(history.explain(&key(), Some(NOW + SignedDuration::from_secs(day))).is_some());
        assert!(history.explain(&key(), Some(NOW + SignedDuration::from_secs(day - 3600))).is_none());
    }
}
