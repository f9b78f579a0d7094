//! Whether too many objects begin to want fewer replicas at once because of the same source.
//!
//! Load that ebbs away does so here and there. When most of what one server feeds wants to shrink within the same
//! half minute, it is more likely that the server has lost something: it was restarted without its data, its
//! discovery broke, its scrapes fail. Then nothing is scaled down by its word for a while; what still wants to shrink
//! after that is believed.
//!
//! A wish is noticed at a look, and may have begun at any time since the look before. So wishes began at once if there is
//! a moment at which each of them can have begun: what is looked at every five minutes is given five minutes to show,
//! and what is looked at every 15 seconds is not lumped together with it for as long.
//!
//! A wish that nobody carries out (`mode: Recommend`, at the minimum) says as much as another when it begins. It never ends,
//! though, so it could not begin again: it counts while it is new, and its object as long as it has none.
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

/// How long before it was noticed a wish can have begun, at least: two ticks of the usual interval.
const UNNOTICED: SignedDuration = SignedDuration::from_secs(30);
/// By how much more than an interval that may be: what a source loses does not show in all queries in the same instant.
const SLACK: SignedDuration = SignedDuration::from_secs(15);
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

/// What a look at an object found.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What it wants.
    pub wants: Wants,
    /// That it wants fewer replicas changes nothing, for however long it does: nobody carries it out.
    pub in_vain: bool,
    /// How often it is looked at.
    pub interval: SignedDuration,
}

struct Wish {
    /// When it was first seen.
    noticed: Timestamp,
    /// It did not begin earlier than that.
    not_before: Timestamp,
    /// When its window was over.
    due: Option<Timestamp>,
    /// It began together with too many others.
    in_crowd: bool,
}

/// An object that a source feeds.
struct Fed {
    /// By how many sources it is fed in all.
    by: usize,
    /// See [`Look::in_vain`].
    in_vain: bool,
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

    /// Notes what a look found by the word of `sources`, and says until when that must not be believed, if it must
    /// not, and which source it is.
    pub fn note<'a>(&self, key: &Key, sources: &[&'a str], look: Look, now: Timestamp) -> Option<(&'a str, Timestamp)> {
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
            let until = source.note(key, by, look, self.share, now);
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

    /// An object is gone, or cannot want fewer replicas as it is.
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
    fn note(&mut self, key: &Key, by: usize, look: Look, share: f64, now: Timestamp) -> Option<Timestamp> {
        let Look { wants, in_vain, interval } = look;
        let before = self.objects.get_mut(key).and_then(|fed| fed.wish.take());
        let begins = before.is_none() && wants != Wants::NoFewer;
        let unnoticed = UNNOTICED.max(interval.saturating_add(SLACK));
        let not_before = now.saturating_sub(unnoticed).unwrap_or(Timestamp::MIN);
        let wish = (wants != Wants::NoFewer).then(|| {
            let wish = before.unwrap_or(Wish { noticed: now, not_before, due: None, in_crowd: false });
            let due = (wants == Wants::FewerNow).then(|| wish.due.unwrap_or(now));
            Wish { due, ..wish }
        });
        match self.objects.get_mut(key) {
            Some(known) => *known = Fed { by, in_vain, wish },
            None => _ = self.objects.insert(key.clone(), Fed { by, in_vain, wish }),
        }
        if begins {
            self.look_for_a_crowd(share, not_before, now);
        }
        let wish = self.objects.get(key)?.wish.as_ref()?;
        let due = wish.due?;
        let own = wish.in_crowd.then(|| due.saturating_add(HOLD).unwrap_or(Timestamp::MAX));
        self.held_until.max(own).filter(|until| *until > now)
    }

    /// Whether too many wishes began together with one that is noticed now.
    fn look_for_a_crowd(&mut self, share: f64, not_before: Timestamp, now: Timestamp) {
        let second = |at: Timestamp| usize::try_from(at.duration_since(not_before).as_secs()).unwrap_or(0);
        let last = second(now);
        let span = |wish: &Wish| {
            let can = wish.noticed >= not_before;
            can.then(|| (second(wish.not_before).min(last), second(wish.noticed).min(last)))
        };
        // By second: how many more wishes can have begun in it than in the one before.
        let mut more = vec![0_i32; last + 2];
        for (first, last) in self.wishes().filter_map(|wish| span(wish)) {
            more[first] += 1;
            more[last + 1] -= 1;
        }
        let (mut began, mut moment, mut in_second) = (0, 0, 0);
        for (second, more) in more.iter().enumerate() {
            in_second += more;
            if in_second > began {
                (began, moment) = (in_second, second);
            }
        }
        let began_then = |wish: &Wish| span(wish).is_some_and(|(first, last)| (first..=last).contains(&moment));
        let counts = |fed: &&Fed| !fed.in_vain || fed.wish.as_ref().is_none_or(began_then);
        let objects = self.objects.values().filter(counts).count();
        #[expect(clippy::cast_precision_loss, reason = "a share of some thousands")]
        if objects < FEWEST || f64::from(began) <= objects as f64 * share {
            return;
        }
        if self.held_until.is_none_or(|until| until < now) {
            tracing::warn!(
                "{began} of {objects} Autoscalers began to want fewer replicas at once: none is scaled down for {HOLD:#}"
            );
        }
        self.held_until = Some(now.saturating_add(HOLD).unwrap_or(Timestamp::MAX));
        self.wishes().filter(|wish| began_then(wish)).for_each(|wish| wish.in_crowd = true);
    }

    fn wishes(&mut self) -> impl Iterator<Item = &mut Wish> {
        self.objects.values_mut().filter_map(|fed| fed.wish.as_mut())
    }
}

#[cfg(test)]
#[path = "tests/crowd.rs"]
mod tests;
