//! The Prometheus servers: each asked at most once for the same thing at the same time, by few at a
//! time, and left alone for a while when it does not answer.
//!
//! The while grows, for a server in trouble must not be asked harder. One that is not there at all cannot be
//! in trouble: whether something accepts connections again is looked at every interval, which costs nobody
//! anything, and ends the wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use jiff::{SignedDuration, Timestamp};
use tokio::{net::TcpStream, sync::Semaphore};

use super::{Clock, telemetry::Telemetry};
use crate::{
    autoscaling::decision::Reading,
    prometheus::{Access, Client, Direct, Error, Instant, Sample},
    quantity::milli_from_f64,
};

/// How long a server may take for one answer.
const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// How many questions a server gets at a time.
const CONCURRENCY: usize = 16;
/// The longest time that a server is left alone.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// After how long without a question a server is forgotten: longer than the longest interval.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// How long a server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Something that answers PromQL queries: the seam at which tests put another server.
pub trait MetricSource: Send + Sync {
    /// Evaluates `query` now, with samples that are at most `max_age` old.
    fn query<'a>(&'a self, query: &'a str, max_age: Option<Duration>) -> BoxFuture<'a, Result<Vec<Sample>, Error>>;

    /// Evaluates `what` at the start of `span`, in seconds since the epoch, and every `step` after it to its end.
    fn range<'a>(
        &'a self,
        what: &'a Question,
        span: (i64, i64),
        step: Duration,
    ) -> BoxFuture<'a, Result<Vec<Instant>, Error>>;

    /// Whether it accepts connections.
    fn accepts(&self) -> BoxFuture<'_, bool>;
}

struct DirectSource {
    client: Client<Direct>,
    host: String,
    port: u16,
}

impl MetricSource for DirectSource {
    fn query<'a>(&'a self, query: &'a str, max_age: Option<Duration>) -> BoxFuture<'a, Result<Vec<Sample>, Error>> {
        self.client.query_within(query, max_age).boxed()
    }

    fn range<'a>(
        &'a self,
        what: &'a Question,
        span: (i64, i64),
        step: Duration,
    ) -> BoxFuture<'a, Result<Vec<Instant>, Error>> {
        self.client.range(&what.query, span, step, what.max_age).boxed()
    }

    fn accepts(&self) -> BoxFuture<'_, bool> {
        async {
            let connect = TcpStream::connect((self.host.as_str(), self.port));
            matches!(tokio::time::timeout(CONNECT_LIMIT, connect).await, Ok(Ok(_)))
        }
        .boxed()
    }
}

/// A server, and what it wants to see. The same address with other credentials is another server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerRef {
    /// Its address.
    pub address: String,
    /// Credentials and authorities, where there are any.
    pub access: Option<Arc<Access>>,
}

/// Makes a source for a server.
pub type Connect = dyn Fn(&ServerRef) -> Result<Arc<dyn MetricSource>, String> + Send + Sync;

/// Connects straight.
pub fn direct(server: &ServerRef) -> Result<Arc<dyn MetricSource>, String> {
    let ServerRef { address, access } = server;
    let direct = Direct::new(address, access.as_deref().unwrap_or(&Access::default()))?;
    let client = Client::new(direct, QUERY_LIMIT);
    let uri: http::Uri = address.parse().map_err(|error| format!("`{address}` is not a URL: {error}"))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    // An IPv6 address stands in brackets there, and must not here.
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    Ok(Arc::new(DirectSource { client, host, port }))
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// A PromQL expression.
    pub query: String,
    /// How old a sample may be, where that is not left to the server.
    pub max_age: Option<Duration>,
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One value for each series, in milli-units; empty when there is none.
    Values(Vec<i64>),
    /// No usable answer.
    Failed {
        /// Why, in one word.
        reason: &'static str,
        /// Why, in a sentence.
        message: String,
    },
    /// The server did not answer lately and is left alone until then.
    LeftAlone {
        /// Why it was left alone, in one word.
        reason: &'static str,
        /// The same in a sentence.
        message: String,
        /// When it is asked again.
        until: Timestamp,
    },
}

impl Answer {
    /// What it is to a decision, if it is no values.
    pub fn unusable(self) -> Reading {
        match self {
            Self::Values(values) => Reading::Series(values),
            Self::Failed { reason, message } | Self::LeftAlone { reason, message, .. } => {
                Reading::Unusable { reason, message }
            }
        }
    }
}

type InFlight = Shared<BoxFuture<'static, Result<Arc<[Sample]>, Error>>>;

struct Server {
    source: Arc<dyn MetricSource>,
    slots: Arc<Semaphore>,
    in_flight: HashMap<Question, InFlight>,
    outage: Option<Outage>,
    used: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Outage {
    failures: u32,
    until: Timestamp,
    reason: &'static str,
    message: String,
    /// It did not even accept connections, when that was last looked at.
    gone: bool,
    looked_at: Timestamp,
}

/// All servers that were asked lately.
pub struct Servers {
    connect: Box<Connect>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    known: Mutex<HashMap<ServerRef, Server>>,
}

impl Servers {
    /// No server yet; `connect` makes the first connection to each.
    pub fn new(connect: Box<Connect>, clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        Self { connect, clock, telemetry, known: Mutex::default() }
    }

    /// Asks `server`. `interval` is the shortest time that the server is left alone for when
    /// it does not answer.
    pub async fn ask(&self, server: &ServerRef, what: &Question, interval: Duration) -> Answer {
        match self.series(server, what, interval).await {
            // NaN does not get here: the client makes it an error.
            Ok(series) => Answer::Values(series.iter().filter_map(|sample| milli_from_f64(sample.value)).collect()),
            Err(answer) => answer,
        }
    }

    /// The same with the labels of each series; anything but values is the error.
    pub async fn series(
        &self,
        server: &ServerRef,
        what: &Question,
        interval: Duration,
    ) -> Result<Arc<[Sample]>, Answer> {
        self.look_whether_it_is_back(server, interval).await;
        let address = &server.address;
        let started = self.clock.now();
        let question = match self.question(server, what, started) {
            Ok(question) => question,
            Err(answer) => return Err(answer),
        };
        let answer = question.await;
        self.lock().get_mut(server).map(|server| server.in_flight.remove(what));
        match answer {
            Ok(series) => {
                self.answered(server);
                Ok(series)
            }
            Err(error) if error.is_outage() => {
                let (reason, message) = (error.reason(), format!("{address}: {error}"));
                let gone = matches!(error, Error::Unreachable(_)) && !self.accepts(server).await;
                let until = self.did_not_answer(server, (reason, &message), gone, started, interval);
                Err(Answer::LeftAlone { reason, message, until })
            }
            // The server is well; it is the query that is not.
            Err(error) => {
                self.answered(server);
                Err(Answer::Failed { reason: error.reason(), message: format!("{address}: {error}") })
            }
        }
    }

    /// Asks `server` about a time that is past, for whoever wants to know why: not for a decision, so an outage is
    /// not remembered. Why there is no answer is a clause.
    pub async fn range(
        &self,
        server: &ServerRef,
        what: &Question,
        span: (i64, i64),
        step: Duration,
    ) -> Result<Vec<Instant>, String> {
        let known = self.lock().get(server).map(|server| (server.source.clone(), server.slots.clone()));
        let (source, slots) = match known {
            Some(known) => known,
            None => ((self.connect)(server)?, Arc::new(Semaphore::new(1))),
        };
        let _slot = slots.acquire_owned().await;
        source.range(what, span, step).await.map_err(|error| format!("{}: {error}", server.address))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerRef, Server>> {
        // Nothing that can panic runs under the lock; a poisoned map is still a map.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accepts(&self, server: &ServerRef) -> bool {
        let source = self.lock().get(server).map(|server| server.source.clone());
        match source {
            Some(source) => source.accepts().await,
            None => false,
        }
    }

    /// Ends the wait for a server that was not there and is now. One at a time looks.
    async fn look_whether_it_is_back(&self, server: &ServerRef, interval: Duration) {
        let now = self.clock.now();
        let is_time = |outage: &&mut Outage| {
            outage.gone && outage.until > now && now.duration_since(outage.looked_at).unsigned_abs() >= interval / 2
        };
        match self.lock().get_mut(server).and_then(|server| server.outage.as_mut()).filter(is_time) {
            Some(outage) => outage.looked_at = now,
            None => return,
        }
        if self.accepts(server).await {
            tracing::info!(server = server.address, "Prometheus accepts connections again");
            if let Some(outage) = self.lock().get_mut(server).and_then(|server| server.outage.as_mut()) {
                outage.until = now;
            }
        }
    }

    fn question(&self, server: &ServerRef, what: &Question, now: Timestamp) -> Result<InFlight, Answer> {
        let mut servers = self.lock();
        if !servers.contains_key(server) {
            let source =
                (self.connect)(server).map_err(|message| Answer::Failed { reason: "InvalidServerAddress", message })?;
            let slots = Arc::new(Semaphore::new(CONCURRENCY));
            // With every Secret that is changed a server becomes another one.
            servers.retain(|_, other| now.duration_since(other.used) < FORGOTTEN);
            servers
                .insert(server.clone(), Server { source, slots, in_flight: HashMap::new(), outage: None, used: now });
        }
        let Some(server) = servers.get_mut(server) else {
            let message = format!("{} is not known", server.address);
            return Err(Answer::Failed { reason: "InvalidServerAddress", message });
        };
        server.used = now;
        if let Some(outage) = server.outage.as_ref().filter(|outage| outage.until > now) {
            let Outage { reason, message, until, .. } = outage.clone();
            return Err(Answer::LeftAlone { reason, message, until });
        }
        if let Some(question) = server.in_flight.get(what) {
            return Ok(question.clone());
        }
        let (source, slots, telemetry) = (server.source.clone(), server.slots.clone(), self.telemetry.clone());
        let (asked, clock) = (what.clone(), self.clock);
        let question = async move {
            let _slot = slots.acquire_owned().await;
            let started = clock.now();
            let answer = source.query(&asked.query, asked.max_age).await.map(Arc::from);
            telemetry.query(&answer, clock.now().duration_since(started));
            answer
        }
        .boxed()
        .shared();
        server.in_flight.insert(what.clone(), question.clone());
        Ok(question)
    }

    fn answered(&self, server: &ServerRef) {
        let outage = self.lock().get_mut(server).and_then(|server| server.outage.take());
        if let Some(outage) = outage {
            tracing::info!(server = server.address, failures = outage.failures, "Prometheus answers again");
        }
    }

    /// Leaves the server alone for a while. Of many questions that failed together only the first counts.
    fn did_not_answer(
        &self,
        named: &ServerRef,
        (reason, message): (&'static str, &str),
        gone: bool,
        started: Timestamp,
        interval: Duration,
    ) -> Timestamp {
        let now = self.clock.now();
        let mut servers = self.lock();
        let Some(server) = servers.get_mut(named) else { return now };
        let failures = match &server.outage {
            Some(outage) if started < outage.until => return outage.until,
            Some(outage) => outage.failures.saturating_add(1),
            None => 1,
        };
        let wait = wait(failures, interval, fastrand::f64());
        let until = now.saturating_add(SignedDuration::try_from(wait).unwrap_or_default()).unwrap_or(Timestamp::MAX);
        server.outage = Some(Outage { failures, until, reason, message: message.to_owned(), gone, looked_at: now });
        drop(servers);
        tracing::warn!(
            server = named.address,
            failures,
            "{message}; the replica counts are held, next try in {:.1} s",
            wait.as_secs_f64()
        );
        until
    }
}

/// How long to wait after so many failures: exponential with full jitter, one interval at least, 5 minutes
/// at most. `jitter` is between 0 and 1.
fn wait(failures: u32, interval: Duration, jitter: f64) -> Duration {
    let ceiling = interval.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT);
    ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(interval).min(LONGEST_WAIT)
}

#[cfg(test)]
#[path = "tests/servers.rs"]
mod tests;
