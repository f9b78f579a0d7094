//! How an object of the cluster is named, in plans, events, errors and the inventory, and how it is read.

use std::{collections::BTreeMap, fmt};

use kube::core::{DynamicObject, GroupVersionKind, ObjectMeta, TypeMeta};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// One object of the cluster by group, version, kind, namespace and name.
///
/// Prints as kubectl names things, in the form that can be pasted behind `kubectl get`:
/// `deployment.apps/grafana -n monitoring`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// API version within the group, such as `v1`.
    pub version: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Namespace; `None` for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// Names an object that carries its own type, as every object of `catalog` does.
    ///
    /// An object without type or name gives empty fields: `catalog` never makes one, and what comes
    /// from the API server always has both.
    pub fn of(object: &DynamicObject) -> Self {
        let types = object.types.clone().unwrap_or_default();
        let gvk = GroupVersionKind::try_from(types).unwrap_or_else(|_| GroupVersionKind::gvk("", "", ""));
        Self {
            group: gvk.group,
            version: gvk.version,
            kind: gvk.kind,
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Names an object from its parts; `api_version` is written as in a manifest (`apps/v1`, `v1`).
    pub fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// The `apiVersion` of a manifest: `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether both name the same object, in whatever API version it was read.
    pub fn same_object(&self, other: &Self) -> bool {
        self.group == other.group
            && self.kind == other.kind
            && self.namespace == other.namespace
            && self.name == other.name
    }

    fn in_any_version(self) -> Self {
        Self { version: String::new(), ..self }
    }
}

/// Objects that are found by their names as [`ObjectRef::same_object`] compares them; of several with one name the first.
pub struct ByName<'a> {
    objects: BTreeMap<ObjectRef, &'a DynamicObject>,
}

impl<'a> ByName<'a> {
    /// Of these.
    pub fn of(objects: &'a [DynamicObject]) -> Self {
        Self { objects: objects.iter().rev().map(|object| (ObjectRef::of(object).in_any_version(), object)).collect() }
    }

    /// The one with this name.
    pub fn get(&self, wanted: &ObjectRef) -> Option<&'a DynamicObject> {
        self.objects.get(&wanted.clone().in_any_version()).copied()
    }
}

/// An object that is read field by field. [`DynamicObject`] itself sets all of them aside until it knows which are left over,
/// and reads them once more.
#[derive(Clone, Debug)]
pub struct Written(pub DynamicObject);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of Kubernetes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Written, A::Error> {
                let (mut api_version, mut kind, mut metadata, mut data) =
                    (None, None, ObjectMeta::default(), Map::new());
                while let Some(key) = fields.next_key::<String>()? {
                    match key.as_str() {
                        "apiVersion" => api_version = Some(fields.next_value()?),
                        "kind" => kind = Some(fields.next_value()?),
                        "metadata" => metadata = fields.next_value()?,
                        _ => drop(data.insert(key, fields.next_value()?)),
                    }
                }
                // The items of a LIST come without.
                let types = api_version.zip(kind).map(|(api_version, kind)| TypeMeta { api_version, kind });
                Ok(Written(DynamicObject { types, metadata, data: Value::Object(data) }))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.to_lowercase())?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        write!(f, "/{}", self.name)?;
        match &self.namespace {
            Some(namespace) => write!(f, " -n {namespace}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_kubectl_get_takes() {
        assert_eq!(
            ObjectRef::new("apps/v1", "Deployment", Some("monitoring"), "grafana").to_string(),
            "deployment.apps/grafana -n monitoring"
        );
        assert_eq!(ObjectRef::new("v1", "Namespace", None, "monitoring").to_string(), "namespace/monitoring");
    }

    #[test]
    fn objects_are_found_in_whatever_version_they_were_read() {
        let object = |api_version: &str, namespace: Option<&str>| {
            serde_json::from_value(serde_json::json!({"apiVersion": api_version, "kind": "Deployment",
                "metadata": {"name": "a", "namespace": namespace}}))
            .unwrap()
        };
        let objects = [object("apps/v1beta1", Some("m")), object("apps/v1", Some("m")), object("apps/v1", None)];
        let (by_name, wanted) =
            (ByName::of(&objects), |api_version, namespace| ObjectRef::new(api_version, "Deployment", namespace, "a"));
        let found = |api_version, namespace| by_name.get(&wanted(api_version, namespace)).map(ObjectRef::of);
        assert_eq!(found("apps/v1", Some("m")), Some(wanted("apps/v1beta1", Some("m"))));
        assert_eq!(found("apps/v2", None), Some(wanted("apps/v1", None)));
        assert_eq!(found("extensions/v1", Some("m")), None);
        assert_eq!(found("apps/v1", Some("n")), None);
    }

    #[test]
    fn the_api_version_survives_the_round_trip() {
        for api_version in ["v1", "apps/v1", "scalekit.dev/v1alpha1"] {
            assert_eq!(ObjectRef::new(api_version, "X", None, "x").api_version(), api_version);
        }
    }

    #[test]
    fn an_object_is_read_as_its_type_reads_it() {
        let texts = [
            r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"b": "c"}}, "data": {"d": null}}"#,
            r#"{"metadata": {"name": "item", "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}]}, "spec": {}}"#,
            r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#,
        ];
        for text in texts {
            let Written(read) = serde_json::from_str(text).unwrap();
            assert_eq!(read, serde_json::from_str(text).unwrap(), "{text}");
        }
        assert!(serde_json::from_str::<Written>(r#"{"metadata": []}"#).is_err());
        assert!(serde_json::from_str::<Written>("[]").is_err());
    }
}
