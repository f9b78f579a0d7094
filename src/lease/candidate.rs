//! One replica that stands for election, as a machine without a clock or a network: it says what to ask the API
//! server next, is told what came of it, and knows until when it may act.

use std::time::Duration;

use jiff::Timestamp;

use super::{Decision, Observed, Record, Terms, decide};

/// An instant on both clocks of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock. It stands still while the machine is suspended.
    pub monotonic: Duration,
    /// The wall clock. It jumps.
    pub wall: Timestamp,
}

/// How far the two clocks may part before neither is believed.
const DISCORD: Duration = Duration::from_secs(1);

/// The right to act, from one successful write of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// When that write was *sent*: nobody can have seen the record before.
    pub sent: Moment,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Grant {
    /// Whether the right still holds.
    ///
    /// It ends [`Terms::renew_deadline`] after the write was sent, before anybody else may take the lease. It is
    /// in doubt, and so does not hold, when the clocks disagree about how long ago that was: after a suspension
    /// the monotonic clock says too little. A step of the wall clock looks the same, and costs a pause until the
    /// next renewal.
    pub fn holds(&self, now: Moment) -> bool {
        let elapsed = now.monotonic.saturating_sub(self.sent.monotonic);
        let by_the_wall = now.wall.duration_since(self.sent.wall);
        let agree = Duration::try_from(by_the_wall).is_ok_and(|wall| wall.abs_diff(elapsed) <= DISCORD)
            || by_the_wall.unsigned_abs() + elapsed <= DISCORD;
        elapsed < self.lasts && agree
    }

    /// How long it still lasts by the monotonic clock.
    pub fn left(&self, now: Moment) -> Duration {
        self.lasts.saturating_sub(now.monotonic.saturating_sub(self.sent.monotonic))
    }
}

/// What to ask the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the lease.
    Read,
    /// Write this record, provided that the lease is still of this version (`None`: that there is none).
    Write {
        /// What to write.
        record: Record,
        /// The version that it was decided on.
        version: Option<String>,
    },
    /// Nothing, for [`Terms::retry`].
    Wait,
}

/// What the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a read: there is no lease.
    Absent,
    /// To a read: the lease.
    Found(Record, String),
    /// To a write: done, and this is now the version.
    Written(Record, String),
    /// To a write: somebody else was faster.
    Conflict,
    /// No answer, or an error: whether a write was carried out is not known.
    Failed,
}

/// What may be decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing: it is to be read first.
    Nothing,
    /// There is no lease.
    Absence,
    /// The lease of this version.
    Version(String),
}

/// A replica that stands for election.
#[derive(Clone, Debug)]
pub struct Candidate {
    identity: String,
    terms: Terms,
    observed: Option<Observed>,
    known: Known,
    grant: Option<Grant>,
}

impl Candidate {
    /// A candidate that knows nothing. `identity` must not be that of any other, an earlier one included: what
    /// was granted to another process is not granted to this one.
    pub fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, observed: None, known: Known::Nothing, grant: None }
    }

    /// The right to act, if there is one. See [`Grant::holds`].
    pub fn grant(&self) -> Option<Grant> {
        self.grant
    }

    /// Who held the lease when it was last seen.
    pub fn holder(&self) -> Option<&str> {
        self.observed.as_ref()?.record.holder.as_deref().filter(|holder| !holder.is_empty())
    }

    /// What to ask now. A holder writes without reading: the version tells whether anybody was in between.
    pub fn ask(&mut self, now: Moment) -> Ask {
        let version = match &self.known {
            Known::Nothing => return Ask::Read,
            Known::Absence => None,
            Known::Version(version) => Some(version.clone()),
        };
        match decide(&self.identity, self.terms, self.observed.as_ref(), now.monotonic, now.wall) {
            Decision::Acquire(record) | Decision::Renew(record) => Ask::Write { record, version },
            Decision::Yield { .. } => {
                self.known = Known::Nothing;
                Ask::Wait
            }
        }
    }

    /// Takes in the answer to what was asked at `sent`.
    pub fn answered(&mut self, answer: Answer, sent: Moment, now: Moment) {
        match answer {
            Answer::Absent => {
                (self.observed, self.known, self.grant) = (None, Known::Absence, None);
            }
            Answer::Found(record, version) => {
                self.see(record, version, now);
                if self.holder() != Some(self.identity.as_str()) {
                    self.grant = None;
                }
            }
            Answer::Written(record, version) => {
                self.see(record, version, now);
                let ours = self.holder() == Some(self.identity.as_str());
                self.grant = ours.then_some(Grant { sent, lasts: self.terms.renew_deadline });
            }
            // An earlier write of ours may have been carried out unheard; what is granted still holds.
            Answer::Conflict | Answer::Failed => self.known = Known::Nothing,
        }
    }

    /// Gives the lease back: nothing is granted from now on, and the next may begin as soon as this is written.
    /// `None` where it is not ours, or not known to be.
    pub fn release(&mut self, wall: Timestamp) -> Option<Ask> {
        let held = self.grant.take().is_some();
        let record = &self.observed.as_ref()?.record;
        let Known::Version(version) = std::mem::replace(&mut self.known, Known::Nothing) else { return None };
        if !held || record.holder.as_deref() != Some(self.identity.as_str()) {
            return None;
        }
        // As client-go writes it: nobody, for a second.
        let record = Record { holder: None, renewed: Some(wall), duration: Duration::from_secs(1), ..record.clone() };
        Some(Ask::Write { record, version: Some(version) })
    }

    fn see(&mut self, record: Record, version: String, now: Moment) {
        self.observed = Some(match self.observed.take() {
            Some(observed) => observed.next(record, now.monotonic),
            None => Observed { record, since: now.monotonic },
        });
        self.known = Known::Version(version);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const TERMS: Terms = Terms {
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn at(second: u64) -> Moment {
        let wall = Timestamp::constant(1_800_000_000, 0) + SignedDuration::from_secs(second.try_into().unwrap());
        Moment { monotonic: Duration::from_secs(second), wall }
    }

    /// A candidate that took a free lease at second 0.
    fn holder() -> Candidate {
        let mut candidate = Candidate::new("me".to_owned(), TERMS);
        assert_eq!(candidate.ask(at(0)), Ask::Read);
        candidate.answered(Answer::Absent, at(0), at(0));
        let Ask::Write { record, version: None } = candidate.ask(at(0)) else { panic!("it is free") };
        candidate.answered(Answer::Written(record, "1".to_owned()), at(0), at(1));
        candidate
    }

    #[test]
    fn a_grant_counts_from_when_it_was_asked_for_and_ends_at_the_deadline() {
        let grant = holder().grant().expect("it was written");
        assert!(grant.holds(at(9)) && !grant.holds(at(10)));
        assert_eq!(grant.left(at(4)), Duration::from_secs(6));
    }

    #[test]
    fn a_grant_does_not_hold_while_the_clocks_disagree() {
        let grant = holder().grant().expect("it was written");
        let suspended = Moment { wall: at(60).wall, ..at(1) };
        let stepped_back = Moment { wall: at(0).wall - SignedDuration::from_secs(3600), ..at(1) };
        assert!(!grant.holds(suspended) && !grant.holds(stepped_back));
    }

    #[test]
    fn a_holder_renews_without_reading() {
        let mut candidate = holder();
        assert!(matches!(candidate.ask(at(2)), Ask::Write { version: Some(version), .. } if version == "1"));
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_found_by_reading() {
        let mut candidate = Candidate::new("me".to_owned(), TERMS);
        candidate.answered(Answer::Absent, at(0), at(0));
        let Ask::Write { record, .. } = candidate.ask(at(0)) else { panic!("it is free") };
        candidate.answered(Answer::Failed, at(0), at(4));
        assert_eq!((candidate.grant(), candidate.ask(at(4))), (None, Ask::Read));
        candidate.answered(Answer::Found(record, "1".to_owned()), at(4), at(4));
        assert_eq!(candidate.grant(), None, "it is ours, but since when is not known");
        assert!(matches!(candidate.ask(at(4)), Ask::Write { .. }));
    }

    #[test]
    fn another_holder_ends_the_grant() {
        let mut candidate = holder();
        candidate.answered(Answer::Conflict, at(2), at(2));
        assert!(candidate.grant().is_some(), "perhaps it was a write of our own");
        let other = Record {
            holder: Some("other".to_owned()),
            acquired: None,
            renewed: None,
            transitions: 1,
            duration: TERMS.duration,
        };
        candidate.answered(Answer::Found(other, "3".to_owned()), at(3), at(3));
        assert_eq!((candidate.grant(), candidate.ask(at(3)), candidate.holder()), (None, Ask::Wait, Some("other")));
    }

    #[test]
    fn what_is_given_back_is_free_at_once() {
        let mut candidate = holder();
        let Some(Ask::Write { record, .. }) = candidate.release(at(3).wall) else { panic!("it is ours") };
        assert_eq!((candidate.grant(), record.holder.as_deref()), (None, None));
        let mut next = Candidate::new("next".to_owned(), TERMS);
        next.answered(Answer::Found(record, "2".to_owned()), at(3), at(3));
        assert!(matches!(next.ask(at(3)), Ask::Write { .. }));
        assert_eq!(candidate.release(at(3).wall), None, "only once");
    }
}
