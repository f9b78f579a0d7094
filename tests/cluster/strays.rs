//! Pods that have the labels of a workload's own and are somebody else's, on a node where all of them are measured.

use std::time::{Duration, Instant};

use scalekit::quantity::Quantity;
use serde_json::{Value, json};

use crate::{
    nodes,
    resources::{IMAGE, has_metrics_server},
    world::World,
};

const NAMESPACE: &str = "scalekit-test-strays";
/// What each replica may have: the workload's own has a tenth of that, and each of the others three times as much.
const TARGET: f64 = 16.0 * 1_048_576.0;
const HOLDS_MUCH: &str = "dd if=/dev/zero of=/dev/shm/much bs=1M count=48 && sleep 36000";
/// Scrapes or rounds of metrics-server, and a look of the HPA.
const MEASURED_WITHIN: Duration = Duration::from_secs(240);

/// One of nobody, and one of a Job. They are measured after a while, in which other steps run.
pub async fn pods_with_the_labels_of_a_workload_are_made(world: &World) {
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    world.kubectl(["create", "namespace", NAMESPACE]);
    let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE});
    let pod = |script: &str| {
        json!({
            "metadata": {"labels": {"app": "own"}},
            "spec": {"terminationGracePeriodSeconds": 0, "restartPolicy": "Always", "containers": [{"name": "main",
                "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}]},
        })
    };
    let mut of_nobody = pod(HOLDS_MUCH);
    (of_nobody["apiVersion"], of_nobody["kind"]) = (json!("v1"), json!("Pod"));
    (of_nobody["metadata"]["name"], of_nobody["metadata"]["namespace"]) = (json!("of-nobody"), json!(NAMESPACE));
    let mut of_a_job = pod(HOLDS_MUCH);
    of_a_job["spec"]["restartPolicy"] = json!("Never");
    let own = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("own"),
        "spec": {"selector": {"matchLabels": {"app": "own"}}, "template": pod("sleep 36000")},
    });
    let job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata("job"), "spec": {"template": of_a_job}});
    let mut objects = vec![of_nobody, own, job];
    if has_metrics_server(world) {
        objects.push(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata("own"),
            "spec": {"scaleTargetRef": target(), "maxReplicas": 1, "metrics": metrics()},
        }));
    }
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
}

/// The HPA counts them, where there is one; else Prometheus has their samples all the same.
pub async fn pods_of_somebody_else_do_not_count(world: &World) {
    let working_set =
        format!("sum by (pod) (container_memory_working_set_bytes{{namespace={NAMESPACE:?},container!=\"\"}})");
    nodes::until_or_why("all pods are measured", async || {
        let measured = world.query(&working_set).await;
        let much = measured.iter().filter(|sample| sample.value > TARGET).count();
        if (measured.len(), much) == (3, 2) { Ok(()) } else { Err(format!("{measured:?}")) }
    })
    .await;
    if has_metrics_server(world) {
        nodes::until_or_why("the HPA counts all of them", async || {
            let hpa = status(world, "hpa");
            let average = number(&hpa["currentMetrics"][0]["resource"]["current"]["averageValue"]);
            if average.is_some_and(|average| average > TARGET) { Ok(()) } else { Err(hpa.to_string()) }
        })
        .await;
    }
    // Made only now: whatever it reads, all of them are measured.
    let spec = json!({"scaleTargetRef": target(), "mode": "Recommend", "interval": "1s", "maxReplicas": 5, "metrics": metrics()});
    let autoscaler = json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler",
        "metadata": {"name": "own", "namespace": NAMESPACE}, "spec": spec});
    world.apply(&autoscaler.to_string());
    let began = Instant::now();
    let told = loop {
        let told = status(world, "as");
        if told["currentMetrics"][0]["averageValue"].is_string() {
            break told;
        }
        assert!(began.elapsed() < MEASURED_WITHIN, "{told:#}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let average = number(&told["currentMetrics"][0]["averageValue"]).unwrap();
    println!("{average} bytes for each replica");
    assert!(average > 0.0 && average < TARGET / 2.0, "{told:#}");
    assert_eq!(told["desiredReplicas"], 1, "{told:#}");
    world.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]);
}

fn target() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "own"})
}

fn metrics() -> Value {
    let target = json!({"type": "AverageValue", "averageValue": "16Mi"});
    json!([{"type": "Resource", "resource": {"name": "memory", "target": target}}])
}

fn status(world: &World, kind: &str) -> Value {
    let object = world.kubectl(["get", kind, "own", "-n", NAMESPACE, "-o", "json"]);
    serde_json::from_str::<Value>(&object).unwrap()["status"].take()
}

fn number(quantity: &Value) -> Option<f64> {
    quantity.as_str()?.parse().ok().map(Quantity::as_f64)
}
