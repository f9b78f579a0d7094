//! What the API server lets nobody change in place: the object is made anew for it.

use kube::core::DynamicObject;

use super::{Change, FieldChange};
use crate::object::ObjectRef;

/// What to do with a live object of which fields differ that cannot be changed: nothing is lost with it, since data are in
/// claims, which are objects of their own.
pub(super) fn recreate(live: &DynamicObject, fields: &[FieldChange]) -> Option<Change> {
    let kind = ObjectRef::of(live).kind;
    let fixed = fields.iter().find(|change| fixed(&kind).iter().any(|field| is_at_or_below(&change.field, field)))?;
    let uid = live.metadata.uid.clone()?;
    Some(Change::Recreate { uid, why: format!("{fixed}, and cannot be changed") })
}

/// Fields that are fixed once an object is there, of the kinds that we install (kubernetes, `pkg/apis/apps/validation` and
/// `pkg/apis/rbac/validation`).
fn fixed(kind: &str) -> &'static [&'static str] {
    match kind {
        "StatefulSet" => {
            &["spec.podManagementPolicy", "spec.serviceName", "spec.selector", "spec.volumeClaimTemplates"]
        }
        "Deployment" | "DaemonSet" => &["spec.selector"],
        "RoleBinding" | "ClusterRoleBinding" => &["roleRef"],
        _ => &[],
    }
}

fn is_at_or_below(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::drift;

    #[rstest]
    #[case::how_pods_are_made("StatefulSet", "podManagementPolicy", true)]
    #[case::its_service("StatefulSet", "serviceName", true)]
    #[case::what_may_change("StatefulSet", "minReadySeconds", false)]
    #[case::a_name_that_begins_alike("StatefulSet", "selectorLike", false)]
    #[case::its_pods("Deployment", "selector", true)]
    #[case::another_kind("Deployment", "podManagementPolicy", false)]
    fn an_object_is_made_anew_for_what_is_fixed(#[case] kind: &str, #[case] field: &str, #[case] anew: bool) {
        let object = |value: Value| -> DynamicObject {
            serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x", "uid": "u"},
                "spec": {field: value}}))
            .unwrap()
        };
        let live = object(json!({"a": "old"}));
        let found = recreate(&live, &drift(&object(json!({"a": "new"})), &live));
        let why = format!("spec.{field}.a is \"old\", should be \"new\", and cannot be changed");
        assert_eq!(found, anew.then(|| Change::Recreate { uid: "u".to_owned(), why }));
    }
}
