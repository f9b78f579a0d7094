//! How long a run may take the lock for its own.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::{
    Installer,
    lock::{TERMS, wall},
};

/// When the question was sent by whose answer the lock was last known to be ours: nobody else can have taken it before.
///
/// On two clocks: one goes on while the process is stopped, and not while the machine sleeps; the other one goes on then too,
/// and may be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewed {
    steady: Instant,
    wall: Timestamp,
}

impl Renewed {
    pub(super) fn now() -> Self {
        Self { steady: Instant::now(), wall: wall() }
    }

    /// How long ago that is at `now`, by the clock that says more: where it says too much, that costs a pause until the next
    /// renewal.
    pub(super) fn age(self, now: Self) -> Duration {
        let by_the_wall = Duration::try_from(now.wall.duration_since(self.wall)).unwrap_or_default();
        now.steady.duration_since(self.steady).max(by_the_wall)
    }

    /// Whether nobody else can have taken the lock yet.
    fn holds(&self) -> bool {
        self.age(Self::now()) < TERMS.renew_deadline
    }
}

impl Installer<'_> {
    /// Waits until it is known that the lock, where one is held, is held still. Where it is not known when time is up that is
    /// `false`, and nothing may be sent.
    pub(super) async fn until_sure(&self) -> bool {
        let mut renewed = self.renewed.subscribe();
        // After a stop that outlasted the deadline one renewal tells yet whose the lock is.
        let patience = self.deadline.max(Instant::now() + TERMS.retry * 2);
        let known = renewed.wait_for(|renewed| renewed.as_ref().is_none_or(Renewed::holds));
        timeout_at(patience, known).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_happened(3, 3, 3)]
    #[case::the_machine_slept(3, 60, 60)]
    #[case::the_wall_clock_was_set_back(30, -3600, 30)]
    #[tokio::test(start_paused = true)]
    async fn the_clock_that_says_more_is_believed(#[case] steady: u64, #[case] wall: i64, #[case] age: u64) {
        let then = Renewed::now();
        let now = Renewed {
            steady: then.steady + Duration::from_secs(steady),
            wall: then.wall + SignedDuration::from_secs(wall),
        };
        assert_eq!(then.age(now), Duration::from_secs(age));
    }
}
