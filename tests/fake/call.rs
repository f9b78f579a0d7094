//! What a client asks for, and what can go wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use http::{Method, header};
use scalekit::cluster::{INSTALLED, Kind, TRACES};
use serde_json::{Value, json};

use super::store::{Key, selected};

/// Kinds that a cluster has and scalekit does not install.
const OTHERS: [Kind; 6] = [
    Kind { group: "", version: "v1", kind: "Node", plural: "nodes", namespaced: false },
    Kind { group: "", version: "v1", kind: "PersistentVolume", plural: "persistentvolumes", namespaced: false },
    Kind { group: "storage.k8s.io", version: "v1", kind: "StorageClass", plural: "storageclasses", namespaced: false },
    Kind { group: "", version: "v1", kind: "Event", plural: "events", namespaced: true },
    Kind { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", namespaced: true },
    Kind { group: "batch", version: "v1", kind: "CronJob", plural: "cronjobs", namespaced: true },
];

pub(super) fn kinds() -> impl Iterator<Item = &'static Kind> {
    INSTALLED.iter().chain(&TRACES).chain(&OTHERS)
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// `get`, `list`, `watch`, `apply`, `patch`, `create`, `replace` or `delete`.
    pub verb: &'static str,
    /// Path of the URL.
    pub path: String,
    /// Body, as JSON.
    pub body: Value,
    pub(super) query: BTreeMap<String, String>,
    pub(super) metadata_only: bool,
}

impl Call {
    pub(super) fn new(parts: &http::request::Parts, body: &[u8]) -> Self {
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let text = |name| {
            parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default()
        };
        let path = parts.uri.path().to_owned();
        let verb = match parts.method {
            Method::GET if query.contains_key("watch") => "watch",
            Method::GET if Place::of(&path).is_some_and(|place| place.name.is_none()) => "list",
            Method::PATCH if text(header::CONTENT_TYPE).contains("apply-patch") => "apply",
            Method::PATCH => "patch",
            Method::POST => "create",
            Method::PUT => "replace",
            Method::DELETE => "delete",
            _ => "get",
        };
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        Self { verb, path, body, metadata_only: text(header::ACCEPT).contains("as=PartialObjectMetadata"), query }
    }

    /// The version from which on a watch is told what happened.
    pub(super) fn version(&self) -> u64 {
        self.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0)
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        ["apply", "patch", "create", "replace", "delete"].contains(&self.verb)
            && !self.query.contains_key("dryRun")
            && !self.path.ends_with("/selfsubjectaccessreviews")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.path)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|digit| char::from(digit.unwrap_or(b'0')));
                u8::from_str_radix(&String::from_iter(digits), 16).expect("two hex digits")
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).expect("UTF-8")
}

/// What a path names.
pub(super) struct Place {
    pub(super) kind: &'static Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Place {
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let kind = kinds().find(|kind| kind.group == group && rest.first() == Some(&kind.plural))?;
        let text = |at: usize| rest.get(at).map(|text| (*text).to_owned());
        Some(Self { kind, namespace, name: text(1), subresource: text(2) })
    }
}

/// What goes wrong, and when.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) verb: &'static str,
    pub(super) path: &'static str,
    pub(super) after: usize,
    pub(super) times: usize,
    /// `None` is no answer at all.
    pub(super) answer: Option<(u16, Value)>,
}

impl Fault {
    /// For requests of this verb whose path ends so.
    pub fn on(verb: &'static str, path: &'static str) -> Self {
        Self { verb, path, after: 0, times: usize::MAX, answer: None }
    }

    /// It is answered with this status.
    pub fn answers(self, code: u16, reason: &str, message: &str) -> Self {
        Self { answer: Some((code, failure(code, reason, message, &json!({})))), ..self }
    }

    /// Only this many requests.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// The first ones are let through.
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }
}

impl Call {
    /// Whether a LIST or WATCH is about this object.
    pub(super) fn takes(&self, key: &Key, value: &Value) -> bool {
        Place::of(&self.path).is_some_and(|place| {
            key.kind == place.kind.kind
                && (place.namespace.is_none() || place.namespace == key.namespace)
                && selected(value, self.query.get("labelSelector"), self.query.get("fieldSelector"))
        })
    }
}

/// The aggregated discovery, and the version.
pub(super) fn discovery(path: &str) -> Option<Value> {
    let groups: BTreeSet<&str> = match path {
        "/version" => {
            return Some(
                json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
            );
        }
        "/api" => BTreeSet::from([""]),
        "/apis" => kinds().map(|kind| kind.group).filter(|group| !group.is_empty()).collect(),
        _ => return None,
    };
    let resource = |kind: &Kind| {
        json!({"resource": kind.plural, "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "singularResource": "", "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]})
    };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            let of_group: Vec<&Kind> = kinds().filter(|kind| kind.group == group).collect();
            let resources: Vec<Value> = of_group.iter().map(|kind| resource(kind)).collect();
            json!({"metadata": {"name": group}, "versions": [{"version": of_group[0].version, "resources": resources, "freshness": "Current"}]})
        })
        .collect();
    Some(
        json!({"apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "metadata": {}, "items": items}),
    )
}

pub(super) fn failure(code: u16, reason: &str, message: &str, details: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message, "details": details})
}
