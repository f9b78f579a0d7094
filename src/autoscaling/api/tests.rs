//! What users write becomes what is decided on.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::{super::policy::interval, *};
use crate::autoscaling::decision::{
    Policy,
    policy::{Mode, OnAbsent, SelectPolicy, Target, Tolerances},
};

fn spec() -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "watcherbot"},
        "maxReplicas": 5,
        "metrics": [{"type": "Prometheus", "prometheus": {
            "name": "active-tasks",
            "query": "sum(watcherBot_active_tasks)",
            "target": {"type": "AverageValue", "averageValue": "10"},
        }}],
    })
}

fn with(path: &str, value: Value) -> AutoscalerSpec {
    let mut spec = spec();
    let (parent, field) = path.rsplit_once('/').expect("a path");
    spec.pointer_mut(parent).expect("a parent")[field] = value;
    serde_json::from_value(spec).expect("a spec")
}

#[test]
fn what_is_not_written_has_the_hpas_default() {
    let spec: AutoscalerSpec = serde_json::from_value(spec()).expect("a spec");
    let policy = Policy::try_from(&spec).expect("a policy");
    assert_eq!((policy.bounds.min(), policy.bounds.max(), policy.mode), (1, 5, Mode::Auto));
    assert_eq!(policy.tolerances(), Tolerances { up: 0.1, down: 0.1 });
    assert_eq!(policy.behavior, None);
    assert_eq!(policy.metrics[0].target, Some(Target::AverageValue(10_000)));
    assert_eq!(policy.metrics[0].on_absent, OnAbsent::Hold);
    assert_eq!(interval(&spec), Ok(Duration::from_secs(15)));
}

#[test]
fn behavior_is_the_hpas_with_tolerance() {
    let spec = with(
        "/behavior",
        json!({
            "scaleUp": {"tolerance": 0, "selectPolicy": "Min"},
            "scaleDown": {"tolerance": "50m", "stabilizationWindowSeconds": 0,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
        }),
    );
    let policy = Policy::try_from(&spec).expect("a policy");
    assert_eq!(policy.tolerances(), Tolerances { up: 0.0, down: 0.05 });
    let behavior = policy.behavior.expect("behavior");
    assert_eq!(behavior.scale_up.select_policy, Some(SelectPolicy::Min));
    assert_eq!(behavior.scale_down.stabilization_window_s, Some(0));
    assert_eq!(behavior.scale_down.policies.expect("policies").len(), 1);
}

#[rstest]
#[case::a_number(json!({"type": "AverageValue", "averageValue": 10}), Ok(Target::AverageValue(10_000)))]
#[case::a_suffix(json!({"type": "Value", "value": "500m"}), Ok(Target::Value(500)))]
#[case::the_other_field(json!({"type": "Value", "averageValue": "1"}), Err("spec.metrics[0].prometheus.target.value: it is not set"))]
#[case::both(json!({"type": "Value", "averageValue": "1", "value": "1"}), Err("spec.metrics[0].prometheus.target: both value and averageValue are set; leave one out"))]
#[case::zero(json!({"type": "Value", "value": "0"}), Err("spec.metrics[0].prometheus.target.value: it must be greater than 0"))]
#[case::no_quantity(json!({"type": "Value", "value": "ten"}), Err("spec.metrics[0].prometheus.target.value: `ten` is not a quantity: it has no digits; write a number such as 10, 0.5 or 500m"))]
fn a_target(#[case] target: Value, #[case] expected: Result<Target, &str>) {
    let policy = Policy::try_from(&with("/metrics/0/prometheus/target", target));
    let target = policy.map(|policy| policy.metrics[0].target.expect("a target")).map_err(|error| error.to_string());
    assert_eq!(target, expected.map_err(str::to_owned));
}

#[rstest]
#[case::shortest("1s", Some(1_000))]
#[case::longest("5m", Some(300_000))]
#[case::mixed("1m30s", Some(90_000))]
#[case::fraction("1.5s", Some(1_500))]
#[case::too_short("999ms", None)]
#[case::too_long("301s", None)]
#[case::negative("-15s", None)]
#[case::no_unit("15", None)]
#[case::endless("99999999999999999999999999h", None)]
fn an_interval(#[case] text: &str, #[case] milliseconds: Option<u64>) {
    assert_eq!(interval(&with("/interval", json!(text))).ok(), milliseconds.map(Duration::from_millis));
}

#[test]
fn contradicting_bounds_are_named() {
    let error = Policy::try_from(&with("/minReplicas", json!(9))).expect_err("max is 5");
    assert_eq!(error.field, "spec.maxReplicas");
}
