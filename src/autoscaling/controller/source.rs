//! What answers PromQL queries, and how it is reached.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::net::TcpStream;

use crate::prometheus::{Access, Client, Direct, Error, Sample, Track};

/// How long a server may take for one answer.
pub const QUERY_LIMIT: Duration = Duration::from_secs(5);
/// How long a server may take to accept a connection, or to answer the cheapest question.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// A question that costs a server nothing.
pub const CHEAPEST: &str = "1";

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
    ) -> BoxFuture<'a, Result<Vec<Track>, Error>>;

    /// Whether it accepts connections.
    fn accepts(&self) -> BoxFuture<'_, bool>;

    /// Whether it answers the cheapest question, with whatever.
    fn is_well(&self) -> BoxFuture<'_, bool>;
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
    ) -> BoxFuture<'a, Result<Vec<Track>, Error>> {
        self.client.range(&what.query, span, step, what.max_age).boxed()
    }

    fn accepts(&self) -> BoxFuture<'_, bool> {
        async {
            let connect = TcpStream::connect((self.host.as_str(), self.port));
            matches!(tokio::time::timeout(PROBE_LIMIT, connect).await, Ok(Ok(_)))
        }
        .boxed()
    }

    fn is_well(&self) -> BoxFuture<'_, bool> {
        async {
            match tokio::time::timeout(PROBE_LIMIT, self.client.query(CHEAPEST)).await {
                Ok(Err(error)) => !error.is_outage(),
                Ok(Ok(_)) => true,
                Err(_) => false,
            }
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
