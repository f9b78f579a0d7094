//! How long to leave alone what did not answer.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::answer::{Answer, Cause};

/// What a wait is measured by where it is nobody's own.
pub const USUAL_INTERVAL: Duration = Duration::from_secs(15);
/// The longest time that something is left alone.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Something that did not answer, so many times in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// How often.
    pub failures: u32,
    /// Until when it is left alone.
    pub until: Timestamp,
    /// Why.
    pub cause: Cause,
}

impl Backoff {
    /// It did not answer once more.
    pub fn next(before: Option<&Self>, cause: Cause, interval: Duration, now: Timestamp) -> Self {
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let wait = SignedDuration::try_from(wait(failures, interval, fastrand::f64())).unwrap_or_default();
        Self { failures, until: now.saturating_add(wait).unwrap_or(Timestamp::MAX), cause }
    }

    /// What whoever asks meanwhile is told.
    pub fn answer(&self) -> Answer {
        Answer::LeftAlone { cause: self.cause.clone(), until: self.until }
    }
}

/// Held by whoever tries whether a server answers again.
pub type Trial = Arc<()>;

/// Who comes while another one tries comes again between one and two of these later: the server may take that long to say no.
const WHILE_TRIED: SignedDuration = SignedDuration::from_secs(4);

/// A server that does not answer anything.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Until when it is left alone, and why.
    pub backoff: Backoff,
    /// It did not accept connections, or said at once that it does not serve: to look again costs it nothing.
    pub at_once: bool,
    /// When it was last looked whether it is back.
    pub looked_at: Timestamp,
    trial: Weak<()>,
}

impl Outage {
    /// It did not answer, as was found just now.
    pub fn of(backoff: Backoff, at_once: bool, now: Timestamp) -> Self {
        Self { backoff, at_once, looked_at: now, trial: Weak::new() }
    }

    /// Lets one question through when the wait is over.
    ///
    /// # Errors
    ///
    /// What everybody else is told, with a time of his own to come again.
    pub fn may_try(&mut self, now: Timestamp) -> Result<Trial, Answer> {
        if self.backoff.until > now {
            return Err(self.backoff.answer());
        }
        if self.trial.strong_count() > 0 {
            let wait = WHILE_TRIED.as_secs_f64() * (1.0 + fastrand::f64());
            let until = now.saturating_add(SignedDuration::from_secs_f64(wait)).unwrap_or(Timestamp::MAX);
            return Err(Backoff { until, ..self.backoff.clone() }.answer());
        }
        let trial = Trial::default();
        self.trial = Arc::downgrade(&trial);
        Ok(trial)
    }
}

/// How long to wait after so many failures: exponential with full jitter, one interval at least, 5 minutes
/// at most. `jitter` is between 0 and 1.
fn wait(failures: u32, interval: Duration, jitter: f64) -> Duration {
    let ceiling = interval.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT);
    ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(interval).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::shortest(1, 0.0, 15)]
    #[case::first(1, 1.0, 30)]
    #[case::second(2, 1.0, 60)]
    #[case::half_of_the_third(3, 0.5, 60)]
    #[case::longest(30, 1.0, 300)]
    fn the_wait_doubles_between_one_interval_and_five_minutes(
        #[case] failures: u32,
        #[case] jitter: f64,
        #[case] seconds: u64,
    ) {
        assert_eq!(wait(failures, USUAL_INTERVAL, jitter), Duration::from_secs(seconds));
    }
}
