//! When an object is looked at: every interval, at a phase of its own.
//!
//! The phase is a hash of what is asked, so that equal questions fall together (and are asked once),
//! while different ones spread over the interval. And how often its status is written for what it reads alone.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::Key;

/// About how many statuses a second may be written in which only readings are other ones: a value that moves would else be a write at
/// each look, and ten thousand of them more than a core of the API server.
const READINGS_A_SECOND: u64 = 20;

/// The phase of a question, within the interval.
pub fn phase(server: &str, query: &str, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    (server, query, interval).hash(&mut hasher);
    Duration::from_millis(hasher.finish() % milliseconds(interval))
}

/// How long the status of one of so many objects stays as it is while only its readings are other ones: as many seconds as keep
/// all of them to about [`READINGS_A_SECOND`], up to half as long more or less by the object. What was made at once, or was told
/// at once when a controller began, would else be written at once again and again.
pub fn pace(key: &Key, objects: usize) -> SignedDuration {
    let whole =
        Duration::from_millis(u64::try_from(objects).unwrap_or(u64::MAX).saturating_mul(1000) / READINGS_A_SECOND);
    let pace = whole / 2 + phase(&key.namespace, &key.name, whole);
    SignedDuration::try_from(pace).unwrap_or(SignedDuration::MAX)
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

    #[test]
    fn what_moves_is_written_twenty_times_a_second_whoever_was_made_with_whom() {
        let paces = |objects: usize| {
            let key = |n| Key::new("demo", &format!("w-{n}"));
            (0..objects).map(move |n| pace(&key(n), objects).as_secs_f64())
        };
        assert!(paces(200).all(|pace| pace <= 15.0), "each look is written");
        let (least, most) =
            paces(10_000).fold((f64::MAX, 0.0_f64), |(least, most), pace| (least.min(pace), most.max(pace)));
        assert!((250.0..260.0).contains(&least) && (740.0..750.0).contains(&most), "{least} to {most}");
        let a_second: f64 = paces(10_000).map(f64::recip).sum();
        assert!((20.0..24.0).contains(&a_second), "{a_second} a second");
        // Made in the same second, they are not due again in the same ten.
        let mut due: Vec<f64> = paces(10_000).collect();
        due.sort_by(f64::total_cmp);
        assert!(due.windows(300).all(|of| of[299] - of[0] > 10.0));
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
