//! Whether too many objects begin to want fewer replicas at once because of the same source.
//!
//! Load that ebbs away does so here and there. When most of what one server feeds wants to shrink within the same
//! half minute, it is more likely that the server has lost something: it was restarted without its data, its
//! discovery broke, its scrapes fail. Then nothing is scaled down by its word for a while; what still wants to shrink
//! after that is believed.
//!
//! That a crowd begins is seen when it begins to want fewer, which with a stabilization window is long before anything is
//! scaled down. The while begins for each when its window is over: a hold that ran beside the window would
//! end with it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::Key;

/// Wishes that began within this time of each other began at once: two ticks of the usual interval.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(30);
/// For how long nothing is scaled down then.
pub const HOLD: SignedDuration = SignedDuration::from_mins(5);
/// Of fewer objects a share says nothing.
const FEWEST: usize = 10;

/// What an object wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// As many replicas as there are, or more.
    NoFewer,
    /// Fewer, when its window is over.
    Fewer,
    /// Fewer, and nothing else is in the way.
    FewerNow,
}

struct Wish {
    since: Timestamp,
    /// When its window was over.
    due: Option<Timestamp>,
    /// It began together with too many others.
    in_crowd: bool,
}

/// An object that a source feeds.
struct Fed {
    /// By how many sources it is fed in all.
    by: usize,
    /// Its wish for fewer replicas, if it has one.
    wish: Option<Wish>,
}

#[derive(Default)]
struct Source {
    /// Every object that is fed by it.
    objects: HashMap<Key, Fed>,
    /// Until when nobody is believed, whenever his wish began.
    held_until: Option<Timestamp>,
}

/// Who wants fewer replicas, by the source that says so.
pub struct Crowd {
    /// The greatest share of a source's objects that may begin to want fewer replicas at once.
    share: f64,
    sources: Mutex<HashMap<String, Source>>,
}

impl Crowd {
    /// No object is known yet. With a share of 1 or more nothing is ever held.
    pub fn new(share: f64) -> Self {
        Self { share, sources: Mutex::default() }
    }

    /// Notes what an object wants by the word of `sources`, and says until when that must not be believed, if it must
    /// not, and which source it is.
    pub fn note<'a>(
        &self,
        key: &Key,
        sources: &[&'a str],
        wants: Wants,
        now: Timestamp,
    ) -> Option<(&'a str, Timestamp)> {
        if self.share >= 1.0 {
            return None;
        }
        let mut all = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let by = sources.len();
        let is_known =
            |name: &&str| all.get(*name).and_then(|source| source.objects.get(key)).is_some_and(|fed| fed.by == by);
        // An object seldom gets other sources, and there may be thousands to look through.
        if !sources.iter().all(is_known) {
            take_away(&mut all, key, |name| !sources.contains(&name));
        }
        let mut why = None;
        for name in sources {
            if !all.contains_key(*name) {
                all.insert((*name).to_owned(), Source::default());
            }
            let Some(source) = all.get_mut(*name) else { continue };
            let until = source.note(key, by, wants, self.share, now);
            why = why.into_iter().chain(until.map(|until| (*name, until))).max_by_key(|(_, until)| *until);
        }
        why
    }

    /// Why it must not be believed, in a sentence. `until` is by the clock on the wall.
    pub fn message(&self, (source, until): (&str, Timestamp)) -> String {
        format!(
            "{source}: more than {:.0} % of the Autoscalers that it feeds began to want fewer replicas at once; it is not \
             believed before {until:.0}",
            self.share * 100.0
        )
    }

    /// Everything is another's to know.
    pub fn clear(&self) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        let mut all = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        take_away(&mut all, key, |_| true);
    }
}

/// These sources do not feed the object any more: it would count among those that do not want fewer replicas for ever.
fn take_away(all: &mut HashMap<String, Source>, key: &Key, these: impl Fn(&str) -> bool) {
    all.retain(|name, source| {
        if these(name) {
            source.objects.remove(key);
        }
        !source.objects.is_empty()
    });
}

impl Source {
    fn note(&mut self, key: &Key, by: usize, wants: Wants, share: f64, now: Timestamp) -> Option<Timestamp> {
        let before = self.objects.get_mut(key).and_then(|fed| fed.wish.take());
        let begins = before.is_none() && wants != Wants::NoFewer;
        let wish = (wants != Wants::NoFewer).then(|| {
            let wish = before.unwrap_or(Wish { since: now, due: None, in_crowd: false });
            let due = (wants == Wants::FewerNow).then(|| wish.due.unwrap_or(now));
            Wish { due, ..wish }
        });
        match self.objects.get_mut(key) {
            Some(known) => *known = Fed { by, wish },
            None => _ = self.objects.insert(key.clone(), Fed { by, wish }),
        }
        if begins && self.objects.len() >= FEWEST {
            self.look_for_a_crowd(share, now);
        }
        let wish = self.objects.get(key)?.wish.as_ref()?;
        let due = wish.due?;
        let own = wish.in_crowd.then(|| due.saturating_add(HOLD).unwrap_or(Timestamp::MAX));
        self.held_until.max(own).filter(|until| *until > now)
    }

    fn look_for_a_crowd(&mut self, share: f64, now: Timestamp) {
        let at_once = |wish: &&mut Wish| now.duration_since(wish.since) <= AT_ONCE;
        let objects = self.objects.len();
        let began = self.wishes().filter(at_once).count();
        #[expect(clippy::cast_precision_loss, reason = "a share of some thousands")]
        if began as f64 <= objects as f64 * share {
            return;
        }
        if self.held_until.is_none_or(|until| until < now) {
            tracing::warn!(
                "{began} of {objects} Autoscalers began to want fewer replicas at once: none is scaled down for {HOLD:#}"
            );
        }
        self.held_until = Some(now.saturating_add(HOLD).unwrap_or(Timestamp::MAX));
        self.wishes().filter(at_once).for_each(|wish| wish.in_crowd = true);
    }

    fn wishes(&mut self) -> impl Iterator<Item = &mut Wish> {
        self.objects.values_mut().filter_map(|fed| fed.wish.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    /// So many objects, of which the first `fewer` want fewer replicas; how many of those are believed.
    fn tick(crowd: &Crowd, objects: usize, fewer: usize, second: i64) -> usize {
        tick_with(crowd, objects, fewer, Wants::FewerNow, second)
    }

    fn tick_with(crowd: &Crowd, objects: usize, fewer: usize, how: Wants, second: i64) -> usize {
        let believed = |place: usize| {
            let key = Key { namespace: "demo".to_owned(), name: format!("w-{place}") };
            let wants = if place < fewer { how } else { Wants::NoFewer };
            crowd.note(&key, &["http://prometheus"], wants, after(second)).is_none()
        };
        // All of them are looked at, whatever the first ones want.
        let all: Vec<bool> = (0..objects).map(believed).collect();
        all.into_iter().take(fewer).filter(|believed| *believed).count()
    }

    #[test]
    fn when_most_begin_to_shrink_at_once_it_is_held_and_after_a_while_believed() {
        let crowd = Crowd::new(0.5);
        assert_eq!(tick(&crowd, 20, 0, 0), 0);
        // The first half goes unnoticed.
        assert_eq!(tick(&crowd, 20, 20, 15), 10);
        assert_eq!(tick(&crowd, 20, 20, 30), 0);
        assert_eq!(tick(&crowd, 20, 20, 300), 0);
        assert_eq!(tick(&crowd, 20, 20, 316), 20);
    }

    #[test]
    fn the_hold_begins_when_the_window_is_over() {
        let crowd = Crowd::new(0.5);
        tick(&crowd, 20, 0, 0);
        for second in (15..315).step_by(15) {
            tick_with(&crowd, 20, 20, Wants::Fewer, second);
        }
        // Nothing was scaled down before it was known, so none goes unnoticed.
        assert_eq!(tick(&crowd, 20, 20, 315), 0);
        assert_eq!(tick(&crowd, 20, 20, 600), 0);
        assert_eq!(tick(&crowd, 20, 20, 615), 20);
    }

    #[test]
    fn what_comes_back_within_the_window_is_forgiven() {
        let crowd = Crowd::new(0.5);
        tick(&crowd, 20, 0, 0);
        tick_with(&crowd, 20, 20, Wants::Fewer, 15);
        tick(&crowd, 20, 0, 60);
        for fewer in 1..=5 {
            assert_eq!(tick(&crowd, 20, fewer, 316 + i64::try_from(fewer).expect("few") * 31), fewer);
        }
    }

    #[test]
    fn a_new_lead_begins_without_suspicion() {
        let crowd = Crowd::new(0.5);
        tick(&crowd, 20, 0, 0);
        tick(&crowd, 20, 20, 15);
        crowd.clear();
        assert_eq!(tick(&crowd, 20, 1, 30), 1);
    }

    #[test]
    fn what_comes_back_meanwhile_was_a_mistake() {
        let crowd = Crowd::new(0.5);
        tick(&crowd, 20, 0, 0);
        tick(&crowd, 20, 20, 15);
        tick(&crowd, 20, 0, 60);
        // One that really shrinks is held as long as the others.
        assert_eq!((tick(&crowd, 20, 1, 75), tick(&crowd, 20, 1, 330)), (0, 1));
    }

    #[test]
    fn load_that_ebbs_away_is_believed() {
        let crowd = Crowd::new(0.5);
        for (step, fewer) in (0..=20).enumerate() {
            let second = i64::try_from(step).expect("few") * 15;
            assert_eq!(tick(&crowd, 20, fewer, second), fewer);
        }
    }

    #[test]
    fn a_few_objects_are_no_crowd_and_those_that_are_gone_do_not_count() {
        let crowd = Crowd::new(0.5);
        tick(&crowd, 9, 0, 0);
        assert_eq!(tick(&crowd, 9, 9, 15), 9);
        let crowd = Crowd::new(0.5);
        tick(&crowd, 20, 0, 0);
        for place in 5..20 {
            crowd.forget(&Key { namespace: "demo".to_owned(), name: format!("w-{place}") });
        }
        assert_eq!(tick(&crowd, 5, 5, 15), 5);
    }

    /// Most are fed by something else now, and the server before loses what it had.
    #[rstest]
    #[case::another(&["http://a"], &["http://b"])]
    #[case::one_of_two(&["http://a", "http://b"], &["http://b"])]
    fn who_gets_another_source_does_not_count_for_the_one_before(#[case] before: &[&str], #[case] after_it: &[&str]) {
        let crowd = Crowd::new(0.5);
        let key = |place: usize| Key { namespace: "demo".to_owned(), name: format!("w-{place}") };
        for place in 0..100 {
            crowd.note(&key(place), before, Wants::NoFewer, after(0));
        }
        for place in 15..100 {
            crowd.note(&key(place), after_it, Wants::NoFewer, after(15));
        }
        let believed = |place: usize| crowd.note(&key(place), before, Wants::FewerNow, after(30)).is_none();
        assert_eq!((0..15).filter(|place| believed(*place)).count(), 7, "the first half goes unnoticed");
        for place in 0..15 {
            crowd.note(&key(place), after_it, Wants::NoFewer, after(45));
        }
        assert_eq!(crowd.sources.lock().expect("a lock").keys().collect::<Vec<_>>(), after_it);
    }

    #[test]
    fn a_share_of_one_switches_it_off() {
        let crowd = Crowd::new(1.0);
        tick(&crowd, 20, 0, 0);
        assert_eq!(tick(&crowd, 20, 20, 15), 20);
    }

    #[test]
    fn one_source_does_not_speak_for_another() {
        let crowd = Crowd::new(0.5);
        tick(&crowd, 20, 0, 0);
        tick(&crowd, 20, 20, 15);
        let key = Key { namespace: "demo".to_owned(), name: "other".to_owned() };
        assert_eq!(crowd.note(&key, &["metrics.k8s.io"], Wants::FewerNow, after(16)), None);
    }
}
