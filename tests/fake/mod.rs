//! A Kubernetes API server in memory, behind kube's own client: as much of one as the installer can tell.
//!
//! Objects have UIDs, versions and field managers; namespaces take a while to go and take what is in them along;
//! a definition makes its kind known. Faults can be put in, and every request is on record.

mod call;
mod controllers;
mod state;
mod store;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use scalekit::cluster::Cluster;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use self::call::{Call, Fault};
use self::{
    state::{Reply, State},
    store::{Key, UID_DIGITS, UID_PREFIX},
};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

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
        self.state().apply_as(manager, &value);
    }

    /// Somebody applies this just before the next request of this verb, to a path that ends so, is answered.
    pub fn put_before(&self, verb: &'static str, path: &'static str, value: Value) {
        self.state().meanwhile.push((verb, path, value));
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

fn json_answer(code: u16, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    answer
}
