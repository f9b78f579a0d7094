//! The controller's clocks: one that never goes back and never jumps, and the one on the wall.
//!
//! What is waited for is measured by the steady one: a step of the wall clock must neither empty a window nor stretch it.
//! Schedules, ages of pods and what is told are by the wall clock, as it is: after a step too.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{autoscaling::decision::Memory, lease::Moment};

/// By less than this the clocks may differ from what they differed by before: slow corrections are no steps, and times
/// that are told must not tremble.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
    /// By how many seconds the wall clock was set forward: told time has no wall clock of its own.
    #[cfg(test)]
    stepped: &'static std::sync::atomic::AtomicI64,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the edge: everything else is told the time")]
    pub fn start() -> Self {
        Self {
            wall: Timestamp::now(),
            started: Instant::now(),
            #[cfg(test)]
            stepped: Box::leak(Box::default()),
        }
    }

    /// Now, by the steady clock: wall time at the start, and from there on monotonic.
    pub fn now(self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Now, by the clock on the wall.
    #[cfg(not(test))]
    #[expect(clippy::disallowed_methods, clippy::unused_self, reason = "the edge; in tests it is told")]
    pub fn wall(self) -> Timestamp {
        Timestamp::now()
    }

    /// Now, by the clock on the wall.
    #[cfg(test)]
    pub fn wall(self) -> Timestamp {
        self.now() + SignedDuration::from_secs(self.stepped.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Sets the wall clock forward by so many seconds, or back.
    #[cfg(test)]
    pub fn step(self, seconds: i64) {
        self.stepped.fetch_add(seconds, std::sync::atomic::Ordering::Relaxed);
    }
}

/// By how much the wall clock is ahead of the steady one, as far as one object has noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead(Option<SignedDuration>);

impl Ahead {
    /// What is remembered is as old by the wall clock as it is.
    pub fn noticed(clock: Clock) -> Self {
        Self(Some(clock.wall().duration_since(clock.now())))
    }

    /// The time by the wall clock. When that was set since, what is remembered moves with it, and so stays as old as it is.
    pub fn now(&mut self, clock: Clock, memory: &mut Memory) -> Timestamp {
        let (steady, wall) = (clock.now(), clock.wall());
        let ahead = wall.duration_since(steady);
        let known = self.0.get_or_insert(ahead);
        let step = ahead.saturating_sub(*known);
        if step.abs() >= STEP {
            memory.shift(step);
            *known = ahead;
        }
        self.of(steady)
    }

    /// A steady time by the wall clock.
    pub fn of(self, steady: Timestamp) -> Timestamp {
        steady.saturating_add(self.0.unwrap_or_default()).unwrap_or(steady)
    }
}

impl Clock {
    /// Both clocks as they are, for a lease: whether they agree is a question of its own.
    #[expect(clippy::disallowed_methods, reason = "the edge")]
    pub fn moment(self) -> Moment {
        Moment { monotonic: self.started.elapsed(), wall: Timestamp::now() }
    }
}

/// How long until `then`; zero if it is past.
pub fn until(then: Timestamp, now: Timestamp) -> Duration {
    then.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}
