//! Whether too many objects begin to want fewer replicas at once because of the same source.
//!
//! Load that ebbs away does so here and there. When most of what one server feeds wants to shrink within the same
//! half minute, it is more likely that the server has lost something: it was restarted without its data, its
//! discovery broke, its scrapes fail. Then nothing is scaled down by its word for a while; what still wants to shrink
//! after that is believed.

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

#[derive(Default)]
struct Source {
    /// Every object that is fed by it; since when it has wanted fewer replicas, if it does.
    wishes: HashMap<Key, Option<Timestamp>>,
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

    /// Notes whether an object wants fewer replicas now by the word of `sources`, and says why that must not be
    /// believed, if it must not.
    pub fn note(&self, key: &Key, sources: &[&str], wants_fewer: bool, now: Timestamp) -> Option<String> {
        if self.share >= 1.0 {
            return None;
        }
        let mut all = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut why = None;
        for name in sources {
            if !all.contains_key(*name) {
                all.insert((*name).to_owned(), Source::default());
            }
            let Some(source) = all.get_mut(*name) else { continue };
            why = why.or(source.note(key, wants_fewer, self.share, now).map(|said| format!("{name}: {said}")));
        }
        why
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        let mut all = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, source| {
            source.wishes.remove(key);
            !source.wishes.is_empty()
        });
    }
}

impl Source {
    fn note(&mut self, key: &Key, wants_fewer: bool, share: f64, now: Timestamp) -> Option<String> {
        let before = self.wishes.get(key).copied().flatten();
        let wish = wants_fewer.then(|| before.unwrap_or(now));
        match self.wishes.get_mut(key) {
            Some(known) => *known = wish,
            None => {
                self.wishes.insert(key.clone(), wish);
            }
        }
        if !wants_fewer {
            return None;
        }
        if before.is_none() && self.wishes.len() >= FEWEST {
            let at_once = |since: &&Timestamp| now.duration_since(**since) <= AT_ONCE;
            let began = self.wishes.values().flatten().filter(at_once).count();
            #[expect(clippy::cast_precision_loss, reason = "a share of some thousands")]
            let limit = self.wishes.len() as f64 * share;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            if began as f64 > limit {
                if self.held_until.is_none_or(|until| until < now) {
                    tracing::warn!(
                        "{began} of {} Autoscalers began to want fewer replicas at once: none is scaled down for {HOLD:#}",
                        self.wishes.len()
                    );
                }
                self.held_until = Some(now.saturating_add(HOLD).unwrap_or(Timestamp::MAX));
            }
        }
        let until = self.held_until.filter(|until| *until > now)?;
        Some(format!(
            "more than {:.0} % of the Autoscalers that it feeds began to want fewer replicas at once; it is not \
             believed before {until:.0}",
            share * 100.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    /// So many objects, of which the first `fewer` want fewer replicas; how many of those are believed.
    fn tick(crowd: &Crowd, objects: usize, fewer: usize, second: i64) -> usize {
        let believed = |place: usize| {
            let key = Key { namespace: "demo".to_owned(), name: format!("w-{place}") };
            crowd.note(&key, &["http://prometheus"], place < fewer, after(second)).is_none()
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
        assert_eq!(crowd.note(&key, &["metrics.k8s.io"], true, after(16)), None);
    }
}
