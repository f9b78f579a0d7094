//! Whether node-exporter gets its port on each node.

use k8s_openapi::api::core::v1::Pod;

use super::{Finding, Severity, environment::shortened};
use crate::{catalog::is_ours, plan};

/// node-exporter listens on this port of every node.
pub const NODE_EXPORTER_PORT: u16 = 9100;

/// What a connection to the port of a node met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Something listens.
    Something,
    /// Nobody does: the node refused.
    Nobody,
    /// There was no answer from here: a firewall, or no route.
    Unknown,
}

/// Judges the port by the pods that claim it, where those can be seen, and by what listens on it, where that was
/// tried. `ours` says whether our own node-exporter runs, which then is who listens.
pub(super) fn node_exporter_port(pods: Option<&[Pod]>, listeners: &[(String, Listener)], ours: bool) -> Finding {
    const CHECK: &str = "port-9100";
    let (scalekits, users): (Vec<&Pod>, Vec<&Pod>) =
        pods.unwrap_or_default().iter().filter(|pod| takes(pod)).partition(|pod| is_ours(*pod));
    let taken_by = |pods: &[&Pod]| {
        let names: Vec<String> = pods.iter().map(|pod| named(pod)).collect();
        format!("port {NODE_EXPORTER_PORT} of the nodes is taken by {}", shortened(&names))
    };
    if !users.is_empty() {
        return Finding::new(CHECK, Severity::Error, taken_by(&users))
            .hint("remove the other node-exporter (MicroK8s: `microk8s disable observability`)");
    }
    let of = |wanted: Listener| -> Vec<String> {
        listeners.iter().filter(|(_, listener)| *listener == wanted).map(|(node, _)| node.clone()).collect()
    };
    let (taken, free) = (of(Listener::Something), of(Listener::Nobody));
    if !taken.is_empty() && !ours {
        // Without a listener they are of an installation that is being taken away, and hold nothing up.
        if !scalekits.is_empty() {
            let message = format!("{}, of {}", taken_by(&scalekits), plan::OTHER_INSTALLATION);
            return Finding::new(CHECK, Severity::Error, message).hint(plan::ONE_A_CLUSTER);
        }
        let message = format!("a program that is no pod listens on port {NODE_EXPORTER_PORT} of {}", shortened(&taken));
        return Finding::new(CHECK, Severity::Error, message).hint(
            "stop it on those nodes: `ss -ltnp 'sport = :9100'` names it, often it is the package prometheus-node-exporter",
        );
    }
    if pods.is_none() && free.is_empty() && !ours {
        return Finding::new(
            CHECK,
            Severity::Info,
            "whether port 9100 of the nodes is free cannot be seen: this user may not list all pods",
        );
    }
    let message = if ours {
        "port 9100 of the nodes is node-exporter's".to_owned()
    } else if free.is_empty() {
        "port 9100 of the nodes is free, as far as pods go".to_owned()
    } else {
        let unknown = of(Listener::Unknown).len();
        let but = if unknown == 0 { String::new() } else { format!(", and {unknown} did not answer") };
        format!("port 9100 is free on {}{but}", super::count(free.len(), "node"))
    };
    Finding::new(CHECK, Severity::Ok, message)
}

fn takes(pod: &Pod) -> bool {
    let port = i32::from(NODE_EXPORTER_PORT);
    pod.spec.as_ref().is_some_and(|spec| {
        let on_host = spec.host_network == Some(true);
        spec.containers
            .iter()
            .flat_map(|container| container.ports.iter().flatten())
            .any(|claimed| claimed.host_port == Some(port) || (on_host && claimed.container_port == port))
    })
}

fn named(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    format!("{}/{name}", pod.metadata.namespace.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn exporter() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "ne", "namespace": "other"},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 9100}]}]}}))
        .unwrap()
    }

    #[test]
    fn who_holds_the_port_is_named() {
        let finding = node_exporter_port(Some(&[exporter()]), &[], true);
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.ends_with("other/ne"), "{}", finding.message);
    }

    #[test]
    fn another_installation_that_holds_the_port_is_no_program_of_the_machine() {
        let mut theirs = exporter();
        theirs.metadata.labels = Some([(crate::catalog::MANAGED_BY.to_owned(), "scalekit".to_owned())].into());
        let left = node_exporter_port(Some(&[theirs.clone()]), &[("n".to_owned(), Listener::Nobody)], false);
        assert_eq!(left.severity, Severity::Ok, "{}", left.message);
        let finding = node_exporter_port(Some(&[theirs]), &[("n".to_owned(), Listener::Something)], false);
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.ends_with("other/ne, of another installation of scalekit"), "{}", finding.message);
        assert_eq!(finding.hint.as_deref(), Some(plan::ONE_A_CLUSTER));
    }

    #[rstest]
    #[case::free(&[Listener::Nobody, Listener::Unknown], false, Severity::Ok, "free on 1 node, and 1 did not answer")]
    #[case::a_program_of_the_machine(&[Listener::Something], false, Severity::Error, "no pod listens on port 9100 of n0")]
    #[case::our_own(&[Listener::Something], true, Severity::Ok, "is node-exporter's")]
    #[case::not_tried(&[], false, Severity::Ok, "as far as pods go")]
    fn what_listens_is_asked_too(
        #[case] listeners: &[Listener],
        #[case] ours: bool,
        #[case] severity: Severity,
        #[case] said: &str,
    ) {
        let listeners: Vec<_> =
            listeners.iter().enumerate().map(|(at, listener)| (format!("n{at}"), *listener)).collect();
        let finding = node_exporter_port(Some(&[]), &listeners, ours);
        assert_eq!(finding.severity, severity);
        assert!(finding.message.contains(said), "{}", finding.message);
    }

    #[test]
    fn who_may_see_nothing_is_told_so() {
        let finding = node_exporter_port(None, &[], false);
        assert_eq!(finding.severity, Severity::Info);
        assert!(finding.message.contains("cannot be seen"), "{}", finding.message);
        assert_eq!(node_exporter_port(None, &[("n".to_owned(), Listener::Nobody)], false).severity, Severity::Ok);
    }
}
