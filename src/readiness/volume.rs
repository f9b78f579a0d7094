//! Whether a claim gets its volume.

use jiff::{SignedDuration as Duration, Timestamp};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim};
use kube::core::DynamicObject;

use super::{Readiness, Surroundings};
use crate::platform::is_default_class;

/// What a provisioner says when it begins (`sig-storage-lib-external-provisioner`, `controller.go`).
pub const PROVISIONING: &str = "Provisioning";

/// What it says, or the controller, when it could not; it tries again by itself.
const PROVISIONING_FAILED: &str = "ProvisioningFailed";

/// What the controller says while it waits for a provisioner that is none of its own (`pv_controller.go`).
const EXTERNAL_PROVISIONING: &str = "ExternalProvisioning";

/// How long a provisioner may fail: its first try may meet a node or a storage that is not ready yet.
const FAILS_FOR: Duration = Duration::from_secs(5);

/// How long a provisioner may be silent once somebody waits: it may be starting itself, in a cluster that was made a moment ago.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Judges a claim. Pending under a class that waits for the first consumer is not a failure, only not done.
pub(super) fn claim(object: &DynamicObject, around: &Surroundings, now: Timestamp) -> Readiness {
    let Ok(claim) = object.clone().try_parse::<PersistentVolumeClaim>() else {
        return Readiness::in_progress("its status cannot be read");
    };
    match claim.status.and_then(|status| status.phase).as_deref() {
        Some("Bound") => return Readiness::Current,
        Some("Lost") => {
            return Readiness::failed("its volume is gone")
                .hint("its data is gone with it: delete the claim, and `scalekit up` makes it anew");
        }
        _ => {}
    }
    let provisioned = provisioned(object, around, now);
    let asked = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let class = match asked {
        // An empty name asks for a volume without a class, which somebody makes by hand.
        Some("") => return Readiness::in_progress("it waits for a volume without a class"),
        Some(name) => around.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)),
        None => around.classes.iter().find(|class| is_default_class(class)),
    };
    let known: Vec<&str> = around.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
    match (class, asked) {
        (Some(class), _) if provisioned == Provisioned::Silent => Readiness::failed(format!(
            "nothing makes the volumes of StorageClass `{}`: {} has not begun within {} s",
            class.metadata.name.as_deref().unwrap_or_default(),
            class.provisioner,
            SILENT_FOR.as_secs()
        ))
        .hint("is it installed, and does it run? `scalekit check` says; or name another class with --storage-class"),
        (Some(class), _) if let Provisioned::Fails(why) = &provisioned => {
            Readiness::failed(format!("{} cannot make its volume: {why}", class.provisioner))
                .hint("mend what it names; it tries again by itself. Or name another class with --storage-class")
        }
        (Some(class), _) if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") => {
            Readiness::in_progress("it is bound when its pod is scheduled")
        }
        (Some(class), _) => Readiness::in_progress(format!("it waits for a volume from {}", class.provisioner)),
        (None, Some(name)) => Readiness::failed(format!("there is no StorageClass `{name}`")).hint(match known.as_slice() {
            [] => "the cluster has no StorageClass at all: install a provisioner (MicroK8s: `microk8s enable hostpath-storage`)".to_owned(),
            known => format!("there are: {}; name one with --storage-class", known.join(", ")),
        }),
        (None, None) => Readiness::failed("it names no StorageClass, and the cluster has no default one")
            .hint("name one with --storage-class"),
    }
}

/// What came of asking a provisioner for a volume.
#[derive(Debug, PartialEq, Eq)]
enum Provisioned {
    /// Nothing is known that stands in the way.
    NotYet,
    /// It fails again and again, with these words.
    Fails(String),
    /// Nobody has begun.
    Silent,
}

fn provisioned(claim: &DynamicObject, around: &Surroundings, now: Timestamp) -> Provisioned {
    let about = |reason: &'static str| {
        let uid = &claim.metadata.uid;
        around.events.iter().filter(move |event| {
            event.reason.as_deref() == Some(reason) && uid.is_some() && event.involved_object.uid == *uid
        })
    };
    let first = |event: &Event| {
        let first = event.first_timestamp.as_ref().map(|time| time.0);
        first.or_else(|| event.event_time.as_ref().map(|time| time.0))
    };
    // It is told for as long as the claim waits: whoever has begun to look may have started the provisioner just now.
    let is_silent = |event: &Event| {
        let since = first(event).zip(around.since).map(|(first, looked)| first.max(looked));
        since.is_some_and(|since| now.duration_since(since) >= SILENT_FOR)
    };
    if let Some(last) = about(PROVISIONING_FAILED).max_by_key(|event| super::occurrence(event)) {
        // Tries that fail in other words each time are events of their own.
        let begun = about(PROVISIONING_FAILED).filter_map(first).min();
        let again = super::occurrence(last).zip(begun).map(|(last, begun)| last.duration_since(begun));
        if again.is_some_and(|again| again >= FAILS_FOR) {
            return Provisioned::Fails(last.message.clone().unwrap_or_default());
        }
    } else if about(PROVISIONING).next().is_none() && about(EXTERNAL_PROVISIONING).any(is_silent) {
        return Provisioned::Silent;
    }
    Provisioned::NotYet
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::storage::v1::StorageClass;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn judge(class: Option<&str>, phase: &str) -> Readiness {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"]});
        if let Some(class) = class {
            spec["storageClassName"] = Value::from(class);
        }
        let claim = serde_json::from_value(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c"}, "spec": spec, "status": {"phase": phase}}))
        .unwrap();
        let class =
            serde_json::from_value(json!({"metadata": {"name": "standard"}, "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer"}))
            .unwrap();
        super::claim(&claim, &Surroundings { classes: vec![class], ..Surroundings::default() }, Timestamp::UNIX_EPOCH)
    }

    #[rstest]
    #[case::bound(Some("standard"), "Bound", "current")]
    #[case::waits_for_its_pod(Some("standard"), "Pending", "in-progress")]
    #[case::unknown_class(Some("fast"), "Pending", "failed")]
    #[case::no_class_and_no_default(None, "Pending", "failed")]
    #[case::lost(Some("standard"), "Lost", "failed")]
    fn judges(#[case] class: Option<&str>, #[case] phase: &str, #[case] expected: &str) {
        assert_eq!(serde_json::to_value(judge(class, phase)).unwrap()["state"], expected);
    }

    #[test]
    fn an_unknown_class_is_answered_with_the_ones_there_are() {
        let Readiness::Failed { why, hint } = judge(Some("fast"), "Pending") else { panic!() };
        assert_eq!(why, "there is no StorageClass `fast`");
        assert_eq!(hint.as_deref(), Some("there are: standard; name one with --storage-class"));
    }

    #[rstest]
    #[case::it_fails_for_the_first_time(&[("ProvisioningFailed", 4)], None)]
    #[case::it_goes_on_failing(&[("ExternalProvisioning", 8), ("Provisioning", 7), ("ProvisioningFailed", 5)],
        Some("x.dev/disks cannot make its volume: no space"))]
    #[case::it_fails_in_other_words(&[("ProvisioningFailed", 9), ("ProvisioningFailed", 1)],
        Some("x.dev/disks cannot make its volume: no space"))]
    #[case::it_may_be_starting(&[("ExternalProvisioning", 29)], None)]
    #[case::it_is_at_work(&[("ExternalProvisioning", 600), ("Provisioning", 599)], None)]
    #[case::nobody_begins(&[("ExternalProvisioning", 30)],
        Some("nothing makes the volumes of StorageClass `disks`: x.dev/disks has not begun within 30 s"))]
    fn a_provisioner_is_judged_by_what_is_said_of_the_claim(
        #[case] events: &[(&str, i64)],
        #[case] expected: Option<&str>,
    ) {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(3600);
        let claim = serde_json::from_value(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c", "uid": "u"}, "spec": {"storageClassName": "disks"}, "status": {"phase": "Pending"}}))
        .unwrap();
        let class = serde_json::from_value(json!({"metadata": {"name": "disks"}, "provisioner": "x.dev/disks",
            "volumeBindingMode": "WaitForFirstConsumer"}))
        .unwrap();
        let event = |uid: &str, reason: &str, ago: i64| {
            let first = (now - Duration::from_secs(ago)).to_string();
            serde_json::from_value(json!({"metadata": {}, "reason": reason, "message": "no space",
                "firstTimestamp": first, "lastTimestamp": now.to_string(),
                "involvedObject": {"kind": "PersistentVolumeClaim", "uid": uid}}))
            .unwrap()
        };
        let mut all: Vec<Event> = events.iter().map(|(reason, ago)| event("u", reason, *ago)).collect();
        // Another claim's.
        all.push(event("v", "ProvisioningFailed", 600));
        let since = Some(now - Duration::from_secs(600));
        let around = Surroundings { classes: vec![class], events: all, since, ..Surroundings::default() };
        match super::claim(&claim, &around, now) {
            Readiness::Failed { why, hint } => {
                assert_eq!(Some(why.as_str()), expected);
                assert!(hint.is_some_and(|hint| hint.contains("--storage-class")));
            }
            other => assert!(expected.is_none() && matches!(other, Readiness::InProgress { .. }), "{other:?}"),
        }
    }

    /// A try that failed and was not told again may be followed by one that succeeds; and of a provisioner nobody knows how
    /// long it has been there.
    #[test]
    fn one_failure_is_no_verdict_and_silence_counts_from_when_it_is_waited() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(3600);
        let claim = serde_json::from_value(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c", "uid": "u"}, "spec": {"storageClassName": "disks"}, "status": {"phase": "Pending"}}))
        .unwrap();
        let class: StorageClass =
            serde_json::from_value(json!({"metadata": {"name": "disks"}, "provisioner": "x.dev/disks"})).unwrap();
        let judged = |reason: &str, last: i64, since: Option<i64>| {
            let at = |ago: i64| (now - Duration::from_secs(ago)).to_string();
            let event = serde_json::from_value(json!({"metadata": {}, "reason": reason, "message": "no answer",
                "firstTimestamp": at(60), "lastTimestamp": at(last), "involvedObject": {"uid": "u"}}))
            .unwrap();
            let since = since.map(|ago| now - Duration::from_secs(ago));
            let around =
                Surroundings { classes: vec![class.clone()], events: vec![event], since, ..Surroundings::default() };
            matches!(super::claim(&claim, &around, now), Readiness::Failed { .. })
        };
        assert!(!judged("ProvisioningFailed", 60, None) && judged("ProvisioningFailed", 50, None));
        assert!(!judged("ExternalProvisioning", 0, Some(3)) && judged("ExternalProvisioning", 0, Some(31)));
        assert!(!judged("ExternalProvisioning", 0, None));
    }
}
