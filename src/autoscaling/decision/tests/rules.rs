//! Rules of the HPA that the vectors do not pin, and what is ours.

use rstest::rstest;

use super::*;
use crate::autoscaling::decision::{
    Decision, Memory, Mode, Path, decide,
    memory::{ConditionType, Recommendation, ScaleEvent, change_within},
    policy::{Direction, FromZero, PolicyKind, ScalingPolicy, SelectPolicy, Tolerances},
    rate::{Events, LimitReason, with_behavior},
    settle, stabilization, unreadable, unwritable,
};

fn desired(policy: &Policy, observation: &Observation) -> i32 {
    decide(policy, observation, &Memory { recommendations: Some(Vec::new()), ..Memory::default() }, NOW)
        .desired_replicas
}

/// Without tolerance of any kind in the way: 10 % either side, no window, wide bounds.
fn policy(metrics: Vec<Metric>) -> Policy {
    Policy { downscale_stabilization: SignedDuration::ZERO, ..Policy::new(Bounds::new(1, 100), metrics) }
}

fn observed(spec: i32, status: i32, pods: Vec<Pod>, reading: Reading) -> Observation {
    Observation {
        spec_replicas: spec,
        status_replicas: status,
        pods: Pods::Listed(pods),
        readings: vec![reading],
        distrust: None,
    }
}

fn cpu() -> Source {
    Source::Resource { resource: "cpu".to_owned() }
}

#[test]
fn an_event_exactly_one_period_old_is_out() {
    let events = [60, 59].map(|age| ScaleEvent { change: 1, at: ago(age), outdated: false });
    assert_eq!(change_within(&events, 60, NOW), 1);
}

/// 3 were added and 2 taken away within the last minute, so it began with 9. What is older does not count.
#[rstest]
#[case::up(1000, 0, 13)]
#[case::down(1, 0, 5)]
#[case::down_to_what_was_proposed_within_the_window(1, 300, 8)]
fn with_behavior_both_histories_bound_a_decision(#[case] count: i64, #[case] window: i32, #[case] expected: i32) {
    let rules = |window| Rules {
        tolerance: Some(0.0),
        stabilization_window_s: Some(window),
        policies: Some(vec![ScalingPolicy { kind: PolicyKind::Pods, value: 4, period_s: 60 }]),
        ..Rules::default()
    };
    let behavior = Some(Behavior { scale_up: rules(0), scale_down: rules(window) });
    let event = |change, age| ScaleEvent { change, at: ago(age), outdated: false };
    let memory = Memory {
        recommendations: Some(vec![Recommendation { replicas: 8, at: ago(100) }]),
        scale_ups: vec![event(3, 20), event(5, 60)],
        scale_downs: vec![event(2, 59), event(7, 600)],
        ..Memory::default()
    };
    let decision = decide(&Policy { behavior, ..plain(1, 100) }, &seen(10, vec![tasks(count)]), &memory, NOW);
    assert_eq!(decision.desired_replicas, expected, "{decision:?}");
}

/// Samples of pods that are not listed: when those that are silent have been filled in, all that there is a sample of
/// counts as a pod (`replica_calculator.go`: `len(metrics)`).
#[rstest]
#[case::by_average(Source::Pods, Target::AverageValue(500), &["a", "b"], 4)]
#[case::by_average_with_one_too_many(Source::Pods, Target::AverageValue(500), &["a", "b", "stray"], 6)]
#[case::by_utilization(cpu(), Target::Utilization(50), &["a", "b"], 4)]
#[case::by_utilization_with_one_too_many(cpu(), Target::Utilization(50), &["a", "b", "stray"], 6)]
fn a_superfluous_sample_counts_as_a_pod_once_silent_ones_are_filled_in(
    #[case] source: Source,
    #[case] target: Target,
    #[case] sampled: &[&str],
    #[case] expected: i32,
) {
    let pods = ["a", "b", "silent"].map(ready_pod).to_vec();
    let values: Vec<_> = sampled.iter().map(|pod| (*pod, 1000)).collect();
    let policy = policy(vec![metric(source, target)]);
    assert_eq!(desired(&policy, &observed(3, 3, pods, samples(&values))), expected);
}

#[rstest]
#[case::exactly_one_window_old(300, 8)]
#[case::older(301, 3)]
fn without_behavior_the_edge_of_the_window_is_inside(#[case] age: i64, #[case] expected: i32) {
    let mut log = vec![Recommendation { replicas: 8, at: ago(age) }];
    assert_eq!(stabilization::without_behavior(&mut log, 3, seconds(300), NOW).replicas, expected);
}

#[test]
fn with_behavior_the_edge_of_the_window_is_outside() {
    let mut log = vec![Recommendation { replicas: 8, at: ago(300) }];
    assert_eq!(stabilization::with_behavior(&mut log, 3, 8, seconds(0), seconds(300), NOW).replicas, 3);
}

#[rstest]
#[case::not_a_number(f64::NAN)]
#[case::infinity(f64::INFINITY)]
fn what_is_no_ratio_is_outside_every_tolerance(#[case] ratio: f64) {
    assert!(!Tolerances { up: 1000.0, down: 1000.0 }.hold(ratio));
}

#[test]
fn unready_pods_are_left_out_of_a_scale_down() {
    // Filled with 0 the mean would be 100 of 3000 requested: 1 replica. Left out it is 300 of 2000, and
    // the silent pod counts as busy: (300 + 1000) of 3000, 43 % of 50: ceil(0.86 × 3) = 3.
    let pods = vec![ready_pod("a"), ready_pod("b"), unready_pod("c"), ready_pod("d")];
    let pods = pods.into_iter().map(|pod| match pod.name.as_str() {
        "c" => Pod { phase: Phase::Pending, ..pod },
        _ => pod,
    });
    let observation = observed(4, 4, pods.collect(), samples(&[("a", 150), ("b", 150)]));
    assert_eq!(desired(&policy(vec![metric(cpu(), Target::Utilization(50))]), &observation), 3);
}

#[test]
fn an_unready_pod_uses_its_memory_fully() {
    let memory = Source::Resource { resource: "memory".to_owned() };
    let observation = observed(2, 2, vec![ready_pod("a"), unready_pod("b")], samples(&[("a", 500), ("b", 1500)]));
    assert_eq!(desired(&policy(vec![metric(memory, Target::Utilization(50))]), &observation), 4);
    assert_eq!(desired(&policy(vec![metric(cpu(), Target::Utilization(50))]), &observation), 2);
}

#[rstest]
#[case::of_a_pod(cpu(), 4)]
#[case::of_a_container(Source::ContainerResource { resource: "cpu".to_owned(), container: "main".to_owned() }, 4)]
fn a_resource_by_its_average_value(#[case] source: Source, #[case] expected: i32) {
    let observation = observed(2, 2, vec![ready_pod("a"), ready_pod("b")], samples(&[("a", 300), ("b", 500)]));
    assert_eq!(desired(&policy(vec![metric(source, Target::AverageValue(200))]), &observation), expected);
}

#[test]
fn a_request_is_missed_even_of_a_failed_pod() {
    let failed = Pod { phase: Phase::Failed, containers: vec![], ..ready_pod("b") };
    let failed = Pod { containers: vec![Container { name: "x".to_owned(), requests: BTreeMap::new() }], ..failed };
    let observation = observed(1, 1, vec![ready_pod("a"), failed], samples(&[("a", 900)]));
    let decision = decide(&policy(vec![metric(cpu(), Target::Utilization(50))]), &observation, &Memory::default(), NOW);
    assert_eq!(decision.path, Path::NoData);
    assert_eq!(decision.failure.expect("a failure").message, "missing request for cpu in container x of Pod b");
}

#[test]
fn superfluous_samples_count_in_a_pods_average() {
    let observation = observed(1, 1, vec![ready_pod("a")], samples(&[("a", 10_000), ("gone", 30_000)]));
    assert_eq!(desired(&policy(vec![metric(Source::Pods, Target::AverageValue(10_000))]), &observation), 2);
}

#[rstest]
#[case::inside_the_tolerance_it_moves_to_what_is_there(5, 4, 41, 4)]
#[case::outside_it_is_the_total_by_the_target(5, 4, 61, 7)]
fn an_average_value_looks_at_the_status(
    #[case] spec: i32,
    #[case] status: i32,
    #[case] count: i64,
    #[case] expected: i32,
) {
    assert_eq!(desired(&policy(vec![ten_tasks()]), &observed(spec, status, vec![], tasks(count))), expected);
}

#[rstest]
#[case::of_ready_pods(vec![ready_pod("a"), unready_pod("b")], Ok(3))]
#[case::without_pods(vec![], Err("unable to calculate ready pods: no pods returned by selector while calculating replica count"))]
fn a_value_multiplies_the_pods_that_serve(#[case] pods: Vec<Pod>, #[case] expected: Result<i32, &str>) {
    let policy = policy(vec![metric(Source::Prometheus, Target::Value(10_000))]);
    let decision = decide(&policy, &observed(2, 2, pods, tasks(30)), &Memory::default(), NOW);
    match expected {
        Ok(replicas) => assert_eq!(decision.desired_replicas, replicas),
        Err(message) => assert_eq!(decision.failure.expect("a failure").message, message),
    }
}

fn rules(select: SelectPolicy) -> Rules {
    let policies = vec![
        ScalingPolicy { kind: PolicyKind::Pods, value: 4, period_s: 60 },
        ScalingPolicy { kind: PolicyKind::Percent, value: 10, period_s: 60 },
    ];
    Rules { select_policy: Some(select), policies: Some(policies), ..Rules::default() }
}

#[rstest]
#[case::up_max(SelectPolicy::Max, 100, 88, LimitReason::ScaleUpLimit)]
#[case::up_min(SelectPolicy::Min, 100, 84, LimitReason::ScaleUpLimit)]
#[case::up_disabled(SelectPolicy::Disabled, 100, 80, LimitReason::ScaleUpLimit)]
#[case::down_max(SelectPolicy::Max, 10, 72, LimitReason::ScaleDownLimit)]
#[case::down_min(SelectPolicy::Min, 10, 76, LimitReason::ScaleDownLimit)]
#[case::down_disabled(SelectPolicy::Disabled, 10, 80, LimitReason::ScaleDownLimit)]
fn of_several_policies_one_is_selected(
    #[case] select: SelectPolicy,
    #[case] desired: i32,
    #[case] expected: i32,
    #[case] reason: LimitReason,
) {
    let (up, down) = (rules(select).defaulted(Direction::Up), rules(select).defaulted(Direction::Down));
    let limited = with_behavior(80, desired, Bounds::new(1, 200), &up, &down, Events { ups: &[], downs: &[] }, NOW);
    assert_eq!((limited.replicas, limited.reason), (expected, reason));
}

#[test]
fn what_was_added_and_removed_in_the_period_both_count() {
    // 80 now, 10 added and 4 removed in the last minute: it began at 74, and 78 or 81.4 are allowed.
    let event = |change| vec![ScaleEvent { change, at: ago(30), outdated: false }];
    let (ups, downs) = (event(10), event(4));
    let up = rules(SelectPolicy::Max).defaulted(Direction::Up);
    let events = Events { ups: &ups, downs: &downs };
    assert_eq!(with_behavior(80, 200, Bounds::new(1, 200), &up, &up, events, NOW).replicas, 82);
}

fn without_data(reading: Reading, on_absent: OnAbsent) -> Decision {
    let policy = policy(vec![Metric { on_absent, ..ten_tasks() }]);
    decide(&policy, &seen(3, vec![reading]), &Memory { recommendations: Some(vec![]), ..Memory::default() }, NOW)
}

#[rstest]
#[case::failed(Reading::Failed("it is down".to_owned()), OnAbsent::Zero, 3, "FailedGetPrometheusMetric")]
#[case::absent_held(Reading::Absent, OnAbsent::Hold, 3, "MetricAbsent")]
#[case::absent_as_error(Reading::Absent, OnAbsent::Error, 3, "FailedGetPrometheusMetric")]
#[case::absent_as_zero(Reading::Absent, OnAbsent::Zero, 1, "ValidMetricFound")]
#[case::no_series_is_absent(Reading::Series(vec![]), OnAbsent::Hold, 3, "MetricAbsent")]
fn value_absence_and_error_are_three_things(
    #[case] reading: Reading,
    #[case] on_absent: OnAbsent,
    #[case] replicas: i32,
    #[case] reason: &str,
) {
    let decision = without_data(reading, on_absent);
    assert_eq!(decision.desired_replicas, replicas);
    assert_eq!(decision.memory.condition(ConditionType::ScalingActive).expect("it is set").reason, reason);
}

#[rstest]
#[case::a_scale_up_goes_on(45, 5)]
#[case::a_scale_down_does_not(5, 3)]
fn with_one_metric_failed_the_count_may_only_grow(#[case] count: i64, #[case] expected: i32) {
    let failed = Reading::Failed("it is down".to_owned());
    let policy = policy(vec![ten_tasks(), ten_tasks()]);
    assert_eq!(desired(&policy, &seen(3, vec![failed, tasks(count)])), expected);
}

#[test]
fn a_missing_reading_is_a_failure() {
    assert_eq!(desired(&policy(vec![ten_tasks(), ten_tasks()]), &seen(3, vec![tasks(1)])), 3);
}

#[rstest]
#[case::asleep_with_minimum_zero(FromZero::IfMinimumIsZero, 0, 10, Path::Metrics)]
#[case::off_with_minimum_one(FromZero::IfMinimumIsZero, 1, 0, Path::Disabled)]
#[case::the_hpa_without_the_gate(FromZero::Never, 0, 0, Path::Disabled)]
#[case::the_hpa_that_did_not_put_it_to_sleep(FromZero::IfScaledToZero, 0, 0, Path::Disabled)]
fn what_wakes_a_target_without_replicas(
    #[case] from_zero: FromZero,
    #[case] min: i32,
    #[case] expected: i32,
    #[case] path: Path,
) {
    let policy = Policy { from_zero, bounds: Bounds::new(min, 10), ..policy(vec![ten_tasks()]) };
    let decision = decide(&policy, &seen(0, vec![tasks(95)]), &Memory::default(), NOW);
    assert_eq!((decision.desired_replicas, decision.path), (expected, path));
}

#[test]
fn recommend_decides_and_does_not_write() {
    let policy = Policy { mode: Mode::Recommend, ..plain(1, 5) };
    let decision = decide(&policy, &seen(1, vec![tasks(25)]), &Memory::default(), NOW);
    assert_eq!((decision.desired_replicas, decision.is_to_be_written()), (3, false));
}

#[test]
fn paused_decides_nothing() {
    let policy = Policy { mode: Mode::Paused, ..plain(1, 5) };
    let decision = decide(&policy, &seen(9, vec![tasks(25)]), &Memory::default(), NOW);
    assert_eq!((decision.desired_replicas, decision.path), (9, Path::Paused));
}

#[test]
fn the_first_scale_down_waits_for_a_window() {
    let policy = Policy::new(Bounds::new(1, 5), vec![ten_tasks()]);
    let mut memory = Memory::default();
    for (age, expected) in [(0, 4), (300, 4), (301, 1)] {
        let decision = decide(&policy, &seen(4, vec![tasks(5)]), &memory, NOW + seconds(age));
        assert_eq!(decision.desired_replicas, expected, "after {age} s");
        memory = decision.memory;
    }
}

#[test]
fn what_happened_to_the_target_is_in_the_conditions() {
    let policy = plain(1, 5);
    let decision = decide(&policy, &seen(1, vec![tasks(25)]), &Memory::default(), NOW);
    let able = |memory: &Memory| {
        let condition = memory.condition(ConditionType::AbleToScale).expect("it is set");
        (condition.status, condition.reason.clone())
    };
    assert_eq!(able(&settle(&policy, &decision, NOW)), (true, "SucceededRescale".to_owned()));
    assert_eq!(able(&unwritable(&decision, "no", NOW)), (false, "FailedUpdateScale".to_owned()));
    assert_eq!(able(&unreadable(&Memory::default(), "no", NOW)), (false, "FailedGetScale".to_owned()));
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let mut memory = Memory::default();
    for (age, status) in [(30, true), (20, true), (10, false), (0, false)] {
        memory.set(ConditionType::AbleToScale, status, "R", "m", ago(age));
    }
    assert_eq!(memory.condition(ConditionType::AbleToScale).expect("it is set").last_transition, ago(10));
}
