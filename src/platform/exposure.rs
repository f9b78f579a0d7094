//! Which parts of the control plane give their metrics to the network, by what their pods were started with: kubeadm has all
//! of them answer on the loopback address, and whoever wants them scraped opens them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};

/// A program of the control plane with metrics of its own, where each is a process by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-proxy, on every node.
    KubeProxy,
    /// etcd.
    Etcd,
}

/// Where a part answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// On this port of its node's address.
    Port(u16),
    /// Only on the loopback address of its node.
    Loopback,
    /// Elsewhere on one node than on another: there is no port that all of it answers on.
    Differs,
}

impl Part {
    /// All of them, in the order in which they are named.
    pub const ALL: [Self; 4] = [Self::Scheduler, Self::ControllerManager, Self::KubeProxy, Self::Etcd];

    /// The job that scrapes it.
    pub fn job(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::ControllerManager => "controller-manager",
            Self::KubeProxy => "kube-proxy",
            Self::Etcd => "etcd",
        }
    }

    /// The part that a job scrapes, if it is of one.
    pub fn of_job(job: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.job() == job)
    }

    /// The label, in `kube-system`, of the pods in which kubeadm starts it.
    pub fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Scheduler => ("component", "kube-scheduler"),
            Self::ControllerManager => ("component", "kube-controller-manager"),
            Self::KubeProxy => ("k8s-app", "kube-proxy"),
            Self::Etcd => ("component", "etcd"),
        }
    }

    fn is_in(self, pod: &Pod) -> bool {
        let (key, value) = self.label();
        pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
    }

    /// Where it answers by its flags, whose defaults are those of its program; `None` where they do not say.
    fn by_flags(self, pod: &Pod, kube_proxy: Option<&str>) -> Option<Exposure> {
        match self {
            Self::Scheduler => by_address(pod, 10259),
            Self::ControllerManager => by_address(pod, 10257),
            Self::KubeProxy => {
                let flag = flag(pod, "metrics-bind-address");
                // With a configuration it does not look at the flag.
                let configured = if self::flag(pod, "config").is_some() { Some(kube_proxy?) } else { flag.as_deref() };
                let address = configured.filter(|address| !address.is_empty());
                socket(pod, address.unwrap_or("127.0.0.1:10249"), 10249)
            }
            // Over TLS it asks for a certificate of the client.
            Self::Etcd => {
                let urls = flag(pod, "listen-metrics-urls")?;
                let sockets = urls.split(',').filter_map(|url| url.trim().strip_prefix("http://"));
                sockets.filter_map(|of| socket(pod, of, 2381)).reduce(|one, other| match one {
                    Exposure::Port(_) => one,
                    Exposure::Loopback | Exposure::Differs => other,
                })
            }
        }
    }
}

/// Where each part answers whose pods are among these of `kube-system`. `kube_proxy` is the metrics address in kube-proxy's
/// configuration, empty where it names none; `None` where there was no configuration to read.
pub fn exposures(pods: &[Pod], kube_proxy: Option<&str>) -> BTreeMap<Part, Exposure> {
    let of = |part: Part| {
        let mut all = pods.iter().filter(|pod| runs(pod) && part.is_in(pod)).map(|pod| part.by_flags(pod, kube_proxy));
        let first = all.next()??;
        Some((part, if all.all(|other| other == Some(first)) { first } else { Exposure::Differs }))
    };
    Part::ALL.into_iter().filter_map(of).collect()
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The port of the API servers among these pods of `kube-system`, by `--secure-port`; `None` where there is none, or where they
/// differ.
pub fn api_port(pods: &[Pod]) -> Option<u16> {
    let is_one = |pod: &&Pod| {
        let component = pod.metadata.labels.as_ref().and_then(|labels| labels.get("component"));
        runs(pod) && component.is_some_and(|name| name == "kube-apiserver")
    };
    let ports =
        pods.iter().filter(is_one).map(|pod| flag(pod, "secure-port").map_or(Some(6443), |port| port.parse().ok()));
    alike(ports)
}

/// What k3s was started with on each of its servers, as a list of words in JSON.
const K3S_ARGUMENTS: &str = "k3s.io/node-args";

/// The same of k3s, by `--https-listen-port`, which agents do not have.
pub fn api_port_of_k3s(nodes: &[Node]) -> Option<u16> {
    let arguments = nodes.iter().filter_map(|node| node.metadata.annotations.as_ref()?.get(K3S_ARGUMENTS));
    let ports = arguments.filter_map(|text| {
        let words: Vec<String> = serde_json::from_str(text).ok()?;
        value(words.iter(), "https-listen-port").map(|port| port.parse().ok())
    });
    alike(ports)
}

/// The port that all of them have.
fn alike(mut ports: impl Iterator<Item = Option<u16>>) -> Option<u16> {
    let first = ports.next()??;
    ports.all(|port| port == Some(first)).then_some(first)
}

/// Whether kube-proxy is a pod among these, so that it has a configuration to look at.
pub fn has_kube_proxy(pods: &[Pod]) -> bool {
    pods.iter().any(|pod| Part::KubeProxy.is_in(pod))
}

/// By `--bind-address` and `--secure-port`, as the parts of Kubernetes' own control plane have them.
fn by_address(pod: &Pod, port: u16) -> Option<Exposure> {
    let port = flag(pod, "secure-port").map_or(Some(port), |port| port.parse().ok()).filter(|&port| port > 0)?;
    exposure(pod, flag(pod, "bind-address").as_deref().unwrap_or("0.0.0.0"), port)
}

/// By `ADDRESS:PORT`, where an address of version 6 stands in brackets if there is a port.
fn socket(pod: &Pod, text: &str, default: u16) -> Option<Exposure> {
    let text = text.trim_end_matches('/');
    match text.rsplit_once(':') {
        Some((address, port)) if address.ends_with(']') || !address.contains(':') => {
            exposure(pod, address, port.parse().ok()?)
        }
        _ => exposure(pod, text, default),
    }
}

/// By an address of its node. It is scraped at its pod's address: where it listens on another one, it is not to be had.
fn exposure(pod: &Pod, address: &str, port: u16) -> Option<Exposure> {
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if address.starts_with("127.") || matches!(address, "::1" | "localhost") {
        return Some(Exposure::Loopback);
    }
    let own = || pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) == Some(address);
    (matches!(address, "" | "0.0.0.0" | "::") || own()).then_some(Exposure::Port(port))
}

/// The value of a flag of a pod's first container, `--name=value` or in two words.
fn flag(pod: &Pod, name: &str) -> Option<String> {
    let container = pod.spec.as_ref()?.containers.first()?;
    value(container.command.iter().chain(&container.args).flatten(), name)
}

/// The value of a flag among words.
fn value<'a>(mut words: impl Iterator<Item = &'a String>, name: &str) -> Option<String> {
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("--").and_then(|word| word.strip_prefix(name)) else { continue };
        if rest.is_empty() {
            return words.next().cloned();
        }
        if let Some(value) = rest.strip_prefix('=') {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn pod(part: Part, command: &[&str]) -> Pod {
        let (key, value) = part.label();
        serde_json::from_value(json!({"metadata": {"name": "p", "labels": {key: value}},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "command": command}]},
            "status": {"podIP": "10.0.0.7"}}))
        .unwrap()
    }

    #[rstest]
    #[case::as_kubeadm_has_it(Part::Scheduler, &["kube-scheduler", "--bind-address=127.0.0.1"], Some(Exposure::Loopback))]
    #[case::opened(Part::Scheduler, &["kube-scheduler", "--bind-address=0.0.0.0"], Some(Exposure::Port(10259)))]
    #[case::by_default(Part::ControllerManager, &["kube-controller-manager"], Some(Exposure::Port(10257)))]
    #[case::another_port(Part::Scheduler, &["s", "--bind-address", "::", "--secure-port", "11259"], Some(Exposure::Port(11259)))]
    #[case::no_port(Part::Scheduler, &["s", "--secure-port=0"], None)]
    #[case::its_nodes_address(Part::Scheduler, &["s", "--bind-address=10.0.0.7"], Some(Exposure::Port(10259)))]
    #[case::another_address_of_its_node(Part::Scheduler, &["s", "--bind-address=192.168.50.1"], None)]
    #[case::another_flag(Part::Scheduler, &["s", "--bind-address-hard=true"], Some(Exposure::Port(10259)))]
    #[case::etcd_of_kubeadm(Part::Etcd, &["etcd", "--listen-metrics-urls=http://127.0.0.1:2381"], Some(Exposure::Loopback))]
    #[case::etcd_opened(Part::Etcd, &["etcd", "--listen-metrics-urls=http://127.0.0.1:2381,http://10.0.0.7:2381"],
        Some(Exposure::Port(2381)))]
    #[case::etcd_over_tls(Part::Etcd, &["etcd", "--listen-metrics-urls=https://10.0.0.7:2381"], None)]
    #[case::etcd_without(Part::Etcd, &["etcd"], None)]
    #[case::proxy_by_default(Part::KubeProxy, &["kube-proxy"], Some(Exposure::Loopback))]
    #[case::proxy_of_another_configuration(Part::KubeProxy, &["kube-proxy", "--config=/c"], None)]
    #[case::proxy_by_flag(Part::KubeProxy, &["kube-proxy", "--metrics-bind-address=0.0.0.0:10249"], Some(Exposure::Port(10249)))]
    fn by_flags(#[case] part: Part, #[case] command: &[&str], #[case] expected: Option<Exposure>) {
        assert_eq!(exposures(&[pod(part, command)], None).get(&part), expected.as_ref());
    }

    #[rstest]
    #[case::open(Some("0.0.0.0:10249"), Some(Exposure::Port(10249)))]
    #[case::an_empty_one(Some(""), Some(Exposure::Loopback))]
    #[case::of_version_6(Some("[::]:10250"), Some(Exposure::Port(10250)))]
    #[case::loopback_of_version_6(Some("::1"), Some(Exposure::Loopback))]
    #[case::without_a_port(Some("::"), Some(Exposure::Port(10249)))]
    #[case::no_port(Some("0.0.0.0:metrics"), None)]
    #[case::not_read(None, None)]
    fn kube_proxy_by_its_configuration(#[case] address: Option<&str>, #[case] expected: Option<Exposure>) {
        let pods = [pod(Part::KubeProxy, &["kube-proxy", "--config=/c", "--metrics-bind-address=0.0.0.0:1"])];
        assert!(has_kube_proxy(&pods));
        assert_eq!(exposures(&pods, address).get(&Part::KubeProxy), expected.as_ref());
    }

    #[rstest]
    #[case::of_kubeadm(&["--secure-port=6443"], Some(6443))]
    #[case::of_minikube(&["--secure-port=8443"], Some(8443))]
    #[case::by_default(&["--tls-min-version=VersionTLS12"], Some(6443))]
    #[case::not_the_same(&["--secure-port=6443", "--secure-port=8443"], None)]
    #[case::managed(&[], None)]
    fn the_port_of_the_api_server(#[case] flags: &[&str], #[case] expected: Option<u16>) {
        let pods = flags.iter().map(|flag| {
            let mut pod = pod(Part::Scheduler, &["kube-apiserver", flag]);
            pod.metadata.labels = Some(BTreeMap::from([("component".to_owned(), "kube-apiserver".to_owned())]));
            pod
        });
        let others = [pod(Part::Scheduler, &["kube-scheduler", "--secure-port=10259"])];
        assert_eq!(api_port(&pods.chain(others).collect::<Vec<_>>()), expected);
    }

    #[rstest]
    #[case::in_two_words(r#"["server","--https-listen-port","7443"]"#, Some(7443))]
    #[case::in_one(r#"["server","--https-listen-port=7443"]"#, Some(7443))]
    #[case::by_default(r#"["server"]"#, None)]
    #[case::an_agent(r#"["agent"]"#, None)]
    #[case::no_list("server", None)]
    fn the_port_of_k3s(#[case] arguments: &str, #[case] expected: Option<u16>) {
        let node = json!({"metadata": {"name": "n", "annotations": {K3S_ARGUMENTS: arguments}}});
        assert_eq!(api_port_of_k3s(&[serde_json::from_value(node).unwrap(), Node::default()]), expected);
    }

    #[test]
    fn what_differs_from_node_to_node_has_no_port() {
        let (open, closed) = (pod(Part::Scheduler, &["s"]), pod(Part::Scheduler, &["s", "--bind-address=127.0.0.1"]));
        assert_eq!(exposures(&[open.clone(), closed.clone()], None)[&Part::Scheduler], Exposure::Differs);
        assert_eq!(exposures(&[closed.clone(), closed], None)[&Part::Scheduler], Exposure::Loopback);
        assert_eq!(exposures(&[open.clone(), open.clone()], None)[&Part::Scheduler], Exposure::Port(10259));
        assert_eq!(exposures(&[], None), BTreeMap::new());
        let mut ended = open;
        ended.status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
        assert_eq!(exposures(&[ended], None), BTreeMap::new());
    }
}
