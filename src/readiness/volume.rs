//! Whether a claim gets its volume.

use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kube::core::DynamicObject;

use super::{Readiness, Surroundings};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Judges a claim. Pending under a class that waits for the first consumer is not a failure, only not done.
pub(super) fn claim(object: &DynamicObject, around: &Surroundings) -> Readiness {
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
    let asked = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let class = match asked {
        // An empty name asks for a volume without a class, which somebody makes by hand.
        Some("") => return Readiness::in_progress("it waits for a volume without a class"),
        Some(name) => around.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)),
        None => around.classes.iter().find(|class| is_default(class)),
    };
    let known: Vec<&str> = around.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
    match (class, asked) {
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

/// Whether a class is the cluster's default.
pub(super) fn is_default(class: &StorageClass) -> bool {
    class
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DEFAULT_CLASS))
        .is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
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
        super::claim(&claim, &Surroundings { classes: vec![class], ..Surroundings::default() })
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
}
