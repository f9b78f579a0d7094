//! Does an object work: a question to values, and the answer says why not.
//!
//! The rules are kstatus' (`kubernetes-sigs/cli-utils`, `pkg/kstatus`), and on top of them the ones that end a
//! wait in seconds, as krane and kubedog have them: an image that is not there, a container that cannot be
//! configured or exits again and again, a claim whose class does not exist. Pure: `now` is an argument.

mod pod;
mod volume;
mod workload;

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Event, Node, Pod},
    storage::v1::StorageClass,
};
use kube::core::DynamicObject;
use serde::Serialize;

pub use workload::PODS_REFUSED;

use crate::object::ObjectRef;

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Readiness {
    /// As its manifest says, and working.
    Current,
    /// On the way.
    InProgress {
        /// What is still missing, as a clause: `1 of 2 replicas are ready`.
        why: String,
    },
    /// It will not get there by itself.
    Failed {
        /// The cause, one clause.
        why: String,
        /// What to do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl Readiness {
    /// On the way, because of `why`.
    pub fn in_progress(why: impl Into<String>) -> Self {
        Self::InProgress { why: why.into() }
    }

    /// Failed because of `why`.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), hint: None }
    }

    /// The same with what to do about it, when it is a failure.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Failed { why, .. } => Self::Failed { why, hint: Some(hint.into()) },
            other => other,
        }
    }

    /// Whether the object works.
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }
}

/// What else has to be known to judge an object.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Pods of our namespaces.
    pub pods: Vec<Pod>,
    /// Warning events of our namespaces.
    pub events: Vec<Event>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All storage classes.
    pub classes: Vec<StorageClass>,
}

/// Judges one object.
///
/// A kind without a rule is current once it is there, as in kstatus. An object that is being deleted is in
/// progress, whatever else it says.
pub fn of(object: &DynamicObject, around: &Surroundings, now: Timestamp) -> Readiness {
    if object.metadata.deletion_timestamp.is_some() {
        return Readiness::in_progress("it is being deleted");
    }
    let generation = object.metadata.generation;
    let observed = object.data.pointer("/status/observedGeneration").and_then(serde_json::Value::as_i64);
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return Readiness::in_progress("its controller has not seen the last change yet");
    }
    let reference = ObjectRef::of(object);
    match (reference.group.as_str(), reference.kind.as_str()) {
        ("apps", "Deployment") => workload::deployment(object, around, now),
        ("apps", "StatefulSet") => workload::stateful_set(object, around, now),
        ("apps", "DaemonSet") => workload::daemon_set(object, around, now),
        ("", "PersistentVolumeClaim") => volume::claim(object, around),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ => Readiness::Current,
    }
}

/// When an event was last seen, whichever way its reporter says so.
fn occurrence(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    series.or(last).or_else(|| event.event_time.as_ref().map(|time| time.0))
}

/// kstatus' rule for a CRD.
pub fn definition(object: &DynamicObject) -> Readiness {
    let conditions = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    let condition = |kind: &str| {
        conditions.into_iter().flatten().find(|condition| condition["type"] == kind).map(|condition| {
            (
                condition["status"] == "True",
                condition["reason"].as_str().unwrap_or_default(),
                condition["message"].as_str().unwrap_or_default().to_owned(),
            )
        })
    };
    if let Some((false, _, message)) = condition("NamesAccepted") {
        return Readiness::failed(format!("its names are not accepted: {message}"))
            .hint("another definition has them: `kubectl get crds`; rename or remove that one");
    }
    match condition("Established") {
        Some((true, _, _)) => Readiness::Current,
        Some((false, reason, message)) if reason != "Installing" && !reason.is_empty() => {
            Readiness::failed(format!("it is not established: {message}"))
        }
        _ => Readiness::in_progress("it is not established yet"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(value: serde_json::Value) -> Readiness {
        of(&serde_json::from_value(value).unwrap(), &Surroundings::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_status_of_an_older_generation_says_nothing() {
        let answer =
            judge(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "generation": 2},
            "status": {"observedGeneration": 1}}));
        assert!(matches!(answer, Readiness::InProgress { .. }));
    }

    #[test]
    fn a_definition_is_current_once_it_is_established() {
        let crd = |conditions: serde_json::Value| {
            judge(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "x"}, "status": {"conditions": conditions}}))
        };
        assert!(matches!(crd(json!([])), Readiness::InProgress { .. }));
        assert_eq!(crd(json!([{"type": "Established", "status": "True"}])), Readiness::Current);
        assert!(matches!(
            crd(json!([{"type": "NamesAccepted", "status": "False", "message": "taken"}])),
            Readiness::Failed { .. }
        ));
    }

    #[test]
    fn a_kind_without_a_rule_is_current_unless_it_is_being_deleted() {
        assert_eq!(
            judge(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})),
            Readiness::Current
        );
        let deleted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(matches!(judge(deleted), Readiness::InProgress { .. }));
    }
}
