//! What a removal deletes and what it leaves, and why.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde::Serialize;

use crate::object::ObjectRef;

/// Label, and its value, of what is kept as data.
pub const KEPT: (&str, &str) = ("scalekit.dev/kept", "data");

/// What becomes of volumes, and of what is needed to use them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// Claims, their namespace and Grafana's password stay.
    Keep,
    /// They go.
    Purge,
}

/// An object to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Which.
    pub object: ObjectRef,
    /// Its UID: nothing else of that name is deleted.
    pub uid: String,
    /// Whether it goes before the rest: what scales, and aggregated APIs.
    pub first: bool,
}

/// An object to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Which.
    pub object: ObjectRef,
    /// Why.
    pub why: String,
    /// Whether it is kept as data, on the user's word; else it is left behind.
    pub data: bool,
}

/// A decided removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Teardown {
    /// What goes.
    pub delete: Vec<Target>,
    /// What stays.
    pub keep: Vec<Kept>,
}

impl Teardown {
    /// The namespaces whose claims go: where to look for volumes that stay behind.
    pub fn emptied_namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<String> = self
            .delete
            .iter()
            .filter_map(|target| match target.object.kind.as_str() {
                "Namespace" => Some(target.object.name.clone()),
                "PersistentVolumeClaim" => target.object.namespace.clone(),
                _ => None,
            })
            .collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }

    /// Whether a volume was made for a claim that stays.
    pub fn keeps_claim(&self, namespace: &str, name: &str) -> bool {
        self.keep.iter().any(|kept| {
            kept.object.kind == "PersistentVolumeClaim"
                && kept.object.namespace.as_deref() == Some(namespace)
                && kept.object.name == name
        })
    }
}

/// Decides over every object that carries our label.
///
/// A namespace goes as a whole, and what lies in it needs no deletion of its own but for workloads and claims,
/// which are faster when told at once. It stays when something of somebody else is in it, or data that is kept;
/// then our other objects in it go one by one. The definition of Autoscaler stays while somebody else has one.
pub fn teardown(
    ours: &[DynamicObject],
    foreign: &[ObjectRef],
    foreign_autoscalers: &[ObjectRef],
    data: Data,
) -> Teardown {
    let mut decided = Teardown::default();
    let is_data = |object: &ObjectRef| data == Data::Keep && is_data(object);
    let references: Vec<(ObjectRef, &DynamicObject)> =
        ours.iter().map(|object| (ObjectRef::of(object), object)).collect();
    let data_namespaces: BTreeSet<&str> = references
        .iter()
        .filter(|(object, _)| object.kind == "PersistentVolumeClaim" && is_data(object))
        .filter_map(|(object, _)| object.namespace.as_deref())
        .collect();
    let mut doomed_namespaces = BTreeSet::new();
    for (object, _) in references.iter().filter(|(object, _)| object.kind == "Namespace") {
        let inside: Vec<&ObjectRef> =
            foreign.iter().filter(|other| other.namespace.as_deref() == Some(&object.name)).collect();
        if !inside.is_empty() {
            let why = holds(inside);
            decided.keep.push(Kept { object: object.clone(), why, data: false });
        } else if data_namespaces.contains(object.name.as_str()) {
            decided.keep.push(Kept {
                object: object.clone(),
                why: "it holds the data that is kept".to_owned(),
                data: true,
            });
        } else {
            doomed_namespaces.insert(object.name.clone());
        }
    }
    for (object, live) in &references {
        let in_doomed = object.namespace.as_ref().is_some_and(|namespace| doomed_namespaces.contains(namespace));
        let target =
            |first: bool| Target { object: object.clone(), uid: live.metadata.uid.clone().unwrap_or_default(), first };
        match object.kind.as_str() {
            "Namespace" if doomed_namespaces.contains(&object.name) => decided.delete.push(target(false)),
            "Namespace" => {}
            _ if is_data(object) => {
                decided.keep.push(Kept { object: object.clone(), why: "data".to_owned(), data: true });
            }
            "CustomResourceDefinition" if !foreign_autoscalers.is_empty() => {
                let why = format!("it defines what is not scalekit's: {}", named(foreign_autoscalers));
                decided.keep.push(Kept { object: object.clone(), why, data: false });
            }
            // With no server behind it, an aggregated API would keep every namespace from going.
            "Autoscaler" | "APIService" => decided.delete.push(target(true)),
            "Deployment" if object.name == SCALER => decided.delete.push(target(true)),
            "Deployment" | "StatefulSet" | "DaemonSet" | "PersistentVolumeClaim" => decided.delete.push(target(false)),
            _ if in_doomed => {}
            _ => decided.delete.push(target(false)),
        }
    }
    decided
}

/// Why a namespace stays that has these in it.
pub fn holds<'a>(inside: impl IntoIterator<Item = &'a ObjectRef>) -> String {
    format!("it holds what is not scalekit's: {}", named(inside))
}

fn named<'a>(objects: impl IntoIterator<Item = &'a ObjectRef>) -> String {
    objects.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether an object is data of the user's, or what it takes to use them.
pub fn is_data(object: &ObjectRef) -> bool {
    object.kind == "PersistentVolumeClaim" || (object.kind == "Secret" && object.name == GRAFANA_PASSWORD)
}

/// The Secret that Grafana reads on an empty database only: it belongs to the data.
const GRAFANA_PASSWORD: &str = "grafana-admin";
/// The Deployment that scales.
const SCALER: &str = "scaler";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}")}}))
        .unwrap()
    }

    fn installed() -> Vec<DynamicObject> {
        vec![
            object("v1", "Namespace", None, "monitoring"),
            object("v1", "Namespace", None, "monitoring-nodes"),
            object("v1", "ConfigMap", Some("monitoring"), "prometheus"),
            object("v1", "Secret", Some("monitoring"), "grafana-admin"),
            object("v1", "PersistentVolumeClaim", Some("monitoring"), "prometheus-data"),
            object("apps/v1", "Deployment", Some("monitoring"), "scaler"),
            object("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "autoscalers.scalekit.dev"),
        ]
    }

    fn names<'a>(objects: impl Iterator<Item = &'a ObjectRef>) -> Vec<String> {
        objects.map(|object| object.name.clone()).collect()
    }

    #[test]
    fn a_purge_deletes_namespaces_and_not_each_thing_in_them() {
        let decided = teardown(&installed(), &[], &[], Data::Purge);
        assert_eq!(decided.keep, vec![]);
        assert_eq!(
            names(decided.delete.iter().map(|target| &target.object)),
            ["monitoring", "monitoring-nodes", "prometheus-data", "scaler", "autoscalers.scalekit.dev"]
        );
        assert!(decided.delete.iter().all(|target| target.first == (target.object.name == "scaler")));
    }

    #[test]
    fn an_aggregated_api_goes_before_the_namespace_of_its_server() {
        let mut ours = installed();
        ours.push(object("apiregistration.k8s.io/v1", "APIService", None, "v1.x"));
        for data in [Data::Purge, Data::Keep] {
            let decided = teardown(&ours, &[], &[], data);
            let first = decided.delete.iter().filter(|target| target.first).map(|target| &target.object);
            assert_eq!(names(first), ["scaler", "v1.x"]);
        }
    }

    #[test]
    fn kept_data_keeps_its_namespace_and_the_password_and_nothing_else() {
        let decided = teardown(&installed(), &[], &[], Data::Keep);
        assert_eq!(
            names(decided.keep.iter().map(|kept| &kept.object)),
            ["monitoring", "grafana-admin", "prometheus-data"]
        );
        assert!(decided.keep.iter().all(|kept| kept.data));
        assert!(names(decided.delete.iter().map(|target| &target.object)).contains(&"prometheus".to_owned()));
    }

    #[test]
    fn somebody_elses_object_keeps_the_namespace_and_is_named() {
        let foreign = [ObjectRef::new("v1", "ConfigMap", Some("monitoring"), "theirs")];
        let decided = teardown(&installed(), &foreign, &[], Data::Purge);
        assert_eq!(names(decided.keep.iter().map(|kept| &kept.object)), ["monitoring"]);
        assert!(decided.keep[0].why.contains("configmap/theirs"), "{}", decided.keep[0].why);
        assert!(!decided.keep[0].data);
        assert!(names(decided.delete.iter().map(|target| &target.object)).contains(&"prometheus".to_owned()));
    }

    #[test]
    fn somebody_elses_autoscaler_keeps_the_definition() {
        let theirs = [ObjectRef::new("scalekit.dev/v1alpha1", "Autoscaler", Some("shop"), "web")];
        let decided = teardown(&installed(), &[], &theirs, Data::Purge);
        assert_eq!(names(decided.keep.iter().map(|kept| &kept.object)), ["autoscalers.scalekit.dev"]);
    }
}
