//! What the ports of the control plane show. Who may not look, or cannot reach them, sees nothing, and that is no failure.

use std::{error::Error as _, net::IpAddr, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};

use crate::{
    cluster::{Cluster, Kind},
    object::ObjectRef,
    platform::{self, Seen, exposures, has_kube_proxy},
    yaml,
};

/// The page of metrics is made in a quarter of a second; a far API server's takes longer to come.
const PAGE: Duration = Duration::from_secs(5);

/// A kubelet that can be reached from here answers at once; most cannot, and nobody shall wait for them.
const KUBELET: Duration = Duration::from_millis(500);
const KUBELET_PORT: i32 = 10250;

/// Kubelets of one cluster are set up alike: of many nodes some are asked.
const MOST_KUBELETS: usize = 8;

/// Where each namespace has the certificate that pods verify the API server with, `ca.crt` beside their token.
const AUTHORITY: (&str, &str) = ("default", "kube-root-ca.crt");
const AUTHORITY_KEY: &str = "ca.crt";

/// Whether the API server's process is the kubelet's too, by the page of metrics that it gives.
pub(super) async fn one_process(cluster: &Cluster) -> Option<bool> {
    let request = http::Request::get("/metrics").body(Vec::new()).ok()?;
    let page = tokio::time::timeout(PAGE, cluster.client().request_text(request)).await.ok()?.ok()?;
    Seen::one_process(&page)
}

/// Where every cluster keeps what it is made of.
const SYSTEM: &str = "kube-system";

/// The ConfigMap and its key in which kubeadm keeps kube-proxy's configuration.
const KUBE_PROXY: (&str, &str) = ("kube-proxy", "config.conf");

/// Where the parts of the control plane that are pods answer, by what they were started with.
pub(super) async fn control_plane(cluster: &Cluster) -> Option<Seen> {
    let pods = pods_on_the_node(cluster).await?;
    let mut address = None;
    if has_kube_proxy(&pods) {
        let (name, key) = KUBE_PROXY;
        let map = tokio::time::timeout(PAGE, cluster.get(&map(SYSTEM, name))).await.ok()?.ok()?;
        address = map.as_ref().and_then(|map| text(map, key)).and_then(kube_proxy_address);
    }
    Some(by_pods(&pods, address.as_deref()))
}

/// `kube_proxy` is the metrics address in kube-proxy's configuration.
fn by_pods(pods: &[Pod], kube_proxy: Option<&str>) -> Seen {
    Seen { exposed: Some(exposures(pods, kube_proxy)), api_port: platform::api_port(pods), ..Seen::default() }
}

/// What kubeadm writes on each node that it joins.
const KUBEADM: &str = "kubeadm.alpha.kubernetes.io/cri-socket";

/// Whether kubeadm has set the cluster up, so that what [`of_kubeadm`] reads lies in one place.
pub(super) fn is_kubeadms(nodes: &[Node]) -> bool {
    !nodes.is_empty()
        && nodes.iter().all(|node| node.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(KUBEADM)))
}

/// What [`kubelets_verify`] and [`control_plane`] say, from a single list: a cluster of kubeadm's has the configuration of kube-proxy
/// and the certificate beside each other, and few others.
pub(super) async fn of_kubeadm(cluster: &Cluster, nodes: &[Node]) -> Seen {
    let maps = async {
        let kind = Kind::of(&map(SYSTEM, KUBE_PROXY.0))?;
        tokio::time::timeout(PAGE, cluster.list_kind(kind, Some(SYSTEM), "")).await.ok()?.ok()
    };
    let (maps, pods) = futures::join!(maps, pods_on_the_node(cluster));
    let maps = maps.unwrap_or_default();
    let found = |(name, key): (&str, &str)| {
        maps.iter().find(|map| map.metadata.name.as_deref() == Some(name)).and_then(|map| text(map, key))
    };
    let address = found(KUBE_PROXY).and_then(kube_proxy_address);
    let control_plane = pods.map(|pods| by_pods(&pods, address.as_deref())).unwrap_or_default();
    let kubelet_verifies = match found((AUTHORITY.1, AUTHORITY_KEY)) {
        Some(certificate) => verify(certificate.as_bytes(), &kubelet_addresses(nodes)).await,
        None => None,
    };
    Seen { kubelet_verifies, ..control_plane }
}

async fn pods_on_the_node(cluster: &Cluster) -> Option<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), SYSTEM);
    let on_the_node = ListParams::default().fields("spec.hostNetwork=true");
    Some(tokio::time::timeout(PAGE, pods.list(&on_the_node)).await.ok()?.ok()?.items)
}

fn map(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("v1", "ConfigMap", Some(namespace), name)
}

/// What a ConfigMap has under a key.
fn text<'a>(map: &'a DynamicObject, key: &str) -> Option<&'a str> {
    map.data.get("data")?.get(key)?.as_str()
}

/// The metrics address in kube-proxy's configuration, empty where it says none; `None` where it cannot be read.
fn kube_proxy_address(configuration: &str) -> Option<String> {
    let configuration: serde_json::Value = yaml::parse(configuration).ok()?;
    Some(configuration["metricsBindAddress"].as_str().unwrap_or_default().to_owned())
}

/// Whether the certificates that the kubelets show are signed by the cluster's authority, for the address that
/// Prometheus asks them at.
///
/// `Some(true)` only when each that was asked shows one that is; `Some(false)` as soon as one does not.
pub(super) async fn kubelets_verify(cluster: &Cluster, nodes: &[Node]) -> Option<bool> {
    let (namespace, name) = AUTHORITY;
    let authority = tokio::time::timeout(PAGE, cluster.get(&map(namespace, name))).await.ok()?.ok()??;
    let certificate = text(&authority, AUTHORITY_KEY)?;
    verify(certificate.as_bytes(), &kubelet_addresses(nodes)).await
}

fn kubelet_addresses(nodes: &[Node]) -> Vec<String> {
    nodes.iter().take(MOST_KUBELETS).filter_map(kubelet_address).collect()
}

async fn verify(authority: &[u8], addresses: &[String]) -> Option<bool> {
    let certificates = reqwest::Certificate::from_pem_bundle(authority).ok()?;
    let client = reqwest::Client::builder().tls_certs_only(certificates).no_proxy().timeout(KUBELET).build().ok()?;
    let answers = join_all(addresses.iter().map(async |address| {
        match client.get(format!("https://{address}/healthz")).send().await {
            // Whatever it says to somebody without a name: it was said after the handshake.
            Ok(_) => Some(true),
            Err(error) if is_of_the_certificate(&error) => Some(false),
            Err(_) => None,
        }
    }));
    let answers = answers.await;
    if answers.contains(&Some(false)) {
        Some(false)
    } else {
        (!answers.is_empty() && answers.iter().all(Option::is_some)).then_some(true)
    }
}

fn kubelet_address(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let address = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP")?;
    let port = status.daemon_endpoints.as_ref().and_then(|endpoints| endpoints.kubelet_endpoint.as_ref());
    let port = port.map_or(KUBELET_PORT, |endpoint| endpoint.port);
    match address.address.parse().ok()? {
        IpAddr::V4(address) => Some(format!("{address}:{port}")),
        IpAddr::V6(address) => Some(format!("[{address}]:{port}")),
    }
}

/// Whether a connection failed because the certificate is not to be trusted. rustls says so in its error, which stands
/// somewhere below those of the layers above it.
fn is_of_the_certificate(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};

    use super::*;
    use crate::platform::{Exposure, Part};

    #[test]
    fn the_kubelet_is_asked_where_prometheus_asks_it() {
        let node =
            |status| serde_json::from_value::<Node>(json!({"metadata": {"name": "n"}, "status": status})).unwrap();
        let addresses = json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.7"}]);
        let with_port = json!({"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10260}}});
        assert_eq!(kubelet_address(&node(with_port)).as_deref(), Some("10.0.0.7:10260"));
        let v6 = json!({"addresses": [{"type": "InternalIP", "address": "fd00::7"}]});
        assert_eq!(kubelet_address(&node(v6)).as_deref(), Some("[fd00::7]:10250"));
        assert_eq!(kubelet_address(&node(json!({"addresses": [{"type": "Hostname", "address": "n"}]}))), None);
    }

    #[test]
    fn kube_proxys_configuration_says_where_its_metrics_are() {
        let address = |text| kube_proxy_address(text);
        assert_eq!(
            address("kind: KubeProxyConfiguration\nmetricsBindAddress: 0.0.0.0:10249"),
            Some("0.0.0.0:10249".to_owned())
        );
        assert_eq!(
            (address("metricsBindAddress: ''"), address("mode: nftables")),
            (Some(String::new()), Some(String::new()))
        );
        assert_eq!(address("]["), None);
    }

    /// Shakes hands with a certificate that nobody has signed, as kubeadm's kubelets do.
    fn self_signed() -> String {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let certificate = CertificateDer::from_pem_slice(include_bytes!("../../tests/cli/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tests/cli/server.key")).unwrap();
        let config =
            rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
                while connection.complete_io(&mut stream).is_ok_and(|(read, written)| read + written > 0) {}
            }
        });
        address
    }

    #[tokio::test]
    async fn a_certificate_of_its_own_is_not_verified() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = include_bytes!("../../tests/cli/other-authority.pem");
        let addresses = [self_signed(), "127.0.0.1:9".to_owned()];
        assert_eq!(verify(authority, &addresses).await, Some(false));
    }

    #[tokio::test]
    async fn nobody_asked_is_nothing_seen() {
        let authority = include_bytes!("../../tests/cli/server.pem");
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert_eq!(verify(authority, &[]).await, None);
        // A port of this machine on which nothing listens.
        assert_eq!(verify(authority, &["127.0.0.1:9".to_owned()]).await, None);
        assert_eq!(verify(b"no certificate", &["127.0.0.1:9".to_owned()]).await, None);
    }

    #[tokio::test]
    async fn a_cluster_of_kubeadms_is_asked_for_its_pods_and_its_configuration_once() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = |kind: &str, items: Value| json!({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": items});
        let proxy = json!({"metadata": {"name": "kube-proxy-x", "labels": {"k8s-app": "kube-proxy"}},
            "spec": {"hostNetwork": true, "containers": [{"name": "p", "command": ["kube-proxy", "--config=/c"]}]}});
        let server = json!({"metadata": {"name": "kube-apiserver-n", "labels": {"component": "kube-apiserver"}},
            "spec": {"hostNetwork": true, "containers": [{"name": "s", "command": ["kube-apiserver", "--secure-port=8443"]}]}});
        let map = |name: &str, data: Value| json!({"metadata": {"name": name}, "data": data});
        let maps = json!([
            map("kube-proxy", json!({"config.conf": "metricsBindAddress: 0.0.0.0:10249"})),
            map("kube-root-ca.crt", json!({"ca.crt": include_str!("../../tests/cli/other-authority.pem")})),
        ]);
        let (pods, maps) = (list("PodList", json!([proxy, server])), list("ConfigMapList", maps));
        let told = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let path = request.uri().path().to_owned();
            let answer = if path.ends_with("/pods") { pods.clone() } else { maps.clone() };
            told.lock().unwrap().push(path);
            let body = kube::client::Body::from(serde_json::to_vec(&answer).unwrap());
            async { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
        });
        let cluster = Cluster::new(kube::Client::new(service, "default"), "https://x", "x", "default");
        let address: std::net::SocketAddr = self_signed().parse().unwrap();
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "annotations": {KUBEADM: "unix:///run/containerd/containerd.sock"}},
            "status": {"addresses": [{"type": "InternalIP", "address": address.ip()}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": address.port()}}}}))
        .unwrap();
        assert!(is_kubeadms(std::slice::from_ref(&node)) && !is_kubeadms(&[node.clone(), Node::default()]));
        let seen = of_kubeadm(&cluster, &[node]).await;
        assert_eq!((seen.kubelet_verifies, seen.api_port), (Some(false), Some(8443)));
        assert_eq!(seen.exposed, Some(BTreeMap::from([(Part::KubeProxy, Exposure::Port(10249))])));
        let mut asked = asked.lock().unwrap().clone();
        asked.sort();
        assert_eq!(asked, ["/api/v1/namespaces/kube-system/configmaps", "/api/v1/namespaces/kube-system/pods"]);
    }
}
