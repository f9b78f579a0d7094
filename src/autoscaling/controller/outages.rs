//! The metrics APIs that do not answer: left alone for a while, which grows, rather than asked at every look.
//!
//! That what serves an API is not there (503, no connection) is about the API: nobody asks it meanwhile. Anything else,
//! a question that is not answered in time or one that an adapter fails at, is about that question: an adapter asks
//! another source for each. What was said last is what is told meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Clock,
    answer::Cause,
    backoff::{Backoff, USUAL_INTERVAL},
};
use crate::metrics::Error;

/// How long after its end a wait is remembered, for the next one to be longer.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// An API, and what of it; `None` is all of it.
type Place = (&'static str, Option<String>);

/// What does not answer.
pub struct Outages {
    clock: Clock,
    known: Mutex<HashMap<Place, (Error, Backoff)>>,
}

impl Outages {
    /// Everything answers.
    pub fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// The answer of `api` to `question`, unless it is left alone: then what it said last.
    ///
    /// # Errors
    ///
    /// Those of the answer.
    pub async fn ask<T>(
        &self,
        api: &'static str,
        question: String,
        interval: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = self.clock.now();
        let (all, one) = ((api, None), (api, Some(question)));
        {
            let known = self.lock();
            let waits = [&all, &one].into_iter().filter_map(|place| known.get(place));
            if let Some((error, _)) = waits.into_iter().find(|(_, backoff)| backoff.until > started) {
                return Err(error.clone());
            }
        }
        let answer = answer.await;
        match &answer {
            Err(error) if error.is_outage() => {
                let (place, interval) =
                    if error.is_of_all() { (all, USUAL_INTERVAL) } else { (one, interval.min(USUAL_INTERVAL)) };
                self.failed(place, error, interval, started);
            }
            _ => {
                let mut known = self.lock();
                let was_out = known.remove(&all).is_some();
                known.remove(&one);
                drop(known);
                if was_out {
                    tracing::info!(api, "the metrics API answers again");
                }
            }
        }
        answer
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Of many that failed together only the first counts.
    fn failed(&self, place: Place, error: &Error, interval: Duration, started: Timestamp) {
        let now = self.clock.now();
        let mut known = self.lock();
        known.retain(|_, (_, backoff)| now.duration_since(backoff.until) < REMEMBERED);
        let before = known.get(&place).map(|(_, backoff)| backoff);
        if before.is_some_and(|backoff| started < backoff.until) {
            return;
        }
        let backoff = Backoff::next(before, Cause::new("FailedGetMetric", error.to_string()), interval, now);
        let seconds = backoff.until.duration_since(now).as_secs_f64();
        let (api, failures) = (place.0, backoff.failures);
        tracing::warn!(api, failures, "{error}; the replica counts are held, next try in {seconds:.1} s");
        known.insert(place, (error.clone(), backoff));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, (Error, Backoff)>> {
        // Nothing that can panic runs under the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::metrics::{CUSTOM, RESOURCE};

    const INTERVAL: Duration = Duration::from_secs(15);

    fn gone() -> Error {
        Error::Unavailable { code: 503, message: "service unavailable".to_owned() }
    }

    fn failing() -> Error {
        Error::Unavailable { code: 500, message: "unable to fetch metrics".to_owned() }
    }

    /// Asks, and counts how often that comes to a request.
    async fn ask(
        outages: &Outages,
        asked: &Cell<u32>,
        question: &str,
        answer: Result<i64, Error>,
    ) -> Result<i64, Error> {
        let request = async {
            asked.set(asked.get() + 1);
            answer
        };
        outages.ask(CUSTOM, question.to_owned(), INTERVAL, request).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_is_not_served_is_asked_ever_more_seldom_whoever_asks() {
        let (outages, asked) = (Outages::new(Clock::start()), Cell::new(0));
        // Two hours, a look of two objects every second.
        for _ in 0..7200 {
            assert_eq!(ask(&outages, &asked, "a", Err(gone())).await, Err(gone()));
            assert_eq!(ask(&outages, &asked, "b", Err(gone())).await, Err(gone()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // At most every 15 s at first, about every 150 s in the mean later.
        assert!((24..200).contains(&asked.get()), "{} requests", asked.get());
        // Another API is none of its business.
        let other = outages.ask(RESOURCE, "a".to_owned(), INTERVAL, std::future::ready(Ok(1))).await;
        assert_eq!(other, Ok(1));
        // What answers again is asked by all.
        tokio::time::advance(Duration::from_mins(6)).await;
        assert_eq!(ask(&outages, &asked, "a", Ok(1)).await, Ok(1));
        assert_eq!(ask(&outages, &asked, "b", Ok(2)).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_metric_that_an_adapter_fails_at_blinds_no_other() {
        let (outages, asked) = (Outages::new(Clock::start()), Cell::new(0));
        assert_eq!(ask(&outages, &asked, "a", Err(failing())).await, Err(failing()));
        // Left alone: the second answer is not asked for.
        assert_eq!(ask(&outages, &asked, "a", Ok(1)).await, Err(failing()));
        assert_eq!(ask(&outages, &asked, "b", Ok(2)).await, Ok(2));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(ask(&outages, &asked, "a", Ok(1)).await, Ok(1));
        assert_eq!(asked.get(), 3);
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_asked_again() {
        let (outages, asked) = (Outages::new(Clock::start()), Cell::new(0));
        let refused = Error::Refused("the server could not find the metric".to_owned());
        for _ in 0..2 {
            assert_eq!(ask(&outages, &asked, "a", Err(refused.clone())).await, Err(refused.clone()));
        }
        assert_eq!(asked.get(), 2);
    }
}
