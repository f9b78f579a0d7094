//! Which declared fields differ from the live object.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::{
    checked::shortened,
    managers::{self, FieldManager, Step},
};

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
    /// Who set the live value. Nobody where it is not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<FieldManager>,
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, live, desired, by } = self;
        let desired = shortened(&desired.to_string());
        match live {
            Some(live) => write!(to, "{field} is {}, should be {desired}", shortened(&live.to_string()))?,
            None => write!(to, "{field} is not set, should be {desired}")?,
        }
        for (position, FieldManager { manager, subresource, .. }) in by.iter().enumerate() {
            let by = if position == 0 { " (by" } else { "," };
            match subresource {
                Some(subresource) => write!(to, "{by} {manager}, {subresource}")?,
                None => write!(to, "{by} {manager}")?,
            }
        }
        if by.is_empty() { Ok(()) } else { write!(to, ")") }
    }
}

/// Compares every field that `desired` declares with `live`. What only the live object has (defaults,
/// status, other managers' fields) is not looked at.
///
/// Lists are compared by position, and their length counts: the API server keeps the order that was
/// applied. Manifests spell values as the API server stores them (`"1"`, not `"1000m"`), so that equal means equal.
/// The content of Secrets is masked, and not compared when the live one was read without it.
pub fn drift(desired: &DynamicObject, live: &DynamicObject) -> Vec<FieldChange> {
    let metadata = |object: &DynamicObject| {
        serde_json::json!({
            "labels": object.metadata.labels.clone().unwrap_or_default(),
            "annotations": object.metadata.annotations.clone().unwrap_or_default(),
        })
    };
    let (declared, found) = (metadata(desired), metadata(live));
    let mut differences = Differences { path: vec![Step::Key("metadata")], live, changes: Vec::new() };
    differences.compare(&declared, Some(&found));
    let secret = desired.types.as_ref().is_some_and(|types| types.kind == "Secret");
    if !secret && let Value::Object(fields) = &desired.data {
        for (name, value) in fields {
            differences.path = vec![Step::Key(name)];
            differences.compare(value, live.data.get(name));
        }
    }
    differences.changes
}

/// What was found so far, and where is being looked.
struct Differences<'a> {
    path: Vec<Step<'a>>,
    live: &'a DynamicObject,
    changes: Vec<FieldChange>,
}

impl<'a> Differences<'a> {
    fn compare(&mut self, desired: &'a Value, live: Option<&Value>) {
        match (desired, live) {
            (Value::Object(desired), Some(Value::Object(live))) => {
                for (name, value) in desired {
                    self.below(Step::Key(name), value, live.get(name));
                }
            }
            (Value::Array(desired), Some(Value::Array(live))) if desired.len() == live.len() => {
                for (position, (desired, live)) in desired.iter().zip(live).enumerate() {
                    self.below(Step::Position(position), desired, Some(live));
                }
            }
            // The API server drops empty maps and lists of some fields and keeps others: nothing is nothing.
            (Value::Object(desired), None) if desired.is_empty() => {}
            (Value::Array(desired), None) if desired.is_empty() => {}
            (desired, live) if live == Some(desired) => {}
            (desired, live) => {
                let by = if live.is_some() { managers::of(self.live, &self.path) } else { Vec::new() };
                self.changes.push(FieldChange {
                    field: spelled(&self.path),
                    live: live.cloned(),
                    desired: desired.clone(),
                    by,
                });
            }
        }
    }

    fn below(&mut self, step: Step<'a>, desired: &'a Value, live: Option<&Value>) {
        self.path.push(step);
        self.compare(desired, live);
        self.path.pop();
    }
}

/// Names with dots, such as annotation keys, are quoted so that the path can be read back.
fn spelled(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match *step {
            Step::Key(name) if name.contains('.') => text.extend(["[\"", name, "\"]"]),
            Step::Key(name) if text.is_empty() => text.push_str(name),
            Step::Key(name) => text.extend([".", name]),
            Step::Position(position) => text.push_str(&format!("[{position}]")),
        }
    }
    text
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
    #[test]
    fn a_field_that_differs_says_how_and_by_whom() {
        let live: DynamicObject = serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "managedFields": [
                {"manager": "scalekit", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
                {"manager": "kubectl", "operation": "Update", "subresource": "scale",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
            "spec": {"replicas": 3, "paused": true}}))
        .unwrap();
        let mut desired = live.clone();
        desired.data = json!({"spec": {"replicas": 1, "paused": false, "minReadySeconds": 5}});
        let words: Vec<String> = drift(&desired, &live).iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "spec.minReadySeconds is not set, should be 5",
                "spec.paused is true, should be false (by scalekit)",
                "spec.replicas is 3, should be 1 (by kubectl, scale)",
            ]
        );
    }
}
