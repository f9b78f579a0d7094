//! When an object is looked at: every interval, at a phase of its own.
//!
//! The phase is a hash of what is asked, so that equal questions fall together (and are asked once),
//! while different ones spread over the interval.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// The phase of a question, within the interval.
pub fn phase(server: &str, query: &str, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    (server, query, interval).hash(&mut hasher);
    Duration::from_millis(hasher.finish() % milliseconds(interval))
}

/// The first tick after `now`.
pub fn next_tick(now: Timestamp, interval: Duration, phase: Duration) -> Timestamp {
    let interval = i64::try_from(milliseconds(interval)).unwrap_or(i64::MAX);
    let phase = i64::try_from(phase.as_millis()).unwrap_or(0);
    let since = (now.as_millisecond() - phase).rem_euclid(interval);
    now.saturating_add(SignedDuration::from_millis(interval - since)).unwrap_or(Timestamp::MAX)
}

fn milliseconds(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_questions_fall_together_and_different_ones_spread() {
        let interval = Duration::from_secs(15);
        let of = |query: &str| phase("http://prometheus", query, interval);
        assert_eq!(of("sum(a)"), of("sum(a)"));
        let phases: std::collections::BTreeSet<_> = (0..100).map(|n| of(&format!("sum(a{n})"))).collect();
        assert!(phases.len() > 90, "{} different phases of 100", phases.len());
    }

    proptest! {
        #[test]
        fn the_next_tick_is_within_one_interval_and_ticks_are_one_apart(
            seconds in 0..4_000_000_000_i64, interval in 1_000..300_000_u64, phase in 0..300_000_u64,
        ) {
            let (interval, phase) = (Duration::from_millis(interval), Duration::from_millis(phase % interval));
            let now = Timestamp::from_second(seconds).expect("in range");
            let next = next_tick(now, interval, phase);
            prop_assert!(next > now && next.duration_since(now) <= SignedDuration::try_from(interval).expect("short"));
            let after = next_tick(next, interval, phase);
            prop_assert_eq!(after.duration_since(next), SignedDuration::try_from(interval).expect("short"));
        }
    }
}
