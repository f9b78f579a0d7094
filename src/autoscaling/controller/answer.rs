//! What a Prometheus server answered, as far as a decision is concerned.

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::source::ServerRef;
use crate::{autoscaling::decision::Reading, prometheus::Error};

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One value for each series, in milli-units; empty when there is none.
    Values(Vec<i64>),
    /// Values, of which some are missing.
    Partial {
        /// Those that are there.
        values: Vec<i64>,
        /// What is missing, in a sentence.
        message: String,
    },
    /// Nothing but samples that are older than this, which is the oldest that counts.
    Stale(Duration),
    /// No usable answer.
    Failed(Cause),
    /// The server did not answer lately, at least not this question, which is not asked until then.
    LeftAlone {
        /// What it said, or did not, when it was asked last.
        cause: Cause,
        /// When it is asked again.
        until: Timestamp,
    },
}

/// Why there is no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
    /// The HTTP status that said no, where nothing else did.
    pub status: Option<StatusCode>,
}

impl Cause {
    /// A cause that is no HTTP status.
    pub fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message, status: None }
    }

    /// What a server said, or did not.
    pub fn of(server: &ServerRef, error: &Error) -> Self {
        Self { reason: error.reason(), message: format!("{}: {error}", server.address), status: error.status() }
    }
}

impl Answer {
    /// What it is to a decision, if it is no values.
    pub fn unusable(self) -> Reading {
        match self {
            Self::Values(values) => Reading::Series(values),
            Self::Stale(most) => Reading::Stale(SignedDuration::try_from(most).unwrap_or_default()),
            Self::Partial { message, .. } => Reading::Unusable { reason: "PartialAnswer", message },
            Self::Failed(Cause { reason, message, .. })
            | Self::LeftAlone { cause: Cause { reason, message, .. }, .. } => Reading::Unusable { reason, message },
        }
    }

    /// The HTTP status that is why there are no values.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Values(_) | Self::Partial { .. } | Self::Stale(_) => None,
            Self::Failed(cause) | Self::LeftAlone { cause, .. } => cause.status,
        }
    }
}
