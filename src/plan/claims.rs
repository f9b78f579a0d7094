//! Claims for volumes: their class cannot be changed once they are there.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::DynamicObject;
use serde_json::Value;

use super::Change;
use crate::object::ObjectRef;

/// Fits desired claims to the ones that are there: a claim keeps the class it has, whatever is the default by now,
/// since the API server refuses any other. Only a claim that waits for a class that does not exist, and so holds
/// nothing, is left to get the desired one; it is then planned to be made anew.
pub fn adapt_claims(desired: &mut [DynamicObject], live: &[DynamicObject], classes: &[StorageClass]) {
    for object in desired.iter_mut().filter(|object| is_claim(object)) {
        let reference = ObjectRef::of(object);
        let Some(found) = live.iter().find(|found| ObjectRef::of(found) == reference) else { continue };
        let Some(class) = class(found) else { continue };
        let exists = class.is_empty() || classes.iter().any(|known| known.metadata.name.as_deref() == Some(class));
        if (is_bound(found) || exists)
            && let Some(spec) = object.data.get_mut("spec")
        {
            spec["storageClassName"] = class.into();
        }
    }
}

/// What to do with a live claim whose class is not the desired one: nothing is lost with one that is not bound.
pub(super) fn recreate(desired: &DynamicObject, live: &DynamicObject) -> Option<Change> {
    let (wanted, there) = (class(desired)?, class(live)?);
    if !is_claim(desired) || wanted == there || is_bound(live) {
        return None;
    }
    let uid = live.metadata.uid.clone()?;
    Some(Change::Recreate { uid, why: format!("it waits for StorageClass `{there}`, which does not exist") })
}

fn is_claim(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == "PersistentVolumeClaim")
}

fn class(claim: &DynamicObject) -> Option<&str> {
    claim.data.pointer("/spec/storageClassName").and_then(Value::as_str)
}

fn is_bound(claim: &DynamicObject) -> bool {
    claim.data.pointer("/status/phase").and_then(Value::as_str) == Some("Bound")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn claim(class: &str, phase: &str) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "m", "uid": "u"}, "spec": {"storageClassName": class},
            "status": {"phase": phase}}))
        .unwrap()
    }

    #[rstest]
    #[case::bound("old", "Bound", "old", false)]
    #[case::bound_by_a_class_that_is_gone("gone", "Bound", "gone", false)]
    #[case::waiting_for_its_pod("old", "Pending", "old", false)]
    #[case::waiting_for_a_class_that_does_not_exist("gone", "Pending", "new", true)]
    #[case::the_same_wrong_class_again("new", "Pending", "new", false)]
    fn keeps_the_class_unless_nothing_can_come_of_it(
        #[case] there: &str,
        #[case] phase: &str,
        #[case] expected: &str,
        #[case] anew: bool,
    ) {
        let live = claim(there, phase);
        let mut desired = [claim("new", "")];
        let classes = [serde_json::from_value(json!({"metadata": {"name": "old"}, "provisioner": "x"})).unwrap()];
        adapt_claims(&mut desired, std::slice::from_ref(&live), &classes);
        assert_eq!(class(&desired[0]), Some(expected));
        assert_eq!(recreate(&desired[0], &live).is_some(), anew);
    }
}
