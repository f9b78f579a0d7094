//! An API server with one target, and a controller that is looked at by hand.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::body::Body as Answer;
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::{
    super::{
        Clock, Key,
        access::Credentials,
        crowd::Crowd,
        doubt::ShortHistories,
        event::Recorder,
        history::History,
        leader::Fence,
        outages::Outages,
        pods::Owners,
        rivals::Hpas,
        servers::Servers,
        source::MetricSource,
        target::Kinds,
        telemetry::Telemetry,
        throttle::Throttle,
        tick::{Context, Kept, tick},
    },
    fake_prometheus::FakePrometheus,
};
use crate::{
    autoscaling::api::{Autoscaler, AutoscalerStatus},
    metrics::MetricsApis,
};

/// What the API server holds and was asked for.
pub struct Cluster {
    pub replicas: i32,
    pub uid: String,
    pub version: u64,
    /// Who wrote the count last; empty where nothing says it.
    pub writer: String,
    /// What there is just before each of our next writes: another count was ordered by somebody else, with the same one
    /// something else of the target has changed.
    pub others: VecDeque<i32>,
    pub target_exists: bool,
    /// The selector that its scale names.
    pub selector: &'static str,
    /// Nobody may write the scale.
    pub scale_is_forbidden: bool,
    pub pods: Vec<Value>,
    /// What else is answered, by the beginning of the request's URI.
    pub answers: Vec<(String, Value)>,
    /// What fails, by method and the beginning of its path (the whole of it, where `$` is its end), and how.
    pub fails: Option<(StatusCode, Method, &'static str)>,
    /// For how many seconds it then wants to be spared.
    pub retry_after: u32,
    /// How often it was tried.
    pub failed: usize,
    pub autoscaler: Value,
    pub events: Vec<Value>,
    pub lease: Option<Value>,
    /// The other end of the watch of Autoscalers: what is sent is news, and without it the watch ends.
    pub watch: Option<UnboundedSender<Bytes>>,
    /// Requests about the lease are not answered.
    pub lease_is_lost: bool,
    /// Writes, as `METHOD path?query`.
    pub writes: Vec<String>,
}

pub struct FakeApi(pub Arc<Mutex<Cluster>>);

impl FakeApi {
    /// A Deployment of so many replicas, and an Autoscaler of it with the given spec.
    pub fn new(replicas: i32, spec: &Value) -> Self {
        let autoscaler = json!({
            "apiVersion": "scalekit.dev/v1alpha1",
            "kind": "Autoscaler",
            "metadata": {"name": "w", "namespace": "demo", "uid": "as-1", "generation": 7, "resourceVersion": "1"},
            "spec": spec,
        });
        Self(Arc::new(Mutex::new(Cluster {
            replicas,
            uid: "target-1".to_owned(),
            version: 1,
            writer: "kubectl".to_owned(),
            others: VecDeque::new(),
            target_exists: true,
            selector: "app=w",
            scale_is_forbidden: false,
            pods: Vec::new(),
            answers: Vec::new(),
            fails: None,
            retry_after: 0,
            failed: 0,
            autoscaler,
            events: Vec::new(),
            lease: None,
            watch: None,
            lease_is_lost: false,
            writes: Vec::new(),
        })))
    }

    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.0.lock().expect("no test panicked with the lock")
    }

    pub fn client(&self) -> Client {
        let cluster = self.0.clone();
        let answer = move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let uri = parts.uri.to_string();
                Ok::<_, kube::Error>(cluster.lock().expect("a lock").answer(&parts.method, &uri, &body))
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }
}

fn respond(status: StatusCode, value: &Value) -> Response<Answer> {
    let body = Answer::from(serde_json::to_vec(value).expect("json"));
    Response::builder().status(status).header("content-type", "application/json").body(body).expect("a response")
}

fn refuse(status: StatusCode, reason: &str, message: &str) -> Response<Answer> {
    let code = status.as_u16();
    respond(status, &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}))
}

impl Cluster {
    fn scale(&self) -> Value {
        json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "w", "namespace": "demo", "uid": self.uid, "resourceVersion": self.version.to_string()},
            "spec": {"replicas": self.replicas},
            "status": {"replicas": self.replicas, "selector": self.selector},
        })
    }

    /// The target's metadata, with who wrote its count last.
    fn target(&self) -> Value {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let entry = json!({"manager": self.writer, "operation": "Update", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": replicas});
        let entries = if self.writer.is_empty() { Vec::new() } else { vec![entry] };
        let metadata = json!({"name": "w", "namespace": "demo", "uid": self.uid, "managedFields": entries});
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata})
    }

    fn answer(&mut self, method: &Method, uri: &str, body: &Value) -> Response<Answer> {
        if method != Method::GET {
            self.writes.push(format!("{method} {uri}"));
        }
        let path = uri.split('?').next().unwrap_or_default();
        let begins = |with: &str| with.strip_suffix('$').map_or_else(|| uri.starts_with(with), |whole| uri == whole);
        let fails = self.fails.as_ref().filter(|(_, of, beginning)| of == method && begins(beginning));
        if let Some((status, ..)) = fails {
            self.failed += 1;
            let message = "the server is currently unable to handle the request";
            let details = json!({"retryAfterSeconds": self.retry_after});
            let body = json!({"kind": "Status", "status": "Failure", "code": status.as_u16(), "message": message,
                "details": details});
            return respond(*status, &body);
        }
        if let Some((_, answer)) = self.answers.iter().find(|(beginning, _)| uri.starts_with(beginning)) {
            return respond(StatusCode::OK, answer);
        }
        match (method, path) {
            (_, "/apis/apps/v1/namespaces/demo/deployments/w/scale") if !self.target_exists => {
                refuse(StatusCode::NOT_FOUND, "NotFound", "deployments.apps \"w\" not found")
            }
            (&Method::GET, "/apis/apps/v1/namespaces/demo/deployments/w/scale") => {
                respond(StatusCode::OK, &self.scale())
            }
            (&Method::PUT, "/apis/apps/v1/namespaces/demo/deployments/w/scale") if self.scale_is_forbidden => {
                refuse(StatusCode::FORBIDDEN, "Forbidden", "deployments.apps \"w\" is forbidden")
            }
            (&Method::PUT, "/apis/apps/v1/namespaces/demo/deployments/w/scale") => {
                if let Some(replicas) = self.others.pop_front() {
                    if replicas != self.replicas {
                        "kubectl".clone_into(&mut self.writer);
                    }
                    (self.replicas, self.version) = (replicas, self.version + 1);
                }
                if body["metadata"]["resourceVersion"].as_str() != Some(&self.version.to_string()) {
                    return refuse(StatusCode::CONFLICT, "Conflict", "the object has been modified");
                }
                let ordered = body["spec"]["replicas"].as_i64().expect("a count");
                (self.replicas, self.version) = (i32::try_from(ordered).expect("a count"), self.version + 1);
                "scalekit-autoscaler".clone_into(&mut self.writer);
                respond(StatusCode::OK, &self.scale())
            }
            (&Method::GET, "/apis/apps/v1/namespaces/demo/deployments/w") => respond(StatusCode::OK, &self.target()),
            (&Method::GET, "/apis/autoscaling/v2/horizontalpodautoscalers") if uri.contains("watch=true") => {
                let nothing = futures::stream::pending::<Result<Bytes, std::convert::Infallible>>();
                Response::new(Answer::from_stream(nothing))
            }
            (&Method::GET, "/apis/autoscaling/v2/horizontalpodautoscalers") => {
                let list = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscalerList",
                    "metadata": {"resourceVersion": "1"}, "items": []});
                respond(StatusCode::OK, &list)
            }
            (&Method::GET, "/api/v1/namespaces/demo/pods") => {
                respond(StatusCode::OK, &json!({"kind": "PodList", "metadata": {}, "items": self.pods}))
            }
            (&Method::PATCH, "/apis/scalekit.dev/v1alpha1/namespaces/demo/autoscalers/w/status") => {
                self.autoscaler["status"] = body["status"].clone();
                respond(StatusCode::OK, &self.autoscaler)
            }
            (&Method::POST, "/apis/events.k8s.io/v1/namespaces/demo/events") => {
                self.events.push(body.clone());
                respond(StatusCode::CREATED, body)
            }
            (&Method::GET, "/apis/scalekit.dev/v1alpha1/autoscalers") if uri.contains("watch=true") => {
                Response::new(Answer::from_stream(self.watched()))
            }
            (&Method::GET, "/apis/scalekit.dev/v1alpha1/namespaces/demo/autoscalers") => {
                let asked = uri.contains("fieldSelector=metadata.name%3Dw");
                let items = if asked { vec![self.autoscaler.clone()] } else { Vec::new() };
                respond(StatusCode::OK, &json!({"kind": "AutoscalerList", "metadata": {}, "items": items}))
            }
            (&Method::GET, "/apis/scalekit.dev/v1alpha1/autoscalers") => {
                let list = json!({
                    "apiVersion": "scalekit.dev/v1alpha1",
                    "kind": "AutoscalerList",
                    "metadata": {"resourceVersion": "1"},
                    "items": [self.autoscaler, {"metadata": {"name": "broken", "namespace": "demo"}, "spec": 3}],
                });
                respond(StatusCode::OK, &list)
            }
            (_, "/apis/coordination.k8s.io/v1/namespaces/default/leases/scalekit-scaler")
            | (&Method::POST, "/apis/coordination.k8s.io/v1/namespaces/default/leases") => {
                self.answer_lease(method, body)
            }
            (&Method::GET, path) if path.starts_with("/api/v1/namespaces/demo/secrets/") => {
                refuse(StatusCode::FORBIDDEN, "Forbidden", "secrets is forbidden")
            }
            // An API that the cluster does not have.
            (&Method::GET, path) if path.matches('/').count() == 2 || path.starts_with("/apis/unknown.dev/") => {
                refuse(StatusCode::NOT_FOUND, "", "404 page not found")
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    /// The news of a new watch.
    fn watched(&mut self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
        let (watch, news) = unbounded();
        self.watch = Some(watch);
        news.map(Ok)
    }

    fn answer_lease(&mut self, method: &Method, body: &Value) -> Response<Answer> {
        let stored = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        match (method, stored) {
            _ if self.lease_is_lost => refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "etcd is gone"),
            (&Method::GET, None) => refuse(StatusCode::NOT_FOUND, "NotFound", "no lease"),
            (&Method::GET, Some(_)) => respond(StatusCode::OK, self.lease.as_ref().expect("it is there")),
            (&Method::PUT, Some(version)) if version != body["metadata"]["resourceVersion"] => {
                refuse(StatusCode::CONFLICT, "Conflict", "the object has been modified")
            }
            (&Method::POST, Some(_)) => refuse(StatusCode::CONFLICT, "AlreadyExists", "it is there"),
            _ => {
                self.version += 1;
                let mut lease = body.clone();
                lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
                respond(StatusCode::OK, self.lease.insert(lease))
            }
        }
    }

    pub fn status(&self) -> AutoscalerStatus {
        serde_json::from_value(self.autoscaler["status"].clone()).expect("a status")
    }

    /// Reason of a condition, if it has this status.
    pub fn reason(&self, kind: &str, status: &str) -> Option<String> {
        let conditions = self.status().conditions;
        conditions.into_iter().find(|c| c.kind == kind && c.status == status).map(|c| c.reason)
    }

    pub fn notes(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event["note"].as_str()).collect()
    }
}

/// A controller of one Autoscaler, looked at by hand.
pub struct Bench {
    pub api: FakeApi,
    pub prometheus: FakePrometheus,
    pub context: Context,
    pub kept: Kept,
    /// An older Autoscaler of the same target.
    pub elder: Option<Key>,
}

impl Bench {
    pub fn new(replicas: i32, spec: &Value, tasks: f64) -> Self {
        let (api, prometheus, clock) = (FakeApi::new(replicas, spec), FakePrometheus::new(tasks), Clock::start());
        let telemetry = Arc::<Telemetry>::default();
        let source: Arc<dyn MetricSource> = Arc::new(prometheus.clone());
        let context = Context {
            client: api.client(),
            servers: Servers::new(Box::new(move |_| Ok(source.clone())), clock, telemetry.clone()),
            credentials: Credentials::new(api.client(), "http://prometheus".to_owned(), None),
            default_server: "http://prometheus".to_owned(),
            kinds: Kinds::default(),
            metrics: MetricsApis::new(api.client()),
            outages: Outages::new(clock),
            owners: Owners::default(),
            objects: std::sync::atomic::AtomicUsize::new(1),
            crowd: Crowd::new(0.5),
            short_histories: ShortHistories::default(),
            largest_step: None,
            throttle: Throttle::default(),
            recorder: Recorder::new(api.client(), "pod-1".to_owned()),
            fence: Fence::open(),
            hpas: Hpas::default(),
            history: History::default(),
            telemetry,
            clock,
        };
        Self { api, prometheus, context, kept: Kept::default(), elder: None }
    }

    /// The Autoscaler as a watch would have it.
    pub fn object(&self) -> Autoscaler {
        serde_json::from_value(self.api.cluster().autoscaler.clone()).expect("an Autoscaler")
    }

    /// Looks once; returns when to look again.
    pub async fn look(&mut self) -> Option<jiff::Timestamp> {
        let key = Key::new("demo", "w");
        let kept = std::mem::take(&mut self.kept);
        let (kept, wake) = tick(&self.context, &key, &self.object(), kept, self.elder.as_ref()).await;
        self.kept = kept;
        wake
    }

    /// Another controller takes over, with nothing but what is in the status.
    pub fn restart(&mut self) {
        self.kept = Kept::restored(&self.object(), self.context.clock);
    }
}

/// The write of the count.
pub const SCALE: &str = "PUT /apis/apps/v1/namespaces/demo/deployments/w/scale?&fieldManager=scalekit-autoscaler";

/// How many writes of a count there were.
pub fn scale_writes(bench: &Bench) -> usize {
    bench.api.cluster().writes.iter().filter(|write| write.contains("/scale?")).count()
}

/// Ten tasks for each replica by the plain formula, with what is given on top.
pub fn spec(extra: &Value) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"},
        "maxReplicas": 5,
        "metrics": [{"type": "Prometheus", "prometheus": {
            "name": "active-tasks",
            "query": "sum(watcherBot_active_tasks)",
            "target": {"type": "AverageValue", "averageValue": "10"},
        }}],
        "behavior": {
            "scaleUp": {"tolerance": "0"},
            "scaleDown": {"tolerance": "0", "stabilizationWindowSeconds": 0},
        },
    });
    for (field, value) in extra.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}
