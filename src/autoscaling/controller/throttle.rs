//! An API server that says that it has too much to do is spared the writes that can wait. Counts are written all the same,
//! at the next look of each object; statuses are not, until the time that it asked for is over.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::words::ApiError;

/// Until when statuses wait, if they do.
#[derive(Default)]
pub struct Throttle(Mutex<Option<Timestamp>>);

impl Throttle {
    /// Notes what came of the write of a status. Only of those: what another kind's server says about its scales is no word of
    /// the API server's.
    pub fn note<T>(&self, written: &Result<T, ApiError>, now: Timestamp) {
        if let Some(wait) = written.as_ref().err().and_then(ApiError::retry_after) {
            let until = now.saturating_add(wait).unwrap_or(now);
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if held.is_none_or(|before| before <= now) {
                tracing::info!("the API server has too much to do: statuses are not written for {} s", wait.as_secs());
            }
            *held = (*held).max(Some(until));
        }
    }

    /// Whether what can wait has to wait.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| until > now)
    }
}
