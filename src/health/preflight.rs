//! Is this cluster one that the stack can be installed on: judged from facts, before anything is written.

use k8s_openapi::api::{core::v1::Node, storage::v1::StorageClass};

use super::{
    Environment, Finding, Listener, Severity,
    environment::{self, shortened},
    port, storage,
};
use crate::{
    catalog::Options,
    object::ObjectRef,
    platform::{Platform, PlatformKind, Seen, assume, detect},
    readiness::is_ready,
};

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
        platform.seen(self.seen.clone())
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

/// How much is installed: what the rest needs of a cluster, the scaler alone does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Stack,
    /// The scaler, on top of a Prometheus that is there: no volume, no node-exporter, and another monitoring is what it is for.
    ScalerAlone,
}

impl Extent {
    /// What these options install.
    pub fn of(options: &Options) -> Self {
        if options.external.is_some() { Self::ScalerAlone } else { Self::Stack }
    }
}

/// What has to be known only when something is going to be written, or when somebody asks how things are.
#[derive(Clone, Debug)]
pub struct BeforeWriting {
    /// Rights of the user that were asked for.
    pub permissions: Vec<Permission>,
    /// Whether the API server enforces RBAC, as far as that can be seen.
    pub rbac: bool,
    /// What is around the stack.
    pub environment: Environment,
    /// What listens on node-exporter's port of each node, where it is to run and does not.
    pub listeners: Vec<(String, Listener)>,
    /// Whether our own node-exporter runs.
    pub node_exporter: bool,
    /// Secrets of the user's without which a pod would not start, and that are not there.
    pub absent_secrets: Vec<ObjectRef>,
}

/// Judges version, nodes and storage. `carried` is the architecture of the image that is sent to the nodes, where one
/// is: only nodes of that architecture can run it.
pub fn of_cluster(
    facts: &Facts,
    platform: &Platform,
    class: Option<&str>,
    carried: Option<&str>,
    extent: Extent,
) -> Vec<Finding> {
    let mut findings = vec![version(&facts.version)];
    findings.push(nodes(&facts.nodes));
    if extent == Extent::Stack {
        findings.push(storage::storage(facts, platform, class));
        findings.extend(storage::bound_to_a_node(facts, platform, class));
    }
    findings.extend(carried.and_then(|carried| architecture(platform, carried)));
    findings
}

/// The names of the nodes that do not say that they are ready.
pub fn unready_nodes(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter(|node| !is_ready(node)).filter_map(|node| node.metadata.name.clone()).collect()
}

/// Whether there are nodes, and which are not ready.
pub fn nodes(nodes: &[Node]) -> Finding {
    const CHECK: &str = "nodes";
    if nodes.is_empty() {
        return Finding::new(CHECK, Severity::Error, "the cluster has no node: nothing can run");
    }
    let unready = unready_nodes(nodes);
    if unready.is_empty() {
        return Finding::new(CHECK, Severity::Ok, format!("{} ready", super::are(nodes.len(), "node")));
    }
    let all = super::are(nodes.len(), "node");
    let message = format!("{} of {all} not ready: {}", unready.len(), shortened(&unready));
    Finding::new(CHECK, Severity::Warning, message).hint(format!("kubectl describe node {}", unready[0]))
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

/// Judges rights, ports and what is around. `class` is the StorageClass that the volumes are taken from.
pub fn before_writing(
    facts: &BeforeWriting,
    platform: &Platform,
    class: Option<&StorageClass>,
    extent: Extent,
) -> Vec<Finding> {
    let mut findings = vec![permissions(&facts.permissions), rbac(facts.rbac, platform)];
    if extent == Extent::Stack {
        let others = facts.environment.others.as_deref().ok();
        findings.push(port::node_exporter_port(others, &facts.listeners, facts.node_exporter));
    }
    findings.extend(facts.absent_secrets.iter().map(absent));
    findings.extend(environment::environment(&facts.environment, platform, class, extent));
    findings
}

fn absent(secret: &ObjectRef) -> Finding {
    let ObjectRef { name, namespace, .. } = secret;
    let message = format!("{secret} is not there, and no pod that mounts it would start");
    let place = namespace.as_deref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    Finding::new("secret", Severity::Error, message).hint(format!(
        "is the name right? `kubectl get secrets{place}`; else make it: `kubectl create secret generic {name}{place} \
         --from-file=KEY`"
    ))
}

/// Judges the rights of the user.
pub fn permissions(permissions: &[Permission]) -> Finding {
    let missing = missing(permissions);
    if missing.is_empty() {
        let all = permissions.iter().any(|permission| permission.verb == "*" && permission.resource == "*");
        let what = if all { "do everything" } else { "write, watch and delete what is installed" };
        return Finding::new("permissions", Severity::Ok, format!("this user may {what}"));
    }
    Finding::new("permissions", Severity::Error, format!("this user may not {}", missing.join("; may not ")))
        .hint("use a context with the rights of cluster-admin: `kubectl config get-contexts`")
}

fn rbac(enforced: bool, platform: &Platform) -> Finding {
    if enforced {
        return Finding::new("rbac", Severity::Ok, "the API server enforces RBAC");
    }
    let finding =
        Finding::new("rbac", Severity::Warning, "this cluster does not enforce RBAC: every pod may do everything");
    match platform.kind {
        PlatformKind::MicroK8s => finding.hint("microk8s enable rbac"),
        _ => finding.hint("start the API server with --authorization-mode=Node,RBAC"),
    }
}

/// What the cluster is, as a finding.
pub fn platform(platform: &Platform, nodes: usize) -> Finding {
    let finding = |severity, message: String| Finding::new("platform", severity, message);
    let of = super::count(nodes, "node");
    match platform.kind {
        PlatformKind::Generic => finding(
            Severity::Info,
            format!("not kind, MicroK8s or k3s, by what {of} say: what Kubernetes itself promises is relied on"),
        )
        .hint("if it is one of them, say so: --platform NAME"),
        _ => finding(Severity::Ok, format!("{}, with {of}", platform.kind)),
    }
}

/// How the API server answers.
pub fn api_server(server: &str, took: std::time::Duration) -> Finding {
    const SLOW: std::time::Duration = std::time::Duration::from_secs(1);
    let message = format!("{server} answers within {} ms", took.as_millis().max(1));
    if took < SLOW {
        return Finding::new("api-server", Severity::Ok, message);
    }
    Finding::new("api-server", Severity::Warning, message)
        .hint("a slow API server makes everything slow: look at its load and at etcd's disk")
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

    #[rstest]
    #[case::the_same(&["amd64"], None)]
    #[case::some_other(&["amd64", "arm64"], Some(Severity::Warning))]
    #[case::all_other(&["arm64"], Some(Severity::Error))]
    fn nodes_that_cannot_run_the_image_are_said(#[case] nodes: &[&str], #[case] expected: Option<Severity>) {
        let mut platform = detect(&[], &[]);
        platform.architectures = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(architecture(&platform, "amd64").map(|finding| finding.severity), expected);
    }

    fn rights(missing: &[(&str, &str, Option<&str>)]) -> Vec<Permission> {
        let permission = |(verb, resource, namespace): &(&str, &str, Option<&str>), allowed| Permission {
            verb: (*verb).to_owned(),
            resource: (*resource).to_owned(),
            namespace: namespace.map(str::to_owned),
            allowed,
        };
        let mut rights = vec![permission(&("create", "namespaces", None), true)];
        rights.extend(missing.iter().map(|right| permission(right, false)));
        rights
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
        let finding = permissions(&rights(missing));
        assert_eq!(finding.message, expected);
        assert_eq!(finding.severity == Severity::Error, !missing.is_empty());
    }

    #[test]
    fn no_more_is_said_than_was_asked() {
        let everything = Permission { verb: "*".to_owned(), resource: "*".to_owned(), namespace: None, allowed: true };
        assert_eq!(permissions(&[everything]).message, "this user may do everything");
    }

    #[rstest]
    #[case::none(&[], Severity::Error, "no node")]
    #[case::ready(&[true, true], Severity::Ok, "2 nodes are ready")]
    #[case::one_is_not(&[true, false], Severity::Warning, "1 of 2 nodes are not ready: n1")]
    fn judges_the_nodes(#[case] ready: &[bool], #[case] severity: Severity, #[case] said: &str) {
        let node = |(at, ready): (usize, &bool)| {
            let status = if *ready { "True" } else { "Unknown" };
            serde_json::from_value(json!({"metadata": {"name": format!("n{at}")},
                "status": {"conditions": [{"type": "Ready", "status": status}]}}))
            .unwrap()
        };
        let found = nodes(&ready.iter().enumerate().map(node).collect::<Vec<Node>>());
        assert_eq!(found.severity, severity);
        assert!(found.message.contains(said), "{}", found.message);
    }
}
