//! What is installed and is not as these settings have it, and whose doing that is.

use kube::core::DynamicObject;
use serde::Serialize;

use super::{Finding, Observed, Severity, status::live_one};
use crate::{
    catalog,
    object::ObjectRef,
    plan::{self, FieldChange, FieldManager},
};

/// An object that is not as these settings have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drifted {
    /// Which.
    pub object: ObjectRef,
    /// The fields that differ, with both values and who set them.
    pub fields: Vec<FieldChange>,
}

/// What is there and is not as it should be.
pub(super) fn drifted(observed: &Observed) -> Vec<Drifted> {
    let pairs = observed.desired.iter().filter_map(|desired| Some((desired, live_one(observed, desired)?)));
    pairs
        .filter(|(_, live)| !plan::is_created_once(live))
        .map(|(desired, live)| {
            let mut fields = plan::drift(desired, live);
            fields.retain(|change| !is_ours_to_differ(change, desired, live));
            Drifted { object: ObjectRef::of(desired), fields }
        })
        .filter(|drifted| !drifted.fields.is_empty())
        .collect()
}

/// It may be on purpose, so it is a warning. Where nobody but `up` has written, nothing says that anything was changed: more
/// likely these are not the settings that it ran with, and `up` with them would change what is as it was meant.
pub(super) fn changed(drifted: &Drifted) -> Finding {
    let Drifted { object, fields } = drifted;
    let words: Vec<String> = fields.iter().map(ToString::to_string).collect();
    let others = |by: &FieldManager| by.manager != catalog::FIELD_MANAGER;
    let (what, hint) = if fields.iter().flat_map(|field| &field.by).any(others) {
        ("was changed", "`scalekit up --force-conflicts` sets it back")
    } else {
        (
            "is not as these settings have it",
            "was it installed with other flags or another --config? give them here too; `scalekit plan` shows what \
             `scalekit up` would change",
        )
    };
    Finding::new("drift", Severity::Warning, format!("{object} {what}: {}", words.join("; "))).hint(hint)
}

/// Versions and images differ between builds of scalekit, and `status` may be another build than the one that ran `up`. Our
/// own image is another with each build; those of the other components with a version of scalekit. An image that somebody
/// set by hand is no build's.
fn is_ours_to_differ(
    FieldChange { field, by, .. }: &FieldChange,
    desired: &DynamicObject,
    live: &DynamicObject,
) -> bool {
    let version = |object: &DynamicObject| object.metadata.labels.as_ref()?.get(catalog::VERSION).cloned();
    let of_a_build = catalog::component_of(desired).is_none_or(|component| component == catalog::Component::Scaler)
        || version(desired) != version(live);
    let image = matches!(field.rsplit('.').next(), Some("image" | "imagePullPolicy"));
    field.starts_with("metadata.labels") || (image && of_a_build && !by.iter().any(FieldManager::is_by_hand))
}
