//! What holds for every input.

use proptest::prelude::*;

use super::*;
use crate::autoscaling::decision::{
    Memory, Path, decide,
    memory::{Recommendation, ScaleEvent},
    policy::{FromZero, PolicyKind, ScalingPolicy, SelectPolicy},
    settle,
};

fn rules() -> impl Strategy<Value = Rules> {
    let select = prop_oneof![Just(SelectPolicy::Max), Just(SelectPolicy::Min), Just(SelectPolicy::Disabled)];
    let kind = prop_oneof![Just(PolicyKind::Pods), Just(PolicyKind::Percent)];
    let one =
        (kind, any::<i32>(), any::<i32>()).prop_map(|(kind, value, period_s)| ScalingPolicy { kind, value, period_s });
    let some = proptest::option::of(proptest::collection::vec(one, 0..3));
    let tolerance = proptest::option::of(any::<f64>());
    (proptest::option::of(any::<i32>()), proptest::option::of(select), some, tolerance).prop_map(
        |(stabilization_window_s, select_policy, policies, tolerance)| Rules {
            stabilization_window_s,
            select_policy,
            policies,
            tolerance,
        },
    )
}

fn any_metric() -> impl Strategy<Value = Metric> {
    let source = prop_oneof![
        Just(Source::Prometheus),
        Just(Source::Object),
        Just(Source::Pods),
        Just(Source::Resource { resource: "cpu".to_owned() }),
        Just(Source::Unknown("x".to_owned())),
    ];
    let target = prop_oneof![
        any::<i32>().prop_map(Target::Utilization),
        any::<i64>().prop_map(Target::AverageValue),
        any::<i64>().prop_map(Target::Value),
    ];
    let on_absent = prop_oneof![Just(OnAbsent::Hold), Just(OnAbsent::Zero), Just(OnAbsent::Error)];
    (source, proptest::option::of(target), on_absent).prop_map(|(source, target, on_absent)| Metric {
        name: "m".to_owned(),
        source,
        target,
        on_absent,
        activation: 0,
    })
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        proptest::collection::vec(any::<i64>(), 0..4).prop_map(Reading::Series),
        proptest::collection::vec(any::<i64>(), 0..4).prop_map(|values| {
            let names = ["pod-0", "pod-1", "pod-2", "stray"];
            samples(&names.into_iter().zip(values).collect::<Vec<_>>())
        }),
        Just(Reading::Absent),
        Just(Reading::Failed("it is down".to_owned())),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let from_zero = prop_oneof![Just(FromZero::Never), Just(FromZero::IfScaledToZero), Just(FromZero::IfMinimumIsZero)];
    let behavior =
        proptest::option::of((rules(), rules()).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down }));
    let bounds = (any::<i32>(), any::<i32>());
    (bounds, proptest::collection::vec(any_metric(), 0..3), behavior, from_zero, any::<f64>()).prop_map(
        |((min, max), metrics, behavior, from_zero, tolerance)| Policy {
            behavior,
            tolerance,
            from_zero,
            ..Policy::new(Bounds::new(min, max), metrics)
        },
    )
}

fn any_memory() -> impl Strategy<Value = Memory> {
    let at = (-1000_i64..10_000).prop_map(ago);
    let log = proptest::collection::vec((any::<i32>(), at.clone()), 0..4).prop_map(|entries| {
        entries.into_iter().map(|(replicas, at)| Recommendation { replicas, at }).collect::<Vec<_>>()
    });
    let events = proptest::collection::vec((any::<i32>(), at), 0..4).prop_map(|entries| {
        entries.into_iter().map(|(change, at)| ScaleEvent { change, at, outdated: false }).collect::<Vec<_>>()
    });
    (proptest::option::of(log), events.clone(), events).prop_map(|(recommendations, scale_ups, scale_downs)| Memory {
        recommendations,
        scale_ups,
        scale_downs,
        ..Memory::default()
    })
}

fn replicas() -> impl Strategy<Value = i32> {
    prop_oneof![0..10_i32, any::<i32>()]
}

proptest! {
    #[test]
    fn bounds_hold_except_at_zero_and_nothing_panics(
        policy in any_policy(),
        readings in proptest::collection::vec(any_reading(), 0..3),
        spec in replicas(),
        status in replicas(),
        memory in any_memory(),
    ) {
        let observation = Observation { status_replicas: status, ..seen(spec, readings) };
        let decision = decide(&policy, &observation, &memory, NOW);
        let bounds = policy.bounds;
        let within = (bounds.min()..=bounds.max()).contains(&decision.desired_replicas);
        let off = decision.current_replicas == 0 && decision.desired_replicas == 0;
        prop_assert!(within || off, "{decision:?}");
        settle(&policy, &decision, NOW);
        prop_assert!(serde_json::to_string(&decision).is_ok());
    }

    #[test]
    fn without_data_the_count_never_falls_except_to_the_maximum(
        policy in any_policy(),
        failed in proptest::collection::vec(any::<bool>(), 3),
        spec in replicas(),
        memory in any_memory(),
    ) {
        let mut policy = policy;
        for metric in &mut policy.metrics {
            metric.on_absent = OnAbsent::Hold;
        }
        let reading = |failed: bool| if failed { Reading::Failed("it is down".to_owned()) } else { Reading::Absent };
        let decision = decide(&policy, &seen(spec, failed.into_iter().map(reading).collect()), &memory, NOW);
        if decision.desired_replicas < decision.current_replicas {
            prop_assert_eq!(decision.desired_replicas, policy.bounds.max());
            prop_assert_eq!(decision.path, Path::AboveMaximum);
        }
    }

    #[test]
    fn with_some_data_missing_the_count_never_falls_except_to_the_maximum(
        policy in any_policy(),
        readings in proptest::collection::vec(any_reading(), 2),
        spec in replicas(),
        memory in any_memory(),
    ) {
        let mut policy = policy;
        policy.metrics.push(Metric { on_absent: OnAbsent::Hold, ..ten_tasks() });
        let failed = policy.metrics.len() - 1;
        let mut readings = readings;
        readings.resize(failed, Reading::Absent);
        readings.push(Reading::Failed("it is down".to_owned()));
        let decision = decide(&policy, &seen(spec, readings), &memory, NOW);
        if decision.desired_replicas < decision.current_replicas {
            prop_assert_eq!(decision.path, Path::AboveMaximum);
        }
    }

    #[test]
    fn more_load_never_gives_fewer_replicas(
        behavior in proptest::option::of((rules(), rules())),
        value: bool,
        target in 1..i64::MAX,
        (less, more) in (0..i64::MAX, 0..i64::MAX),
        spec in 0..40_i32,
        (min, max) in (0..20_i32, 1..40_i32),
        tolerance in 0.0..2.0_f64,
        memory in any_memory(),
    ) {
        let target = if value { Target::Value(target) } else { Target::AverageValue(target) };
        let mut policy = Policy {
            tolerance,
            configurable_tolerance: false,
            ..Policy::new(Bounds::new(min, max), vec![metric(Source::Prometheus, target)])
        };
        policy.behavior = behavior.map(|(scale_up, scale_down)| Behavior { scale_up, scale_down });
        let of = |load: i64| {
            let observation = seen(spec, vec![Reading::Series(vec![load])]);
            decide(&policy, &observation, &memory, NOW).desired_replicas
        };
        let (less, more) = (less.min(more), less.max(more));
        prop_assert!(of(less) <= of(more), "{} at {less}, {} at {more}", of(less), of(more));
    }

    #[test]
    fn more_usage_of_ready_pods_never_gives_fewer_replicas(
        percent in 1..200_i32,
        usages in proptest::collection::vec((0..1_000_000_i64, 0..1_000_000_i64), 1..8),
        tolerance in 0.0..0.9_f64,
        utilization: bool,
    ) {
        let target = if utilization { Target::Utilization(percent) } else { Target::AverageValue(percent.into()) };
        let source = Source::Resource { resource: "cpu".to_owned() };
        let policy = Policy { tolerance, ..Policy::new(Bounds::new(1, 1000), vec![metric(source, target)]) };
        let names: Vec<String> = (0..usages.len()).map(|place| format!("pod-{place}")).collect();
        let of = |usage: &dyn Fn(&(i64, i64)) -> i64| {
            let values: Vec<_> = names.iter().map(String::as_str).zip(usages.iter().map(usage)).collect();
            let replicas = i32::try_from(usages.len()).expect("few");
            decide(&policy, &seen(replicas, vec![samples(&values)]), &Memory::default(), NOW).desired_replicas
        };
        prop_assert!(of(&|(a, b)| *a.min(b)) <= of(&|(a, b)| *a.max(b)));
    }
}
