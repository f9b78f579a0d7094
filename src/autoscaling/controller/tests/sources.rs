//! The metrics of `autoscaling/v2`, through the metrics APIs and without them.

use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::fake::{Bench, spec};

/// A pod of the target, through its ReplicaSet, that requests half a core and was ready long ago.
fn pod(name: &str) -> Value {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "w-rs", "uid": "rs-1", "controller": true});
    json!({
        "metadata": {"name": name, "namespace": "demo", "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [owner]},
        "spec": {"containers": [
            {"name": "app", "resources": {"requests": {"cpu": "400m"}}},
            {"name": "side", "resources": {"requests": {"cpu": "100m"}}},
        ]},
        "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]},
    })
}

/// The same labels and another owner.
fn stray(name: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["ownerReferences"][0]["uid"] = json!("rs-of-somebody-else");
    pod["metadata"]["ownerReferences"][0]["name"] = json!("other-rs");
    pod
}

fn replica_set(name: &str, uid: &str, owner: &str) -> (String, Value) {
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "w", "uid": owner, "controller": true});
    let set = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "namespace": "demo", "uid": uid, "ownerReferences": [owner]}});
    (format!("/apis/apps/v1/namespaces/demo/replicasets/{name}"), set)
}

fn group(name: &str, version: &str) -> (String, Value) {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    (format!("/apis/{name}"), json!({"kind": "APIGroup", "name": name, "versions": [version]}))
}

fn usage(pods: &[(&str, &str, &str)]) -> (String, Value) {
    let of = |(name, app, side): &(&str, &str, &str)| {
        json!({"metadata": {"name": name}, "timestamp": "2026-11-25T14:05:00Z", "window": "15s", "containers": [
            {"name": "app", "usage": {"cpu": app, "memory": "100Mi"}},
            {"name": "side", "usage": {"cpu": side, "memory": "20Mi"}},
        ]})
    };
    let items: Vec<Value> = pods.iter().map(of).collect();
    ("/apis/metrics.k8s.io/v1beta1/namespaces/demo/pods?labelSelector=app%3Dw".to_owned(), json!({"items": items}))
}

fn bench(replicas: i32, metric: Value) -> Bench {
    let bench = Bench::new(replicas, &spec(&json!({"maxReplicas": 20, "metrics": [metric]})), 0.0);
    let mut cluster = bench.api.cluster();
    cluster.pods = (0..replicas).map(|place| pod(&format!("w-{place}"))).collect();
    cluster.answers =
        vec![replica_set("w-rs", "rs-1", "target-1"), replica_set("other-rs", "rs-of-somebody-else", "target-2")];
    drop(cluster);
    bench
}

fn metrics_server(bench: &Bench, pods: &[(&str, &str, &str)]) {
    let mut cluster = bench.api.cluster();
    // The path of a group is the beginning of all of its paths: the longer ones first.
    cluster.answers.push(usage(pods));
    cluster.answers.push(group("metrics.k8s.io", "v1beta1"));
}

fn cpu(target: Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn decided(bench: &Bench) -> (i32, String) {
    let cluster = bench.api.cluster();
    let status = cluster.status();
    (cluster.replicas, status.last_decision.expect("a decision").message)
}

#[rstest]
// 300m and 450m of 500m each: 75 %, of which 50 % are wanted.
#[case::utilization(cpu(json!({"type": "Utilization", "averageUtilization": 50})), 3, "cpu=75%")]
#[case::average(cpu(json!({"type": "AverageValue", "averageValue": "150m"})), 5, "cpu=0.375")]
#[case::of_a_container(
    json!({"type": "ContainerResource", "containerResource":
        {"name": "cpu", "container": "side", "target": {"type": "Utilization", "averageUtilization": 25}}}),
    4, "side/cpu=50%"
)]
#[case::memory(
    json!({"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "60Mi"}}}),
    4, "memory=125829120"
)]
#[tokio::test]
async fn resources_are_read_from_metrics_server(#[case] metric: Value, #[case] replicas: i32, #[case] said: &str) {
    let mut bench = bench(2, metric);
    metrics_server(&bench, &[("w-0", "250m", "50m"), ("w-1", "400m", "50m")]);
    bench.look().await;
    let (count, line) = decided(&bench);
    assert!(line.contains(said), "{line}");
    assert_eq!(count, replicas, "{line}");
    measured(&bench, "metrics.k8s.io", "value");
}

#[tokio::test]
async fn pods_of_somebody_else_with_the_same_labels_do_not_count() {
    let mut bench = bench(2, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    bench.api.cluster().pods.push(stray("stray-1"));
    metrics_server(&bench, &[("w-0", "250m", "0"), ("w-1", "250m", "0"), ("stray-1", "5", "0")]);
    bench.look().await;
    let (count, line) = decided(&bench);
    assert!(line.contains("cpu=50%"), "{line}");
    assert_eq!(count, 2);
}

/// A pod of the target's next ReplicaSet.
fn surge(name: &str, ready: bool) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["ownerReferences"][0]["uid"] = json!("rs-2");
    pod["metadata"]["ownerReferences"][0]["name"] = json!("w-next");
    if !ready {
        pod["status"]["conditions"][0]["status"] = json!("False");
    }
    pod
}

/// The same 1.2 or 0.3 cores, of three pods or of four: a rollout adds a pod and takes load off the others.
#[rstest]
#[case::up("400m", "300m", 5)]
#[case::as_it_is("250m", "187m", 3)]
#[case::down("150m", "112m", 2)]
#[tokio::test]
async fn the_pods_of_a_rollout_share_the_load_and_the_count_is_what_it_would_be(
    #[case] alone: &str,
    #[case] shared: &str,
    #[case] expected: i32,
) {
    for (surges, used) in [(false, alone), (true, shared)] {
        let mut bench = bench(3, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
        let mut samples = vec![("w-0", used, "0"), ("w-1", used, "0"), ("w-2", used, "0"), ("stray-1", "5", "0")];
        {
            let mut cluster = bench.api.cluster();
            cluster.pods.push(stray("stray-1"));
            if surges {
                cluster.pods.push(surge("w-next-0", true));
                cluster.answers.push(replica_set("w-next", "rs-2", "target-1"));
                samples.push(("w-next-0", used, "0"));
            }
        }
        metrics_server(&bench, &samples);
        bench.look().await;
        let (count, line) = decided(&bench);
        assert_eq!(count, expected, "with a pod more: {surges}; {line}");
    }
}

/// 80 % of three are 60 % of four: 5. Were it not counted, they would be 5 as well; were it as busy as they are, 7.
#[rstest]
#[case::up("400m", 5)]
#[case::down_without_it("150m", 2)]
#[tokio::test]
async fn a_pod_of_a_rollout_that_is_not_ready_yet_calls_for_no_more(#[case] used: &str, #[case] expected: i32) {
    let mut bench = bench(3, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    {
        let mut cluster = bench.api.cluster();
        cluster.pods.push(surge("w-next-0", false));
        cluster.answers.push(replica_set("w-next", "rs-2", "target-1"));
    }
    // It starts: busy, and of no use yet.
    metrics_server(&bench, &[("w-0", used, "0"), ("w-1", used, "0"), ("w-2", used, "0"), ("w-next-0", "500m", "0")]);
    bench.look().await;
    let (count, line) = decided(&bench);
    assert_eq!(count, expected, "{line}");
}

#[tokio::test]
async fn a_pod_without_a_sample_dampens_as_with_the_hpa() {
    let mut bench = bench(3, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    // 40 % of two; with the third at 100 % of its request it is 60 %: no scale-down.
    metrics_server(&bench, &[("w-0", "200m", "0"), ("w-1", "200m", "0")]);
    bench.look().await;
    assert_eq!(decided(&bench).0, 3);
}

#[tokio::test]
async fn a_missing_request_is_named_with_its_container() {
    let mut bench = bench(2, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    bench.api.cluster().pods[1]["spec"]["containers"][1]["resources"] = json!({});
    metrics_server(&bench, &[("w-0", "250m", "50m"), ("w-1", "400m", "50m")]);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("FailedGetResourceMetric"));
    assert!(
        cluster.notes()[0].contains("missing request for cpu in container side of Pod w-1"),
        "{:?}",
        cluster.notes()
    );
    assert_eq!(cluster.replicas, 2);
}

#[tokio::test]
async fn without_metrics_server_prometheus_is_asked_about_these_very_pods() {
    let mut bench = bench(2, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    bench.prometheus.set(Ok(vec![0.3, 0.45]));
    bench.look().await;
    let (count, line) = decided(&bench);
    assert_eq!((count, line.contains("cpu=75%")), (3, true), "{line}");
    let counter = "container_cpu_usage_seconds_total{namespace=\"demo\",pod=~\"w-0|w-1\",container!=\"\"}[120s]";
    let expected = format!(
        "sum by (pod) (max by (pod, container) (((deriv({counter}) unless resets({counter}) > 0) or rate({counter})) and count_over_time({counter}) >= 4))"
    );
    assert_eq!(bench.prometheus.last_query(), expected);
}

#[rstest]
#[case::cpu(
    "cpu",
    "fewer than 4 scrapes in 2m of every pod of the target; let it scrape the kubelets every 30s or more often"
)]
#[case::memory("memory", "no sample of a pod of the target; let it scrape the kubelets")]
#[tokio::test]
async fn a_prometheus_without_samples_of_the_pods_is_blamed_and_not_the_metrics_api(
    #[case] resource: &str,
    #[case] lacks: &str,
) {
    let target = json!({"type": "AverageValue", "averageValue": "100"});
    let mut bench = bench(2, json!({"type": "Resource", "resource": {"name": resource, "target": target}}));
    bench.prometheus.set(Ok(vec![]));
    bench.look().await;
    let cluster = bench.api.cluster();
    let conditions = cluster.status().conditions;
    let told = conditions.iter().find(|condition| condition.kind == "ScalingActive").expect("told");
    assert_eq!((cluster.replicas, &*told.reason), (2, "FailedGetResourceMetric"));
    let expected = format!("{lacks}, or install metrics-server");
    assert!(told.message.contains("the cluster has no API metrics.k8s.io, and http"), "{}", told.message);
    assert!(told.message.contains(&expected), "{}", told.message);
}

#[tokio::test]
async fn a_metrics_server_that_is_broken_holds_the_count() {
    let mut bench = bench(2, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    let (path, group) = group("metrics.k8s.io", "v1beta1");
    bench.api.cluster().answers.extend([(format!("{path}/"), json!("service unavailable")), (path, group)]);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("FailedGetResourceMetric"));
    assert_eq!(cluster.replicas, 2);
}

#[rstest]
#[case::pods(
    json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}}),
    "custom.metrics.k8s.io", "v1beta2", "namespaces/demo/pods/*/rps?labelSelector=app%3Dw",
    json!([{"describedObject": {"name": "w-0"}, "timestamp": "2026-11-25T14:05:00Z", "value": "25"},
        {"describedObject": {"name": "w-1"}, "timestamp": "2026-11-25T14:05:00Z", "value": "15"},
        {"describedObject": {"name": "stray"}, "timestamp": "2026-11-25T14:05:00Z", "value": "500"}]),
    4
)]
#[case::object(
    json!({"type": "Object", "object": {"describedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "queue"},
        "metric": {"name": "items", "selector": {"matchLabels": {"kind": "a"}, "matchExpressions":
            [{"key": "x", "operator": "NotIn", "values": ["b", "c"]}]}},
        "target": {"type": "AverageValue", "averageValue": "10"}}}),
    "custom.metrics.k8s.io", "v1beta1",
    "namespaces/demo/deployments.apps/queue/items?metricLabelSelector=kind%3Da%2Cx%20notin%20%28b%2Cc%29",
    json!([{"describedObject": {"name": "queue"}, "timestamp": "2026-11-25T14:05:00Z", "value": "51"}]),
    6
)]
#[case::external(
    json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}}),
    "external.metrics.k8s.io", "v1beta1", "namespaces/demo/queue",
    json!([{"metricName": "queue", "value": "20"}, {"metricName": "queue", "value": "10"}]),
    6
)]
#[tokio::test]
async fn the_other_apis_are_read_as_the_hpa_reads_them(
    #[case] metric: Value,
    #[case] name: &str,
    #[case] version: &str,
    #[case] path: &str,
    #[case] items: Value,
    #[case] replicas: i32,
) {
    let mut bench = bench(2, metric);
    let answer = (format!("/apis/{name}/{version}/{path}"), json!({"items": items}));
    bench.api.cluster().answers.extend([answer, group(name, version)]);
    bench.look().await;
    let (count, line) = decided(&bench);
    assert_eq!(count, replicas, "{line}");
    measured(&bench, name, "value");
}

/// It was asked once, which gave this, and took some time.
fn measured(bench: &Bench, api: &str, outcome: &str) {
    let text = bench.context.telemetry.text();
    for line in [
        format!("scalekit_autoscaler_metrics_api_queries_total{{api=\"{api}\",outcome=\"{outcome}\"}} 1\n"),
        format!("scalekit_autoscaler_metrics_api_query_duration_seconds_count{{api=\"{api}\"}} 1\n"),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[rstest]
#[case::custom(json!({"type": "Pods", "pods": {"metric": {"name": "rps"},
    "target": {"type": "AverageValue", "averageValue": "10"}}}), "FailedGetPodsMetric")]
#[case::external(json!({"type": "External", "external": {"metric": {"name": "queue"},
    "target": {"type": "Value", "value": "10"}}}), "FailedGetExternalMetric")]
#[tokio::test]
async fn an_api_that_is_not_there_is_named(#[case] metric: Value, #[case] reason: &str) {
    let mut bench = bench(2, metric);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some(reason));
    assert!(cluster.notes()[0].contains("the cluster has no API"), "{:?}", cluster.notes());
}

/// A broken API is asked once, and then left alone; what was wrong is told all the while.
#[tokio::test]
async fn an_api_that_is_not_served_is_not_asked_at_every_look() {
    let mut bench = bench(2, cpu(json!({"type": "Utilization", "averageUtilization": 50})));
    bench.api.cluster().answers.push(group("metrics.k8s.io", "v1beta1"));
    let path = "/apis/metrics.k8s.io/v1beta1/";
    bench.api.cluster().fails = Some((StatusCode::SERVICE_UNAVAILABLE, Method::GET, path));
    for _ in 0..3 {
        bench.look().await;
        let cluster = bench.api.cluster();
        assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("FailedGetResourceMetric"));
        assert!(cluster.notes()[0].contains("the server is currently unable to handle the request"));
        assert_eq!((cluster.replicas, cluster.failed), (2, 1));
        measured(&bench, "metrics.k8s.io", "unavailable");
    }
}
