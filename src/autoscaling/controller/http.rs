//! `/livez`, `/readyz`, `/metrics`, `/prometheus` and `/explain/NAMESPACE/NAME`.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Clock, Key,
    answer::Cause,
    recompute::{NotRecomputed, recompute},
    remedy,
    tick::Context,
};

/// How old the last sign of life may be, in seconds. The loop wakes up every few seconds, and nothing in
/// it waits for anybody.
const OLDEST_SIGN_S: i64 = 60;

/// By how much the clock of whoever asks may be ahead.
pub const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Whether this controller can stand for election.
enum Standing {
    Unknown,
    Well,
    Problem(String),
}

/// How the controller is.
pub struct Vitals {
    clock: Clock,
    last_sign_s: AtomicI64,
    listed: AtomicBool,
    leading: AtomicBool,
    standing: Mutex<Standing>,
}

impl Vitals {
    /// Alive, and not ready.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            last_sign_s: AtomicI64::new(clock.now().as_second()),
            listed: AtomicBool::new(false),
            leading: AtomicBool::new(false),
            standing: Mutex::new(Standing::Unknown),
        }
    }

    /// The loop has come round.
    pub fn beat(&self) {
        self.last_sign_s.store(self.clock.now().as_second(), Ordering::Relaxed);
    }

    /// All Autoscalers are known.
    pub fn listed(&self) {
        self.listed.store(true, Ordering::Relaxed);
    }

    /// This controller leads, or stands by.
    pub fn leads(&self, leads: bool) {
        self.leading.store(leads, Ordering::Relaxed);
        self.listed.store(false, Ordering::Relaxed);
    }

    /// The lease was read or written, or could not be.
    pub fn standing(&self, problem: Option<String>) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) =
            problem.map_or(Standing::Well, Standing::Problem);
    }

    /// Whether this controller does what it is there for.
    fn readiness(&self) -> Result<&'static str, String> {
        if self.leading.load(Ordering::Relaxed) {
            return if self.listed.load(Ordering::Relaxed) {
                Ok("ok: leading")
            } else {
                Err("the Autoscalers are not listed yet; may this ServiceAccount list them?".to_owned())
            };
        }
        match &*self.standing.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Well => Ok("ok: standing by"),
            Standing::Problem(problem) => Err(problem.clone()),
            Standing::Unknown => Err("the lease has not been read yet".to_owned()),
        }
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        now.as_second() - self.last_sign_s.load(Ordering::Relaxed) <= OLDEST_SIGN_S
    }
}

#[derive(Clone)]
struct Shared {
    vitals: Arc<Vitals>,
    context: Arc<Context>,
}

/// What is served.
pub fn router(vitals: Arc<Vitals>, context: Arc<Context>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/prometheus", get(prometheus))
        .route("/explain/{namespace}/{name}", get(explain))
        .with_state(Shared { vitals, context })
}

async fn livez(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.vitals.is_alive(shared.vitals.clock.now()) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the loop is stuck")
    }
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.vitals.readiness() {
        Ok(how) => (StatusCode::OK, how.to_owned()),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem),
    }
}

/// With ten thousand Autoscalers the page has ten megabytes: no look waits until it is written.
async fn metrics(State(shared): State<Shared>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let telemetry = Arc::clone(&shared.context.telemetry);
    match tokio::task::spawn_blocking(move || telemetry.page()).await {
        Ok(pieces) => {
            let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
            ([(header::CONTENT_TYPE, OPEN_METRICS)], Body::from_stream(pieces)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The server of metrics that name none, as it answered just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its address.
    pub address: String,
    /// Why it gives no answer, as a clause; `None` where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whoever leads or not: from here every one of them would ask it.
async fn prometheus(State(shared): State<Shared>) -> Json<Answered> {
    let context = &shared.context;
    let asked = match context.credentials.default_server() {
        Ok(server) => context.servers.answers(&server).await,
        Err(message) => Err(Cause::new("CredentialsUnavailable", message)),
    };
    let address = context.default_server.clone();
    Json(match asked {
        Ok(()) => Answered { address, why: None, hint: None },
        Err(cause) => {
            let hint = remedy::of_the_default((cause.reason, cause.status), &cause.message);
            Answered { address, why: Some(format!("{}: {}", cause.reason, cause.message)), hint: Some(hint) }
        }
    })
}

/// What about an Autoscaler is to be explained, and how.
#[derive(Deserialize)]
struct Asked {
    /// An instant such as `2026-11-25T14:05:00Z`; without it the last decision.
    at: Option<String>,
    /// `json`, or text.
    output: Option<String>,
}

async fn explain(
    State(shared): State<Shared>,
    Path((namespace, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    if !shared.vitals.leading.load(Ordering::Relaxed) {
        let message = "this scaler does not lead; the one that holds the Lease scalekit-scaler knows\n";
        return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    }
    let Ok(at) = asked.at.as_deref().map(str::parse::<Timestamp>).transpose() else {
        return (StatusCode::BAD_REQUEST, "at is not an instant; write one such as 2026-11-25T14:05:00Z\n")
            .into_response();
    };
    if at.is_some_and(|at| at.duration_since(shared.vitals.clock.wall()) > SKEW) {
        return (StatusCode::BAD_REQUEST, "at lies in the future\n").into_response();
    }
    let key = Key::new(&namespace, &name);
    let remembered = shared.context.history.explain(&key, at);
    let found = match (remembered, at) {
        (Some(explanation), _) => Ok(explanation),
        (None, Some(at)) => recompute(&shared.context, &key, at).await,
        (None, None) => Err(NotRecomputed::NotYet(key)),
    };
    match found {
        Ok(explanation) if asked.output.as_deref() == Some("json") => Json(explanation).into_response(),
        Ok(explanation) => explanation.text().into_response(),
        Err(error) => {
            let status = match error {
                NotRecomputed::Api(_) | NotRecomputed::Unanswered(_) => StatusCode::BAD_GATEWAY,
                _ => StatusCode::NOT_FOUND,
            };
            (status, format!("{error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::json;
    use tower::ServiceExt;

    use super::{
        super::tests::fake::{Bench, spec},
        *,
    };

    async fn status(vitals: &Arc<Vitals>, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let context = Arc::new(Bench::new(3, &spec(&json!({})), 25.0).context);
        router(vitals.clone(), context).oneshot(request).await.expect("an answer").status()
    }

    #[tokio::test]
    async fn ready_is_when_all_are_listed() {
        let vitals = Arc::new(Vitals::new(Clock::start()));
        assert_eq!(status(&vitals, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        vitals.leads(true);
        assert_eq!(status(&vitals, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        vitals.listed();
        assert_eq!(status(&vitals, "/readyz").await, StatusCode::OK);
        assert_eq!(status(&vitals, "/metrics").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_not_known_is_not_explained() {
        let vitals = Arc::new(Vitals::new(Clock::start()));
        assert_eq!(status(&vitals, "/explain/demo/w").await, StatusCode::SERVICE_UNAVAILABLE);
        vitals.leads(true);
        assert_eq!(status(&vitals, "/explain/demo/w").await, StatusCode::NOT_FOUND);
        assert_eq!(status(&vitals, "/explain/demo/w?at=noon").await, StatusCode::BAD_REQUEST);
    }

    /// It is asked whether or not an Autoscaler asks it, and by whoever does not lead.
    #[tokio::test]
    async fn the_server_of_all_is_asked_on_demand() {
        let bench = Bench::new(3, &spec(&json!({})), 25.0);
        let router = router(Arc::new(Vitals::new(Clock::start())), Arc::new(bench.context));
        let gone = || crate::prometheus::Error::Unreachable("connection refused".to_owned());
        for (numbers, why) in [(Err(gone()), Some("PrometheusUnreachable")), (Ok(vec![1.0]), None)] {
            bench.prometheus.set(numbers);
            let request = Request::get("/prometheus").body(Body::empty()).expect("a request");
            let answer = router.clone().oneshot(request).await.expect("an answer");
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
            let told: Answered = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(told.why.is_some(), why.is_some(), "{told:?}");
            let said = |text: &str| told.why.as_deref().is_some_and(|why| why.contains(text));
            assert!(why.is_none_or(|why| said(why) && said("connection refused")), "{told:?}");
            assert_eq!(told.hint.is_some(), why.is_some(), "{told:?}");
        }
    }

    #[tokio::test]
    async fn who_stands_by_is_ready_if_it_could_take_over() {
        let vitals = Arc::new(Vitals::new(Clock::start()));
        vitals.standing(Some("leases are forbidden".to_owned()));
        assert_eq!(status(&vitals, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        vitals.standing(None);
        assert_eq!(status(&vitals, "/readyz").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn alive_is_while_the_loop_comes_round() {
        let vitals = Arc::new(Vitals::new(Clock::start()));
        assert_eq!(status(&vitals, "/livez").await, StatusCode::OK);
        let old = vitals.clock.now() - SignedDuration::from_secs(OLDEST_SIGN_S + 2);
        vitals.last_sign_s.store(old.as_second(), Ordering::Relaxed);
        assert_eq!(status(&vitals, "/livez").await, StatusCode::SERVICE_UNAVAILABLE);
        vitals.beat();
        assert_eq!(status(&vitals, "/livez").await, StatusCode::OK);
    }
}
