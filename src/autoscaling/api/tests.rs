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

#[test]
fn what_the_hpa_does_not_have() {
    let mut spec = spec();
    spec["cooldown"] = json!("5m");
    spec["fallback"] = json!({"after": "3m", "replicas": 4, "allowScaleDown": true});
    spec["schedules"] = json!([{"name": "office", "timeZone": "Europe/Berlin", "start": "0 8 * * 1-5",
        "end": "0 18 * * 1-5", "minReplicas": 3}]);
    spec["metrics"][0]["prometheus"]["activation"] = json!("500m");
    let policy = Policy::try_from(&serde_json::from_value::<AutoscalerSpec>(spec).expect("a spec")).expect("a policy");
    assert_eq!(policy.cooldown, Some(jiff::SignedDuration::from_mins(5)));
    let fallback = policy.fallback.expect("a fallback");
    assert_eq!((fallback.after.as_secs(), fallback.replicas, fallback.below_current), (180, 4, true));
    assert_eq!(policy.schedules[0].zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!((policy.schedules[0].min, policy.schedules[0].max), (Some(3), None));
    assert_eq!(policy.metrics[0].activation, 500);
}

#[rstest]
#[case::cooldown("/cooldown", json!("soon"), "spec.cooldown: it must be a duration between 0s and 168h, such as 15s or 2m")]
#[case::max_age("/metrics/0/prometheus/maxAge", json!("0s"), "spec.metrics[0].prometheus.maxAge: it must be a duration between 1s and 1h, such as 15s or 2m")]
#[case::zone("/schedules", json!([{"name": "s", "timeZone": "Europe/Bonn", "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 1}]), "spec.schedules[0].timeZone: there is no time zone `Europe/Bonn`; write one such as Europe/Berlin or UTC")]
#[case::never("/schedules", json!([{"name": "s", "start": "0 8 * * *", "end": "0 9 31 4 *", "minReplicas": 1}]), "spec.schedules[0].end: `0 9 31 4 *`: it never comes: no such day is in these months; write one that they have")]
#[case::too_many_meanwhile("/schedules", json!([{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 6}]), "spec.schedules[0].minReplicas: 6 is more than the maxReplicas that holds meanwhile, 5; set maxReplicas too")]
#[case::too_few_meanwhile("/schedules", json!([{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "maxReplicas": 0}]), "spec.schedules[0].maxReplicas: 0 is less than the minReplicas that holds meanwhile, 1; set minReplicas too")]
fn what_cannot_be_is_told_by_its_field(#[case] path: &str, #[case] value: Value, #[case] expected: &str) {
    let error = Policy::try_from(&with(path, value)).expect_err("it cannot be");
    assert_eq!(error.to_string(), expected);
}

/// Stored under a definition that let it in.
#[rstest]
#[case::always(json!({"minReplicas": 0}), "Resource", Some("spec.minReplicas"))]
#[case::by_a_schedule(json!({"schedules": [schedule(1), schedule(0)]}), "Resource", Some("spec.schedules[1].minReplicas"))]
#[case::what_can_be_woken(json!({"minReplicas": 0, "schedules": [schedule(0)]}), "External", None)]
#[case::what_does_not_sleep(json!({"schedules": [schedule(1)]}), "Resource", None)]
fn what_nothing_could_wake_may_not_sleep(#[case] changes: Value, #[case] kind: &str, #[case] field: Option<&str>) {
    let target = json!({"type": "AverageValue", "averageValue": "1"});
    let mut spec = spec();
    spec["metrics"] = match kind {
        "Resource" => json!([{"type": kind, "resource": {"name": "cpu", "target": target}}]),
        _ => json!([{"type": kind, "external": {"metric": {"name": "m"}, "target": target}}]),
    };
    for (field, value) in changes.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    let spec: AutoscalerSpec = serde_json::from_value(spec).expect("a spec");
    let error = Policy::try_from(&spec).err();
    assert_eq!(error.as_ref().map(|error| &*error.field), field);
    assert!(error.is_none_or(|error| error.problem.contains("add one of type Prometheus, Object or External")));
}

fn schedule(min: i32) -> Value {
    json!({"name": format!("s{min}"), "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": min})
}
