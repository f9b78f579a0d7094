//! Somebody else who writes the replica count: named, and backed off from.
//!
//! A count that is not what it was left at was written by somebody. It stands for a while, and each time that
//! the same happens again for twice as long: whoever sets the count every few minutes, as some tools do, soon
//! has the last word, and somebody who set it once does not have it for ever.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Somebody else's hand on the replica count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rivalry {
    /// The field manager.
    pub who: String,
    /// What was changed, last.
    pub from: i32,
    /// To what.
    pub to: i32,
    /// How often.
    pub times: u32,
    /// When it happened last.
    pub at: Timestamp,
    /// Until when nothing is written.
    pub until: Timestamp,
}

/// How long the first time counts.
const FIRST: SignedDuration = SignedDuration::from_mins(1);
/// How long a change counts at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// How long after the last back-off the past is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);

impl Rivalry {
    /// Takes in that `who` changed the count.
    pub fn next(before: Option<&Self>, who: String, from: i32, to: i32, now: Timestamp) -> Self {
        let times = match before {
            Some(before) if before.who == who && !before.is_forgotten(now) => before.times.saturating_add(1),
            _ => 1,
        };
        let wait = FIRST.saturating_mul(1_i32 << (times - 1).min(6)).min(LONGEST);
        let until = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        Self { who, from, to, times, at: now, until }
    }

    /// Whether it is still backed off from.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether it is long past.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        now.duration_since(self.until) >= FORGOTTEN
    }

    /// In a sentence, which does not change while nothing does.
    pub fn message(&self) -> String {
        let Self { who, from, to, times, until, .. } = self;
        let how_often = if *times == 1 { String::new() } else { format!(", for the {times}th time") };
        format!(
            "{who} set the replica count from {from} to {to}{how_often}; it is left alone until {}. Keep spec.replicas \
             out of what {who} applies, or delete the Autoscaler",
            until.round(jiff::Unit::Second).unwrap_or(*until)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn who_insists_is_left_alone_for_twice_as_long_each_time() {
        let mut rivalry = Rivalry::next(None, "argocd".to_owned(), 3, 1, NOW);
        let mut now = NOW;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(rivalry.until.duration_since(now), SignedDuration::from_mins(minutes));
            assert!(rivalry.holds(now) && !rivalry.holds(rivalry.until));
            now = rivalry.until;
            rivalry = Rivalry::next(Some(&rivalry), "argocd".to_owned(), 3, 1, now);
        }
    }

    #[test]
    fn another_hand_and_one_long_ago_begin_anew() {
        let first = Rivalry::next(None, "argocd".to_owned(), 3, 1, NOW);
        assert_eq!(Rivalry::next(Some(&first), "kubectl".to_owned(), 3, 1, after(90)).times, 1);
        assert_eq!(Rivalry::next(Some(&first), "argocd".to_owned(), 3, 1, after(90)).times, 2);
        assert_eq!(Rivalry::next(Some(&first), "argocd".to_owned(), 3, 1, after(3661)).times, 1);
    }
}
