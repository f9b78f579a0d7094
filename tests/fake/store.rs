//! Objects as an API server keeps them: versions, UIDs, who applied which field, what changed when.

use std::collections::BTreeMap;

use scalekit::cluster::Kind;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// Kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: &'static str,
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Clone)]
struct Stored {
    value: Value,
    /// What each field manager applied.
    applied: BTreeMap<String, Value>,
}

/// One change, for whoever watches.
#[derive(Clone)]
pub struct Change {
    pub version: u64,
    pub what: &'static str,
    pub key: Key,
    pub value: Value,
}

/// A field that somebody else manages: its path as the API server writes it, and the manager.
pub type FieldConflict = (String, String);

/// What every UID begins with, so that it is found in any text. The digits of its number follow.
pub const UID_PREFIX: &str = "00000000-0000-4000-8000-";
pub const UID_DIGITS: usize = 12;

pub struct Store {
    objects: BTreeMap<Key, Stored>,
    pub history: Vec<Change>,
    pub version: watch::Sender<u64>,
    uids: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), history: Vec::new(), version: watch::Sender::new(1), uids: 0 }
    }
}

impl Store {
    /// The same objects, watched by nobody.
    pub fn copy(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            history: self.history.clone(),
            version: watch::Sender::new(*self.version.borrow()),
            uids: self.uids,
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|stored| &stored.value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().map(|(key, stored)| (key, &stored.value))
    }

    pub fn keys(&self, wanted: impl Fn(&Key, &Value) -> bool) -> Vec<Key> {
        self.iter().filter(|(key, value)| wanted(key, value)).map(|(key, _)| key.clone()).collect()
    }

    /// Server-side apply: declared fields replace, fields that this manager no longer declares go.
    pub fn applied(
        &self,
        key: &Key,
        manager: &str,
        force: bool,
        declared: &Value,
    ) -> Result<Value, Vec<FieldConflict>> {
        let Some(Stored { value: live, applied }) = self.objects.get(key) else { return Ok(declared.clone()) };
        let declared_fields = leaves(declared);
        if !force {
            let conflicts: Vec<FieldConflict> = declared_fields
                .iter()
                .filter(|(path, value)| live.pointer(path) != Some(value))
                .flat_map(|(path, _)| {
                    let others = applied.iter().filter(move |(other, _)| *other != manager);
                    others
                        .filter(|(_, theirs)| theirs.pointer(path).is_some())
                        .map(|(other, _)| (path.replace('/', "."), other.clone()))
                })
                .collect();
            if !conflicts.is_empty() {
                return Err(conflicts);
            }
        }
        let mut merged = live.clone();
        for (path, _) in applied.get(manager).map(leaves).unwrap_or_default() {
            if declared.pointer(&path).is_none() {
                remove(&mut merged, &path);
            }
        }
        merge(&mut merged, declared);
        Ok(merged)
    }

    /// Stores an object as it is from now on, and who declared what of it.
    pub fn put(&mut self, key: &Key, mut value: Value, declared: Option<(&str, &Value)>) -> Value {
        let before = self.objects.get(key).map(|stored| stored.value.clone());
        let mut applied = self.objects.remove(key).map(|stored| stored.applied).unwrap_or_default();
        if let Some((manager, declared)) = declared {
            applied.insert(manager.to_owned(), declared.clone());
        }
        let metadata = &mut value["metadata"];
        if let Some(before) = &before {
            for field in ["uid", "creationTimestamp", "generation"] {
                metadata[field] = before["metadata"][field].clone();
            }
            if before["spec"] != value["spec"] {
                let generation = before["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
                value["metadata"]["generation"] = json!(generation);
            }
        } else {
            self.uids += 1;
            metadata["uid"] = json!(format!("{UID_PREFIX}{:0UID_DIGITS$}", self.uids));
            metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            metadata["generation"] = json!(1);
        }
        let same = before.as_ref().is_some_and(|before| {
            value["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            *before == value
        });
        if !same {
            let version = self.next_version();
            value["metadata"]["resourceVersion"] = json!(version.to_string());
            let what = if before.is_some() { "MODIFIED" } else { "ADDED" };
            self.history.push(Change { version, what, key: key.clone(), value: value.clone() });
        }
        self.objects.insert(key.clone(), Stored { value: value.clone(), applied });
        value
    }

    pub fn remove(&mut self, key: &Key) -> Option<Value> {
        let gone = self.objects.remove(key)?.value;
        let version = self.next_version();
        self.history.push(Change { version, what: "DELETED", key: key.clone(), value: gone.clone() });
        Some(gone)
    }

    fn next_version(&self) -> u64 {
        self.version.send_modify(|version| *version += 1);
        *self.version.borrow()
    }
}

/// Whether an object has the labels and fields that a selector asks for: `a=b,c!=d`.
pub fn selected(value: &Value, labels: Option<&String>, fields: Option<&String>) -> bool {
    let holds = |term: &str, at: &dyn Fn(&str) -> Option<String>| {
        if let Some((name, wanted)) = term.split_once("!=") {
            at(name).as_deref() != Some(wanted)
        } else if let Some((name, wanted)) = term.split_once('=') {
            at(name).as_deref() == Some(wanted.trim_start_matches('='))
        } else {
            at(term).is_some()
        }
    };
    let label = |name: &str| Some(value["metadata"]["labels"].get(name)?.as_str()?.to_owned());
    let field = |path: &str| Some(value.pointer(&format!("/{}", path.replace('.', "/")))?.as_str()?.to_owned());
    // An empty selector selects everything.
    let all = |terms: Option<&String>, at: &dyn Fn(&str) -> Option<String>| {
        terms.is_none_or(|terms| terms.split(',').filter(|term| !term.is_empty()).all(|term| holds(term, at)))
    };
    all(labels, &label) && all(fields, &field)
}

/// A JSON merge patch (RFC 7386).
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("made one above").remove(name);
        } else {
            merge_patch(&mut target[name], value);
        }
    }
}

/// What tells a kind apart from all others in this server.
pub fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> Key {
    Key { kind: kind.kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

fn merge(live: &mut Value, declared: &Value) {
    match (live, declared) {
        (Value::Object(live), Value::Object(declared)) => {
            for (name, value) in declared {
                merge(live.entry(name).or_insert(Value::Null), value);
            }
        }
        (live, declared) => *live = declared.clone(),
    }
}

/// The fields that a manifest declares, lists as a whole, but for those that name the object.
fn leaves(declared: &Value) -> Vec<(String, Value)> {
    fn below(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    below(&format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), value, found);
                }
            }
            value => found.push((path.to_owned(), value.clone())),
        }
    }
    let mut found = Vec::new();
    below("", declared, &mut found);
    let names = ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"];
    found.retain(|(path, _)| !names.contains(&path.as_str()));
    found
}

fn remove(value: &mut Value, path: &str) {
    let Some((parent, name)) = path.rsplit_once('/') else { return };
    if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
        fields.remove(&name.replace("~1", "/").replace("~0", "~"));
    }
}
