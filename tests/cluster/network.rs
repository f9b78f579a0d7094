//! What flows between pods, and what does not.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kube::ResourceExt;
use tempfile::NamedTempFile;

use crate::world::World;

const STRANGERS: &str = "scalekit-test-strangers";
const IMAGE: &str = "docker.io/library/busybox:1.35.0";

/// No port of the stack answers a pod from elsewhere, nor one that only calls itself Prometheus. That its own flows work
/// under the same policies is what the targets say, which are up.
pub async fn a_stranger_gets_nothing_from_the_stack(world: &World) {
    let mut addresses = BTreeMap::new();
    for pod in world.pods("monitoring", "").await {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap();
        for port in pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.ports.iter().flatten()) {
            addresses.insert(format!("{address}:{}", port.container_port), pod.name_any());
        }
    }
    for service in ["prometheus:9090", "grafana:3000", "scaler:8080"] {
        let (name, port) = service.split_once(':').unwrap();
        addresses.insert(format!("{name}.monitoring.svc:{port}"), format!("service/{name}"));
    }
    assert!(addresses.len() >= 8, "{addresses:?}");

    world.kubectl(["delete", "namespace", STRANGERS, "--ignore-not-found"]);
    world.kubectl(["create", "namespace", STRANGERS]);
    for (name, labels) in [("stranger", "run=stranger"), ("impostor", "app.kubernetes.io/name=prometheus")] {
        let run = ["run", name, "--labels", labels, "--image", IMAGE, "--", "sleep", "600"];
        world.kubectl(["-n", STRANGERS].into_iter().chain(run));
        world.kubectl(["-n", STRANGERS, "wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=180s"]);
        // The server that answers everybody shows that the way there is open: until then that nobody answers proves nothing.
        let began = Instant::now();
        let reached = loop {
            let all = addresses.keys().map(String::as_str).chain(["kube-dns.kube-system.svc:9153"]);
            let reached = reached(world, name, all);
            if !reached.is_empty() || began.elapsed() > Duration::from_secs(120) {
                break reached;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        if reached.len() > 1 && world.audit_mark().is_none() {
            println!("this cluster enforces no NetworkPolicy");
            continue;
        }
        assert_eq!(reached, ["kube-dns.kube-system.svc:9153"], "{name} got an answer; the addresses are {addresses:?}");
    }
    world.kubectl(["delete", "namespace", STRANGERS, "--wait=false"]);
}

/// A pod that any namespace would take, for nothing is said of what it may: it is root and may become more.
const CARELESS: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "careless", "namespace": "NAMESPACE"},
    "spec": {"containers": [{"name": "one", "image": "docker.io/library/busybox:1.35.0"}]}}"#;

/// The namespace of the stack refuses such a pod, the one of node-exporter alone does not. Nothing is made of it.
pub async fn the_stacks_namespace_refuses_pods_that_may_too_much(world: &World) {
    let ask = |namespace: &str| {
        let file = NamedTempFile::with_suffix(".json").unwrap();
        std::fs::write(file.path(), CARELESS.replace("NAMESPACE", namespace)).unwrap();
        let path = file.path().to_str().unwrap();
        let arguments = ["create", "--dry-run=server", "-o", "name", "-f", path];
        if namespace == "monitoring" { world.kubectl_fails(arguments) } else { world.kubectl(arguments) }
    };
    let refused = ask("monitoring");
    for expected in ["violates PodSecurity \"restricted:latest\"", "runAsNonRoot", "seccompProfile"] {
        assert!(refused.contains(expected), "{expected} is not in: {refused}");
    }
    assert_eq!(ask("monitoring-nodes").trim(), "pod/careless");
}

/// Which of the addresses answer the pod by HTTP, whatever they say. All are asked at once, for those that do not
/// answer are waited for.
fn reached<'a>(world: &World, pod: &'a str, addresses: impl Iterator<Item = &'a str>) -> Vec<String> {
    let script = "for address; do ( answer=$(timeout 10 wget -O /dev/null http://$address/ 2>&1) && echo $address \
                  || case $answer in *HTTP/*) echo $address;; esac ) & done; wait";
    let asked = ["exec", "-n", STRANGERS, pod, "--", "sh", "-c", script, "sh"].into_iter().chain(addresses);
    let mut reached: Vec<_> = world.kubectl(asked).lines().map(str::to_owned).collect();
    reached.sort();
    reached
}
