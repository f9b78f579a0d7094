//! What a cluster is, from facts that its API gives: the platform, the StorageClass to use, the
//! architectures of its nodes.
//!
//! Looks at all nodes and at what they say of themselves, never at a context's name. What is not
//! recognised is [`PlatformKind::Generic`], and works as far as Kubernetes itself promises.

mod exposure;
mod ports;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use k8s_openapi::api::{core::v1::Node, storage::v1::StorageClass};

pub use exposure::{Exposure, Part, api_port, api_port_of_k3s, exposures, has_kube_proxy};
pub use ports::{NotScraped, Seen};
pub use storage::{StorageChoice, is_default_class};

/// Who made the cluster, where that changes what has to be installed or how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PlatformKind {
    /// kind: nodes are containers of a Docker-like engine on some host.
    Kind {
        /// The cluster's name, as `kind get clusters` prints it.
        cluster: String,
    },
    /// Canonical MicroK8s.
    MicroK8s,
    /// k3s, and k3d which runs it in containers.
    K3s,
    /// Anything else.
    Generic,
}

/// A platform that was asked for and is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no platform: kind, microk8s, k3s or generic")]
pub struct UnknownPlatform(String);

/// The cluster that kind makes when it is given no name.
const KIND_DEFAULT_CLUSTER: &str = "kind";

impl PlatformKind {
    /// The platform that most nodes say they belong to.
    ///
    /// Sources: kind writes `kind://<engine>/<cluster>/<node>` as provider ID in its kubeadm
    /// configuration; MicroK8s labels every node `microk8s.io/cluster=true` (its kubelets' versions
    /// carry no suffix); k3s' versions end in `+k3s<n>` and its nodes are of instance type `k3s`.
    pub fn of(nodes: &[Node]) -> Self {
        let mut votes: Vec<(Self, usize)> = Vec::new();
        for kind in nodes.iter().map(Self::of_node) {
            match votes.iter_mut().find(|(voted, _)| *voted == kind) {
                Some((_, count)) => *count += 1,
                None => votes.push((kind, 1)),
            }
        }
        // At a tie the platform that was recognised wins over the one that was not.
        votes
            .into_iter()
            .max_by_key(|(kind, count)| (*count, *kind != Self::Generic))
            .map_or(Self::Generic, |(kind, _)| kind)
    }

    fn of_node(node: &Node) -> Self {
        let provider_id = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref()).unwrap_or_default();
        let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let kubelet = node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref())
            .map_or("", |system| system.kubelet_version.as_str());

        if let Some(rest) = provider_id.strip_prefix("kind://") {
            let cluster = rest.split('/').nth(1).filter(|name| !name.is_empty()).unwrap_or(KIND_DEFAULT_CLUSTER);
            Self::Kind { cluster: cluster.to_owned() }
        } else if label("microk8s.io/cluster") == Some("true") {
            Self::MicroK8s
        } else if kubelet.contains("+k3s") || label("node.kubernetes.io/instance-type") == Some("k3s") {
            Self::K3s
        } else {
            Self::Generic
        }
    }

    /// Whether the kubelets' serving certificates are signed by the cluster's authority, whose
    /// certificate every pod with a token has as `ca.crt`.
    ///
    /// True where the distribution signs them; kubeadm's kubelets, and so kind's, sign their own.
    fn kubelet_verifies(&self) -> bool {
        match self {
            Self::MicroK8s | Self::K3s => true,
            Self::Kind { .. } | Self::Generic => false,
        }
    }

    /// Whether the kubelets' certificates may be signed by the cluster's authority: kind's sign their own.
    pub fn kubelets_may_verify(&self) -> bool {
        !matches!(self, Self::Kind { .. })
    }

    /// Whether API server and kubelet can be one process here: kind starts each by kubeadm's manifests, by itself.
    pub fn may_be_one_process(&self) -> bool {
        !matches!(self, Self::Kind { .. })
    }

    /// Whether parts of the control plane can be pods here.
    pub fn may_have_pods_of_the_control_plane(&self) -> bool {
        !self.is_one_process()
    }

    /// Whether API server, kubelet and the rest are one process, so that the port of each has the metrics of all.
    fn is_one_process(&self) -> bool {
        matches!(self, Self::MicroK8s | Self::K3s)
    }
}

impl fmt::Display for PlatformKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { cluster } => write!(f, "kind (cluster {cluster})"),
            Self::MicroK8s => f.write_str("MicroK8s"),
            Self::K3s => f.write_str("k3s"),
            Self::Generic => f.write_str("Kubernetes"),
        }
    }
}

/// As the override `--platform` is written. `kind` alone means the cluster that is named `kind`.
impl FromStr for PlatformKind {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "kind" => Ok(Self::Kind { cluster: KIND_DEFAULT_CLUSTER.to_owned() }),
            "microk8s" => Ok(Self::MicroK8s),
            "k3s" => Ok(Self::K3s),
            "generic" => Ok(Self::Generic),
            _ => Err(UnknownPlatform(text.to_owned())),
        }
    }
}

/// What is known of a cluster before anything is installed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Who made it.
    pub kind: PlatformKind,
    /// Where volumes come from.
    pub storage: StorageChoice,
    /// Architectures of its nodes as Kubernetes spells them (`amd64`, `arm64`).
    pub architectures: BTreeSet<String>,
    /// Whether Prometheus can verify the kubelets' certificates; else it must take them unseen.
    pub kubelet_verifies: bool,
    /// Whether the API server's process is also the kubelet's, so that the port of each has the metrics of both.
    pub one_process: bool,
    /// Where parts of the control plane answer whose pods were seen.
    pub exposed: BTreeMap<Part, Exposure>,
    /// The API server's own port, behind its Service; `None` where nobody could look.
    pub api_port: Option<u16>,
}

impl Platform {
    /// The same by what was seen of its ports; what was not seen stays as the platform usually has it.
    #[must_use]
    pub fn seen(self, seen: Seen) -> Self {
        Self {
            kubelet_verifies: seen.kubelet_verifies.unwrap_or(self.kubelet_verifies),
            one_process: seen.one_process.unwrap_or(self.one_process),
            exposed: seen.exposed.unwrap_or(self.exposed),
            api_port: seen.api_port.or(self.api_port),
            ..self
        }
    }
}

/// What a cluster is by its nodes and by each StorageClass that it has.
pub fn detect(nodes: &[Node], classes: &[StorageClass]) -> Platform {
    assume(PlatformKind::of(nodes), nodes, classes)
}

/// As [`detect`], but of the platform that the user names.
///
/// For kind the cluster's name is still read from the nodes where they tell it.
pub fn assume(kind: PlatformKind, nodes: &[Node], classes: &[StorageClass]) -> Platform {
    let kind = match (kind, PlatformKind::of(nodes)) {
        (PlatformKind::Kind { .. }, detected @ PlatformKind::Kind { .. }) => detected,
        (asked, _) => asked,
    };
    Platform {
        storage: storage::storage_class_for(&kind, classes),
        architectures: nodes.iter().filter_map(architecture).collect(),
        kubelet_verifies: kind.kubelet_verifies(),
        one_process: kind.is_one_process(),
        exposed: BTreeMap::new(),
        api_port: None,
        kind,
    }
}

fn architecture(node: &Node) -> Option<String> {
    let system = node.status.as_ref()?.node_info.as_ref()?;
    (!system.architecture.is_empty()).then(|| system.architecture.clone())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn node(provider_id: Option<&str>, labels: &[(&str, &str)], kubelet: &str, architecture: &str) -> Node {
        let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": labels},
            "spec": {"providerID": provider_id},
            "status": {"nodeInfo": {
                "architecture": architecture, "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": kubelet, "machineID": "", "operatingSystem": "linux",
                "osImage": "", "systemUUID": "",
            }},
        }))
        .unwrap()
    }

    fn kind_named(cluster: &str) -> PlatformKind {
        PlatformKind::Kind { cluster: cluster.to_owned() }
    }

    #[rstest]
    #[case::kind_on_docker(Some("kind://docker/dev/dev-control-plane"), &[], "v1.37.2", kind_named("dev"))]
    #[case::kind_on_podman(Some("kind://podman/kind/kind-worker"), &[], "v1.37.2", kind_named("kind"))]
    #[case::kind_without_a_name(Some("kind://"), &[], "v1.37.2", kind_named("kind"))]
    #[case::microk8s(None, &[("microk8s.io/cluster", "true")], "v1.37.2", PlatformKind::MicroK8s)]
    #[case::a_label_that_says_no(None, &[("microk8s.io/cluster", "false")], "v1.37.2", PlatformKind::Generic)]
    #[case::k3s_by_version(Some("k3s://node"), &[], "v1.37.2+k3s1", PlatformKind::K3s)]
    #[case::k3s_by_label(None, &[("node.kubernetes.io/instance-type", "k3s")], "v1.37.2", PlatformKind::K3s)]
    #[case::rke2_is_not_k3s(None, &[], "v1.37.2+rke2r1", PlatformKind::Generic)]
    #[case::a_cloud(Some("aws:///eu-central-1a/i-0"), &[], "v1.37.2-eks-1", PlatformKind::Generic)]
    fn recognises(
        #[case] provider_id: Option<&str>,
        #[case] labels: &[(&str, &str)],
        #[case] kubelet: &str,
        #[case] expected: PlatformKind,
    ) {
        assert_eq!(PlatformKind::of(&[node(provider_id, labels, kubelet, "amd64")]), expected);
    }

    #[test]
    fn no_nodes_are_generic() {
        assert_eq!(detect(&[], &[]).kind, PlatformKind::Generic);
    }

    #[test]
    fn the_first_node_does_not_decide_alone() {
        let foreign = node(None, &[], "v1.37.2", "amd64");
        let ours = node(None, &[("microk8s.io/cluster", "true")], "v1.37.2", "arm64");
        assert_eq!(PlatformKind::of(&[foreign.clone(), ours.clone(), ours.clone()]), PlatformKind::MicroK8s);
        assert_eq!(PlatformKind::of(&[foreign.clone(), ours.clone()]), PlatformKind::MicroK8s);
        assert_eq!(PlatformKind::of(&[ours.clone(), foreign.clone()]), PlatformKind::MicroK8s);
        let architectures: Vec<_> = detect(&[foreign, ours], &[]).architectures.into_iter().collect();
        assert_eq!(architectures, ["amd64", "arm64"]);
    }

    #[rstest]
    #[case("kind", Ok(kind_named("kind")))]
    #[case("microk8s", Ok(PlatformKind::MicroK8s))]
    #[case("k3s", Ok(PlatformKind::K3s))]
    #[case("generic", Ok(PlatformKind::Generic))]
    #[case("MicroK8s", Err(UnknownPlatform("MicroK8s".to_owned())))]
    #[case("", Err(UnknownPlatform(String::new())))]
    fn reads_the_override(#[case] text: &str, #[case] expected: Result<PlatformKind, UnknownPlatform>) {
        assert_eq!(text.parse(), expected);
    }

    #[test]
    fn an_override_keeps_the_name_that_the_nodes_tell() {
        let nodes = [node(Some("kind://docker/dev/dev-control-plane"), &[], "v1.37.2", "amd64")];
        assert_eq!(assume(kind_named("kind"), &nodes, &[]).kind, kind_named("dev"));
        assert_eq!(assume(PlatformKind::MicroK8s, &nodes, &[]).kind, PlatformKind::MicroK8s);
    }

    #[test]
    fn certificates_are_verified_only_where_the_cluster_signs_them() {
        let verifies = |kind| assume(kind, &[], &[]).kubelet_verifies;
        assert!(verifies(PlatformKind::MicroK8s) && verifies(PlatformKind::K3s));
        assert!(!verifies(kind_named("kind")) && !verifies(PlatformKind::Generic));
    }
}
