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
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const SERVER: &str = "http://prometheus";

    fn key() -> Key {
        Key { namespace: "demo".to_owned(), name: "w".to_owned() }
    }

    fn kept(_: &Autoscaler) -> Kept {
        Kept::default()
    }

    fn object(uid: &str, generation: i64) -> Autoscaler {
        let object = json!({
            "apiVersion": "scalekit.dev/v1alpha1",
            "kind": "Autoscaler",
            "metadata": {"name": "w", "namespace": "demo", "uid": uid, "generation": generation},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"},
                "maxReplicas": 5,
                "metrics": [],
            },
        });
        serde_json::from_value(object).expect("an Autoscaler")
    }

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    /// A new object, looked at once.
    fn looked_at_once() -> Schedule {
        let mut schedule = Schedule::default();
        schedule.seen(key(), object("1", 1), SERVER, NOW, kept);
        let due = schedule.take_due(NOW).expect("a new object is looked at at once");
        schedule.looked_at(&due, Kept::default(), None, NOW);
        schedule
    }

    #[test]
    fn an_object_comes_again_at_its_next_tick() {
        let mut schedule = looked_at_once();
        let next = schedule.next().expect("a next time");
        assert!(next > NOW && next <= after(15), "{next}");
        assert!(schedule.take_due(NOW).is_none());
        assert_eq!(schedule.take_due(next).map(|due| due.at), Some(next));
    }

    #[test]
    fn what_is_there_at_the_start_is_spread_over_an_interval() {
        let mut schedule = Schedule::default();
        schedule.list_begins();
        for place in 0..100 {
            let key = Key { name: format!("w-{place}"), ..key() };
            schedule.seen(key, object("1", 1), SERVER, NOW, kept);
        }
        assert_eq!(schedule.list_ends(), []);
        let due = [0, 5, 10, 15].map(|second| std::iter::from_fn(|| schedule.take_due(after(second))).count());
        assert_eq!((due[0], due.iter().sum::<usize>()), (0, 100), "{due:?}");
        assert!(due[1..].iter().all(|count| (20..=50).contains(count)), "{due:?}");
    }

    /// A new object that asks these servers.
    fn asks(schedule: &mut Schedule, name: String, servers: &[&str]) {
        let mut object = object("1", 1);
        let metric = |server: &&str| {
            json!({"type": "Prometheus", "prometheus": {"name": "m", "query": "q", "serverAddress": server,
                "target": {"type": "AverageValue", "averageValue": "10"}}})
        };
        object.spec.metrics = servers.iter().map(|it| serde_json::from_value(metric(it)).expect("a metric")).collect();
        schedule.seen(Key { name, ..key() }, object, SERVER, NOW, kept);
    }

    fn take_all(schedule: &mut Schedule) -> Vec<Due> {
        std::iter::from_fn(|| schedule.take_due(NOW)).collect()
    }

    fn of(looks: &[Due], letter: char) -> usize {
        looks.iter().filter(|due| due.key.name.starts_with(letter)).count()
    }

    #[test]
    fn a_server_that_does_not_answer_leaves_looks_to_all_others() {
        let mut schedule = Schedule::default();
        (0..MOST_OF_ONE_SERVER + 180).for_each(|place| asks(&mut schedule, format!("a-{place:03}"), &["http://hangs"]));
        (0..10).for_each(|place| asks(&mut schedule, format!("b-{place}"), &["http://answers"]));
        let mut looks = take_all(&mut schedule);
        assert_eq!((of(&looks, 'a'), of(&looks, 'b')), (MOST_OF_ONE_SERVER, 10));
        // Each that ends makes room for one more; one that is gone meanwhile takes no place.
        schedule.remove(&Key { name: format!("a-{MOST_OF_ONE_SERVER:03}"), ..key() });
        let mut looked_at = 0;
        while let Some(due) = looks.pop() {
            schedule.looked_at(&due, Kept::default(), None, NOW);
            looked_at += 1;
            looks.extend(take_all(&mut schedule));
            assert!(of(&looks, 'a') <= MOST_OF_ONE_SERVER);
        }
        assert_eq!((looked_at, schedule.lanes.len()), (MOST_OF_ONE_SERVER + 189, 0), "each once");
    }

    #[test]
    fn the_default_server_is_the_same_whether_it_is_named_or_not_and_who_is_paused_waits_for_none() {
        let mut schedule = Schedule::default();
        (0..MOST_OF_ONE_SERVER).for_each(|place| asks(&mut schedule, format!("a-{place}"), &[SERVER]));
        let mut unnamed = object("1", 1);
        let metric = json!({"type": "Prometheus", "prometheus": {"name": "m", "query": "q",
            "target": {"type": "AverageValue", "averageValue": "10"}}});
        unnamed.spec.metrics = vec![serde_json::from_value(metric).expect("a metric")];
        let mut paused = unnamed.clone();
        paused.spec.mode = ModeSpec::Paused;
        schedule.seen(Key { name: "unnamed".to_owned(), ..key() }, unnamed, SERVER, NOW, kept);
        schedule.seen(Key { name: "paused".to_owned(), ..key() }, paused, SERVER, NOW, kept);
        let looks = take_all(&mut schedule);
        assert_eq!((of(&looks, 'a'), of(&looks, 'u'), of(&looks, 'p')), (MOST_OF_ONE_SERVER, 0, 1));
    }

    #[test]
    fn a_metrics_api_that_does_not_answer_leaves_requests_to_all_else() {
        let mut schedule = Schedule::default();
        for place in 0..=MOST_OF_ONE_METRICS_API {
            let mut object = object("1", 1);
            let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60}}});
            object.spec.metrics = vec![serde_json::from_value(cpu).expect("a metric")];
            schedule.seen(Key { name: format!("c-{place}"), ..key() }, object, SERVER, NOW, kept);
        }
        assert_eq!(take_all(&mut schedule).len(), MOST_OF_ONE_METRICS_API);
    }

    #[test]
    fn who_waits_for_two_servers_keeps_no_place_of_the_one_free() {
        // The one that has room again is the first that is looked at.
        let (slow, hangs) = ("http://a-slow", "http://b-hangs");
        let mut schedule = Schedule::default();
        for place in 0..MOST_OF_ONE_SERVER {
            asks(&mut schedule, format!("a-{place}"), &[slow]);
            asks(&mut schedule, format!("b-{place}"), &[hangs]);
        }
        let looks = take_all(&mut schedule);
        // More than there are looks to end.
        (0..=MOST_OF_ONE_SERVER).for_each(|place| asks(&mut schedule, format!("c-{place}"), &[slow, hangs]));
        asks(&mut schedule, "d".to_owned(), &[slow]);
        assert_eq!(take_all(&mut schedule).len(), 0);
        for due in looks.iter().filter(|due| due.key.name.starts_with('a')) {
            schedule.looked_at(due, Kept::default(), None, NOW);
        }
        let names: Vec<String> = take_all(&mut schedule).into_iter().map(|due| due.key.name).collect();
        assert_eq!(names, ["d"]);
    }

    #[test]
    fn a_status_that_was_written_does_not_bring_it_forward_and_a_spec_does() {
        let mut schedule = looked_at_once();
        schedule.seen(key(), object("1", 1), SERVER, NOW, kept);
        assert!(schedule.take_due(NOW).is_none());
        schedule.seen(key(), object("1", 2), SERVER, NOW, kept);
        assert!(schedule.take_due(NOW).is_some());
    }

    #[test]
    fn nobody_looks_at_an_object_twice_at_the_same_time() {
        let mut schedule = looked_at_once();
        schedule.seen(key(), object("1", 2), SERVER, after(1), kept);
        let due = schedule.take_due(after(1)).expect("its spec has changed");
        schedule.seen(key(), object("1", 3), SERVER, after(2), kept);
        assert!(schedule.take_due(after(2)).is_none(), "somebody still looks");
        schedule.looked_at(&due, Kept::default(), None, after(3));
        let again = schedule.take_due(after(3)).expect("its spec has changed meanwhile");
        assert_eq!(again.object.metadata.generation, Some(3));
    }

    #[test]
    fn what_a_list_does_not_hold_is_gone() {
        let mut schedule = looked_at_once();
        schedule.list_begins();
        assert_eq!(schedule.list_ends(), [key()]);
        assert!(schedule.take_due(after(60)).is_none());
    }

    #[test]
    fn an_object_made_anew_keeps_nothing_of_the_one_before() {
        let mut schedule = looked_at_once();
        schedule.seen(key(), object("1", 2), SERVER, after(1), kept);
        let due = schedule.take_due(after(1)).expect("its spec has changed");
        schedule.seen(key(), object("2", 1), SERVER, after(2), kept);
        let kept = Kept { target_uid: Some("of the first".to_owned()), ..Kept::default() };
        schedule.looked_at(&due, kept, None, after(3));
        let due = schedule.take_due(after(3)).expect("the second is new");
        assert_eq!((due.object.metadata.uid.as_deref(), due.kept.target_uid), (Some("2"), None));
    }

    #[test]
    fn waking_up_is_before_the_next_tick_and_never_after() {
        for (wake, expected) in [(after(-5), NOW), (after(3600), after(15))] {
            let mut schedule = Schedule::default();
            schedule.seen(key(), object("1", 1), SERVER, NOW, kept);
            let due = schedule.take_due(NOW).expect("it is new");
            schedule.looked_at(&due, Kept::default(), Some(wake), NOW);
            assert!(schedule.next().is_some_and(|next| next <= expected));
        }
    }
}
