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
    let source = "queue: what the scaler had told Prometheus of it, which may be that of a scrape before";
    assert_eq!((&*told.assumed[0], told.assumed.len()), (source, assumptions));
    let asked = "max(scalekit_autoscaler_metric_value{namespace=\"demo\",name=\"w\",metric=\"queue\"})";
    assert_eq!(prometheus.last_query(), asked);
}

/// A hole is no value.
#[rstest]
#[case::not_read_then(per_pod(), vec![(-9000, 5.0), (-5, f64::NAN)], "queue: at that time it was not read")]
#[case::never_scraped(object(), vec![], "queue: http://prometheus kept no scalekit_autoscaler_metric_value of")]
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
