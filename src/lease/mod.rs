//! Who may: one holder of a Lease at a time. The install lock and leader election are the same thing.
//!
//! The algorithm is client-go's (`tools/leaderelection`): a lease is expired when its record has not changed for
//! its whole duration *as observed here*, on a clock that only goes forward. Clocks of different machines are
//! never compared. [`decide`] is pure: the caller reads, asks, and writes with the resource version it has read,
//! so that of two that decide to take the lease only one succeeds.
//!
//! A [`Candidate`] is one replica that stands for election: what to ask next, and until when it may act.

mod candidate;
#[cfg(test)]
mod model;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

pub use candidate::{Answer, Ask, Candidate, Grant, Moment};

/// How long a lease holds, and how it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A holder that has not renewed for this long has lost the lease.
    pub duration: Duration,
    /// A holder that could not renew for this long must stop by itself; shorter than `duration`, so that it stops
    /// before anybody else may begin.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

/// A lease as it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` when it was released.
    pub holder: Option<String>,
    /// When that holder took it, by the holder's clock: for messages only.
    pub acquired: Option<Timestamp>,
    /// When it was last renewed, by the holder's clock: compared for equality only.
    pub renewed: Option<Timestamp>,
    /// How often it changed hands.
    pub transitions: i32,
    /// How long it holds, as its holder wrote it.
    pub duration: Duration,
}

/// The last change of a record that was seen here, and when that was on this machine's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The record.
    pub record: Record,
    /// When it was first seen as it is, on the observer's own clock.
    pub since: Duration,
}

impl Observed {
    /// Takes in what was read at `now`: an unchanged record keeps the time at which it was first seen.
    #[must_use]
    pub fn next(self, record: Record, now: Duration) -> Self {
        if self.record == record { self } else { Self { record, since: now } }
    }
}

/// What to do about a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nobody holds it, or its holder is gone: write this record.
    Acquire(Record),
    /// It is ours: write this record.
    Renew(Record),
    /// It is somebody else's.
    Yield {
        /// Whose.
        holder: String,
        /// Since when, by the holder's clock.
        since: Option<Timestamp>,
        /// How long from now it may be taken, if it does not change until then.
        expires_in: Duration,
    },
}

/// Decides what `identity` does about a lease that was read as `observed` (`None` when there is none).
///
/// `now` is on the observer's monotonic clock, `wall` is what is written into the record.
pub fn decide(identity: &str, terms: Terms, observed: Option<&Observed>, now: Duration, wall: Timestamp) -> Decision {
    let taken = |transitions: i32| Record {
        holder: Some(identity.to_owned()),
        acquired: Some(wall),
        renewed: Some(wall),
        transitions,
        duration: terms.duration,
    };
    let Some(Observed { record, since }) = observed else { return Decision::Acquire(taken(0)) };
    let Some(holder) = record.holder.as_deref().filter(|holder| !holder.is_empty()) else {
        return Decision::Acquire(taken(record.transitions.saturating_add(1)));
    };
    if holder == identity {
        return Decision::Renew(Record { renewed: Some(wall), duration: terms.duration, ..record.clone() });
    }
    // A record that promises longer than we do is believed: its holder may be of another version.
    let expires_at = since.saturating_add(record.duration.max(terms.duration));
    if now >= expires_at {
        return Decision::Acquire(taken(record.transitions.saturating_add(1)));
    }
    Decision::Yield { holder: holder.to_owned(), since: record.acquired, expires_in: expires_at.saturating_sub(now) }
}

impl From<&LeaseSpec> for Record {
    fn from(spec: &LeaseSpec) -> Self {
        Self {
            holder: spec.holder_identity.clone(),
            acquired: spec.acquire_time.as_ref().map(|time| time.0),
            renewed: spec.renew_time.as_ref().map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or(0),
            duration: Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0)),
        }
    }
}

impl From<Record> for LeaseSpec {
    fn from(record: Record) -> Self {
        Self {
            holder_identity: record.holder,
            acquire_time: record.acquired.map(MicroTime),
            renew_time: record.renewed.map(MicroTime),
            lease_transitions: Some(record.transitions),
            lease_duration_seconds: Some(i32::try_from(record.duration.as_secs()).unwrap_or(i32::MAX)),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms {
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held_by(holder: &str, renewed: i64) -> Record {
        Record {
            holder: Some(holder.to_owned()),
            acquired: Some(wall(0)),
            renewed: Some(wall(renewed)),
            transitions: 3,
            duration: TERMS.duration,
        }
    }

    fn seen(record: Record, since: u64) -> Observed {
        Observed { record, since: Duration::from_secs(since) }
    }

    fn at(observed: Option<&Observed>, now: u64) -> Decision {
        decide("me", TERMS, observed, Duration::from_secs(now), wall(1000))
    }

    #[test]
    fn what_nobody_holds_is_taken() {
        assert!(matches!(at(None, 0), Decision::Acquire(Record { transitions: 0, .. })));
        let released = Record { holder: None, ..held_by("x", 0) };
        assert!(matches!(at(Some(&seen(released, 0)), 0), Decision::Acquire(Record { transitions: 4, .. })));
    }

    #[test]
    fn what_is_ours_is_renewed_and_keeps_its_beginning() {
        let Decision::Renew(record) = at(Some(&seen(held_by("me", 1), 0)), 1) else { panic!() };
        assert_eq!((record.acquired, record.renewed, record.transitions), (Some(wall(0)), Some(wall(1000)), 3));
    }

    #[test]
    fn somebody_elses_is_taken_only_after_it_has_not_changed_for_its_whole_duration() {
        let observed = seen(held_by("other", 1), 100);
        assert_eq!(
            at(Some(&observed), 114),
            Decision::Yield { holder: "other".to_owned(), since: Some(wall(0)), expires_in: Duration::from_secs(1) }
        );
        assert!(matches!(at(Some(&observed), 115), Decision::Acquire(_)));
    }

    #[test]
    fn a_renewal_that_is_seen_starts_the_time_anew() {
        let observed = seen(held_by("other", 1), 100).next(held_by("other", 2), Duration::from_secs(110));
        assert!(matches!(at(Some(&observed), 124), Decision::Yield { .. }));
        let unchanged = observed.clone().next(held_by("other", 2), Duration::from_secs(120));
        assert_eq!(unchanged, observed);
    }

    #[test]
    fn a_longer_promise_is_believed() {
        let long = Record { duration: Duration::from_secs(60), ..held_by("other", 1) };
        assert!(matches!(at(Some(&seen(long, 0)), 59), Decision::Yield { .. }));
    }

    proptest! {
        /// The clock of another machine decides nothing: only what was observed here does.
        #[test]
        fn the_holders_clock_does_not_matter(renewed in -1_000_000i64..1_000_000, now in 0u64..15) {
            let decision = at(Some(&seen(held_by("other", renewed), 0)), now);
            let yielded = matches!(decision, Decision::Yield { .. });
            prop_assert!(yielded);
        }

        #[test]
        fn a_record_survives_the_lease(renewed in 0i64..1_000_000, transitions in 0i32..1000) {
            let record = Record { transitions, ..held_by("x", renewed) };
            prop_assert_eq!(Record::from(&LeaseSpec::from(record.clone())), record);
        }
    }
}
