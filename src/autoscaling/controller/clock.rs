//! The controller's clock: it never goes back and never jumps.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::lease::Moment;

/// Wall time at the start, and from there on monotonic: a step of the wall clock must neither empty a
/// window nor stretch it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the edge: everything else is told the time")]
    pub fn start() -> Self {
        Self { wall: Timestamp::now(), started: Instant::now() }
    }

    /// Now.
    pub fn now(self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
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
