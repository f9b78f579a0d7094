//! Is this cluster one that the stack can be installed on: judged from facts, before anything is written.

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    storage::v1::StorageClass,
};

use super::{Finding, Severity};
use crate::platform::{Platform, PlatformKind, Seen, StorageChoice, assume, detect};

/// The oldest minor version of Kubernetes 1 that is supported.
const OLDEST_MINOR: u32 = 33;

/// What one look at the cluster gives.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The API server's version: `v1.37.2`.
    pub version: String,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All storage classes.
    pub classes: Vec<StorageClass>,
    /// What the ports of the control plane show; nothing where nobody looked.
    pub seen: Seen,
}

impl Facts {
    /// What the cluster is: the platform that the user names, else the one that it says it is.
    pub fn platform(&self, asked: Option<PlatformKind>) -> Platform {
        let platform = match asked {
            Some(kind) => assume(kind, &self.nodes, &self.classes),
            None => detect(&self.nodes, &self.classes),
        };
        platform.seen(self.seen)
    }
}

/// One right that `up` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `create`; `*` for all.
    pub verb: String,
    /// `clusterroles`, `pods/portforward`; `*` for all.
    pub resource: String,
    /// Where; `None` is everywhere.
    pub namespace: Option<String>,
    /// Whether the user has it.
    pub allowed: bool,
}

/// What has to be known only when something is going to be written.
#[derive(Clone, Debug, Default)]
pub struct BeforeWriting {
    /// Rights of the user that were asked for.
    pub permissions: Vec<Permission>,
    /// Pods other than ours; `None` when the user may not list them.
    pub host_pods: Option<Vec<Pod>>,
    /// Whether the API server enforces RBAC, as far as that can be seen.
    pub rbac: bool,
}

/// Judges version, nodes and storage. `carried` is the architecture of the image that is sent to the nodes, where one
/// is: only nodes of that architecture can run it.
pub fn of_cluster(facts: &Facts, platform: &Platform, class: Option<&str>, carried: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![version(&facts.version)];
    if facts.nodes.is_empty() {
        findings.push(Finding::new("nodes", Severity::Error, "the cluster has no node: nothing can run"));
    }
    findings.push(storage(facts, platform, class));
    findings.extend(carried.and_then(|carried| architecture(platform, carried)));
    findings
}

fn architecture(platform: &Platform, carried: &str) -> Option<Finding> {
    let others: Vec<&str> =
        platform.architectures.iter().map(String::as_str).filter(|architecture| *architecture != carried).collect();
    if others.is_empty() {
        return None;
    }
    let (severity, what) = if platform.architectures.contains(carried) {
        (Severity::Warning, "some nodes cannot run the image that this program makes of itself")
    } else {
        (Severity::Error, "no node can run the image that this program makes of itself")
    };
    let message = format!("{what}: it is for {carried}, and there are nodes of {}", others.join(", "));
    Some(Finding::new("architecture", severity, message).hint(
        "name an image for all of them with --image scaler=REF, or run scalekit on a machine of that architecture",
    ))
}

fn version(version: &str) -> Finding {
    let minor = version
        .trim_start_matches('v')
        .split('.')
        .nth(1)
        .and_then(|minor| minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok());
    match minor {
        Some(minor) if minor < OLDEST_MINOR => Finding::new(
            "version",
            Severity::Error,
            format!("Kubernetes {version} is older than 1.{OLDEST_MINOR}, the oldest that is supported"),
        )
        .hint("upgrade the cluster first"),
        Some(_) => Finding::new("version", Severity::Ok, format!("Kubernetes {version}")),
        None => Finding::new("version", Severity::Warning, format!("the version `{version}` cannot be read")),
    }
}

fn storage(facts: &Facts, platform: &Platform, class: Option<&str>) -> Finding {
    let names: Vec<&str> = facts.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
    let known =
        || if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) };
    if let Some(class) = class {
        return if names.contains(&class) {
            Finding::new("storage-class", Severity::Ok, format!("volumes are made by StorageClass {class}"))
        } else {
            // Not an error: the claim fails with the same words, and someone may be about to make the class.
            Finding::new("storage-class", Severity::Warning, format!("there is no StorageClass `{class}`"))
                .hint(format!("{}; name one with --storage-class", known()))
        };
    }
    match &platform.storage {
        StorageChoice::Class(class) => {
            Finding::new("storage-class", Severity::Ok, format!("volumes are made by StorageClass {class}"))
        }
        StorageChoice::None => {
            let fix = match platform.kind {
                PlatformKind::MicroK8s => "microk8s enable hostpath-storage",
                _ => "install a storage provisioner, and name its class with --storage-class",
            };
            Finding::new("storage-class", Severity::Error, format!("no StorageClass to take volumes from: {}", known()))
                .hint(fix)
        }
        StorageChoice::SeveralDefaults(defaults) => Finding::new(
            "storage-class",
            Severity::Error,
            format!("several StorageClasses are the default one: {}", defaults.join(", ")),
        )
        .hint("name one with --storage-class, or take the annotation storageclass.kubernetes.io/is-default-class off the others"),
    }
}

/// Judges rights and ports.
pub fn before_writing(facts: &BeforeWriting, platform: &Platform) -> Vec<Finding> {
    let mut findings = Vec::new();
    let missing = missing(&facts.permissions);
    findings.push(if missing.is_empty() {
        let all = facts.permissions.iter().any(|permission| permission.verb == "*" && permission.resource == "*");
        let what = if all { "do everything" } else { "write, watch and delete what is installed" };
        Finding::new("permissions", Severity::Ok, format!("this user may {what}"))
    } else {
        Finding::new("permissions", Severity::Error, format!("this user may not {}", missing.join("; may not ")))
            .hint("use a context with the rights of cluster-admin: `kubectl config get-contexts`")
    });
    if !facts.rbac {
        let finding =
            Finding::new("rbac", Severity::Warning, "this cluster does not enforce RBAC: every pod may do everything");
        findings.push(match platform.kind {
            PlatformKind::MicroK8s => finding.hint("microk8s enable rbac"),
            _ => finding.hint("start the API server with --authorization-mode=Node,RBAC"),
        });
    }
    findings.push(match &facts.host_pods {
        Some(pods) => node_exporter_port(pods),
        None => Finding::new(
            "port-9100",
            Severity::Info,
            "whether port 9100 of the nodes is free cannot be seen: this user may not list all pods",
        ),
    });
    findings
}

/// The rights that are missing, in as few words as they can be said: `create, patch clusterroles, clusterrolebindings`,
/// `delete secrets in monitoring`.
fn missing(permissions: &[Permission]) -> Vec<String> {
    let mut of_resource = Vec::new();
    for Permission { verb, resource, namespace, .. } in permissions.iter().filter(|permission| !permission.allowed) {
        put(&mut of_resource, (namespace.as_deref(), resource.as_str()), verb.as_str());
    }
    let mut of_verbs = Vec::new();
    for ((namespace, resource), verbs) in of_resource {
        put(&mut of_verbs, (namespace, verbs), resource);
    }
    of_verbs
        .into_iter()
        .map(|((namespace, verbs), resources)| {
            let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            format!("{} {}{place}", verbs.join(", "), resources.join(", "))
        })
        .collect()
}

/// Puts an item to those of the same key, keys in the order in which they came.
fn put<K: PartialEq, V>(groups: &mut Vec<(K, Vec<V>)>, key: K, item: V) {
    match groups.iter_mut().find(|(known, _)| *known == key) {
        Some((_, items)) => items.push(item),
        None => groups.push((key, vec![item])),
    }
}

/// node-exporter listens on this port of every node.
const NODE_EXPORTER_PORT: i32 = 9100;

fn node_exporter_port(pods: &[Pod]) -> Finding {
    let users: Vec<String> = pods
        .iter()
        .filter(|pod| {
            pod.spec.as_ref().is_some_and(|spec| {
                let on_host = spec.host_network == Some(true);
                spec.containers.iter().flat_map(|container| container.ports.iter().flatten()).any(|port| {
                    port.host_port == Some(NODE_EXPORTER_PORT) || (on_host && port.container_port == NODE_EXPORTER_PORT)
                })
            })
        })
        .map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            format!("{}/{name}", pod.metadata.namespace.as_deref().unwrap_or_default())
        })
        .collect();
    if users.is_empty() {
        return Finding::new("port-9100", Severity::Ok, "port 9100 of the nodes is free, as far as pods go");
    }
    Finding::new(
        "port-9100",
        Severity::Error,
        format!("port {NODE_EXPORTER_PORT} of the nodes is taken by {}", users.join(", ")),
    )
    .hint("remove the other node-exporter (MicroK8s: `microk8s disable observability`)")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::platform::detect;

    #[rstest]
    #[case::current("v1.37.2", Severity::Ok)]
    #[case::a_distributions_own("v1.33.4+k3s1", Severity::Ok)]
    #[case::plus_in_the_minor("v1.34+.2", Severity::Ok)]
    #[case::too_old("v1.32.9", Severity::Error)]
    #[case::not_a_version("unknown", Severity::Warning)]
    fn judges_the_version(#[case] text: &str, #[case] expected: Severity) {
        assert_eq!(version(text).severity, expected);
    }

    fn classes(names: &[(&str, bool)]) -> Vec<StorageClass> {
        names
            .iter()
            .map(|(name, default)| {
                serde_json::from_value(json!({"metadata": {"name": name,
                    "annotations": {"storageclass.kubernetes.io/is-default-class": default.to_string()}}, "provisioner": "x"}))
                .unwrap()
            })
            .collect()
    }

    #[rstest]
    #[case::the_default(&[("a", true)], None, Severity::Ok)]
    #[case::the_one_named(&[("a", false)], Some("a"), Severity::Ok)]
    #[case::one_that_is_not_there(&[("a", true)], Some("b"), Severity::Warning)]
    #[case::none_at_all(&[], None, Severity::Error)]
    #[case::two_defaults(&[("a", true), ("b", true)], None, Severity::Error)]
    fn judges_the_storage(#[case] names: &[(&str, bool)], #[case] class: Option<&str>, #[case] expected: Severity) {
        let facts = Facts { classes: classes(names), ..Facts::default() };
        let platform = detect(&facts.nodes, &facts.classes);
        let finding = storage(&facts, &platform, class);
        assert_eq!(finding.severity, expected, "{finding:?}");
        assert_eq!(finding.hint.is_some(), expected != Severity::Ok);
    }

    #[rstest]
    #[case::the_same(&["amd64"], None)]
    #[case::some_other(&["amd64", "arm64"], Some(Severity::Warning))]
    #[case::all_other(&["arm64"], Some(Severity::Error))]
    fn nodes_that_cannot_run_the_image_are_said(#[case] nodes: &[&str], #[case] expected: Option<Severity>) {
        let mut platform = detect(&[], &[]);
        platform.architectures = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(architecture(&platform, "amd64").map(|finding| finding.severity), expected);
    }

    #[test]
    fn who_holds_the_port_is_named() {
        let pod = serde_json::from_value(json!({"metadata": {"name": "ne", "namespace": "other"},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 9100}]}]}}))
        .unwrap();
        let finding = node_exporter_port(&[pod]);
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.ends_with("other/ne"), "{}", finding.message);
    }

    fn rights(missing: &[(&str, &str, Option<&str>)]) -> BeforeWriting {
        let permission = |(verb, resource, namespace): &(&str, &str, Option<&str>), allowed| Permission {
            verb: (*verb).to_owned(),
            resource: (*resource).to_owned(),
            namespace: namespace.map(str::to_owned),
            allowed,
        };
        let mut permissions = vec![permission(&("create", "namespaces", None), true)];
        permissions.extend(missing.iter().map(|right| permission(right, false)));
        BeforeWriting { permissions, rbac: true, host_pods: Some(Vec::new()) }
    }

    #[rstest]
    #[case::none(&[], "this user may write, watch and delete what is installed")]
    #[case::one(&[("create", "clusterroles", None)], "this user may not create clusterroles")]
    #[case::verbs_and_resources_together(
        &[("create", "clusterroles", None), ("patch", "clusterroles", None), ("create", "clusterrolebindings", None),
          ("patch", "clusterrolebindings", None)],
        "this user may not create, patch clusterroles, clusterrolebindings"
    )]
    #[case::places_apart(
        &[("create", "secrets", Some("monitoring")), ("create", "daemonsets", Some("monitoring-nodes"))],
        "this user may not create secrets in monitoring; may not create daemonsets in monitoring-nodes"
    )]
    fn missing_rights_are_named(#[case] missing: &[(&str, &str, Option<&str>)], #[case] expected: &str) {
        let findings = before_writing(&rights(missing), &detect(&[], &[]));
        assert_eq!(findings[0].message, expected);
        assert_eq!(findings[0].severity == Severity::Error, !missing.is_empty());
    }

    #[test]
    fn no_more_is_said_than_was_asked() {
        let everything = Permission { verb: "*".to_owned(), resource: "*".to_owned(), namespace: None, allowed: true };
        let facts = BeforeWriting { permissions: vec![everything], host_pods: None, rbac: true };
        let findings = before_writing(&facts, &detect(&[], &[]));
        assert_eq!(findings[0].message, "this user may do everything");
        assert!(findings[1].message.contains("cannot be seen"), "{}", findings[1].message);
        assert_eq!(findings[1].severity, Severity::Info);
    }
}
