//! CPU and memory: from metrics-server where there is one, as in one of the two flavours, else from Prometheus.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::World;

const NAMESPACE: &str = "scalekit-test-load";
const IMAGE: &str = "docker.io/library/busybox:1.35.0";
/// Four scrapes and the window of the slope, or a round of metrics-server; figures that have to meet while they move.
const MEASURED_WITHIN: Duration = Duration::from_secs(180);

/// A pod that takes all that its limit gives it, which is the same all the time.
pub async fn a_steady_load_begins(world: &World) {
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    world.kubectl(["create", "namespace", NAMESPACE]);
    let labels = json!({"app": "burner"});
    let limits = json!({"cpu": "50m", "memory": "32Mi"});
    let container = json!({
        "name": "main", "image": IMAGE, "command": ["sh", "-c", "while :; do :; done"],
        "resources": {"requests": limits, "limits": limits},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burner", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }},
    });
    world.apply(&deployment.to_string());
    for (resource, average) in [("cpu", "1"), ("memory", "1Gi")] {
        world.apply(&autoscaler(resource, average).to_string());
    }
    world.until_replicas(NAMESPACE, "burner", 1, Duration::from_secs(60)).await;
}

/// The same numbers within 5 %, wherever they come from.
pub async fn cpu_and_memory_are_what_the_kubelet_says(world: &World) {
    let groups = world.kubectl(["get", "--raw", "/apis"]);
    let from = if groups.contains("metrics.k8s.io") { "metrics-server" } else { "Prometheus" };
    let labels = "namespace=\"scalekit-test-load\",container!=\"\"";
    for (resource, unit, query) in [
        ("memory", "bytes", format!("sum(container_memory_working_set_bytes{{{labels}}})")),
        ("cpu", "cores", format!("sum(rate(container_cpu_usage_seconds_total{{{labels}}}[2m]))")),
    ] {
        let began = Instant::now();
        loop {
            let object = world.kubectl(["get", "as", resource, "-n", NAMESPACE, "-o", "json"]);
            let status = serde_json::from_str::<Value>(&object).unwrap()["status"].take();
            let told = amount(&status["currentMetrics"][0]["averageValue"]);
            let expected = world.query(&query).await.first().map_or(0.0, |sample| sample.value);
            if told.is_some_and(|told| (told - expected).abs() <= 0.05 * expected) {
                println!("{resource} from {from}: {told:?} {unit} a pod, the kubelet says {expected}");
                break;
            }
            assert!(
                began.elapsed() < MEASURED_WITHIN,
                "{resource} from {from}: {told:?} {unit}, the kubelet says {expected}; {status:#}"
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    world.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// A quantity, which is in thousandths where it is no whole number.
fn amount(quantity: &Value) -> Option<f64> {
    let text = quantity.as_str()?;
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().map(|number: f64| number / 1000.0).ok(),
        None => text.parse().ok(),
    }
}

fn autoscaler(resource: &str, average: &str) -> Value {
    let target = json!({"type": "AverageValue", "averageValue": average});
    json!({
        "apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler",
        "metadata": {"name": resource, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "burner"},
            "mode": "Recommend", "interval": "5s", "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": resource, "target": target}}],
        },
    })
}
