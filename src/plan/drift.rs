//! Which declared fields differ from the live object.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

/// One field whose live value is not the declared one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Path as in `kubectl explain`, list positions in brackets: `spec.template.spec.containers[0].image`.
    pub field: String,
    /// Value in the cluster; absent when the field is not set there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// Value that is declared.
    pub desired: Value,
}

/// Compares every field that `desired` declares with `live`. What only the live object has (defaults,
/// status, other managers' fields) is not looked at.
///
/// Lists are compared by position, and their length counts: the API server keeps the order that was
/// applied. Manifests spell values as the API server stores them (`"1"`, not `"1000m"`), so that equal means equal.
/// The content of Secrets is masked, and not compared when the live one was read without it.
pub fn drift(desired: &DynamicObject, live: &DynamicObject) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let metadata = |object: &DynamicObject| {
        serde_json::json!({
            "labels": object.metadata.labels.clone().unwrap_or_default(),
            "annotations": object.metadata.annotations.clone().unwrap_or_default(),
        })
    };
    compare("metadata", &metadata(desired), Some(&metadata(live)), &mut changes);
    let secret = desired.types.as_ref().is_some_and(|types| types.kind == "Secret");
    if !secret && let Value::Object(fields) = &desired.data {
        for (name, value) in fields {
            compare(name, value, live.data.get(name), &mut changes);
        }
    }
    changes
}

fn compare(path: &str, desired: &Value, live: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (desired, live) {
        (Value::Object(desired), Some(Value::Object(live))) => {
            for (name, value) in desired {
                compare(&join(path, name), value, live.get(name), changes);
            }
        }
        (Value::Array(desired), Some(Value::Array(live))) if desired.len() == live.len() => {
            for (position, (desired, live)) in desired.iter().zip(live).enumerate() {
                compare(&format!("{path}[{position}]"), desired, Some(live), changes);
            }
        }
        // The API server drops empty maps and lists of some fields and keeps others: nothing is nothing.
        (Value::Object(desired), None) if desired.is_empty() => {}
        (Value::Array(desired), None) if desired.is_empty() => {}
        (desired, live) if live == Some(desired) => {}
        (desired, live) => {
            changes.push(FieldChange { field: path.to_owned(), live: live.cloned(), desired: desired.clone() });
        }
    }
}

/// Names with dots, such as annotation keys, are quoted so that the path can be read back.
fn join(path: &str, name: &str) -> String {
    if name.contains('.') { format!("{path}[\"{name}\"]") } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use kube::core::ObjectMeta;

    use super::*;

    #[rstest]
    #[case::equal(json!({"spec": {"a": 1}}), json!({"spec": {"a": 1}}), &[])]
    #[case::a_default_that_the_server_added(json!({"spec": {"a": 1}}), json!({"spec": {"a": 1, "b": 2}, "status": {}}), &[])]
    #[case::a_value(json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}), &["spec.a"])]
    #[case::a_missing_field(json!({"spec": {"a": 1}}), json!({"spec": {}}), &["spec.a"])]
    #[case::inside_a_list(json!({"spec": [{"image": "x"}]}), json!({"spec": [{"image": "y", "p": 1}]}), &["spec[0].image"])]
    #[case::a_longer_list(json!({"rules": [1, 2]}), json!({"rules": [1]}), &["rules"])]
    #[case::an_empty_map_that_the_server_dropped(json!({"spec": {"x": {}}}), json!({"spec": {}}), &[])]
    fn names_the_fields_that_differ(#[case] desired: Value, #[case] live: Value, #[case] expected: &[&str]) {
        let object = |data: Value| DynamicObject { types: None, metadata: ObjectMeta::default(), data };
        let fields: Vec<String> =
            drift(&object(desired), &object(live)).into_iter().map(|change| change.field).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_label_that_somebody_removed_is_drift() {
        let mut desired = DynamicObject { types: None, metadata: ObjectMeta::default(), data: json!({}) };
        let live = desired.clone();
        desired.metadata.labels = Some([("app.kubernetes.io/name".to_owned(), "x".to_owned())].into());
        assert_eq!(drift(&desired, &live)[0].field, "metadata.labels[\"app.kubernetes.io/name\"]");
    }
}
