//! Who set a field, as the object's managed fields say.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::ownership::APPLIERS;
use crate::catalog::FIELD_MANAGER;

/// A field manager that holds a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldManager {
    /// Its name: `kubectl-edit`, `helm`, `scalekit`.
    pub manager: String,
    /// `Apply`, or `Update` for everything else.
    pub operation: String,
    /// The subresource by which it wrote, as `kubectl scale` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// When it last changed any of its fields, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl FieldManager {
    /// Whether somebody changed it apart from any manifest, as `kubectl edit`, `set` and `patch` do.
    pub fn is_by_hand(&self) -> bool {
        self.operation == "Update" && self.manager != FIELD_MANAGER && !APPLIERS.contains(&self.manager.as_str())
    }
}

/// One step down into an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Into a map.
    Key(&'a str),
    /// Into a list.
    Position(usize),
}

/// The managers that hold the field at a path, or a part of what is there. A field that is not set is nobody's: managed
/// fields do not remember who took it away.
pub(super) fn of(live: &DynamicObject, path: &[Step<'_>]) -> Vec<FieldManager> {
    live.metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| holds(&fields.0, Some(&live.data), path)))
        .map(named)
        .collect()
}

fn named(entry: &ManagedFieldsEntry) -> FieldManager {
    FieldManager {
        manager: entry.manager.clone().unwrap_or_default(),
        operation: entry.operation.clone().unwrap_or_default(),
        subresource: entry.subresource.clone().filter(|name| !name.is_empty()),
        time: entry.time.as_ref().map(|time| time.0.to_string()),
    }
}

/// Whether a set of `FieldsV1` holds a path; `live` is the value to which the set belongs, in which items of lists are
/// found by their keys.
fn holds(set: &Value, live: Option<&Value>, path: &[Step<'_>]) -> bool {
    let Some(set) = set.as_object() else { return false };
    let Some((step, rest)) = path.split_first() else { return true };
    // Nothing below: an atomic value, which is held as a whole.
    if set.is_empty() {
        return true;
    }
    match *step {
        Step::Key(name) => {
            set.get(&format!("f:{name}")).is_some_and(|below| holds(below, live.and_then(|live| live.get(name)), rest))
        }
        Step::Position(position) => {
            let item = live.and_then(|live| live.get(position));
            set.iter().any(|(element, below)| is_of(element, item, position) && holds(below, item, rest))
        }
    }
}

/// Whether an element of a set is this item of a list: `k:{"name":"a"}` by its keys, `v:"x"` by its value, `i:0` by its
/// position.
fn is_of(element: &str, item: Option<&Value>, position: usize) -> bool {
    let Some((form, text)) = element.split_once(':') else { return false };
    let parsed = || serde_json::from_str::<Value>(text).ok();
    match (form, item) {
        ("k", Some(item)) => parsed().is_some_and(|keys| {
            keys.as_object().is_some_and(|keys| keys.iter().all(|(name, value)| item.get(name) == Some(value)))
        }),
        ("v", Some(item)) => parsed().is_some_and(|value| value == *item),
        ("i", _) => text.parse() == Ok(position),
        _ => false,
    }
}

/// The uppermost paths of a set of `FieldsV1` that `declared` does not have. Items of lists have their position in `live`,
/// the value to which the set belongs; those that are not there are left out.
pub(super) fn beyond<'a>(
    set: &'a Value,
    declared: &Value,
    live: Option<&Value>,
    path: &mut Vec<Step<'a>>,
    found: &mut Vec<Vec<Step<'a>>>,
) {
    for (element, below) in set.as_object().into_iter().flatten() {
        let (step, declared, live) = if let Some(name) = element.strip_prefix("f:") {
            (Step::Key(name), declared.get(name), live.and_then(|live| live.get(name)))
        } else {
            let items = live.and_then(Value::as_array);
            let position = items.and_then(|items| {
                items.iter().enumerate().position(|(position, item)| is_of(element, Some(item), position))
            });
            // A key that is not declared has its default in the set.
            let declared = declared.as_array().and_then(|list| {
                list.iter()
                    .enumerate()
                    .find(|(position, item)| may_be_of(element, item, *position))
                    .map(|(_, item)| item)
            });
            let Some(position) = position else { continue };
            (Step::Position(position), declared, live.and_then(|live| live.get(position)))
        };
        path.push(step);
        match declared {
            Some(declared) => beyond(below, declared, live, path, found),
            None => found.push(path.clone()),
        }
        path.pop();
    }
}

/// As [`is_of`], where keys of the item may be left out.
fn may_be_of(element: &str, item: &Value, position: usize) -> bool {
    let Some(Value::Object(keys)) = element.strip_prefix("k:").and_then(|text| serde_json::from_str(text).ok()) else {
        return is_of(element, Some(item), position);
    };
    keys.iter().all(|(name, value)| item.get(name).is_none_or(|declared| declared == value))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{
        Step::{Key, Position},
        *,
    };

    fn live() -> DynamicObject {
        let entry = |manager: &str, subresource: &str, fields: Value| {
            json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "subresource": subresource,
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
        };
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "managedFields": [
                entry("kubectl", "scale", json!({"f:spec": {"f:replicas": {}}})),
                entry("editor", "", json!({
                    "f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}},
                    "f:spec": {"f:selector": {}, "f:template": {"f:spec": {
                        "f:containers": {"k:{\"name\":\"b\"}": {".": {}, "f:image": {}}},
                        "f:set": {"v:\"y\"": {}}, "f:list": {"i:0": {}}}}}})),
            ]},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": {"spec": {
                "containers": [{"name": "a", "image": "i1"}, {"name": "b", "image": "i2"}],
                "set": ["x", "y"], "list": ["x", "y"]}}}
        }))
        .unwrap()
    }

    const POD: [Step<'_>; 3] = [Key("spec"), Key("template"), Key("spec")];

    #[rstest]
    #[case::a_field(&[Key("spec"), Key("replicas")], &["kubectl"])]
    #[case::a_key_with_dots(&[Key("metadata"), Key("labels"), Key("a.b/c")], &["editor"])]
    #[case::below_an_atomic_value(&[Key("spec"), Key("selector"), Key("matchLabels"), Key("app")], &["editor"])]
    #[case::a_part_of_it(&[Key("spec")], &["kubectl", "editor"])]
    #[case::nobodys(&[Key("spec"), Key("paused")], &[])]
    fn are_found_by_path(#[case] path: &[Step<'_>], #[case] expected: &[&str]) {
        let found = of(&live(), path);
        assert_eq!(found.iter().map(|one| one.manager.as_str()).collect::<Vec<_>>(), expected);
    }

    #[rstest]
    #[case::by_its_keys(&[Key("containers"), Position(1), Key("image")], true)]
    #[case::another_item(&[Key("containers"), Position(0), Key("image")], false)]
    #[case::by_its_value(&[Key("set"), Position(1)], true)]
    #[case::another_value(&[Key("set"), Position(0)], false)]
    #[case::by_its_position(&[Key("list"), Position(0)], true)]
    #[case::another_position(&[Key("list"), Position(1)], false)]
    fn are_found_in_lists(#[case] path: &[Step<'_>], #[case] expected: bool) {
        assert_eq!(!of(&live(), &[&POD, path].concat()).is_empty(), expected);
    }

    #[test]
    fn come_with_how_and_when() {
        let expected = FieldManager {
            manager: "kubectl".to_owned(),
            operation: "Update".to_owned(),
            subresource: Some("scale".to_owned()),
            time: Some("2026-01-01T00:00:00Z".to_owned()),
        };
        assert_eq!(of(&live(), &[Key("spec"), Key("replicas")]), [expected]);
    }
}
