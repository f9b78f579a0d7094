//! Does an object work: a question to values, and the answer says why not.
//!
//! The rules are kstatus' (`kubernetes-sigs/cli-utils`, `pkg/kstatus`), and on top of them the ones that end a
//! wait in seconds, as krane and kubedog have them: an image that is not there, a container that cannot be
//! configured or exits again and again, a claim whose class does not exist. Pure: `now` is an argument.

mod container;
mod pod;
mod volume;
mod workload;

use jiff::{SignedDuration as Duration, Timestamp};
use k8s_openapi::api::{
    core::v1::{Event, Node, Pod},
    storage::v1::StorageClass,
};
use kube::core::DynamicObject;
use serde::Serialize;

pub use volume::PROVISIONING;
pub use workload::{PODS_REFUSED, is_ready};

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
    /// Warning events of our namespaces, and, where it is waited for them, all about their claims.
    pub events: Vec<Event>,
    /// Since when it is waited; `None` where it is looked once.
    pub since: Option<Timestamp>,
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
        ("", "PersistentVolumeClaim") => volume::claim(object, around, now),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => api_service(object, now),
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

/// How long a Service that has ready pods may take to answer as an API: its certificate and its port are new, too.
const API_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The rule of the API server's own aggregator (`kube-aggregator`, `remote/available_controller.go`), by the reasons that
/// it gives: a Service that is not there, or lacks the port, is a mistake; one without ready pods waits for them, which
/// have a verdict of their own; one that has them and does not answer will not.
fn api_service(object: &DynamicObject, now: Timestamp) -> Readiness {
    let conditions = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    let Some(available) = conditions.into_iter().flatten().find(|condition| condition["type"] == "Available") else {
        return Readiness::in_progress("the API server has not looked for its server yet");
    };
    if available["status"] == "True" {
        return Readiness::Current;
    }
    let text = |field: &str| available[field].as_str().unwrap_or_default();
    let why = format!("it does not answer: {}", text("message"));
    let since: Option<Timestamp> = text("lastTransitionTime").parse().ok();
    let answers_not = since.is_none_or(|since| now.duration_since(since) >= API_ANSWERS_WITHIN);
    match text("reason") {
        "ServiceNotFound" | "ServicePortError" => {}
        "FailedDiscoveryCheck" if answers_not => {}
        _ => return Readiness::in_progress(why),
    }
    let service = |field: &str| {
        object.data.pointer(&format!("/spec/service/{field}")).and_then(serde_json::Value::as_str).unwrap_or_default()
    };
    Readiness::failed(why).hint(format!(
        "`kubectl get service,endpointslices -n {} -l app.kubernetes.io/name={}`; while it is so, no namespace of the \
         cluster can be deleted",
        service("namespace"),
        service("name")
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
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

    #[rstest]
    #[case::answers("True", "Passed", 0, "current")]
    #[case::no_service("False", "ServiceNotFound", 0, "failed")]
    #[case::no_such_port("False", "ServicePortError", 0, "failed")]
    #[case::no_pods_yet("False", "MissingEndpoints", 600, "in-progress")]
    #[case::pods_that_start("False", "FailedDiscoveryCheck", 4, "in-progress")]
    #[case::pods_that_do_not_answer("False", "FailedDiscoveryCheck", 5, "failed")]
    fn an_aggregated_api_is_judged_by_the_aggregators_reasons(
        #[case] status: &str,
        #[case] reason: &str,
        #[case] seconds: i64,
        #[case] expected: &str,
    ) {
        let since = Timestamp::UNIX_EPOCH;
        let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.x"},
            "spec": {"service": {"namespace": "monitoring", "name": "scaler"}},
            "status": {"conditions": [{"type": "Available", "status": status, "reason": reason, "message": "why",
                "lastTransitionTime": since.to_string()}]}});
        let now = since + Duration::from_secs(seconds);
        let judged = of(&serde_json::from_value(service).unwrap(), &Surroundings::default(), now);
        assert_eq!(serde_json::to_value(&judged).unwrap()["state"], expected);
        if let Readiness::Failed { why, hint } = judged {
            assert_eq!(why, "it does not answer: why");
            assert!(hint.unwrap().contains("-n monitoring -l app.kubernetes.io/name=scaler"));
        }
    }

    #[test]
    fn an_aggregated_api_that_nobody_has_looked_for_is_on_the_way() {
        let new =
            json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.x"}});
        assert!(matches!(judge(new), Readiness::InProgress { .. }));
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
