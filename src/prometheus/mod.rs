//! One client for the Prometheus HTTP API: for `up` and `status` (through a port-forward), for the
//! scaler (directly), later for `simulate`.
//!
//! NaN and infinity end here: a [`Sample`] is finite. What an answer is, value, nothing or an error,
//! is kept apart by type, for missing data must never read as «no load».
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

mod answer;
mod direct;

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;

pub use answer::{Sample, ScrapePool, Target, TargetHealth, Targets};
pub use direct::Direct;

/// How requests reach Prometheus. The path is absolute and carries its query string.
///
/// The only seam between this client and the network: the scaler speaks HTTP to the Service, the
/// command line goes through a port-forward.
pub trait Transport: Send + Sync {
    /// Sends one GET and returns status and body, or why there was no answer, as a clause that
    /// completes «Prometheus did not answer: …».
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>>;
}

/// Why a question to Prometheus has no usable answer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No connection, a broken one, or no answer in time.
    #[error("Prometheus did not answer: {0}")]
    Unreachable(String),
    /// An answer that is not of the API: a proxy's page, a login form, a half document.
    #[error("the answer is not from Prometheus' API (HTTP {status}): {reason}")]
    NotPrometheus {
        /// HTTP status of the answer.
        status: u16,
        /// What was wrong with it.
        reason: String,
    },
    /// Prometheus answered that it cannot: a bad query, a timeout of its own, too many samples.
    #[error("Prometheus refused the query ({kind}): {message}")]
    Refused {
        /// `errorType` of the API: `bad_data`, `execution`, `timeout`, …
        kind: String,
        /// `error` of the API.
        message: String,
    },
    /// The query gives something that is not one number per series: a string or a range.
    #[error("the query gives a {0}, not a scalar or an instant vector")]
    WrongType(String),
    /// A value that no decision can be made on.
    #[error("the query gives {0}, which is not a number to scale on")]
    NotFinite(String),
    /// Part of the data was missing, as Thanos and Mimir report it in `warnings`.
    #[error("the answer is partial: {0}")]
    Partial(String),
}

/// A Prometheus server behind some [`Transport`].
pub struct Client<T> {
    transport: T,
    timeout: Duration,
}

impl<T: Transport> Client<T> {
    /// A client that gives each request `timeout` from its start to the whole answer.
    pub fn new(transport: T, timeout: Duration) -> Self {
        Self { transport, timeout }
    }

    /// Evaluates `query` now. An empty vector is an empty list; a scalar is one sample without labels.
    ///
    /// # Errors
    ///
    /// See [`Error`]; a value that is not finite is an error, never a number.
    pub async fn query(&self, query: &str) -> Result<Vec<Sample>, Error> {
        let (status, body) = self.get(&format!("/api/v1/query?{}", encode(&[("query", query)]))).await?;
        answer::query(status, &body)
    }

    /// Every active scrape target, and how many targets each scrape pool has.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn targets(&self) -> Result<Targets, Error> {
        let (status, body) = self.get("/api/v1/targets?state=active").await?;
        let mut targets = answer::targets(status, &body)?;
        let (status, body) = self.get("/api/v1/scrape_pools").await?;
        targets.pools = answer::scrape_pools(status, &body)?;
        Ok(targets)
    }

    async fn get(&self, path_and_query: &str) -> Result<(http::StatusCode, Bytes), Error> {
        match tokio::time::timeout(self.timeout, self.transport.get(path_and_query)).await {
            Ok(answer) => answer.map_err(Error::Unreachable),
            Err(_) => Err(Error::Unreachable(format!("no answer within {:?}", self.timeout))),
        }
    }
}

/// Encodes a query string, `application/x-www-form-urlencoded`.
fn encode(pairs: &[(&str, &str)]) -> String {
    let mut encoded = String::new();
    for (name, value) in pairs {
        if !encoded.is_empty() {
            encoded.push('&');
        }
        encoded.push_str(name);
        encoded.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
                _ => {
                    // Writing to a String cannot fail.
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn promql_survives_the_query_string() {
        assert_eq!(
            encode(&[("query", "sum(rate(x{a=\"b c\"}[5m])) + 1")]),
            "query=sum%28rate%28x%7Ba%3D%22b%20c%22%7D%5B5m%5D%29%29%20%2B%201"
        );
    }
}
