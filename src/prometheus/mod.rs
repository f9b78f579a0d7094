//! One client for the Prometheus HTTP API: for `up` and `status` (through a port-forward), for the
//! scaler (directly), later for `simulate`.
//!
//! NaN and infinity end here: a [`Sample`] is finite. What an answer is, value, nothing or an error,
//! is kept apart by type, for missing data must never read as «no load».
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

mod access;
mod answer;
mod direct;
mod targets;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use crate::query::encode;

pub use access::Access;
pub use answer::{HeadStats, MetricSeries, Runtime, Sample, Track, Tsdb};
pub use direct::Direct;
pub use targets::{Target, TargetHealth};

/// How requests reach Prometheus. The path is absolute and carries its query string.
///
/// The only seam between this client and the network: the scaler speaks HTTP to the Service, the
/// command line goes through a port-forward.
pub trait Transport: Send + Sync {
    /// Sends one GET and returns status and body, or why there was no answer, as a clause that
    /// completes «Prometheus did not answer: …». What is longer than [`LONGEST_RANGE`] may be cut anywhere beyond it.
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>>;

    /// Asks `path` with the parameters of `form`, which are URL-encoded: in the URL, unless the transport has another way
    /// for those that are too long for one.
    fn ask<'a>(&'a self, path: &'a str, form: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        async move { self.get(&format!("{path}?{form}")).await }.boxed()
    }
}

/// Why a question to Prometheus has no usable answer.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Error {
    /// No connection, a broken one, or no answer in time.
    #[error("Prometheus did not answer: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("Prometheus did not answer within {0:?}")]
    Timeout(Duration),
    /// An answer that is not of the API: a proxy's page, a login form, a half document.
    #[error("the answer is not from Prometheus' API (HTTP {status}): {reason}")]
    NotPrometheus {
        /// HTTP status of the answer.
        status: u16,
        /// What was wrong with it.
        reason: String,
    },
    /// An HTTP status that says no, and nothing of the API with it: from a server that does not serve yet, or from what
    /// stands before it.
    #[error("the server answered with HTTP {0}")]
    Http(http::StatusCode),
    /// Prometheus answered that it cannot: a bad query, a timeout of its own, too many samples.
    #[error("Prometheus refused the query ({kind}): {message}")]
    Refused {
        /// `errorType` of the API: `bad_data`, `execution`, `timeout`, …, or a number.
        kind: String,
        /// `error` of the API.
        message: String,
    },
    /// An answer longer than any that one number needs.
    #[error("the answer is longer than {0} bytes; aggregate in the query, for example with sum(…)")]
    TooLarge(usize),
    /// The query gives something that is not one number per series: a string or a range.
    #[error("the query gives a {0}, not a scalar or an instant vector")]
    WrongType(String),
    /// A value that no decision can be made on.
    #[error("the query gives {0}, which is not a number to scale on")]
    NotFinite(String),
    /// Part of the data was missing, as Thanos and Mimir report it in `warnings`, and VictoriaMetrics in `isPartial`.
    #[error("the answer is partial: {why}")]
    Partial {
        /// What the server warned of.
        why: String,
        /// What there was all the same: no less than this is there.
        samples: Vec<Sample>,
    },
}

impl Error {
    /// The error in one word, for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "PrometheusUnreachable",
            Self::Timeout(_) => "PrometheusTimeout",
            Self::NotPrometheus { status: 401 | 403, .. } => "PrometheusUnauthorized",
            Self::NotPrometheus { .. } => "NotPrometheus",
            Self::Http(_) => "PrometheusHttpError",
            // VictoriaMetrics writes the HTTP status there.
            Self::Refused { kind, .. } if ["bad_data", "400"].contains(&&**kind) => "InvalidQuery",
            Self::Refused { kind, .. } if kind == "timeout" => "QueryTimeout",
            Self::Refused { .. } => "QueryRefused",
            Self::TooLarge(_) => "AnswerTooLarge",
            Self::WrongType(_) => "WrongResultType",
            Self::NotFinite(text) if text.eq_ignore_ascii_case("nan") => "NotANumber",
            Self::NotFinite(_) => "InfiniteValue",
            Self::Partial { .. } => "PartialAnswer",
        }
    }

    /// The HTTP status that said no, where it is all that was said.
    pub fn status(&self) -> Option<http::StatusCode> {
        if let Self::Http(status) = self { Some(*status) } else { None }
    }

    /// Whether the server, or what stands before it, says that it does not serve just now: Prometheus does so while it
    /// reads its log after a start (RFC 9110, 15.6.4).
    pub fn is_not_yet(&self) -> bool {
        self.status() == Some(http::StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Whether it is the server that is in trouble, and not the query.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout(_) | Self::NotPrometheus { .. } | Self::Http(_))
    }
}

/// The longest answer to a query that is read, in bytes: some thousand series.
pub const LONGEST_ANSWER: usize = 512 * 1024;
/// The same of a query over a time: the ten minutes that most decisions look back on, of some hundred pods.
pub const LONGEST_RANGE: usize = 8 * LONGEST_ANSWER;

/// How far back samples are looked for, as Prometheus, Thanos and Mimir read it, and as VictoriaMetrics does: each leaves
/// alone what it does not know.
fn looks_back(far: Option<&str>) -> [(&'static str, Option<&str>); 2] {
    [("lookback_delta", far), ("max_lookback", far)]
}

/// What VictoriaMetrics says at the end of every answer to a query, and no other server does.
const OF_VICTORIA_METRICS: &[u8] = b"\"seriesFetched\"";
/// How near the end, in bytes.
const AT_THE_END: usize = 256;
/// VictoriaMetrics answers about half a minute ago where it is asked about now, unless it is told otherwise. A length of 0
/// it does not take.
const ABOUT_NOW: (&str, Option<&str>) = ("latency_offset", Some("1ms"));
/// VictoriaMetrics moves the instants of a range to where it has answers for them, unless it is told otherwise.
const THESE_INSTANTS: (&str, Option<&str>) = ("nocache", Some("1"));

/// A Prometheus server behind some [`Transport`].
pub struct Client<T> {
    transport: T,
    timeout: Duration,
    /// It has answered as VictoriaMetrics does. Only then is it asked for what only that understands: there are servers
    /// that refuse a parameter that they do not know.
    is_victoria_metrics: AtomicBool,
}

impl<T: Transport> Client<T> {
    /// A client that gives each request `timeout` from its start to the whole answer.
    pub fn new(transport: T, timeout: Duration) -> Self {
        Self { transport, timeout, is_victoria_metrics: AtomicBool::new(false) }
    }

    /// Evaluates `query` now. An empty vector is an empty list; a scalar is one sample without labels.
    ///
    /// # Errors
    ///
    /// See [`Error`]; a value that is not finite is an error, never a number.
    pub async fn query(&self, query: &str) -> Result<Vec<Sample>, Error> {
        self.query_within(query, None).await
    }

    /// Evaluates `query` now, with samples that are at most `max_age` old: an older one is not there. Where it is
    /// `None`, the server's own look-back counts (5 minutes unless configured). A range such as `[5m]` looks back as
    /// far as it says.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn query_within(&self, query: &str, max_age: Option<Duration>) -> Result<Vec<Sample>, Error> {
        let look_back = max_age.map(|age| format!("{}ms", age.as_millis()));
        let (status, body) = self
            .ask("/api/v1/query", LONGEST_ANSWER, &[("query", Some(query))], look_back.as_deref(), ABOUT_NOW)
            .await?;
        answer::query(status, &body)
    }

    /// Evaluates `query` at `start` and every `step` after it, to `end`; with samples that are at most `max_age` old.
    /// Times are in seconds since the epoch, and so is what is answered: `step` is whole seconds. Values that are not
    /// finite are among the answers.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn range(
        &self,
        query: &str,
        (start, end): (i64, i64),
        step: Duration,
        max_age: Option<Duration>,
    ) -> Result<Vec<Track>, Error> {
        let look_back = max_age.map(|age| format!("{}ms", age.as_millis()));
        let (start, end, step) = (start.to_string(), end.to_string(), step.as_secs_f64().to_string());
        let pairs = [("query", Some(query)), ("start", Some(&*start)), ("end", Some(&*end)), ("step", Some(&*step))];
        let (status, body) =
            self.ask("/api/v1/query_range", LONGEST_RANGE, &pairs, look_back.as_deref(), THESE_INSTANTS).await?;
        answer::range(status, &body)
    }

    /// Asks `path` with these parameters, and VictoriaMetrics with `of_its_own` too, for at most `longest` bytes. One that is
    /// known only by its answer is asked again at once: it was about another time.
    async fn ask(
        &self,
        path: &str,
        longest: usize,
        parameters: &[(&str, Option<&str>)],
        look_back: Option<&str>,
        of_its_own: (&'static str, Option<&'static str>),
    ) -> Result<(http::StatusCode, Bytes), Error> {
        loop {
            let is_known = self.is_victoria_metrics.load(Ordering::Relaxed);
            let of_its_own = is_known.then_some(of_its_own);
            let pairs = parameters.iter().copied().chain(looks_back(look_back)).chain(of_its_own);
            let pairs: Vec<_> = pairs.filter_map(|(name, value)| Some((name, value?))).collect();
            let (status, body) = self.in_time(self.transport.ask(path, &encode(&pairs))).await?;
            if body.len() > longest {
                return Err(Error::TooLarge(longest));
            }
            let end = &body[body.len().saturating_sub(AT_THE_END)..];
            if is_known || !end.windows(OF_VICTORIA_METRICS.len()).any(|part| part == OF_VICTORIA_METRICS) {
                return Ok((status, body));
            }
            self.is_victoria_metrics.store(true, Ordering::Relaxed);
        }
    }

    /// Every active scrape target. A job without one is not among them: who looks has to know which there should be.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn targets(&self) -> Result<Vec<Target>, Error> {
        let (status, body) = self.get("/api/v1/targets?state=active").await?;
        targets::targets(status, &body)
    }

    /// What the server says of itself.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn runtime(&self) -> Result<Runtime, Error> {
        let (status, body) = self.get("/api/v1/status/runtimeinfo").await?;
        answer::runtime(status, &body)
    }

    /// The configuration that is loaded, as Prometheus writes it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn config(&self) -> Result<String, Error> {
        let (status, body) = self.get("/api/v1/status/config").await?;
        answer::config(status, &body)
    }

    /// The URLs of the Alertmanagers that it sends alerts to.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn alertmanagers(&self) -> Result<Vec<String>, Error> {
        let (status, body) = self.get("/api/v1/alertmanagers").await?;
        answer::alertmanagers(status, &body)
    }

    /// How many series there are, and of which metrics the most.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn tsdb(&self) -> Result<Tsdb, Error> {
        let (status, body) = self.get("/api/v1/status/tsdb?limit=3").await?;
        answer::tsdb(status, &body)
    }

    async fn get(&self, path_and_query: &str) -> Result<(http::StatusCode, Bytes), Error> {
        self.in_time(self.transport.get(path_and_query)).await
    }

    async fn in_time(
        &self,
        request: BoxFuture<'_, Result<(http::StatusCode, Bytes), String>>,
    ) -> Result<(http::StatusCode, Bytes), Error> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(Error::Unreachable),
            Err(_) => Err(Error::Timeout(self.timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers everything alike, and remembers what was asked.
    struct Alike {
        body: Bytes,
        asked: Mutex<Vec<String>>,
    }

    impl Transport for Alike {
        fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
            self.asked.lock().expect("a lock").push(path_and_query.to_owned());
            std::future::ready(Ok((http::StatusCode::OK, self.body.clone()))).boxed()
        }
    }

    fn client(body: &str) -> Client<Alike> {
        let transport = Alike { body: Bytes::copy_from_slice(body.as_bytes()), asked: Mutex::default() };
        Client::new(transport, Duration::from_secs(1))
    }

    #[tokio::test]
    async fn a_long_answer_is_not_read() {
        let client = client(&format!("[{}]", " ".repeat(LONGEST_ANSWER)));
        assert_eq!(client.query("x").await, Err(Error::TooLarge(LONGEST_ANSWER)));
    }

    #[tokio::test]
    async fn the_age_of_samples_is_asked_for() {
        let client = client(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#);
        assert_eq!(client.query_within("x", Some(Duration::from_mins(2))).await, Ok(vec![]));
        assert_eq!(client.query("x").await, Ok(vec![]));
        let age = Some(Duration::from_mins(1));
        assert!(client.range("x", (0, 60), Duration::from_secs(15), age).await.is_err(), "no range is answered here");
        let asked = client.transport.asked.lock().expect("a lock").clone();
        let expected = [
            "/api/v1/query?query=x&lookback_delta=120000ms&max_lookback=120000ms",
            "/api/v1/query?query=x",
            "/api/v1/query_range?query=x&start=0&end=60&step=15&lookback_delta=60000ms&max_lookback=60000ms",
        ];
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn victoria_metrics_is_asked_about_now_and_these_instants_once_it_is_known() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[]},"stats":{"seriesFetched":"0"}}"#;
        let asked = async |live: usize| {
            let client = client(body);
            for _ in 0..live {
                assert_eq!(client.query("x").await, Ok(vec![]));
            }
            assert!(
                client.range("x", (0, 60), Duration::from_secs(15), None).await.is_err(),
                "no range is answered here"
            );
            client.transport.asked.lock().expect("a lock").clone()
        };
        let (range, now) = ("/api/v1/query_range?query=x&start=0&end=60&step=15", "/api/v1/query?query=x");
        let (known_range, known_now) = (format!("{range}&nocache=1"), format!("{now}&latency_offset=1ms"));
        assert_eq!(asked(0).await, [range, &known_range], "nobody asks it about now");
        assert_eq!(asked(2).await, [now, &known_now, &known_now, &known_range]);
    }

    #[tokio::test]
    async fn what_only_names_the_word_is_not_taken_for_victoria_metrics() {
        let rest = r#","warnings":["#.to_owned() + &r#""that is so","#.repeat(40) + r#""that is so"]}"#;
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"seriesFetched":"1"},"value":[1,"2"]}]}"#;
        let client = client(&(body.to_owned() + &rest));
        let _is_partial = client.query("x").await;
        assert_eq!(client.transport.asked.lock().expect("a lock").len(), 1);
    }

    #[test]
    fn promql_survives_the_query_string() {
        assert_eq!(
            encode(&[("query", "sum(rate(x{a=\"b c\"}[5m])) + 1")]),
            "query=sum%28rate%28x%7Ba%3D%22b%20c%22%7D%5B5m%5D%29%29%20%2B%201"
        );
    }
}
