//! Decisions on metrics that only the scaler read, made again from what it told Prometheus.

use http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    explained::{ask, at},
    past::{bench, pod, told},
};

const VALUE: &str = "scalekit_autoscaler_metric_value";

fn external(target: &Value) -> Value {
    json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}})
}

fn object() -> Value {
    let described = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "queue"});
    let target = json!({"type": "Value", "value": "10"});
    json!({"type": "Object", "object": {"describedObject": described, "metric": {"name": "queue"}, "target": target}})
}

fn per_pod() -> Value {
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    json!({"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": target}})
}

#[rstest]
#[case::of_each_replica(external(&json!({"type": "AverageValue", "averageValue": "10"})), 4, 1)]
// Of two replicas, twice as many for twice the value.
#[case::in_all(external(&json!({"type": "Value", "value": "20"})), 4, 1)]
#[case::of_an_object(object(), 5, 1)]
#[case::of_each_pod(per_pod(), 4, 3)]
#[tokio::test]
async fn what_no_api_keeps_is_made_again_of_what_the_scaler_told(
    #[case] metric: Value,
    #[case] expected: i32,
    #[case] assumptions: usize,
) {
    let (bench, then) = bench(&metric);
    for name in ["w-0", "w-1"] {
        pod(&bench, name, then - 9000);
    }
    bench.prometheus.kept("kube_deployment_status_replicas_ready", vec![(then - 9000, 2.0)]);
    bench.prometheus.kept(VALUE, vec![(then - 9000, 5.0), (then - 20, 38.5)]);
    let prometheus = bench.prometheus.clone();
    let told = told(bench, then).await;
    assert_eq!((told.current_replicas, told.desired_replicas, told.recomputed), (2, expected, true), "{told:?}");
    let source = "queue: what the scaler told Prometheus of it, which may be that of the look before or after";
    assert_eq!((&*told.assumed[0], told.assumed.len()), (source, assumptions));
    let asked = "max(scalekit_autoscaler_metric_value{namespace=\"demo\",name=\"w\",metric=\"queue\"} offset -15s)";
    assert_eq!(prometheus.last_query(), asked);
}

/// A hole is no value.
#[rstest]
#[case::not_read_then(per_pod(), vec![(-9000, 5.0), (-5, f64::NAN)], "queue: at that time it was not read")]
#[case::never_scraped(object(), vec![], "queue: it was not read around that time, or")]
#[tokio::test]
async fn what_was_not_told_is_not_made_up(
    #[case] metric: Value,
    #[case] values: Vec<(i64, f64)>,
    #[case] expected: &str,
) {
    let (bench, then) = bench(&metric);
    pod(&bench, "w-0", then - 9000);
    bench.prometheus.kept(VALUE, values.into_iter().map(|(second, value)| (then + second, value)).collect());
    let (status, text) = ask(bench, &format!("?at={}", at(then))).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
    assert!(text.contains(&format!("none can be made again: {expected}")), "{text}");
}

/// Which pods bore a level is not known while they become more: what it was before, divided by those of after, would call for
/// more than there ever were.
#[tokio::test]
async fn a_level_around_a_change_of_the_pods_is_not_believed() {
    for (second, status) in [(0, StatusCode::NOT_FOUND), (60, StatusCode::OK)] {
        let (bench, then) = bench(&object());
        bench.prometheus.kept("kube_deployment_status_replicas_ready", vec![(then - 9000, 2.0), (then - 20, 3.0)]);
        bench.prometheus.kept(VALUE, vec![(then - 9000, 15.0), (then - 10, 10.0)]);
        let (got, text) = ask(bench, &format!("?at={}", at(then + second))).await;
        assert_eq!(got, status, "{text}");
        let said = if second == 0 { "the pods became more or fewer" } else { "it stays at 2" };
        assert!(text.contains(said), "{text}");
    }
}

/// None of three is ready: that is no reason for more, and no failure.
#[tokio::test]
async fn pods_of_which_none_is_ready_are_there() {
    let (bench, then) = bench(&object());
    bench.prometheus.kept("kube_deployment_status_replicas_ready", vec![(then - 9000, 0.0)]);
    bench.prometheus.kept(VALUE, vec![(then - 9000, 30.0)]);
    let told = told(bench, then).await;
    let chain = told.chain.expect("a chain");
    assert_eq!(chain["metrics"][0]["pods"]["ready"], 0, "{chain}");
}
