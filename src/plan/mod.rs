//! What has to change: desired objects against what is there and what was installed before.
//!
//! Pure. [`plan`] answers the same for the same values, so `plan` is `up` stopped before its first write,
//! and a second `up` that finds nothing to do has proved it without a request per object.

mod apart;
mod checked;
mod claims;
mod definition;
mod drift;
mod edges;
mod field_path;
mod foreign;
mod immutable;
mod inventory;
mod managers;
mod ownership;
mod scaled;
mod teardown;
mod version;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::DynamicObject;
use serde::Serialize;

pub use checked::{Checked, FieldConflict, conflicts, in_words, is_held_by};
pub use claims::adapt_claims;
pub use definition::{bridge, needs_migration, storage_version};
pub use drift::{FieldChange, drift, is_whole, shown};
pub use edges::{dependencies, first, in_order, secrets_of_others};
pub use foreign::{ONE_A_CLUSTER, OTHER_INSTALLATION, foreign_hint, foreign_in_words};
pub use inventory::{Entry, Inventory, content_hash};
pub use managers::FieldManager;
pub use ownership::{adopted_from, adoption, yield_replicas};
pub use scaled::{Scaled, scaled};
pub use teardown::{Data, KEPT, Kept, Target, Teardown, holds, is_data, teardown};
pub use version::is_newer;

use crate::{
    catalog::{APPLYSET_PART_OF, CREATE_ONCE, is_ours},
    object::{ByName, ObjectRef},
};

/// What is to be done with one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Change {
    /// It is not there.
    Create,
    /// It is there and differs, or an earlier version declared more of it than this one.
    Configure {
        /// Fields that differ, and those that are declared no more. Empty when it is only not known that it is as desired.
        fields: Vec<FieldChange>,
    },
    /// It is as desired.
    Unchanged,
    /// It was installed before, is still ours, and is no longer wanted.
    Delete {
        /// Its UID, so that nothing else with its name is deleted.
        uid: String,
    },
    /// It is there and cannot be changed into what is wanted, and holds no data: it is deleted and made anew.
    Recreate {
        /// Its UID, so that nothing else with its name is deleted.
        uid: String,
        /// Why it cannot be changed.
        why: String,
    },
    /// It is somebody else's: same name, without our labels, or of another installation of ours.
    Foreign {
        /// The owner it names, if it does.
        owner: Option<String>,
    },
}

impl Change {
    /// Whether something has to be written.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Create | Self::Configure { .. } | Self::Recreate { .. } | Self::Delete { .. })
    }
}

/// One object and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Which object.
    pub object: ObjectRef,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

impl Planned {
    /// The object with who manages it, where it is somebody else's.
    pub fn foreign(&self) -> Option<(&ObjectRef, Option<&str>)> {
        match &self.change {
            Change::Foreign { owner } => Some((&self.object, owner.as_deref())),
            _ => None,
        }
    }
}

/// Everything that is to be done, in the order of the desired objects, deletions last.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ChangeSet {
    /// One entry per object, unchanged ones included.
    pub items: Vec<Planned>,
}

impl ChangeSet {
    /// Whether anything has to be written.
    pub fn has_changes(&self) -> bool {
        self.items.iter().any(|item| item.change.is_write())
    }

    /// Objects that are somebody else's. While there are any, nothing may be written.
    pub fn foreign(&self) -> impl Iterator<Item = (&ObjectRef, Option<&str>)> {
        self.items.iter().filter_map(Planned::foreign)
    }

    /// Whether a live object is deleted and made anew.
    pub fn makes_anew(&self, live: &DynamicObject) -> bool {
        self.items
            .iter()
            .any(|item| matches!(&item.change, Change::Recreate { uid, .. } if live.metadata.uid.as_ref() == Some(uid)))
    }

    /// Takes it that an object that was only to be recorded is as desired: it was written a moment ago.
    pub fn is_as_desired(&mut self, object: &ObjectRef) {
        for item in self.items.iter_mut().filter(|item| item.object == *object) {
            if matches!(&item.change, Change::Configure { fields } if fields.is_empty()) {
                item.change = Change::Unchanged;
            }
        }
    }

    /// Counts in words: `43 to create, 1 to configure`; `nothing to change` when there is nothing, and nothing in the way.
    pub fn summary(&self) -> String {
        let count = |which: fn(&Change) -> bool| self.items.iter().filter(|item| which(&item.change)).count();
        let counts = [
            (count(|change| matches!(change, Change::Create)), "to create"),
            (count(|change| matches!(change, Change::Configure { .. })), "to configure"),
            (count(|change| matches!(change, Change::Recreate { .. })), "to make anew"),
            (count(|change| matches!(change, Change::Delete { .. })), "to delete"),
            (count(|change| matches!(change, Change::Foreign { .. })), "in the way, so that `up` would write nothing"),
        ];
        let words: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if words.is_empty() {
            format!("nothing to change: {} objects are as they should be", self.items.len())
        } else {
            words.join(", ")
        }
    }
}

/// What is desired, fitted to what is there: claims keep their class, and a count that something scales is not declared.
///
/// What is there may have changed since it was last read, so this starts from what is desired by itself each time.
#[must_use]
pub fn adapted(desired: &[DynamicObject], live: &[DynamicObject], classes: &[StorageClass]) -> Vec<DynamicObject> {
    let mut adapted = desired.to_vec();
    adapt_claims(&mut adapted, live, classes);
    yield_replicas(&mut adapted, live);
    adapted
}

/// Compares what is desired with what is there.
///
/// An object is unchanged when it is there with our labels, every field that we declare has the declared
/// value, and the inventory knows it by the hash of this very manifest: a manifest that declares less than
/// the last one has to be applied again, or what it dropped would stay.
///
/// What the inventory knows and nobody desires any more is deleted, but for data: they go by a removal that is asked for
/// them, which finds them by their label.
///
/// `live` holds the objects that carry our labels, and any that have the name of a desired one.
pub fn plan(desired: &[DynamicObject], live: &[DynamicObject], inventory: &Inventory) -> ChangeSet {
    let live = ByName::of(live);
    let mut items: Vec<Planned> = desired
        .iter()
        .map(|object| {
            let reference = ObjectRef::of(object);
            let change = match live.get(&reference) {
                None => Change::Create,
                Some(found) if !is_ours(found) => Change::Foreign { owner: foreign::owner(found) },
                Some(found) if !same_release(object, found) => {
                    Change::Foreign { owner: Some(OTHER_INSTALLATION.to_owned()) }
                }
                Some(found) if is_created_once(found) => Change::Unchanged,
                Some(found) => {
                    if let Some(change) = claims::recreate(object, found) {
                        return Planned { object: reference, change };
                    }
                    let mut fields = drift(object, found);
                    if let Some(change) = immutable::recreate(found, &fields) {
                        return Planned { object: reference, change };
                    }
                    fields.extend(kept(found));
                    let known = inventory.knows(object);
                    if !known {
                        fields.extend(drift::dropped(object, found));
                    }
                    if fields.is_empty() && known { Change::Unchanged } else { Change::Configure { fields } }
                }
            };
            Planned { object: reference, change }
        })
        .collect();
    let wanted = ByName::of(desired);
    let no_more = inventory.entries().filter(|entry| wanted.get(&entry.object).is_none() && !is_data(&entry.object));
    items.extend(no_more.filter_map(|entry| {
        let found = live.get(&entry.object)?;
        let uid = found.metadata.uid.clone()?;
        // Made again by somebody else since: not what was installed, so not ours to delete.
        let ours = is_ours(found) && entry.uid.as_ref().is_none_or(|known| *known == uid);
        ours.then(|| Planned { object: entry.object.clone(), change: Change::Delete { uid } })
    }));
    ChangeSet { items }
}

/// Whether both belong to the same installation. A live object without that label was labelled by hand, and is taken in.
fn same_release(desired: &DynamicObject, live: &DynamicObject) -> bool {
    let of = |object: &DynamicObject| {
        object.metadata.labels.as_ref().and_then(|labels| labels.get(APPLYSET_PART_OF)).cloned()
    };
    of(live).is_none_or(|live| Some(live) == of(desired))
}

/// The mark of what an earlier removal kept: it goes when the object is in use again.
fn kept(live: &DynamicObject) -> Option<FieldChange> {
    let value = live.metadata.labels.as_ref()?.get(KEPT.0)?;
    let field = format!("metadata.labels[\"{}\"]", KEPT.0);
    Some(FieldChange { field, live: Some(value.clone().into()), desired: serde_json::Value::Null, by: Vec::new() })
}

/// Whether an object is written once and never again.
pub fn is_created_once(object: &DynamicObject) -> bool {
    object.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(CREATE_ONCE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: serde_json::Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn config_map(value: &str) -> DynamicObject {
        object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n",
            "uid": "u1", "labels": {"app.kubernetes.io/managed-by": "scalekit"}}, "data": {"a": value}}))
    }

    fn installed(objects: &[DynamicObject]) -> Inventory {
        Inventory::of(
            objects.iter().map(|object| (ObjectRef::of(object), object.metadata.uid.clone(), content_hash(object))),
        )
    }

    fn only(changes: &ChangeSet) -> &Change {
        assert_eq!(changes.items.len(), 1, "{changes:?}");
        &changes.items[0].change
    }

    #[test]
    fn what_is_not_there_is_created() {
        assert_eq!(only(&plan(&[config_map("1")], &[], &Inventory::default())), &Change::Create);
    }

    #[test]
    fn data_that_nothing_uses_any_more_stay() {
        let data = |kind: &str, name: &str| {
            object(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n",
                "uid": name, "labels": {"app.kubernetes.io/managed-by": "scalekit"}}}))
        };
        let live = [
            data("PersistentVolumeClaim", "prometheus-data"),
            data("Secret", "grafana-admin"),
            data("Secret", "scrape-configs"),
        ];
        let changes = plan(&[], &live, &installed(&live));
        assert_eq!(only(&changes), &Change::Delete { uid: "scrape-configs".to_owned() });
    }

    #[test]
    fn what_is_as_desired_and_known_is_unchanged() {
        let desired = [config_map("1")];
        let changes = plan(&desired, &desired, &installed(&desired));
        assert_eq!(only(&changes), &Change::Unchanged);
        assert!(!changes.has_changes());
    }

    #[test]
    fn what_the_inventory_does_not_know_is_applied_again() {
        let desired = [config_map("1")];
        assert_eq!(only(&plan(&desired, &desired, &Inventory::default())), &Change::Configure { fields: vec![] });
    }

    #[test]
    fn a_changed_field_is_named_with_both_values() {
        let desired = [config_map("2")];
        let changes = plan(&desired, &[config_map("1")], &installed(&desired));
        let Change::Configure { fields } = only(&changes) else { panic!("{changes:?}") };
        assert_eq!(
            (fields[0].field.as_str(), &fields[0].live, &fields[0].desired),
            ("data.a", &Some(json!("1")), &json!("2"))
        );
    }

    /// The hash in the inventory is of a manifest that declared more.
    #[test]
    fn what_was_declared_before_is_named() {
        let mut before = config_map("1");
        before.data["data"]["b"] = json!("2");
        before.metadata.managed_fields = serde_json::from_value(json!([{"manager": "scalekit", "operation": "Apply",
            "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}}}]))
        .unwrap();
        let changes = plan(&[config_map("1")], &[before.clone()], &installed(&[before]));
        let Change::Configure { fields } = only(&changes) else { panic!("{changes:?}") };
        assert_eq!((fields[0].field.as_str(), &fields[0].live), ("data.b", &Some(json!("2"))));
    }

    #[test]
    fn what_is_no_longer_wanted_is_deleted_by_its_uid() {
        let before = [config_map("1")];
        assert_eq!(only(&plan(&[], &before, &installed(&before))), &Change::Delete { uid: "u1".to_owned() });
    }

    #[test]
    fn what_somebody_made_again_under_the_same_name_is_left_alone() {
        let before = [config_map("1")];
        let mut again = config_map("1");
        again.metadata.uid = Some("u2".to_owned());
        assert_eq!(plan(&[], &[again], &installed(&before)).items, vec![]);
    }

    #[test]
    fn a_foreign_object_of_the_same_name_is_never_taken() {
        let mut foreign = config_map("1");
        foreign.metadata.labels = Some([("app.kubernetes.io/managed-by".to_owned(), "Helm".to_owned())].into());
        let changes = plan(&[config_map("1")], &[foreign], &Inventory::default());
        assert_eq!(only(&changes), &Change::Foreign { owner: Some("Helm".to_owned()) });
        assert!(!changes.has_changes());
        assert_eq!(changes.summary(), "1 in the way, so that `up` would write nothing");
    }

    #[test]
    fn an_object_of_another_installation_is_never_taken() {
        let of = |release: &str| {
            let mut object = config_map("1");
            object.metadata.labels.as_mut().unwrap().insert(APPLYSET_PART_OF.to_owned(), release.to_owned());
            object
        };
        let changes = plan(&[of("one")], &[of("other")], &Inventory::default());
        assert_eq!(only(&changes), &Change::Foreign { owner: Some("another installation of scalekit".to_owned()) });
    }

    #[test]
    fn what_was_kept_as_data_loses_its_mark_when_it_is_used_again() {
        let desired = [config_map("1")];
        let mut live = config_map("1");
        live.metadata.labels.as_mut().unwrap().insert(KEPT.0.to_owned(), KEPT.1.to_owned());
        assert!(matches!(only(&plan(&desired, &[live], &installed(&desired))), Change::Configure { .. }));
    }

    #[test]
    fn what_is_made_once_is_not_touched_again() {
        let mut live = config_map("1");
        live.metadata.annotations = Some([(CREATE_ONCE.to_owned(), "true".to_owned())].into());
        assert_eq!(only(&plan(&[config_map("2")], &[live], &Inventory::default())), &Change::Unchanged);
    }
}
