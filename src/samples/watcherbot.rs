//! `WatcherBot`: a service that has tasks, and says how many.
//!
//! Tasks are counted in the memory of the process and go with it. The endpoints:
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /start_task[?count=N]` | starts one task, or N: 200 `{"active_tasks": …}` |
//! | `POST /finish_task[?count=N]` | ends one task, or N, all or none: 200, or 409 when there are fewer |
//! | `GET /metrics` | `watcherBot_active_tasks`, `watcherBot_requests_total`, `watcherBot_request_latency_seconds` |
//! | `GET /healthz` | 200 |
//!
//! An N that is not between 1 and [`MAX_COUNT`] is refused with 400.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{MatchedPath, Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

/// The port that it listens on in a cluster.
pub const PORT: u16 = 8088;

/// The most tasks that one request may start or end.
pub const MAX_COUNT: u64 = 100_000;

/// How long requests that are under way may take once shutdown has begun.
const GRACE: Duration = Duration::from_millis(500);

/// What `prometheus-client` writes, text/plain being another format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why the server ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could not be taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server failed.
    #[error("the server failed")]
    Serve {
        /// Why.
        source: std::io::Error,
    },
}

/// Serves until `shutdown`, and ends within a second of it.
pub async fn serve(listen: SocketAddr, shutdown: CancellationToken) -> Result<(), Error> {
    let listener = TcpListener::bind(listen).await.map_err(|source| Error::Listen { address: listen, source })?;
    serve_on(listener, shutdown).await
}

/// As [`serve`], on a listener that is bound already.
pub async fn serve_on(listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Serve { source })?;
    tracing::info!(%address, "watcherbot listens");
    let graceful = axum::serve(listener, router()).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        time::sleep(GRACE).await;
    };
    // Whoever keeps a request open without end would keep the pod in Terminating until it is killed.
    tokio::select! {
        ended = graceful.into_future() => ended.map_err(|source| Error::Serve { source })?,
        () = overdue => tracing::warn!("requests were still open at the end"),
    }
    tracing::info!("watcherbot ends; its tasks go with it");
    Ok(())
}

/// The service, with no tasks yet.
pub fn router() -> Router {
    let bot = Arc::new(Bot::new());
    Router::new()
        .route(START, post(start_task))
        .route(FINISH, post(finish_task))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&bot), observe))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(bot)
}

const START: &str = "/start_task";
const FINISH: &str = "/finish_task";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    path: String,
    status: u16,
}

struct Bot {
    registry: Registry,
    /// The tasks themselves: the gauge is the only place where they are counted.
    active: Gauge<u64, AtomicU64>,
    requests: Family<RequestLabels, Counter>,
    latency: Histogram,
}

impl Bot {
    fn new() -> Self {
        let bot = Self {
            registry: Registry::default(),
            active: Gauge::default(),
            requests: Family::default(),
            // 0.1 ms to 1.6 s.
            latency: Histogram::new(exponential_buckets(0.0001, 2.0, 15)),
        };
        for path in [START, FINISH] {
            // There from the beginning, so that the first request is an increase that `rate` sees.
            drop(bot.requests.get_or_create(&RequestLabels { path: path.to_owned(), status: 200 }));
        }
        let mut registry = Registry::default();
        registry.register("watcherBot_active_tasks", "Tasks that are active now", bot.active.clone());
        // The encoder appends `_total`.
        registry.register("watcherBot_requests", "Requests to the task endpoints", bot.requests.clone());
        registry.register(
            "watcherBot_request_latency_seconds",
            "Time from a request to its answer, of the task endpoints",
            bot.latency.clone(),
        );
        Self { registry, ..bot }
    }

    /// Changes the count, all or nothing. `Err` has the count as it stays.
    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        let before = self.active.inner().fetch_update(Ordering::SeqCst, Ordering::SeqCst, &change)?;
        // The update succeeded, so the change of what it replaced is the new count.
        Ok(change(before).unwrap_or(before))
    }
}

#[derive(Serialize)]
struct Answer {
    active_tasks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Count {
    #[serde(default = "one")]
    count: u64,
}

/// The query of a request. What is no number is refused in our words, not in the extractor's.
type AskedFor = Result<Query<Count>, QueryRejection>;

fn one() -> u64 {
    1
}

async fn start_task(State(bot): State<Arc<Bot>>, count: AskedFor) -> Response {
    change(&bot, count.ok().map(|count| count.0.count), "started", u64::checked_add, |active, count| {
        format!("cannot start {count}: {active} active tasks is all that can be counted")
    })
}

async fn finish_task(State(bot): State<Arc<Bot>>, count: AskedFor) -> Response {
    change(&bot, count.ok().map(|count| count.0.count), "finished", u64::checked_sub, |active, count| {
        if active == 0 {
            "there is no active task to finish".to_owned()
        } else {
            format!("cannot finish {count}: only {active} active")
        }
    })
}

/// Changes the count, logs it and answers with it.
fn change(
    bot: &Bot,
    count: Option<u64>,
    verb: &str,
    change: fn(u64, u64) -> Option<u64>,
    refusal: fn(u64, u64) -> String,
) -> Response {
    let Some(count) = count.filter(|count| (1..=MAX_COUNT).contains(count)) else {
        let error = Some(format!("count must be a whole number from 1 to {MAX_COUNT}"));
        return (StatusCode::BAD_REQUEST, Json(Answer { active_tasks: bot.active.get(), error })).into_response();
    };
    match bot.change(|active| change(active, count)) {
        Ok(active_tasks) => {
            tracing::info!(count, active_tasks, "tasks {verb}");
            Json(Answer { active_tasks, error: None }).into_response()
        }
        Err(active_tasks) => {
            let error = refusal(active_tasks, count);
            tracing::warn!(count, active_tasks, "{error}");
            (StatusCode::CONFLICT, Json(Answer { active_tasks, error: Some(error) })).into_response()
        }
    }
}

/// Counts and times a request to one of the task endpoints.
async fn observe(State(bot): State<Arc<Bot>>, path: MatchedPath, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    let labels = RequestLabels { path: path.as_str().to_owned(), status: response.status().as_u16() };
    bot.requests.get_or_create(&labels).inc();
    bot.latency.observe(started.elapsed().as_secs_f64());
    response
}

async fn metrics(State(bot): State<Arc<Bot>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &bot.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
#[path = "watcherbot_tests.rs"]
mod tests;
