//! A Kubernetes API server in memory, behind kube's own client: as much of one as the installer can tell.
//!
//! Objects have UIDs, versions and field managers; namespaces take a while to go and take what is in them along;
//! a definition makes its kind known. Faults can be put in, and every request is on record.

mod call;
mod controllers;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use scalekit::cluster::{Cluster, Kind};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use self::call::Fault;
use self::{
    call::{Call, Place, discovery, failure, kinds},
    store::{Key, Store, UID_DIGITS, UID_PREFIX, key, merge_patch},
};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Default)]
struct State {
    store: Store,
    log: Vec<Call>,
    faults: Vec<Fault>,
    held: BTreeSet<String>,
    /// Looks that a namespace on its way out takes until it is gone.
    terminating: BTreeMap<String, usize>,
    linger: usize,
    writes_left: Option<usize>,
    /// How often all watches broke, and from which version on nothing is remembered.
    breaks: usize,
    forgotten: u64,
    logs: BTreeMap<String, String>,
}

/// The server. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct FakeCluster {
    state: Arc<Mutex<State>>,
    died: watch::Sender<bool>,
}

/// A text with every UID that has a name replaced by it.
fn named(text: &str, names: &BTreeMap<&str, String>) -> String {
    let mut parts = text.split(UID_PREFIX);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_at(UID_DIGITS);
        let uid = format!("{UID_PREFIX}{number}");
        whole.push_str(names.get(&*uid).unwrap_or(&uid));
        whole.push_str(rest);
    }
    whole
}

impl FakeCluster {
    /// A cluster with one node and the class `standard`.
    pub fn new() -> Self {
        let fake = Self { state: Arc::default(), died: watch::Sender::new(false) };
        fake.state().linger = 2;
        fake.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {}}));
        fake.put(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"},
            "provisioner": "rancher.io/local-path"}));
        fake
    }

    /// Another server, with the same objects.
    pub fn fork(&self) -> Self {
        let state = self.state();
        let copy = State {
            store: state.store.copy(),
            terminating: state.terminating.clone(),
            linger: state.linger,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(copy)), died: watch::Sender::new(false) }
    }

    /// A client of it. Needs a runtime.
    pub fn cluster(&self) -> Cluster {
        let fake = self.clone();
        let service = tower::service_fn(move |request| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.serve(request).await) }
        });
        Cluster::new(Client::new(service, "default"), "https://fake", "fake", "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test goes on after a panic")
    }

    /// Stores an object, as somebody else would.
    pub fn put(&self, value: Value) {
        self.put_as("somebody", value);
    }

    /// Stores what a field manager applies, by force.
    pub fn put_as(&self, manager: &str, value: Value) {
        let kind = kinds().find(|kind| value["kind"] == kind.kind).expect("a kind of this server");
        let name = value["metadata"]["name"].as_str().expect("a name").to_owned();
        let key = key(kind, value["metadata"]["namespace"].as_str(), &name);
        self.state().apply(&key, manager, true, &value).expect("forced");
    }

    /// Removes an object at once.
    pub fn remove(&self, kind: &str, name: &str) {
        let mut state = self.state();
        for key in state.store.keys(|key, _| key.kind == kind && key.name == name) {
            state.store.remove(&key);
        }
    }

    /// The object of this kind and name.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.state().store.iter().find(|(key, _)| key.kind == kind && key.name == name).map(|(_, value)| value.clone())
    }

    /// Objects of this name never become ready.
    pub fn hold(&self, name: &str) {
        self.state().held.insert(name.to_owned());
    }

    /// Namespaces are seen this often on their way out.
    pub fn linger(&self, looks: usize) {
        self.state().linger = looks;
    }

    /// A namespace is on its way out.
    pub fn terminate(&self, namespace: &str) {
        self.state().delete_namespace(namespace);
    }

    /// Every watch ends, and what happened until then can be watched no more: who watches has to list anew. To be called
    /// before what shall go unseen.
    pub fn break_watches(&self) {
        self.state().breaks += 1;
    }

    /// What happened until now is forgotten.
    pub fn forget_history(&self) {
        let mut state = self.state();
        let now = *state.store.version.borrow();
        state.forgotten = now;
        // Whoever waits for a change looks again.
        state.store.version.send_modify(|_| {});
    }

    /// What a pod's log says.
    pub fn log_of(&self, pod: &str, text: &str) {
        self.state().logs.insert(pod.to_owned(), text.to_owned());
    }

    /// From now on, this goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Whoever writes dies with the `writes`-th write: it is carried out, and nobody hears the answer.
    pub fn kill_after(&self, writes: usize) {
        self.state().writes_left = Some(writes);
    }

    /// Ends when the writer has died.
    pub async fn died(&self) {
        let mut died = self.died.subscribe();
        died.wait_for(|died| *died).await.expect("the sender is here");
    }

    /// There is a new writer.
    pub fn revive(&self) {
        self.state().writes_left = None;
        self.died.send_replace(false);
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().log.clone()
    }

    /// The requests that change something, but for those of the lock.
    pub fn writes(&self) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter(|call| call.is_write() && !call.path.contains("/leases")).map(ToString::to_string).collect()
    }

    /// Forgets the requests so far.
    pub fn forget_calls(&self) {
        self.state().log.clear();
    }

    /// Everything there is, without what differs from one run to the next: each UID becomes its object's name.
    pub fn everything(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let uids: BTreeMap<&str, String> = state
            .store
            .iter()
            .filter_map(|(key, value)| {
                Some((value["metadata"]["uid"].as_str()?, format!("uid of {key:?}").replace('"', "'")))
            })
            .collect();
        let shown = |(key, value): (&Key, &Value)| {
            let mut value = value.clone();
            for field in ["resourceVersion", "creationTimestamp", "generation"] {
                value["metadata"].as_object_mut().expect("metadata").remove(field);
            }
            value["status"] = Value::Null;
            (
                format!("{} {}/{}", key.kind, key.namespace.as_deref().unwrap_or_default(), key.name),
                named(&format!("{value:#}"), &uids),
            )
        };
        state.store.iter().map(shown).collect()
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        let call = Call::new(&parts, &body);
        let answer = {
            let mut state = self.state();
            if state.writes_left == Some(0) { None } else { Some(state.answer(&call)) }
        };
        if let Some(Some(answer)) = answer {
            let dies = call.is_write() && {
                let mut state = self.state();
                state.writes_left = state.writes_left.map(|left| left - 1);
                state.writes_left == Some(0)
            };
            if !dies {
                return match answer {
                    Reply::Json(code, value) => json_answer(code, &value),
                    Reply::Text(text) => Response::new(Full::new(Bytes::from(text)).boxed_unsync()),
                    Reply::Watch => self.watch(&call),
                };
            }
            self.died.send_replace(true);
        }
        std::future::pending().await
    }

    fn watch(&self, call: &Call) -> Answer {
        let since = call.version();
        let versions = self.state().store.version.subscribe();
        let begun_at = self.state().breaks;
        let (fake, call) = (self.clone(), call.clone());
        let changes = stream::unfold((since, versions), move |(mut seen, mut versions)| {
            let (fake, call) = (fake.clone(), call.clone());
            async move {
                loop {
                    if fake.state().breaks != begun_at {
                        return None;
                    }
                    let next = fake.state().store.history.iter().find(|change| change.version > seen).cloned();
                    let Some(change) = next else {
                        versions.changed().await.ok()?;
                        continue;
                    };
                    seen = change.version;
                    if call.takes(&change.key, &change.value) {
                        let line = format!("{}\n", json!({"type": change.what, "object": change.value}));
                        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(line)));
                        return Some((frame, (seen, versions)));
                    }
                }
            }
        });
        Response::new(StreamBody::new(changes).boxed_unsync())
    }
}

enum Reply {
    Json(u16, Value),
    Text(String),
    Watch,
}

impl State {
    /// `None` is no answer at all.
    fn answer(&mut self, call: &Call) -> Option<Reply> {
        self.log.push(call.clone());
        for fault in self.faults.iter_mut().filter(|fault| fault.verb == call.verb && call.path.ends_with(fault.path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return fault.answer.clone().map(|(code, value)| Reply::Json(code, value));
            }
        }
        if let Some(value) = discovery(&call.path) {
            return Some(Reply::Json(200, value));
        }
        if call.path.ends_with("/selfsubjectaccessreviews") {
            return Some(Reply::Json(201, json!({"spec": {}, "status": {"allowed": true}})));
        }
        let place = Place::of(&call.path).filter(|place| self.serves(place.kind));
        let Some(place) = place else { return Some(not_found("the server could not find the requested resource")) };
        Some(self.answer_at(call, &place))
    }

    /// A kind of ours is known once its definition is there.
    fn serves(&self, kind: &Kind) -> bool {
        let definition =
            |key: &Key| key.kind == "CustomResourceDefinition" && key.name == format!("{}.{}", kind.plural, kind.group);
        !kind.group.starts_with("scalekit.") || self.store.iter().any(|(key, _)| definition(key))
    }

    fn answer_at(&mut self, call: &Call, place: &Place) -> Reply {
        if place.kind.kind == "Namespace" && ["get", "list"].contains(&call.verb) {
            self.look_at_namespaces();
        }
        let name = place.name.clone().or_else(|| Some(call.body["metadata"]["name"].as_str()?.to_owned()));
        let key = key(place.kind, place.namespace.as_deref(), name.as_deref().unwrap_or_default());
        let found = self.store.get(&key).cloned();
        match (call.verb, found) {
            // As the real one: the watch begins, and its first event is that it cannot.
            ("watch", _) if call.version() < self.forgotten => {
                let status = failure(410, "Expired", "too old resource version", &json!({}));
                Reply::Text(format!("{}\n", json!({"type": "ERROR", "object": status})))
            }
            ("watch", _) => Reply::Watch,
            ("list", _) => Reply::Json(200, self.list(call, place.kind)),
            ("get", Some(_)) if place.subresource.as_deref() == Some("log") => {
                Reply::Text(self.logs.get(&key.name).cloned().unwrap_or_default())
            }
            ("get", Some(found)) => Reply::Json(200, found),
            ("get" | "patch" | "replace" | "delete", None) => {
                not_found(&format!("{} \"{}\" not found", place.kind.plural, key.name))
            }
            ("delete", Some(found)) => self.delete(call, &key, &found),
            ("replace", Some(found)) if stale(&call.body["metadata"], &found) => {
                let message = "the object has been modified; please apply your changes to the latest version";
                Reply::Json(409, failure(409, "Conflict", message, &json!({})))
            }
            ("create", Some(_)) => Reply::Json(409, failure(409, "AlreadyExists", "already exists", &json!({}))),
            (_, found) => self.write(call, &key, found),
        }
    }

    fn list(&self, call: &Call, kind: &Kind) -> Value {
        let items: Vec<Value> = self
            .store
            .iter()
            .filter(|(key, value)| call.takes(key, value))
            .map(|(_, value)| {
                let mut item = value.clone();
                if call.metadata_only {
                    return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": item["metadata"]});
                }
                // As the real one does: the list says of what it is, its items do not.
                let fields = item.as_object_mut().expect("an object");
                fields.retain(|name, _| name != "apiVersion" && name != "kind");
                item
            })
            .collect();
        let version = self.store.version.borrow().to_string();
        let name =
            if call.metadata_only { "PartialObjectMetadataList".to_owned() } else { format!("{}List", kind.kind) };
        json!({"apiVersion": kind.api_version(), "kind": name, "metadata": {"resourceVersion": version}, "items": items})
    }

    fn write(&mut self, call: &Call, key: &Key, found: Option<Value>) -> Reply {
        if let Some(namespace) = &key.namespace {
            if self.terminating.contains_key(namespace) {
                self.look_at_namespaces();
                let causes = json!({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace", "message": "on its way out"}]});
                return Reply::Json(403, failure(403, "Forbidden", "the namespace is being terminated", &causes));
            }
            if !self.store.iter().any(|(key, _)| key.kind == "Namespace" && key.name == *namespace) {
                return not_found(&format!("namespaces \"{namespace}\" not found"));
            }
        }
        let code = if found.is_some() { 200 } else { 201 };
        if call.verb == "create" {
            let mut value = call.body.clone();
            value["metadata"]["namespace"] = json!(key.namespace);
            if call.query.contains_key("dryRun") {
                return Reply::Json(code, value);
            }
            return Reply::Json(code, self.store.put(key, value, None));
        }
        if call.verb == "replace" {
            return Reply::Json(200, self.store.put(key, call.body.clone(), None));
        }
        if call.verb == "patch" {
            let mut value = found.expect("looked up before");
            merge_patch(&mut value, &call.body);
            return Reply::Json(200, self.store.put(key, value, None));
        }
        let manager = call.query.get("fieldManager").map_or("unknown", String::as_str);
        let force = call.query.get("force").is_some_and(|force| force == "true");
        let written = if call.query.contains_key("dryRun") {
            self.store.applied(key, manager, force, &call.body)
        } else {
            self.apply(key, manager, force, &call.body)
        };
        match written {
            Ok(value) => Reply::Json(code, value),
            Err(conflicts) => {
                let causes: Vec<Value> = conflicts
                    .iter()
                    .map(|(field, manager)| json!({"reason": "FieldManagerConflict", "field": field, "message": format!("conflict with \"{manager}\"")}))
                    .collect();
                let message = format!("Apply failed with {} conflicts", causes.len());
                Reply::Json(409, failure(409, "Conflict", &message, &json!({"causes": causes})))
            }
        }
    }

    fn apply(
        &mut self,
        key: &Key,
        manager: &str,
        force: bool,
        declared: &Value,
    ) -> Result<Value, Vec<store::FieldConflict>> {
        let is_new = self.store.get(key).is_none();
        let value = self.store.applied(key, manager, force, declared)?;
        let value = self.store.put(key, value, Some((manager, declared)));
        if key.kind == "Namespace" && is_new {
            let own = |kind, name: &str| Key { kind, namespace: Some(key.name.clone()), name: name.to_owned() };
            for (key, api_kind) in [
                (own("ConfigMap", "kube-root-ca.crt"), "ConfigMap"),
                (own("ServiceAccount", "default"), "ServiceAccount"),
            ] {
                let metadata = json!({"name": key.name, "namespace": key.namespace});
                self.store.put(&key, json!({"apiVersion": "v1", "kind": api_kind, "metadata": metadata}), None);
            }
        }
        let classes: Vec<String> =
            self.store.keys(|key, _| key.kind == "StorageClass").into_iter().map(|key| key.name).collect();
        match controllers::status(key.kind, &value, self.held.contains(&key.name), &classes) {
            Some(status) if value.get("status").is_none() || !self.held.contains(&key.name) => {
                let mut settled = value;
                settled["status"] = status;
                Ok(self.store.put(key, settled, None))
            }
            _ => Ok(value),
        }
    }

    fn delete(&mut self, call: &Call, key: &Key, found: &Value) -> Reply {
        let wanted = &call.body["preconditions"];
        if stale(wanted, found) || (!wanted["uid"].is_null() && wanted["uid"] != found["metadata"]["uid"]) {
            let message = format!("the precondition {wanted} does not hold");
            return Reply::Json(409, failure(409, "Conflict", &message, &json!({})));
        }
        if key.kind == "Namespace" {
            self.delete_namespace(&key.name);
            return Reply::Json(200, self.store.get(key).cloned().unwrap_or_default());
        }
        self.store.remove(key);
        let uid = &found["metadata"]["uid"];
        let with_it = self.store.keys(|other, value| {
            let owned =
                value["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid);
            let defined = key.kind == "CustomResourceDefinition" && other.kind == "Autoscaler";
            let volume =
                value["spec"]["claimRef"]["uid"] == *uid && value["spec"]["persistentVolumeReclaimPolicy"] == "Delete";
            owned || defined || volume
        });
        for key in with_it {
            self.store.remove(&key);
        }
        Reply::Json(200, json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "code": 200}))
    }

    fn delete_namespace(&mut self, name: &str) {
        let key = Key { kind: "Namespace", namespace: None, name: name.to_owned() };
        let Some(mut value) = self.store.get(&key).cloned() else { return };
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
        value["status"] = json!({"phase": "Terminating"});
        self.store.put(&key, value, None);
        self.terminating.entry(name.to_owned()).or_insert(self.linger);
    }

    /// Time goes by for the namespaces that are on their way out.
    fn look_at_namespaces(&mut self) {
        let gone: Vec<String> =
            self.terminating.iter().filter(|(_, left)| **left == 0).map(|(name, _)| name.clone()).collect();
        self.terminating.retain(|_, left| left.checked_sub(1).map(|less| *left = less).is_some());
        for namespace in gone {
            let inside = self.store.keys(|key, _| {
                key.namespace.as_ref() == Some(&namespace) || (key.kind == "Namespace" && key.name == namespace)
            });
            for key in inside {
                self.store.remove(&key);
            }
        }
    }
}

/// Whether a request was made for another version of the object than the one that is there.
fn stale(wanted: &Value, found: &Value) -> bool {
    !wanted["resourceVersion"].is_null() && wanted["resourceVersion"] != found["metadata"]["resourceVersion"]
}

fn not_found(message: &str) -> Reply {
    Reply::Json(404, failure(404, "NotFound", message, &json!({})))
}

fn json_answer(code: u16, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    answer
}
