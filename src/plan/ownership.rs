//! Who manages which field: what other tools wrote for us is taken over, and what scales is left alone.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::{
    catalog::{AUTOSCALER_FIELD_MANAGER, FIELD_MANAGER},
    object::ObjectRef,
};

/// Managers by which tools apply whole manifests. What a person changed with `kubectl edit`, `patch`, `set` or `scale`
/// has another manager, and stays theirs.
pub(super) const APPLIERS: [&str; 6] =
    ["kubectl-client-side-apply", "kubectl-create", "kubectl", "helm", "Helm", "before-first-apply"];

/// Operations of a managed fields entry.
const APPLY: &str = "Apply";

/// The merge patch that makes us the manager of what another tool applied of this very manifest, or `None` where there
/// is nothing to take over.
///
/// Only of an object that we never applied: after that, a field of another manager is somebody's wish. Without it, a
/// field that a later version no longer declares would stay for ever, because the tool that first applied it still
/// seems to want it. `spec.replicas` is taken from that tool and given to nobody where `desired` does not declare it:
/// the count stays as it is, and never falls to one for a moment. The patch holds for the version that was read only.
pub fn adoption(desired: &DynamicObject, live: &DynamicObject) -> Option<Value> {
    let (theirs, others) = applied_by_tools(live)?;
    let newest = theirs.iter().max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    let mut union = Value::Object(Map::new());
    for entry in &theirs {
        if let Some(fields) = &entry.fields_v1 {
            merge(&mut union, &fields.0);
        }
    }
    if desired.data.pointer("/spec/replicas").is_none()
        && let Some(spec) = union.get_mut("f:spec").and_then(Value::as_object_mut)
    {
        spec.remove("f:replicas");
    }
    let mut kept: Vec<Value> = others.iter().filter_map(|entry| serde_json::to_value(entry).ok()).collect();
    kept.push(json!({
        "manager": FIELD_MANAGER,
        "operation": APPLY,
        "apiVersion": newest.api_version,
        "time": newest.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": union,
    }));
    // With a version, the API server takes the patch for no other.
    Some(json!({"metadata": {"resourceVersion": live.metadata.resource_version, "managedFields": kept}}))
}

/// The tools from which [`adoption`] takes an object over, each once; none where there is nothing to take over.
pub fn adopted_from(live: &DynamicObject) -> Vec<String> {
    let theirs = applied_by_tools(live).map(|(theirs, _)| theirs).unwrap_or_default();
    let managers: BTreeSet<&str> = theirs.iter().filter_map(|entry| entry.manager.as_deref()).collect();
    managers.into_iter().map(str::to_owned).collect()
}

/// What tools applied of an object, and what others did; `None` where we have applied it before.
fn applied_by_tools(live: &DynamicObject) -> Option<(Vec<&ManagedFieldsEntry>, Vec<&ManagedFieldsEntry>)> {
    let entries = live.metadata.managed_fields.as_ref()?;
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some(APPLY)
    };
    if entries.iter().any(is_ours) {
        return None;
    }
    Some(entries.iter().partition(|entry| {
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.manager.as_deref().is_some_and(|manager| APPLIERS.contains(&manager))
    }))
}

/// Adds the fields of one set to another. Sets are nested maps whose leaves are empty.
fn merge(into: &mut Value, from: &Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        for (name, value) in from {
            merge(into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())), value);
        }
    }
}

/// Leaves the replica count to whatever scales a workload: once an Autoscaler or an HPA has written it, it is not
/// declared any more. A count that a person set with `kubectl scale` is a conflict, as any other field of theirs.
pub fn yield_replicas(desired: &mut [DynamicObject], live: &[DynamicObject]) {
    for object in desired.iter_mut().filter(|object| object.data.pointer("/spec/replicas").is_some()) {
        let reference = ObjectRef::of(object);
        let scaled = live.iter().any(|found| ObjectRef::of(found) == reference && is_scaled(found));
        if scaled && let Some(spec) = object.data.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("replicas");
        }
    }
}

/// Whether something that scales manages the replica count.
fn is_scaled(live: &DynamicObject) -> bool {
    live.metadata.managed_fields.iter().flatten().any(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        let by_scale = entry.subresource.as_deref() == Some("scale") && !manager.starts_with("kubectl");
        let fields = entry.fields_v1.as_ref();
        (by_scale || manager == AUTOSCALER_FIELD_MANAGER)
            && fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn deployment(replicas: Option<u32>, managed: Value) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "namespace": "n", "resourceVersion": "7", "managedFields": managed},
            "spec": {"replicas": replicas, "paused": false}}))
        .map(|mut object: DynamicObject| {
            if replicas.is_none() {
                object.data["spec"].as_object_mut().unwrap().remove("replicas");
            }
            object
        })
        .unwrap()
    }

    fn entry(manager: &str, operation: &str, subresource: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "subresource": subresource,
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn applied_by(manager: &str, operation: &str) -> Value {
        entry(manager, operation, "", json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}))
    }

    #[test]
    fn what_tools_applied_becomes_one_entry_of_ours_and_the_rest_stays() {
        let live = deployment(
            Some(3),
            json!([
                applied_by("kubectl-client-side-apply", "Update"),
                entry("helm", "Update", "", json!({"f:metadata": {"f:labels": {"f:x": {}}}})),
                entry("kube-controller-manager", "Update", "status", json!({"f:status": {}})),
                entry("kubectl-edit", "Update", "", json!({"f:spec": {"f:minReadySeconds": {}}})),
            ]),
        );
        let patch = adoption(&deployment(Some(1), json!([])), &live).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(adopted_from(&live), ["helm", "kubectl-client-side-apply"]);
        let entries = patch["metadata"]["managedFields"].as_array().unwrap();
        let managers: Vec<&str> = entries.iter().map(|entry| entry["manager"].as_str().unwrap()).collect();
        assert_eq!(managers, ["kube-controller-manager", "kubectl-edit", "scalekit"]);
        assert_eq!(entries[2]["operation"], "Apply");
        let union = json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:replicas": {}, "f:paused": {}}});
        assert_eq!(entries[2]["fieldsV1"], union);
    }

    #[test]
    fn a_count_that_we_do_not_declare_is_given_to_nobody() {
        let live = deployment(Some(3), json!([applied_by("kubectl-client-side-apply", "Update")]));
        let patch = adoption(&deployment(None, json!([])), &live).unwrap();
        assert_eq!(patch["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
    }

    #[rstest]
    #[case::applied_by_us_before(json!([applied_by("kubectl-client-side-apply", "Update"), applied_by("scalekit", "Apply")]))]
    #[case::changed_by_hand(json!([applied_by("kubectl-edit", "Update")]))]
    #[case::only_scaled(json!([entry("kubectl", "Update", "scale", json!({"f:spec": {"f:replicas": {}}}))]))]
    #[case::nobody(json!([]))]
    fn what_is_no_tools_is_left(#[case] managed: Value) {
        let live = deployment(Some(3), managed);
        assert_eq!(adoption(&deployment(Some(1), json!([])), &live), None);
        assert!(adopted_from(&live).is_empty());
    }

    #[rstest]
    #[case::our_own_autoscaler("scalekit-autoscaler", "scale", true)]
    #[case::an_hpa("kube-controller-manager", "scale", true)]
    #[case::a_person("kubectl", "scale", false)]
    #[case::a_controller_that_does_not_scale("kube-controller-manager", "", false)]
    fn the_count_is_left_to_what_scales(#[case] manager: &str, #[case] subresource: &str, #[case] left: bool) {
        let fields = json!({"f:spec": {"f:replicas": {}}});
        let live = deployment(Some(3), json!([entry(manager, "Update", subresource, fields)]));
        let mut desired = [deployment(Some(1), json!([]))];
        yield_replicas(&mut desired, &[live]);
        assert_eq!(desired[0].data["spec"].get("replicas").is_none(), left);
    }
}
