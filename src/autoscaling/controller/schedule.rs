//! Which Autoscalers there are, and which is looked at when.
//!
//! Owned by one task. An object is never looked at twice at the same time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Key,
    doubt::sources,
    phase::{next_tick, phase},
    rivals::Siblings,
    tick::Kept,
};
use crate::{
    autoscaling::{
        api::{Autoscaler, ModeSpec},
        policy::interval,
    },
    metrics,
};

/// How long until an object whose interval cannot be read is looked at again.
const UNREADABLE_INTERVAL: Duration = Duration::from_secs(15);

/// How many objects that the same server feeds are looked at at once: fewer than half of all looks, so that even two that take
/// their time leave some to all others; and so many that hundreds whose questions are all asked within a second wait for their
/// own answer and not for each other's. How many questions a server gets at a time is another matter.
const MOST_OF_ONE_SERVER: usize = 500;

/// How many objects that the same metrics API feeds are looked at at once. Each look is a request of its own, and an API server
/// takes 100 at a time from one client: three metrics APIs that hang leave some to everything else that is asked of it.
const MOST_OF_ONE_METRICS_API: usize = 30;

fn most_of(source: &str) -> usize {
    if [metrics::RESOURCE, metrics::CUSTOM, metrics::EXTERNAL].contains(&source) {
        MOST_OF_ONE_METRICS_API
    } else {
        MOST_OF_ONE_SERVER
    }
}

struct Tracked {
    object: Arc<Autoscaler>,
    /// `None` while somebody looks at it.
    kept: Option<Kept>,
    due: Timestamp,
    interval: Duration,
    phase: Duration,
    sources: Arc<[String]>,
}

/// An object whose time has come.
pub struct Due {
    /// Which.
    pub key: Key,
    /// As it was last seen.
    pub object: Arc<Autoscaler>,
    /// What was kept.
    pub kept: Kept,
    /// When it should have been.
    pub at: Timestamp,
    /// An older Autoscaler of the same workload.
    pub elder: Option<Key>,
    /// What its look waits for.
    sources: Arc<[String]>,
}

/// The looks at objects that are fed by the same source.
#[derive(Default)]
struct Lane {
    /// How many there are just now.
    looks: usize,
    /// Objects whose time has come meanwhile. May hold times that are no longer an object's, as the queue does.
    waiting: VecDeque<(Timestamp, Key)>,
}

/// All objects and their times.
#[derive(Default)]
pub struct Schedule {
    tracked: HashMap<Key, Tracked>,
    /// May hold times that are no longer an object's: they are skipped.
    queue: BinaryHeap<Reverse<(Timestamp, Key)>>,
    siblings: Siblings,
    /// By the name of the source.
    lanes: HashMap<String, Lane>,
    /// During a list: what was listed so far.
    listed: Option<HashSet<Key>>,
}

impl Schedule {
    /// A list of all objects begins.
    pub fn list_begins(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// The list is complete. Returns the objects that are gone.
    pub fn list_ends(&mut self) -> Vec<Key> {
        let Some(listed) = self.listed.take() else { return Vec::new() };
        let gone: Vec<Key> = self.tracked.keys().filter(|key| !listed.contains(key)).cloned().collect();
        for key in &gone {
            self.remove(key);
        }
        gone
    }

    /// An object was seen. One that is new is looked at when its phase comes, if it is part of a list (there
    /// may be thousands), else at once; so is one whose spec has changed. `restored` is what was kept of a new one.
    pub fn seen(
        &mut self,
        key: Key,
        object: Autoscaler,
        default_server: &str,
        now: Timestamp,
        restored: impl FnOnce(&Autoscaler) -> Kept,
    ) {
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        let in_list = self.listed.is_some();
        let interval = interval(&object.spec).unwrap_or(UNREADABLE_INTERVAL);
        let question = object.spec.metrics.first().and_then(|metric| metric.prometheus.as_ref());
        // Where there is no question to share, objects spread by their names.
        let phase = question.map_or_else(
            || phase(&key.namespace, &key.name, interval),
            |prometheus| {
                phase(prometheus.server_address.as_deref().unwrap_or(default_server), &prometheus.query, interval)
            },
        );
        self.siblings.seen(&key, self.tracked.get(&key).map(|tracked| &*tracked.object), &object);
        // A look at one that is paused asks nobody.
        let asked = Some(&object.spec).filter(|spec| spec.mode != ModeSpec::Paused);
        let sources = asked.map(|spec| sources(spec, default_server)).unwrap_or_default();
        let sources: Arc<[String]> = sources.into_iter().map(str::to_owned).collect();
        let object = Arc::new(object);
        let due = match self.tracked.get_mut(&key) {
            Some(tracked) if tracked.object.metadata.uid == object.metadata.uid => {
                let changed = tracked.object.metadata.generation != object.metadata.generation;
                (tracked.object, tracked.interval, tracked.phase, tracked.sources) = (object, interval, phase, sources);
                if !changed {
                    return;
                }
                tracked.due = now;
                now
            }
            _ => {
                let due = if in_list { next_tick(now, interval, phase) } else { now };
                let kept = Some(restored(&object));
                self.tracked.insert(key.clone(), Tracked { object, kept, due, interval, phase, sources });
                due
            }
        };
        self.queue.push(Reverse((due, key)));
    }

    /// An object is gone.
    pub fn remove(&mut self, key: &Key) {
        if let Some(tracked) = self.tracked.remove(key) {
            self.siblings.gone(key, &tracked.object);
        }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.tracked.len()
    }

    /// When the next object is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next object whose time has come. It is not due again before [`Self::looked_at`].
    pub fn take_due(&mut self, now: Timestamp) -> Option<Due> {
        while self.next().is_some_and(|due| due <= now) {
            let Reverse((at, key)) = self.queue.pop()?;
            let Some(tracked) = self.tracked.get_mut(&key).filter(|tracked| tracked.due == at) else { continue };
            let (object, sources) = (tracked.object.clone(), tracked.sources.clone());
            let full = |name: &&String| self.lanes.get(*name).is_some_and(|lane| lane.looks >= most_of(name));
            if let Some(lane) = sources.iter().find(full).and_then(|name| self.lanes.get_mut(name)) {
                lane.waiting.push_back((at, key));
                continue;
            }
            // Somebody still looks at it: it comes again when they have done.
            let Some(kept) = tracked.kept.take() else { continue };
            for name in &*sources {
                match self.lanes.get_mut(name) {
                    Some(lane) => lane.looks += 1,
                    None => _ = self.lanes.insert(name.clone(), Lane { looks: 1, ..Lane::default() }),
                }
            }
            let elder = self.siblings.elder(&key, &object);
            return Some(Due { key, object, kept, at, elder, sources });
        }
        None
    }

    /// Somebody has looked at an object. `wake` is when to look again, if that is before its next tick. Returns whether
    /// there is an object of its name still.
    pub fn looked_at(&mut self, due: &Due, kept: Kept, wake: Option<Timestamp>, now: Timestamp) -> bool {
        for name in &*due.sources {
            self.leave(name);
        }
        let Some(tracked) = self.tracked.get_mut(&due.key) else { return false };
        if tracked.object.metadata.uid != due.object.metadata.uid {
            return true; // Another one, which has been scheduled already.
        }
        tracked.kept = Some(kept);
        if tracked.due == due.at {
            let next = next_tick(now, tracked.interval, tracked.phase);
            tracked.due = wake.map_or(next, |wake| wake.max(now).min(next));
        }
        // Else its spec has changed meanwhile, and it is due already.
        self.queue.push(Reverse((tracked.due, due.key.clone())));
        true
    }

    /// A look at an object that this source feeds has ended: the next ones may begin.
    fn leave(&mut self, name: &str) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        lane.looks = lane.looks.saturating_sub(1);
        // As many as there is room for: one that another source feeds too may have to wait for that, and take no place here.
        let mut room = most_of(name).saturating_sub(lane.looks);
        while room > 0
            && let Some((at, key)) = lane.waiting.pop_front()
        {
            if self.tracked.get(&key).is_some_and(|tracked| tracked.due == at && tracked.kept.is_some()) {
                self.queue.push(Reverse((at, key)));
                room -= 1;
            }
        }
        if lane.looks == 0 && lane.waiting.is_empty() {
            self.lanes.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
