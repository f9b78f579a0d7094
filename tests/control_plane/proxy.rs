//! What stands between the binary and the API server: it counts writes, and lets happen what should go wrong.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::Request,
    response::Response,
    serve::{Listener, ListenerExt},
};
use http::{Method, StatusCode, Version, header::CONTENT_TYPE};
use kube::Client;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::listener::{BOTH, Encrypted};

/// What goes wrong, and how the writes go through.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Who writes dies with this write: it is carried out, and nobody hears the answer. Counted from 1, without the lock's
    /// renewals, and without what is refused because it was renewed meanwhile: the longer a run takes, the more it has of
    /// both.
    pub kill_at: Option<usize>,
    /// One write at a time, so that the number of a write means something.
    pub one_at_a_time: bool,
    /// Requests of a hundred that get 429 or 500, and the seed of which.
    pub faults: Option<(u8, u64)>,
    /// Each write takes so long, so that there is time to interfere.
    pub pause: Duration,
    /// After so many writes all others wait until they are let go, but for those by which the lock is renewed or given back.
    pub hold_after: Option<usize>,
    /// Before the first merge patch of the object with this path somebody else writes to it, whom its reader has not seen.
    pub overtaken: Option<String>,
}

/// What that one leaves: an annotation, in his own name.
pub const RIVAL: &str = "scalekit-test/rival";

struct Shared {
    client: Client,
    plan: Mutex<Plan>,
    random: Mutex<fastrand::Rng>,
    /// How often each request has failed since it last went through.
    failed: Mutex<HashMap<String, u8>>,
    /// How often the plan has changed: what was asked under an earlier one is no business of this one.
    era: AtomicUsize,
    writes: watch::Sender<usize>,
    renewals: watch::Sender<usize>,
    /// Writes that wait until they are let go.
    held: AtomicUsize,
    /// Writes that are being carried out, and how many of them there were at most.
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    /// Versions of HTTP in which something was asked, and connections.
    spoken: Mutex<BTreeSet<Version>>,
    connections: AtomicUsize,
    /// Merge patches that came too late.
    conflicts: Mutex<Vec<String>>,
    let_go: watch::Sender<bool>,
    dead: watch::Sender<bool>,
    turn: tokio::sync::Mutex<()>,
}

/// The type of a merge patch.
const MERGE: &str = "application/merge-patch+json";

/// Longer than any run here takes for its first writes.
const LIMIT: Duration = Duration::from_secs(180);

impl Shared {
    /// What goes wrong with a request, if anything. The same one goes through after a few failures: an API server that
    /// answers the same question with nothing else is away.
    fn draw(&self, of_hundred: u8, request: &Request<Bytes>) -> Option<u8> {
        let drawn = {
            let mut random = locked(&self.random);
            (random.u8(0..100) < of_hundred).then(|| random.u8(0..3))
        };
        let mut all = locked(&self.failed);
        let failed = all.entry(format!("{} {}", request.method(), request.uri())).or_default();
        let fault = drawn.filter(|_| *failed < IN_A_ROW);
        *failed = if fault.is_some() { *failed + 1 } else { 0 };
        fault
    }
}

/// Failures of the same request, one after the other, at most. A read is asked six times.
const IN_A_ROW: u8 = 4;

/// A proxy in front of one API server. It lets everybody in, and has the rights of the client that it is given.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    encrypted: SocketAddr,
    plain: SocketAddr,
}

impl Proxy {
    pub async fn start(client: Client) -> Self {
        let shared = Arc::new(Shared {
            client,
            plan: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(0)),
            failed: Mutex::default(),
            era: AtomicUsize::new(0),
            writes: watch::Sender::new(0),
            renewals: watch::Sender::new(0),
            held: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            spoken: Mutex::default(),
            connections: AtomicUsize::new(0),
            conflicts: Mutex::default(),
            let_go: watch::Sender::new(false),
            dead: watch::Sender::new(false),
            turn: tokio::sync::Mutex::default(),
        });
        let [encrypted, plain] = [local().await, local().await];
        let addresses = [&encrypted, &plain].map(|listener| listener.local_addr().unwrap());
        serve(&shared, Encrypted::new(encrypted, BOTH));
        serve(&shared, plain);
        let [encrypted, plain] = addresses;
        Self { shared, encrypted, plain }
    }

    /// Where it listens as an API server does: TLS, and HTTP/2 for who speaks it.
    pub fn url(&self) -> String {
        format!("https://{}", self.encrypted)
    }

    /// Where it listens without TLS.
    pub fn plain_url(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// From now on, by this plan, with nothing counted yet.
    pub fn follow(&self, plan: Plan) {
        if let Some((_, seed)) = plan.faults {
            *locked(&self.shared.random) = fastrand::Rng::with_seed(seed);
            locked(&self.shared.failed).clear();
        }
        *locked(&self.shared.plan) = plan;
        self.shared.era.fetch_add(1, Ordering::SeqCst);
        self.shared.writes.send_replace(0);
        self.shared.most_in_flight.store(0, Ordering::SeqCst);
        locked(&self.shared.spoken).clear();
        self.shared.connections.store(0, Ordering::SeqCst);
        locked(&self.shared.conflicts).clear();
        self.shared.let_go.send_replace(false);
        self.shared.dead.send_replace(false);
    }

    /// Writes that were carried out since then.
    pub fn writes(&self) -> usize {
        *self.shared.writes.borrow()
    }

    /// How many writes there were at once since then, at most.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }

    /// The versions of HTTP in which something was asked since then.
    pub fn spoken(&self) -> Vec<Version> {
        locked(&self.shared.spoken).iter().copied().collect()
    }

    /// Connections since then.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The paths of merge patches since then that the API server refused, since somebody else was faster.
    pub fn conflicts(&self) -> Vec<String> {
        locked(&self.shared.conflicts).clone()
    }

    /// Ends when so many writes were carried out. A run that ended before would never get there.
    pub async fn written(&self, writes: usize) {
        let mut seen = self.shared.writes.subscribe();
        let reached = tokio::time::timeout(LIMIT, seen.wait_for(|done| *done >= writes)).await;
        assert!(reached.is_ok(), "{} writes in {LIMIT:?}, not {writes}", self.writes());
    }

    /// How many writes wait until they are let go.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Ends when the lock has been renewed so often from now on.
    pub async fn renewed(&self, times: usize) {
        let mut seen = self.shared.renewals.subscribe();
        let enough = *seen.borrow() + times;
        let reached = tokio::time::timeout(LIMIT, seen.wait_for(|done| *done >= enough)).await;
        assert!(reached.is_ok(), "the lock is not renewed");
    }

    /// Lets go what was held.
    pub fn let_go(&self) {
        self.shared.let_go.send_replace(true);
    }

    /// Ends when it is time to kill who writes.
    pub async fn fatal(&self) {
        self.shared.dead.subscribe().wait_for(|dead| *dead).await.unwrap();
    }
}

async fn local() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn serve(shared: &Arc<Shared>, listener: impl Listener<Addr = SocketAddr>) {
    let counted = Arc::clone(shared);
    let listener = listener.tap_io(move |_| {
        counted.connections.fetch_add(1, Ordering::SeqCst);
    });
    let router = Router::new().fallback(pass).with_state(Arc::clone(shared));
    tokio::spawn(async move { axum::serve(listener, router).await });
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

/// A dry run and a review of rights change nothing.
fn is_write(request: &Request<Bytes>) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let dry = request.uri().query().is_some_and(|query| query.contains("dryRun"));
    changes && !dry && !request.uri().path().ends_with("/selfsubjectaccessreviews")
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    locked(&shared.spoken).insert(request.version());
    // All of it, before it waits for anything: what is sent and not read counts against its whole connection, so those that
    // wait would hold up the one that they wait for.
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return failure(StatusCode::BAD_REQUEST, "its sender is gone");
    };
    let request = Request::from_parts(head, body);
    let plan = locked(&shared.plan).clone();
    let fault = plan.faults.and_then(|(of_hundred, _)| shared.draw(of_hundred, &request));
    match fault {
        Some(0) => return failure(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Some(1) => return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        _ => {}
    }
    let answer =
        if is_write(&request) { write(&shared, &plan, request).await } else { forward(&shared, request).await };
    // The nastiest of all: it is done, and the answer says that it is not.
    if fault.is_some() { failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError") } else { answer }
}

fn is_of_the_lock(request: &Request<Bytes>, method: &Method) -> bool {
    request.method() == method && request.uri().path().ends_with("/leases/scalekit-lock")
}

async fn write(shared: &Shared, plan: &Plan, request: Request<Bytes>) -> Response {
    let era = shared.era.load(Ordering::SeqCst);
    let turn = if plan.one_at_a_time { Some(shared.turn.lock().await) } else { None };
    // How often the lock is renewed depends on how long a run takes: counted, a write would be another one each time.
    let counts = !is_of_the_lock(&request, &Method::PUT);
    let gives_the_lock_back = is_of_the_lock(&request, &Method::DELETE);
    let may_wait = counts && !gives_the_lock_back;
    if may_wait && plan.hold_after.is_some_and(|writes| *shared.writes.borrow() >= writes) {
        let _held = Counted::one_more(&shared.held);
        let mut open = shared.let_go.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }
    if *shared.dead.borrow() || shared.era.load(Ordering::SeqCst) != era {
        // Who is dead sends nothing more, and holds up nobody.
        drop(turn);
        return std::future::pending().await;
    }
    let under_way = counts.then(|| {
        let under_way = Counted::one_more(&shared.in_flight);
        shared.most_in_flight.fetch_max(shared.in_flight.load(Ordering::SeqCst), Ordering::SeqCst);
        under_way
    });
    tokio::time::sleep(plan.pause).await;
    let merges = is_merge(&request).then(|| request.uri().path().to_owned());
    if merges.is_some() && merges == plan.overtaken && locked(&shared.plan).overtaken.take().is_some() {
        overtake(shared, request.uri().path()).await;
    }
    let answer = forward(shared, request).await;
    locked(&shared.conflicts).extend(merges.filter(|_| answer.status() == StatusCode::CONFLICT));
    drop(under_way);
    shared.renewals.send_modify(|renewals| *renewals += usize::from(!counts));
    let renewed_meanwhile = gives_the_lock_back && answer.status() == StatusCode::CONFLICT;
    if !counts || renewed_meanwhile || shared.era.load(Ordering::SeqCst) != era {
        return answer;
    }
    let mut fatal = false;
    shared.writes.send_modify(|writes| {
        *writes += 1;
        fatal = plan.kill_at == Some(*writes);
    });
    if fatal {
        shared.dead.send_replace(true);
        drop(turn);
        return std::future::pending().await;
    }
    answer
}

fn is_merge(request: &Request<Bytes>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|types| types == MERGE)
}

async fn overtake(shared: &Shared, path: &str) {
    let patch = json!({"metadata": {"annotations": {RIVAL: "was here"}}}).to_string();
    let request = http::Request::patch(format!("{path}?fieldManager=rival")).header(CONTENT_TYPE, MERGE);
    let answer = shared.client.send(request.body(patch.into_bytes().into()).unwrap()).await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// A write, for as long as this lives. A client that dies takes its requests along, and what counts them.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn forward(shared: &Shared, request: Request<Bytes>) -> Response {
    let (mut head, body) = request.into_parts();
    head.headers.remove(http::header::HOST);
    // Of the client that passes it on.
    head.version = Version::HTTP_11;
    let request = http::Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    match shared.client.send(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => failure(StatusCode::BAD_GATEWAY, "the API server does not answer the proxy"),
    }
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let status = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": format!("{reason}, by the proxy")});
    let body = Body::from(status.to_string());
    Response::builder().status(code).header(CONTENT_TYPE, "application/json").body(body).unwrap()
}
