//! CPU and memory: from metrics-server where there is one, as in one of the two flavours, else from Prometheus.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use scalekit::quantity::Quantity;
use serde_json::{Value, json};

use crate::{
    explained::{self, explained},
    world::World,
};

const NAMESPACE: &str = "scalekit-test-load";
pub const IMAGE: &str = "docker.io/library/busybox:1.35.0";
/// Four scrapes and the window of the slope, or a round of metrics-server; figures that have to meet while they move.
const MEASURED_WITHIN: Duration = Duration::from_secs(300);

/// A pod whose one container takes all that its limit gives it, which is the same all the time, and whose other takes next
/// to nothing of what it asks for.
pub async fn a_steady_load_begins(world: &World) {
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    world.kubectl(["create", "namespace", NAMESPACE]);
    let labels = json!({"app": "burner"});
    let limits = json!({"cpu": "100m", "memory": "32Mi"});
    let container = |name: &str, script: &str, resources: Value| {
        json!({"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
            "resources": resources})
    };
    let busy = container("main", "while :; do :; done", json!({"requests": limits, "limits": limits}));
    let idle = container("beside", "while :; do sleep 5; done", json!({"requests": {"cpu": "100m", "memory": "8Mi"}}));
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burner", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [busy, idle]},
        }},
    });
    world.apply(&deployment.to_string());
    for metric in metrics() {
        world.apply(&autoscaler(&metric).to_string());
    }
    if has_metrics_server(world) {
        world.apply(&hpa().to_string());
    }
    world.until_replicas(NAMESPACE, "burner", 1, Duration::from_secs(180)).await;
}

/// The same numbers within 5 %, wherever they come from: as the kubelet says, and as an HPA sees them. Shares are in whole
/// per cents, so they have a little more.
pub async fn cpu_and_memory_are_what_the_kubelet_says(world: &World) {
    let with_hpa = has_metrics_server(world);
    let from = if with_hpa { "metrics-server" } else { "Prometheus" };
    for metric in metrics() {
        let Measured { name, unit, query, hpa_path, .. } = metric;
        let began = Instant::now();
        loop {
            let status = status(world, "as", name);
            let told = number(&status["currentMetrics"][0]);
            let expected = world.query(&query).await.first().map_or(0.0, |sample| sample.value);
            let by_hpa = hpa_path.filter(|_| with_hpa).map(|path| status_of_hpa(world, path));
            let bears = if hpa_path.is_some() { 0.08 } else { 0.05 };
            let agrees = |told: f64, other: f64| (told - other).abs() <= bears * other;
            if told.is_some_and(|told| {
                agrees(told, expected) && by_hpa.is_none_or(|by_hpa| by_hpa.is_some_and(|by_hpa| agrees(told, by_hpa)))
            }) {
                println!("{name} from {from}: {told:?} {unit}, the kubelet says {expected}, an HPA {by_hpa:?}");
                break;
            }
            assert!(
                began.elapsed() < MEASURED_WITHIN,
                "{name} from {from}: {told:?} {unit}, the kubelet says {expected}, an HPA {by_hpa:?}; {status:#}"
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    if with_hpa {
        prometheus_says_what_metrics_server_says(world).await;
    }
    what_was_used_is_known_afterwards(world).await;
    world.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// What the scaler would ask of Prometheus if there were no metrics-server: the same within 5 %, and of CPU a whole per cent of
/// the request more, in which shares are told. Each covers another time, so that they need not agree at once.
async fn prometheus_says_what_metrics_server_says(world: &World) {
    let pod = world.pods(NAMESPACE, "app=burner").await[0].name_any();
    let labels = |container: &str| format!("namespace={NAMESPACE:?},pod=~{pod:?},container{container}");
    let (any, main) = (labels("!=\"\""), labels("=\"main\""));
    let memory = of_pods(&format!("container_memory_working_set_bytes{{{any}}}"));
    let asked =
        [("cpu", None, slope(&any), 0.2), ("cpu", Some("main"), slope(&main), 0.1), ("memory", None, memory, 0.0)];
    for (resource, container, query, request) in asked {
        let began = Instant::now();
        loop {
            let by_prometheus = world.query(&query).await.first().map(|sample| sample.value);
            let by_metrics_server = used(world, &pod, resource, container);
            let said = format!(
                "{resource} of {container:?}: Prometheus says {by_prometheus:?}, metrics-server {by_metrics_server:?}"
            );
            if let (Some(own), Some(other)) = (by_prometheus, by_metrics_server)
                && (own - other).abs() <= 0.05 * other + 0.01 * request
            {
                println!("{said}, after {:.0} s", began.elapsed().as_secs_f64());
                break;
            }
            assert!(began.elapsed() < MEASURED_WITHIN, "{said}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A scaler that has just started remembers nothing: what it decided before is made again from what the kubelets and
/// kube-state-metrics told Prometheus, whatever the scaler had read then.
async fn what_was_used_is_known_afterwards(world: &World) {
    // CPU counts once the pod has been ready for all of the time that it is reckoned over.
    world
        .until_samples(
            &format!("kube_pod_status_ready{{namespace={NAMESPACE:?},condition=\"true\"}} offset 4m == 1"),
            1,
        )
        .await;
    let remembered = explained(world, (NAMESPACE, "cpu"), &[]).await;
    let then: Timestamp = serde_json::from_value(remembered["to"].clone()).unwrap();
    explained::forgets(world);
    for Measured { name, unit, own, .. } in metrics() {
        let told = explained(world, (NAMESPACE, name), &["--at", &then.to_string()]).await;
        assert_eq!(told["recomputed"], true, "{told:#}");
        assert!(told["assumed"][0].as_str().is_some_and(|assumed| assumed.contains("kubelets")), "{told:#}");
        // A share has words behind it.
        let value = told["metrics"][0]["value"].as_str().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let value = value.unwrap_or_else(|| panic!("{name}: {told:#}"));
        let query = format!("sum(max_over_time(({own})[1s:1s] @ {}))", then.as_second());
        let expected = world.query(&query).await.first().map_or(0.0, |sample| sample.value);
        // Shares are told in whole per cents, cores in thousandths.
        let rounded = if unit.starts_with('%') { 1.0 } else { 0.001 };
        assert!((value - expected).abs() <= rounded, "{name}: {value} {unit}, Prometheus says {expected}: {told:#}");
        assert!(told["metrics"][0]["proposedReplicas"].is_number(), "{told:#}");
        println!("{name} at {then}: {value} {unit}, Prometheus says {expected}");
    }
}

/// The scaler's own question about CPU, word by word: a test beside it has it the same.
fn slope(labels: &str) -> String {
    let counter = format!("container_cpu_usage_seconds_total{{{labels}}}[120s]");
    of_pods(&format!(
        "((deriv({counter}) unless resets({counter}) > 0) or rate({counter})) and count_over_time({counter}) >= 4"
    ))
}

fn of_pods(containers: &str) -> String {
    format!("sum by (pod) (max by (pod, container) ({containers}))")
}

/// What metrics-server says of a pod, or of one of its containers.
fn used(world: &World, pod: &str, resource: &str, container: Option<&str>) -> Option<f64> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods");
    let listed = world.raw(&path)?;
    let found = listed["items"].as_array()?.iter().find(|item| item["metadata"]["name"] == pod)?;
    let containers = found["containers"].as_array()?.iter();
    let of_it = containers.filter(|one| container.is_none_or(|name| one["name"] == name));
    of_it.map(|one| one["usage"][resource].as_str()?.parse().ok().map(Quantity::as_f64)).sum()
}

/// What is measured, and what it has to be.
struct Measured {
    name: &'static str,
    metric: Value,
    unit: &'static str,
    query: String,
    /// What the scaler would ask of Prometheus for it.
    own: String,
    /// Where an HPA says it.
    hpa_path: Option<&'static str>,
}

fn metrics() -> [Measured; 4] {
    let labels = |container: &str| format!("namespace={NAMESPACE:?},container{container}");
    let cores = |container: &str| format!("sum(rate(container_cpu_usage_seconds_total{{{}}}[2m]))", labels(container));
    let (any, main) = ("!=\"\"", "=\"main\"");
    let own_cores = |container: &str| slope(&labels(container));
    let memory = of_pods(&format!("container_memory_working_set_bytes{{{}}}", labels(any)));
    let average = |name: &str, value: &str| {
        let target = json!({"type": "AverageValue", "averageValue": value});
        json!({"type": "Resource", "resource": {"name": name, "target": target}})
    };
    let share = json!({"type": "Utilization", "averageUtilization": 50});
    [
        Measured {
            name: "memory",
            metric: average("memory", "1Gi"),
            unit: "bytes a pod",
            query: format!("sum(container_memory_working_set_bytes{{{}}})", labels(any)),
            own: memory,
            hpa_path: None,
        },
        Measured {
            name: "cpu",
            metric: average("cpu", "1"),
            unit: "cores a pod",
            query: cores(any),
            own: own_cores(any),
            hpa_path: None,
        },
        Measured {
            name: "cpu-share",
            metric: json!({"type": "Resource", "resource": {"name": "cpu", "target": share}}),
            unit: "% of what the pod requests",
            query: format!("100 * {} / 0.2", cores(any)),
            own: format!("100 * {} / 0.2", own_cores(any)),
            hpa_path: Some("/0/resource/current/averageUtilization"),
        },
        Measured {
            name: "main-share",
            metric: json!({"type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": "main", "target": share}}),
            unit: "% of what the container requests",
            query: format!("100 * {} / 0.1", cores(main)),
            own: format!("100 * {} / 0.1", own_cores(main)),
            hpa_path: Some("/1/containerResource/current/averageUtilization"),
        },
    ]
}

pub fn has_metrics_server(world: &World) -> bool {
    // There may be others whose names end like it.
    world.kubectl(["get", "--raw", "/apis"]).contains("\"metrics.k8s.io\"")
}

fn status(world: &World, kind: &str, name: &str) -> Value {
    let object = world.kubectl(["get", kind, name, "-n", NAMESPACE, "-o", "json"]);
    serde_json::from_str::<Value>(&object).unwrap()["status"].take()
}

fn status_of_hpa(world: &World, path: &str) -> Option<f64> {
    status(world, "hpa", "shares")["currentMetrics"].pointer(path)?.as_f64()
}

/// What the Autoscaler says of a metric: in per cent, where it is a share, else a quantity, which is in thousandths where it
/// is no whole number.
fn number(metric: &Value) -> Option<f64> {
    let share = metric["summary"].as_str()?.split_once('%').map(|(percent, _)| percent);
    let text = share.or_else(|| metric["averageValue"].as_str())?;
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().map(|number: f64| number / 1000.0).ok(),
        None => text.parse().ok(),
    }
}

fn autoscaler(Measured { name, metric, .. }: &Measured) -> Value {
    json!({
        "apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": burner(), "mode": "Recommend", "interval": "5s", "maxReplicas": 5, "metrics": [metric]},
    })
}

/// Of all that is a share. It may not scale.
fn hpa() -> Value {
    let shares: Vec<Value> = metrics().into_iter().filter(|m| m.hpa_path.is_some()).map(|m| m.metric).collect();
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shares", "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": burner(), "minReplicas": 1, "maxReplicas": 1, "metrics": shares},
    })
}

fn burner() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "burner"})
}
