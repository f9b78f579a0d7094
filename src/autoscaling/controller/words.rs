//! What the API server said, in its own words and no more.

use std::{error::Error, time::Duration};

use jiff::SignedDuration;
use kube::{core::Status, runtime::watcher};

/// What a server means that throttles and does not say for how long, or says so in a header alone.
const SHORTLY: SignedDuration = SignedDuration::from_secs(1);
/// The longest wait that a server is granted.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// Why a request to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server refused it.
    #[error("{}", refusal(.0))]
    Refused(Box<Status>),
    /// The scaler has no right to it, and needs one.
    #[error("{}; {hint}", refusal(.status))]
    Forbidden {
        /// What the server said.
        status: Box<Status>,
        /// What to do about it.
        hint: String,
    },
    /// It did not come to an answer.
    #[error("{0}")]
    Unreachable(String),
    /// It was not sent: another controller leads, or may soon.
    #[error("this controller does not lead any more")]
    NotLeading,
    /// There was no answer in time.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl ApiError {
    /// Somebody else wrote in between.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(status) if status.is_conflict())
    }

    /// The same with what to do, where it is a right that is missing.
    pub fn with_right(self, hint: impl FnOnce() -> String) -> Self {
        match self {
            Self::Refused(status) if status.code == 403 => Self::Forbidden { status, hint: hint() },
            other => other,
        }
    }

    /// An object of this name is there already.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Refused(status) if status.is_already_exists())
    }

    /// For how long the server wants to be spared, if it does: `retryAfterSeconds`, and 429 without it.
    pub fn retry_after(&self) -> Option<SignedDuration> {
        let Self::Refused(status) = self else { return None };
        let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        match seconds {
            0 => (status.code == 429).then_some(SHORTLY),
            seconds => Some(SignedDuration::from_secs(seconds.into()).min(LONGEST_WAIT)),
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        // A group that the server does not have is answered with plain text, which has no reason.
        matches!(self, Self::Refused(status) if status.is_not_found() || status.code == 404)
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            other => Self::Unreachable(chain(&other)),
        }
    }
}

fn refusal(status: &Status) -> String {
    match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("the API server answered with status {}", status.code),
        ("", reason) => reason.to_owned(),
        (message, _) => message.to_owned(),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors of kube repeat their cause.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Why a watch did not go on.
pub fn watch_error(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => ApiError::from(error).to_string(),
        watcher::Error::WatchError(status) => status.message,
        watcher::Error::NoResourceVersion => "the list has no resource version".to_owned(),
    }
}

/// How long any request to the API server may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits for a request, but not for ever: kube's client has no time limit of its own.
pub async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    in_time_of(LIMIT, request).await
}

/// Waits for a request, for so long.
pub async fn in_time_of<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::Timeout(limit)),
    }
}
