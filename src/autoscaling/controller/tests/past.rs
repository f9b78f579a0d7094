//! Decisions on what pods used, made again from history.

use http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    explained::{ask, at},
    fake::{Bench, spec},
};
use crate::autoscaling::explain::Explanation;

/// What kube-state-metrics told of the pods.
const PODS: &str = "kube_pod_owner";
const CPU: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_working_set_bytes";

/// A target of half of the CPU that is requested, by no window and no tolerance.
fn half() -> Value {
    json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
    }})
}

/// Two replicas of long ago, and the time that is asked for: an hour ago.
pub(super) fn bench(metric: &Value) -> (Bench, i64) {
    let bench = Bench::new(5, &spec(&json!({"metrics": [metric]})), 0.0);
    let then = bench.context.clock.now().as_second() - 3600;
    bench.prometheus.kept("scalekit_autoscaler_current_replicas", vec![(then - 9000, 2.0)]);
    (bench, then)
}

/// A pod with one container that requests half a core, from that second on.
pub(super) fn pod(bench: &Bench, name: &str, from: i64) {
    let kept = |label, value| bench.prometheus.kept_of(PODS, &[("pod", name), (label, value)], vec![(from, 1.0)]);
    kept("phase", "Running");
    kept("condition", "true");
    kept("container", "main");
    let requests = [("pod", name), ("container", "main"), ("resource", "cpu")];
    bench.prometheus.kept_of(PODS, &requests, vec![(from, 0.5)]);
}

fn used(bench: &Bench, of: &'static str, name: &str, values: Vec<(i64, f64)>) {
    bench.prometheus.kept_of(of, &[("pod", name)], values);
}

pub(super) async fn told(bench: Bench, second: i64) -> Explanation {
    let (status, text) = ask(bench, &format!("?output=json&at={}", at(second))).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).expect("an explanation")
}

#[tokio::test]
async fn a_share_of_the_requests_of_then_is_made_again_with_the_pods_of_then() {
    let (bench, then) = bench(&half());
    for (name, cores) in [("w-0", 0.4), ("w-1", 0.5)] {
        pod(&bench, name, then - 9000);
        // Up to a minute before it was idle.
        used(&bench, CPU, name, vec![(then - 9000, 0.1), (then - 60, cores)]);
    }
    used(&bench, CPU, "of-another", vec![(then - 9000, 9.0)]);
    let prometheus = bench.prometheus.clone();
    let told = told(bench, then).await;
    // 0.9 of 1 core is 90 %, which is 1.8 of the target.
    assert_eq!((told.current_replicas, told.desired_replicas, told.recomputed), (2, 4, true), "{told:?}");
    assert_eq!(told.metrics[0].value.as_deref(), Some("90 % of the requests"), "{told:?}");
    let [source, pods, requests] = &told.assumed[..] else { panic!("{:?}", told.assumed) };
    assert!(source.starts_with("cpu: ") && pods.starts_with("pods: ") && requests.starts_with("requests: "));
    assert!(told.text().contains(&format!("\nassumed: {source}\n")), "{}", told.text());
    assert!(prometheus.last_query().contains("pod=~\"w-0|w-1\",container!=\"\"}[120s]"), "{}", prometheus.last_query());
}

#[tokio::test]
async fn what_one_container_used_is_made_again_without_its_requests() {
    let target = json!({"type": "AverageValue", "averageValue": "100Mi"});
    let memory = json!({"type": "ContainerResource", "containerResource": {
        "name": "memory", "container": "main", "target": target,
    }});
    let (bench, then) = bench(&memory);
    for name in ["w-0", "w-1"] {
        pod(&bench, name, then - 9000);
        used(&bench, MEMORY, name, vec![(then - 9000, f64::from(150 << 20))]);
    }
    let prometheus = bench.prometheus.clone();
    let told = told(bench, then).await;
    assert_eq!((told.desired_replicas, told.assumed.len()), (3, 2), "{told:?}");
    assert!(prometheus.last_query().ends_with("container=\"main\"}))"), "{}", prometheus.last_query());
}

/// What a pod uses while it starts says nothing about its load; the scaler saw when it became ready, and history does.
#[rstest]
#[case::just_started(60, 1)]
#[case::started_a_while_ago(240, 2)]
#[tokio::test]
async fn a_young_pod_counts_from_when_it_did(#[case] age: i64, #[case] ready: usize) {
    let (bench, then) = bench(&half());
    for (name, from) in [("w-0", then - 9000), ("w-1", then - age)] {
        pod(&bench, name, from);
        used(&bench, CPU, name, vec![(from, 0.25)]);
    }
    let told = told(bench, then).await;
    let chain = told.chain.expect("a chain");
    let counted = chain["metrics"][0]["pods"]["ready"].as_u64();
    assert_eq!(counted, Some(u64::try_from(ready).expect("few")), "{chain}");
}

/// A count of then decides without any pod.
#[tokio::test]
async fn what_no_pod_is_needed_for_is_told_without_assumptions() {
    let (bench, then) = bench(&half());
    bench.api.cluster().autoscaler["spec"]["maxReplicas"] = json!(1);
    let told = told(bench, then).await;
    assert_eq!((told.desired_replicas, told.assumed), (1, Vec::new()));
}

/// Nothing is told as a hold that is a hole in the history: what is missing is said, and what to do.
#[rstest]
#[case::no_pods(
    "cpu",
    false,
    false,
    "cpu: http://prometheus kept no pods of Deployment w of that time; let it scrape kube-state-metrics"
)]
#[case::no_samples(
    "cpu",
    true,
    false,
    "cpu: http://prometheus has fewer than 4 scrapes in 2m of every pod of the target; let it scrape the kubelets every 30s or more often"
)]
#[case::pods_that_are_gone(
    "cpu",
    false,
    true,
    "cpu: http://prometheus kept no pods of Deployment w of that time; let it scrape kube-state-metrics"
)]
#[case::no_requests(
    "memory",
    true,
    true,
    "memory: http://prometheus kept no request for memory of that time; let it keep kube_pod_container_resource_requests"
)]
#[tokio::test]
async fn what_history_cannot_answer_is_refused_with_what_to_do(
    #[case] resource: &str,
    #[case] pods: bool,
    #[case] samples: bool,
    #[case] expected: &str,
) {
    let mut metric = half();
    metric["resource"]["name"] = json!(resource);
    let (bench, then) = bench(&metric);
    if pods {
        pod(&bench, "w-0", then - 9000);
    }
    if samples {
        used(&bench, CPU, "w-0", vec![(then - 9000, 0.4)]);
        used(&bench, MEMORY, "w-0", vec![(then - 9000, 1e8)]);
    }
    let (status, text) = ask(bench, &format!("?at={}", at(then))).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
    assert!(text.contains(&format!("none can be made again: {expected}")), "{text}");
}

/// They were there, and at that moment nobody told of them.
#[tokio::test]
async fn a_gap_in_the_pods_is_no_hold_either() {
    let (bench, then) = bench(&half());
    for (label, value) in [("phase", "Running"), ("container", "main")] {
        let values = vec![(then - 9000, 1.0), (then - 5, f64::NAN)];
        bench.prometheus.kept_of(PODS, &[("pod", "w-0"), (label, value)], values);
    }
    let requests = [("pod", "w-0"), ("container", "main"), ("resource", "cpu")];
    bench.prometheus.kept_of(PODS, &requests, vec![(then - 9000, 0.5), (then - 5, f64::NAN)]);
    used(&bench, CPU, "w-0", vec![(then - 9000, 0.4)]);
    let (status, text) = ask(bench, &format!("?at={}", at(then))).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
    assert!(text.contains("cpu: which pods there were at that time was not kept"), "{text}");
}
