//! What the ports of the control plane show, and what is not scraped because of it.

use std::collections::BTreeMap;

use super::{Exposure, Part, Platform, PlatformKind};

/// What was seen of a cluster's ports; `None` where nobody could look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the API server's port also has the kubelet's metrics.
    pub one_process: Option<bool>,
    /// Whether the cluster's authority signed the kubelets' serving certificates.
    pub kubelet_verifies: Option<bool>,
    /// Where parts of the control plane answer that are pods.
    pub exposed: Option<BTreeMap<Part, Exposure>>,
    /// The API server's own port.
    pub api_port: Option<u16>,
}

/// Metrics that each of these programs has from its start. The kubelet's are on the API server's page when, and only
/// when, both are one process: in Kubernetes each program registers its metrics in a registry of its process.
const KUBELET: &str = "kubelet_running_pods ";
const API_SERVER: &str = "apiserver_current_inflight_requests{";

impl Seen {
    /// Whether one process answers, by the page of metrics that the API server gave. A page that is not the API
    /// server's says nothing.
    pub fn one_process(page: &str) -> Option<bool> {
        let has = |metric: &str| page.lines().any(|line| line.starts_with(metric));
        has(API_SERVER).then(|| has(KUBELET))
    }

    /// What was seen now, and else what was known before.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            one_process: self.one_process.or(before.one_process),
            kubelet_verifies: self.kubelet_verifies.or(before.kubelet_verifies),
            exposed: self.exposed.or(before.exposed),
            api_port: self.api_port.or(before.api_port),
        }
    }
}

impl Seen {
    /// What is to be said of an installation: as [`Seen::or`], but of the control plane that is scraped which the installed
    /// configuration scrapes.
    #[must_use]
    pub fn of_installation(self, installed: Self) -> Self {
        let Some(scraped) = installed.exposed.clone() else { return self.or(installed) };
        let closed = self.exposed.iter().flatten().filter(|(_, exposure)| !matches!(exposure, Exposure::Port(_)));
        let exposed = closed.map(|(part, exposure)| (*part, *exposure)).chain(scraped).collect();
        Self { exposed: Some(exposed), ..self.or(installed) }
    }

    /// Parts of the control plane that can be reached and that the installed configuration does not scrape there.
    pub fn unscraped(&self, installed: &Self) -> Vec<Part> {
        let scraped = installed.exposed.as_ref();
        let open = self.exposed.iter().flatten().filter(|(_, exposure)| matches!(exposure, Exposure::Port(_)));
        let missed = open.filter(|(part, exposure)| scraped.is_some_and(|it| it.get(part) != Some(exposure)));
        missed.map(|(part, _)| *part).collect()
    }
}

/// A part of Kubernetes that Prometheus does not scrape here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotScraped {
    /// The job that it would be: `scheduler`.
    pub job: &'static str,
    /// Why, one clause.
    pub reason: &'static str,
}

/// Where kubeadm, and so kind, has the scheduler, the controller manager and kube-proxy answer, and etcd with its metrics.
const LOOPBACK: &str = "only on the loopback address of its node, where no pod reaches it";
const DIFFERS: &str = "its pods answer on other addresses or ports from node to node: no port has all of them";
const USUALLY_LOOPBACK: &str =
    "usually only on the loopback address of its node, and on managed clusters not for their users at all";
const DQLITE: &str = "MicroK8s keeps its data in dqlite, which has no metrics";
const KINE: &str =
    "k3s keeps its data in SQLite or an etcd of its own, whose metrics are off unless --etcd-expose-metrics";
const OWN_ETCD: &str = "only on the loopback address of its node, if there is one";

impl Platform {
    /// What is left out, and why: a target that is down by design would hide those that are down.
    pub fn not_scraped(&self) -> Vec<NotScraped> {
        let etcd = match self.kind {
            PlatformKind::MicroK8s => DQLITE,
            PlatformKind::K3s => KINE,
            PlatformKind::Kind { .. } => LOOPBACK,
            PlatformKind::Generic => OWN_ETCD,
        };
        let others = match self.kind {
            PlatformKind::Kind { .. } => LOOPBACK,
            PlatformKind::MicroK8s | PlatformKind::K3s | PlatformKind::Generic => USUALLY_LOOPBACK,
        };
        let left_out = |part: Part| {
            let usual = if part == Part::Etcd { etcd } else { others };
            match self.exposed.get(&part) {
                _ if self.one_process => (part == Part::Etcd).then_some(usual),
                Some(Exposure::Port(_)) => None,
                Some(Exposure::Loopback) => Some(LOOPBACK),
                Some(Exposure::Differs) => Some(DIFFERS),
                None => Some(usual),
            }
        };
        Part::ALL.into_iter().filter_map(|part| Some(NotScraped { job: part.job(), reason: left_out(part)? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::platform::assume;

    #[rstest]
    #[case::each_its_own(
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0\napiserver_kubelet_x 1\n",
        Some(false)
    )]
    #[case::one_process(
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0\nkubelet_running_pods 3\n",
        Some(true)
    )]
    #[case::only_its_help("apiserver_current_inflight_requests{} 0\n# HELP kubelet_running_pods x\n", Some(false))]
    #[case::a_login_page("<html>kubelet_running_pods 1</html>", None)]
    #[case::nothing("", None)]
    fn what_the_page_says(#[case] page: &str, #[case] expected: Option<bool>) {
        assert_eq!(Seen::one_process(page), expected);
    }

    #[test]
    fn what_is_seen_wins_over_what_was_known_and_that_over_what_is_usual() {
        let unseen = Seen::default();
        let microk8s = assume("microk8s".parse().unwrap(), &[], &[]);
        assert!(microk8s.clone().seen(unseen).one_process);
        let before = Seen { one_process: Some(false), kubelet_verifies: Some(false), ..Seen::default() };
        let now = Seen { kubelet_verifies: Some(true), ..Seen::default() };
        let platform = microk8s.seen(now.or(before));
        assert!(!platform.one_process && platform.kubelet_verifies);
    }

    #[rstest]
    #[case::kind("kind", None, &["scheduler", "controller-manager", "kube-proxy", "etcd"])]
    #[case::microk8s("microk8s", None, &["etcd"])]
    #[case::microk8s_in_parts("microk8s", Some(false), &["scheduler", "controller-manager", "kube-proxy", "etcd"])]
    #[case::unknown("generic", None, &["scheduler", "controller-manager", "kube-proxy", "etcd"])]
    #[case::unknown_in_one("generic", Some(true), &["etcd"])]
    fn left_out(#[case] platform: &str, #[case] one_process: Option<bool>, #[case] expected: &[&str]) {
        let platform = assume(platform.parse().unwrap(), &[], &[]).seen(Seen { one_process, ..Seen::default() });
        let jobs: Vec<_> = platform.not_scraped().iter().map(|left_out| left_out.job).collect();
        assert_eq!(jobs, expected);
    }

    #[test]
    fn an_installation_scrapes_what_its_configuration_scrapes_and_what_it_misses_is_known() {
        let parts = |all: &[(Part, Exposure)]| Some(all.iter().copied().collect::<BTreeMap<_, _>>());
        let (open, moved) = (Exposure::Port(10259), Exposure::Port(11259));
        let now = Seen {
            exposed: parts(&[
                (Part::Scheduler, open),
                (Part::ControllerManager, Exposure::Loopback),
                (Part::Etcd, moved),
            ]),
            ..Seen::default()
        };
        let installed = Seen { exposed: parts(&[(Part::Etcd, Exposure::Port(2381))]), ..Seen::default() };
        assert_eq!(now.unscraped(&installed), [Part::Scheduler, Part::Etcd]);
        let expected = parts(&[(Part::ControllerManager, Exposure::Loopback), (Part::Etcd, Exposure::Port(2381))]);
        assert_eq!(now.clone().of_installation(installed).exposed, expected);
        assert_eq!(now.clone().of_installation(Seen::default()), now, "nothing is installed");
        assert_eq!(now.unscraped(&Seen::default()), []);
    }

    #[test]
    fn what_answers_on_its_nodes_address_is_not_left_out() {
        let exposed = BTreeMap::from([
            (Part::Scheduler, Exposure::Port(10259)),
            (Part::ControllerManager, Exposure::Loopback),
            (Part::KubeProxy, Exposure::Differs),
        ]);
        let seen = Seen { exposed: Some(exposed), one_process: Some(false), ..Seen::default() };
        let platform = assume("generic".parse().unwrap(), &[], &[]).seen(seen);
        let left_out: Vec<_> = platform.not_scraped().iter().map(|it| (it.job, it.reason)).collect();
        assert_eq!(left_out, [("controller-manager", LOOPBACK), ("kube-proxy", DIFFERS), ("etcd", OWN_ETCD)]);
    }
}
