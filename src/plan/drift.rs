//! Which declared fields differ from the live object.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::{
    apart::{Apart, apart, beginning},
    managers::{self, FieldManager, Step},
};
use crate::{catalog::FIELD_MANAGER, object::ObjectRef};

/// What stands for a value that is nobody's to see.
const MASKED: &str = "***";

/// One field whose live value is not the declared one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Path as in `kubectl explain`, list positions in brackets: `spec.template.spec.containers[0].image`.
    pub field: String,
    /// Value in the cluster; absent when the field is not set there. Of a Secret `***`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// Value that is declared, of a Secret `***`; null where the field is declared no more.
    pub desired: Value,
    /// Who set the live value. Nobody where it is not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<FieldManager>,
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, live, desired, by } = self;
        match live {
            Some(live) if live == MASKED && desired == MASKED => {
                write!(to, "{field} has another value than it should")?;
            }
            Some(live) => match apart(live, desired) {
                Apart::Lines(1) => write!(to, "{field} differs in 1 line (scalekit plan shows it)")?,
                Apart::Lines(lines) => write!(to, "{field} differs in {lines} lines (scalekit plan shows them)")?,
                Apart::Values(live, desired) => write!(to, "{field} is {live}, should be {desired}")?,
            },
            None => write!(to, "{field} is not set, should be {}", beginning(desired))?,
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

/// A value as people read it: as JSON, but for what stands for one.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(no longer declared)".to_owned(),
        Value::String(text) if text == MASKED => text.clone(),
        value => value.to_string(),
    }
}

/// Compares every field that `desired` declares with `live`. What only the live object has (defaults,
/// status, other managers' fields) is not looked at.
///
/// Lists are compared by position, and their length counts: the API server keeps the order that was
/// applied. Manifests spell values as the API server stores them (`"1"`, not `"1000m"`), so that equal means equal.
/// Of a Secret no value is told, only which keys differ. One that was read without its content is compared by its managed
/// fields: a key that is ours alone may have another value, and is not told.
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
    if let Value::Object(fields) = &desired.data {
        for (name, value) in fields {
            differences.path = vec![Step::Key(name)];
            match name.as_str() {
                "data" if is_secret(desired) => differences.compare_secret(value),
                // Of its metadata alone it cannot be told.
                _ if is_secret(desired) && !is_whole(live) => {}
                _ => differences.compare(value, live.data.get(name)),
            }
        }
    }
    differences.changes
}

/// Fields that we applied before and that `desired` declares no more: they go when it is applied, unless somebody else
/// manages them too.
///
/// By the managed fields. Of a field below which nothing is declared any more only the uppermost is told.
pub(super) fn dropped(desired: &DynamicObject, live: &DynamicObject) -> Vec<FieldChange> {
    let (Ok(declared), Ok(found)) = (serde_json::to_value(desired), serde_json::to_value(live)) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for entry in live.metadata.managed_fields.iter().flatten() {
        let applied = entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply");
        if let Some(fields) = entry.fields_v1.as_ref().filter(|_| applied) {
            managers::beyond(&fields.0, &declared, Some(&found), &mut Vec::new(), &mut paths);
        }
    }
    let change = |path: Vec<Step<'_>>| {
        let value = path.iter().try_fold(&found, |value, step| match *step {
            Step::Key(name) => value.get(name),
            Step::Position(position) => value.get(position),
        });
        FieldChange {
            field: spelled(&path),
            // Its content may stand in an annotation too: kubectl writes there what it applied last.
            live: if is_secret(desired) { Some(MASKED.into()) } else { value.cloned() },
            desired: Value::Null,
            by: managers::of(live, &path),
        }
    };
    paths.into_iter().map(change).collect()
}

fn is_secret(object: &DynamicObject) -> bool {
    ObjectRef::of(object).kind == "Secret"
}

/// Whether a Secret was read with its content: each has a type then.
pub fn is_whole(secret: &DynamicObject) -> bool {
    secret.data.get("type").is_some()
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

    /// The keys of a Secret.
    fn compare_secret(&mut self, desired: &'a Value) {
        let content = is_whole(self.live).then(|| self.live.data.get("data").unwrap_or(&Value::Null));
        let known = content.is_some() || self.live.metadata.managed_fields.is_some();
        for (key, value) in desired.as_object().into_iter().flatten().filter(|_| known) {
            self.path.push(Step::Key(key));
            let by = managers::of(self.live, &self.path);
            let (is_set, differs) = match content {
                Some(content) => (content.get(key).is_some(), content.get(key) != Some(value)),
                None => (!by.is_empty(), by.iter().all(|by| by.manager != FIELD_MANAGER)),
            };
            if differs {
                let live = is_set.then(|| MASKED.into());
                self.changes.push(FieldChange { field: spelled(&self.path), live, desired: MASKED.into(), by });
            }
            self.path.pop();
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
            Step::Position(position) => text.extend(["[", &position.to_string(), "]"]),
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

    /// A Secret with these keys, each held by the manager behind it; read with its content, or by its metadata alone.
    fn secret(whole: bool, keys: &[(&str, &str, &str)]) -> DynamicObject {
        let entry = |(key, _, manager): &(&str, &str, &str)| {
            let operation = if *manager == "scalekit" { "Apply" } else { "Update" };
            json!({"manager": manager, "operation": operation, "fieldsV1": {"f:data": {format!("f:{key}"): {}}}})
        };
        let data: serde_json::Map<String, Value> =
            keys.iter().map(|(key, value, _)| ((*key).to_owned(), json!(value))).collect();
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s",
            "managedFields": keys.iter().map(entry).collect::<Vec<_>>()}});
        if whole {
            (secret["type"], secret["data"]) = (json!("Opaque"), Value::Object(data));
        }
        serde_json::from_value(secret).unwrap()
    }

    #[rstest]
    #[case::another_value(true, &[("url", "b2xk", "scalekit")], &["data.url has another value than it should (by scalekit)"])]
    #[case::by_hand(true, &[("url", "b2xk", "kubectl-edit")], &["data.url has another value than it should (by kubectl-edit)"])]
    #[case::the_same(true, &[("url", "bmV3", "scalekit")], &[])]
    #[case::not_set(true, &[("theirs", "b2xk", "kubectl-edit")], &["data.url is not set, should be ***"])]
    #[case::no_longer_declared(true, &[("url", "bmV3", "scalekit"), ("token", "b2xk", "scalekit")],
        &["data.token is ***, should be (no longer declared) (by scalekit)"])]
    #[case::without_content_and_ours(false, &[("url", "b2xk", "scalekit")], &[])]
    #[case::without_content_and_theirs(false, &[("url", "b2xk", "kubectl-edit")],
        &["data.url has another value than it should (by kubectl-edit)"])]
    #[case::without_content_and_not_set(false, &[("token", "b2xk", "kubectl-edit")], &["data.url is not set, should be ***"])]
    #[case::without_managed_fields(false, &[], &["data.url is not set, should be ***"])]
    fn of_a_secret_keys_are_told_and_no_values(
        #[case] whole: bool,
        #[case] keys: &[(&str, &str, &str)],
        #[case] expected: &[&str],
    ) {
        let live = secret(whole, keys);
        let desired = secret(true, &[("url", "bmV3", "scalekit")]);
        let mut changes = drift(&desired, &live);
        changes.extend(dropped(&desired, &live));
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        let json = serde_json::to_string(&changes).unwrap();
        assert!(!json.contains("b2xk") && !json.contains("bmV3"), "{json}");
    }

    /// kubectl writes into an annotation what it applied last, with all its content.
    #[rstest]
    #[case::alone(json!({"f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}}}))]
    #[case::with_all_annotations(json!({"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}}))]
    fn of_a_secret_no_annotation_is_told_when_it_is_dropped(#[case] fields: Value) {
        let mut live = secret(true, &[("url", "bmV3", "scalekit")]);
        let desired = live.clone();
        let applied = r#"{"data":{"url":"b2xk"}}"#.to_owned();
        let name = "kubectl.kubernetes.io/last-applied-configuration";
        live.metadata.annotations = Some([(name.to_owned(), applied)].into());
        live.metadata.managed_fields.as_mut().unwrap()[0].fields_v1 =
            serde_json::from_value(json!({"f:metadata": fields})).ok();
        let changes = dropped(&desired, &live);
        assert_eq!(changes.len(), 1, "{changes:?}");
        let json = serde_json::to_string(&changes).unwrap();
        assert!(json.contains("metadata.annotations") && !json.contains("b2xk"), "{json}");
    }

    #[test]
    fn of_a_secret_that_tells_nothing_nothing_is_known() {
        let mut live = secret(false, &[]);
        live.metadata.managed_fields = None;
        assert_eq!(drift(&secret(true, &[("url", "bmV3", "scalekit")]), &live), vec![]);
    }

    #[test]
    fn fields_that_were_applied_and_are_declared_no_more_are_told_by_the_uppermost() {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "fieldsV1": fields});
        let live: DynamicObject = serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "labels": {"kept": "1", "gone": "2", "theirs": "3"}, "managedFields": [
                entry("scalekit", "Apply", json!({
                    "f:metadata": {"f:labels": {"f:kept": {}, "f:gone": {}}},
                    "f:spec": {"f:paused": {}, "f:template": {"f:spec": {
                        "f:securityContext": {"f:runAsUser": {}, "f:fsGroup": {}},
                        "f:containers": {
                            "k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}, "f:ports": {
                                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}},
                            "k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}}}}})),
                entry("scalekit", "Update", json!({"f:metadata": {"f:labels": {"f:theirs": {}}}})),
                entry("kubectl-edit", "Update", json!({"f:spec": {"f:paused": {}}})),
            ]},
            "spec": {"paused": true, "template": {"spec": {"securityContext": {"runAsUser": 1, "fsGroup": 2},
                "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
                    {"name": "b"}]}}}}))
        .unwrap();
        let mut desired = live.clone();
        desired.metadata.labels.as_mut().unwrap().retain(|name, _| name == "kept");
        desired.data = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}]}}}});
        let found = dropped(&desired, &live);
        let told: Vec<(&str, String)> =
            found.iter().map(|change| (change.field.as_str(), change.live.as_ref().unwrap().to_string())).collect();
        assert_eq!(
            told,
            [
                ("metadata.labels.gone", "\"2\"".to_owned()),
                ("spec.paused", "true".to_owned()),
                ("spec.template.spec.containers[1]", "{\"name\":\"b\"}".to_owned()),
                ("spec.template.spec.securityContext", "{\"fsGroup\":2,\"runAsUser\":1}".to_owned()),
            ]
        );
        assert!(found.iter().all(|change| change.desired == Value::Null));
        let by: Vec<&str> = found[1].by.iter().map(|by| by.manager.as_str()).collect();
        assert_eq!(by, ["scalekit", "kubectl-edit"]);
    }
}
