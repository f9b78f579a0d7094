//! What the server knows, and how it answers a request from that.

use std::collections::{BTreeMap, BTreeSet};

use scalekit::cluster::Kind;
use serde_json::{Value, json};

use super::{
    call::{Call, Fault, Place, discovery, failure, kinds},
    controllers,
    store::{FieldConflict, Key, Store, key, merge_patch},
};

/// Everything that the server knows.
#[derive(Default)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) log: Vec<Call>,
    pub(super) faults: Vec<Fault>,
    /// What somebody else applies just before a request of this verb, to a path that ends so, is answered.
    pub(super) meanwhile: Vec<(&'static str, &'static str, Value)>,
    pub(super) held: BTreeSet<String>,
    /// Looks that a namespace on its way out takes until it is gone.
    pub(super) terminating: BTreeMap<String, usize>,
    pub(super) linger: usize,
    pub(super) writes_left: Option<usize>,
    /// How often all watches broke, and from which version on nothing is remembered.
    pub(super) breaks: usize,
    pub(super) forgotten: u64,
    pub(super) logs: BTreeMap<String, String>,
}

/// What it answers.
pub(super) enum Reply {
    Json(u16, Value),
    Text(String),
    Watch,
}

impl State {
    /// `None` is no answer at all.
    pub(super) fn answer(&mut self, call: &Call) -> Option<Reply> {
        self.log.push(call.clone());
        let is_due = |(verb, path, _): &mut (&str, &str, Value)| *verb == call.verb && call.path.ends_with(*path);
        let due = self.meanwhile.extract_if(.., is_due).next();
        if let Some((.., value)) = due {
            self.apply_as("somebody", &value);
        }
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
            ("replace" | "patch", Some(found)) if stale(&call.body["metadata"], &found) => {
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
            // What is there may be changed.
            if self.terminating.contains_key(namespace) && call.verb != "patch" {
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
            let value = self.store.put(key, value, None);
            if !value["metadata"]["deletionTimestamp"].is_null() && !is_held(&value) && key.kind != "Namespace" {
                self.store.remove(key);
            }
            if call.path.ends_with("/scale") {
                let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                    "metadata": {"name": key.name, "namespace": key.namespace}, "spec": call.body["spec"]});
                return Reply::Json(200, scale);
            }
            return Reply::Json(200, value);
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

    /// Applies what a field manager declares, by force.
    pub(super) fn apply_as(&mut self, manager: &str, value: &Value) {
        let kind = kinds().find(|kind| value["kind"] == kind.kind).expect("a kind of this server");
        let name = value["metadata"]["name"].as_str().expect("a name");
        let key = key(kind, value["metadata"]["namespace"].as_str(), name);
        self.apply(&key, manager, true, value).expect("forced");
    }

    pub(super) fn apply(
        &mut self,
        key: &Key,
        manager: &str,
        force: bool,
        declared: &Value,
    ) -> Result<Value, Vec<FieldConflict>> {
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
        if !self.take_away(key) {
            return Reply::Json(200, self.store.get(key).cloned().unwrap_or_default());
        }
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
            self.take_away(&key);
        }
        Reply::Json(200, json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "code": 200}))
    }

    /// Removes an object, or marks it where a finalizer holds it. Returns whether it is gone.
    fn take_away(&mut self, key: &Key) -> bool {
        let Some(mut held) = self.store.get(key).filter(|found| is_held(found)).cloned() else {
            self.store.remove(key);
            return true;
        };
        held["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
        self.store.put(key, held, None);
        false
    }

    pub(super) fn delete_namespace(&mut self, name: &str) {
        let key = Key { kind: "Namespace", namespace: None, name: name.to_owned() };
        let Some(mut value) = self.store.get(&key).cloned() else { return };
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
        value["status"] = json!({"phase": "Terminating"});
        self.store.put(&key, value, None);
        self.terminating.entry(name.to_owned()).or_insert(self.linger);
    }

    /// Time goes by for the namespaces that are on their way out.
    pub(super) fn look_at_namespaces(&mut self) {
        let gone: Vec<String> =
            self.terminating.iter().filter(|(_, left)| **left == 0).map(|(name, _)| name.clone()).collect();
        for left in self.terminating.values_mut() {
            *left = left.saturating_sub(1);
        }
        for namespace in gone {
            let inside = self.store.keys(|key, _| key.namespace.as_ref() == Some(&namespace));
            let held = inside.iter().filter(|key| !self.take_away(key)).count();
            if held == 0 {
                self.store.remove(&Key { kind: "Namespace", namespace: None, name: namespace.clone() });
                self.terminating.remove(&namespace);
            }
        }
    }
}

/// Whether a finalizer keeps an object from going.
fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Whether a request was made for another version of the object than the one that is there.
fn stale(wanted: &Value, found: &Value) -> bool {
    !wanted["resourceVersion"].is_null() && wanted["resourceVersion"] != found["metadata"]["resourceVersion"]
}

fn not_found(message: &str) -> Reply {
    Reply::Json(404, failure(404, "NotFound", message, &json!({})))
}
