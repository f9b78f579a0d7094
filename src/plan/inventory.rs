//! What was installed: names, UIDs and the hashes of the manifests, kept in one ConfigMap.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};

use crate::{catalog::ContentDigest, hex, object::ObjectRef};

/// One installed object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// UID it was given; absent while its creation is only intended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// [`content_hash`] of the manifest that was applied; empty while that is only intended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// Every object of one installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: BTreeMap<ObjectRef, Entry>,
}

/// A stored inventory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the inventory cannot be read: {0}")]
pub struct Unreadable(#[from] serde_json::Error);

impl Inventory {
    /// An inventory of objects with their UIDs and hashes.
    pub fn of(objects: impl IntoIterator<Item = (ObjectRef, Option<String>, String)>) -> Self {
        let entries =
            objects.into_iter().map(|(object, uid, hash)| (object.clone(), Entry { object, uid, hash })).collect();
        Self { entries }
    }

    /// The entry of an object.
    pub fn get(&self, object: &ObjectRef) -> Option<&Entry> {
        self.entries.get(object)
    }

    /// Whether this very manifest was applied.
    pub fn knows(&self, manifest: &DynamicObject) -> bool {
        self.get(&ObjectRef::of(manifest)).is_some_and(|entry| entry.hash == content_hash(manifest))
    }

    /// All entries, sorted.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// This inventory and the objects that are about to be written: what must be on record before the first
    /// write, so that a run that dies leaves nothing that no later run knows of.
    #[must_use]
    pub fn with_intended<'a>(&self, objects: impl IntoIterator<Item = &'a ObjectRef>) -> Self {
        let mut union = self.clone();
        for object in objects {
            union.entries.entry(object.clone()).or_insert_with(|| Entry {
                object: object.clone(),
                uid: None,
                hash: String::new(),
            });
        }
        union
    }

    /// This inventory, and what an earlier one knows of these objects: they are no longer wanted and still there.
    #[must_use]
    pub fn with_left<'a>(mut self, earlier: &Self, objects: impl IntoIterator<Item = &'a ObjectRef>) -> Self {
        let left = objects.into_iter().filter_map(|object| earlier.entries.get(object));
        self.entries.extend(left.map(|entry| (entry.object.clone(), entry.clone())));
        self
    }

    /// As the text that is stored.
    ///
    /// # Errors
    ///
    /// Never for what this type can hold; serde's signature has it.
    pub fn to_json(&self) -> Result<String, Unreadable> {
        Ok(serde_json::to_string(&self.entries.values().collect::<Vec<_>>())?)
    }

    /// From the text that was stored.
    ///
    /// # Errors
    ///
    /// When it is not what [`Inventory::to_json`] writes.
    pub fn from_json(text: &str) -> Result<Self, Unreadable> {
        let entries: Vec<Entry> = serde_json::from_str(text)?;
        Ok(Self { entries: entries.into_iter().map(|entry| (entry.object.clone(), entry)).collect() })
    }
}

/// Hash of what a manifest declares: the first 16 hex digits of the [`ContentDigest`] of its labels, annotations and data.
pub fn content_hash(object: &DynamicObject) -> String {
    let DynamicObject { metadata, data, .. } = object;
    let none = BTreeMap::new();
    let [labels, annotations] = [&metadata.labels, &metadata.annotations].map(|texts| texts.as_ref().unwrap_or(&none));
    let digest = ContentDigest::default().with(data).with_texts(labels).with_texts(annotations);
    hex::encode(&digest.finish()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> ObjectRef {
        ObjectRef::new("v1", "ConfigMap", Some("n"), name)
    }

    #[test]
    fn survives_being_stored() {
        let inventory =
            Inventory::of([(reference("a"), Some("u".to_owned()), "h".to_owned())]).with_intended([&reference("b")]);
        assert_eq!(Inventory::from_json(&inventory.to_json().unwrap()).unwrap(), inventory);
    }

    #[test]
    fn an_intention_does_not_forget_what_is_known() {
        let before = Inventory::of([(reference("a"), Some("u".to_owned()), "h".to_owned())]);
        let union = before.with_intended([&reference("a"), &reference("b")]);
        assert_eq!(union.len(), 2);
        assert_eq!(union.get(&reference("a")), before.get(&reference("a")));
    }

    #[test]
    fn the_order_of_keys_does_not_change_the_hash() {
        let parse = |text: &str| serde_json::from_str::<DynamicObject>(text).unwrap();
        let one = parse(r#"{"metadata": {"name": "x"}, "spec": {"a": 1, "b": 2}}"#);
        let other = parse(r#"{"spec": {"b": 2, "a": 1}, "metadata": {"name": "x"}}"#);
        assert_eq!(content_hash(&one), content_hash(&other));
        assert_ne!(content_hash(&one), content_hash(&parse(r#"{"metadata": {"name": "x"}, "spec": {"a": 1}}"#)));
    }
}
