//! The kinds that scalekit knows, as a table: no discovery call is needed to reach any of them.

use kube::discovery::ApiResource;

use crate::object::ObjectRef;

/// One kind of object, and how the API server spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version that scalekit reads and writes.
    pub version: &'static str,
    /// Kind as in a manifest.
    pub kind: &'static str,
    /// Plural as in a URL.
    pub plural: &'static str,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind { group, version, kind, plural, namespaced }
}

/// Every kind that scalekit installs. One LIST of each, by label, finds everything that is ours.
pub const INSTALLED: [Kind; 17] = [
    kind("", "v1", "Namespace", "namespaces", false),
    kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false),
    kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", false),
    kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", false),
    kind("rbac.authorization.k8s.io", "v1", "Role", "roles", true),
    kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", true),
    kind("", "v1", "ServiceAccount", "serviceaccounts", true),
    kind("", "v1", "ConfigMap", "configmaps", true),
    kind("", "v1", "Secret", "secrets", true),
    kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    kind("", "v1", "Service", "services", true),
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true),
    kind("apps", "v1", "Deployment", "deployments", true),
    kind("apps", "v1", "StatefulSet", "statefulsets", true),
    kind("apps", "v1", "DaemonSet", "daemonsets", true),
    API_SERVICE,
    kind("scalekit.dev", "v1alpha1", "Autoscaler", "autoscalers", true),
];

/// Kinds that come into being through what is installed, and carry our label.
pub const TRACES: [Kind; 2] =
    [kind("", "v1", "Pod", "pods", true), kind("apps", "v1", "ReplicaSet", "replicasets", true)];

/// What has a server of its own behind the API server, whoever installed it.
pub const API_SERVICE: Kind = kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", false);

/// What our own programs write while they run: who of several scalers leads.
pub const LEASE: Kind = kind("coordination.k8s.io", "v1", "Lease", "leases", true);

impl Kind {
    /// The kind of an object, in whatever version it is named.
    pub fn of(object: &ObjectRef) -> Option<&'static Self> {
        Self::named(&object.group, &object.kind)
    }

    /// The kind with this group and name.
    pub fn named(group: &str, kind: &str) -> Option<&'static Self> {
        INSTALLED.iter().chain(&TRACES).chain([&LEASE]).find(|known| known.group == group && known.kind == kind)
    }

    /// Whether most releases have none: these are listed only where there may be one. The stack has neither Autoscalers nor
    /// aggregated APIs, and who may only look need not be allowed to see the latter.
    pub fn is_rare(&self) -> bool {
        matches!(self.kind, "Autoscaler" | "APIService")
    }

    /// As kube's client wants it.
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// The `apiVersion` of a manifest.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}
