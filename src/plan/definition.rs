//! Definitions whose versions change: what is stored in a version has to be stored anew before that version can go.

use kube::core::DynamicObject;
use serde_json::{Value, json};

/// The versions in which objects of a definition are stored, or may be.
fn stored(live: &DynamicObject) -> Vec<&str> {
    let versions = live.data.pointer("/status/storedVersions").and_then(Value::as_array);
    versions.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn versions(definition: &DynamicObject) -> &[Value] {
    definition.data.pointer("/spec/versions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The version in which a definition stores its objects from now on.
pub fn storage_version(definition: &DynamicObject) -> Option<&str> {
    versions(definition).iter().find(|version| version["storage"] == true)?["name"].as_str()
}

/// Whether objects may still be stored in another version than the one in which they are stored from now on.
pub fn needs_migration(live: &DynamicObject) -> bool {
    let storage = storage_version(live);
    stored(live).iter().any(|version| Some(*version) != storage)
}

/// The definition to go through where objects are stored in versions that `desired` does not have any more: with those
/// versions, served and not stored in. The API server refuses to lose a version in which something is stored. `None`
/// where there is nothing to go through.
pub fn bridge(desired: &DynamicObject, live: &DynamicObject) -> Option<DynamicObject> {
    let known: Vec<&str> = versions(desired).iter().filter_map(|version| version["name"].as_str()).collect();
    let stored = stored(live);
    let lost: Vec<Value> = versions(live)
        .iter()
        .filter(|version| version["name"].as_str().is_some_and(|name| stored.contains(&name) && !known.contains(&name)))
        .map(|version| {
            let mut version = version.clone();
            version["served"] = json!(true);
            version["storage"] = json!(false);
            version
        })
        .collect();
    if lost.is_empty() {
        return None;
    }
    let mut bridge = desired.clone();
    bridge.data.pointer_mut("/spec/versions")?.as_array_mut()?.extend(lost);
    Some(bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(versions: &[(&str, bool)], stored: &[&str]) -> DynamicObject {
        let versions: Vec<Value> = versions
            .iter()
            .map(|(name, storage)| json!({"name": name, "served": true, "storage": storage, "schema": {}}))
            .collect();
        serde_json::from_value(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "x.example"}, "spec": {"versions": versions}, "status": {"storedVersions": stored}}))
        .unwrap()
    }

    fn names(definition: &DynamicObject) -> Vec<(&str, bool)> {
        versions(definition)
            .iter()
            .map(|version| (version["name"].as_str().unwrap(), version["storage"].as_bool().unwrap()))
            .collect()
    }

    #[test]
    fn a_version_in_which_something_is_stored_is_kept_for_a_while() {
        let live = definition(&[("v1", true)], &["v1"]);
        let bridge = bridge(&definition(&[("v2", true)], &[]), &live).unwrap();
        assert_eq!(names(&bridge), [("v2", true), ("v1", false)]);
    }

    #[test]
    fn a_version_in_which_nothing_is_stored_may_go_at_once() {
        let live = definition(&[("v1", false), ("v2", true)], &["v2"]);
        assert_eq!(bridge(&definition(&[("v2", true)], &[]), &live), None);
    }

    #[test]
    fn what_may_be_stored_in_an_older_version_is_stored_anew() {
        assert!(needs_migration(&definition(&[("v1", false), ("v2", true)], &["v1", "v2"])));
        assert!(!needs_migration(&definition(&[("v1", false), ("v2", true)], &["v2"])));
        assert!(!needs_migration(&definition(&[("v2", true)], &[])));
    }
}
