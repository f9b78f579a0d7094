//! What holds for every input.

use proptest::prelude::*;

use super::{
    draws::{
        a_users_policy, any_memory, any_mode, any_observation, any_policy, any_reading, load_and_more, nothing,
        serving_pods,
    },
    *,
};
use crate::autoscaling::decision::{Memory, Mode, Path, decide, memory::Idle, observation::Distrust, settle};

/// As many as are drawn where each is measured.
const MOST_PODS: usize = 40;

/// Nothing says that missing data may scale down.
fn without_leave(mut policy: Policy) -> Policy {
    for metric in &mut policy.metrics {
        if metric.on_absent == OnAbsent::Zero {
            metric.on_absent = OnAbsent::Hold;
        }
    }
    if let Some(fallback) = &mut policy.fallback {
        fallback.below_current = false;
    }
    policy
}

proptest! {
    #[test]
    fn bounds_hold_except_at_zero_and_nothing_panics(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 0..3)),
        memory in any_memory(),
        mode in any_mode(),
    ) {
        let policy = Policy { mode, ..policy };
        let decision = decide(&policy, &observation, &memory, NOW);
        let bounds = decision.bounds;
        let within = (bounds.min()..=bounds.max()).contains(&decision.desired_replicas);
        let off = decision.current_replicas == 0 && decision.desired_replicas == 0;
        // A pause leaves the count as it is, wherever that is.
        let paused = mode == Mode::Paused && decision.desired_replicas == decision.current_replicas;
        prop_assert!(within || off || paused, "{decision:?}");
        prop_assert!(!policy.schedules.is_empty() || bounds == policy.bounds);
        settle(&policy, &decision, NOW);
        prop_assert!(serde_json::to_string(&decision).is_ok());
    }

    #[test]
    fn without_data_the_count_never_falls_except_to_the_maximum(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(nothing(), 3)),
        memory in any_memory(),
    ) {
        let policy = without_leave(policy);
        let decision = decide(&policy, &observation, &memory, NOW);
        if decision.desired_replicas < decision.current_replicas {
            prop_assert_eq!(decision.desired_replicas, decision.bounds.max());
            prop_assert_eq!(decision.path, Path::AboveMaximum);
        }
    }

    /// Neither is the last replica put to sleep by time alone.
    #[test]
    fn a_cooldown_does_not_run_without_data(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(nothing(), 3)),
        memory in any_memory(),
        hours in 0..100_i64,
        mode in any_mode(),
    ) {
        let mut policy = Policy { mode, ..without_leave(policy) };
        policy.metrics.push(ten_tasks());
        let first = decide(&policy, &observation, &memory, NOW);
        let later = NOW + SignedDuration::from_hours(hours);
        let second = decide(&policy, &observation, &first.memory, later);
        // Whatever was decided, on whichever path: what was not read does not count as idle.
        let lasted = |idle: Option<Idle>, now| idle.map(|idle| idle.lasted(now));
        let before = if [Path::Metrics, Path::NoData].contains(&second.path) && policy.cooldown.is_none() {
            None
        } else {
            lasted(first.memory.idle, NOW)
        };
        prop_assert_eq!(lasted(second.memory.idle, later), before);
    }

    /// Nor while nobody asks: paused, off, outside of the bounds.
    #[test]
    fn a_cooldown_runs_only_while_the_metrics_are_read(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 3)),
        memory in any_memory(),
        hours in 0..100_i64,
        mode in prop_oneof![Just(Mode::Auto), Just(Mode::Paused)],
    ) {
        let policy = Policy { mode, ..policy };
        let first = decide(&policy, &observation, &memory, NOW);
        let later = NOW + SignedDuration::from_hours(hours);
        let second = decide(&policy, &observation, &first.memory, later);
        let read = |path| [Path::Metrics, Path::NoData].contains(&path);
        if !read(first.path) && !read(second.path) {
            let lasted = |idle: Option<Idle>, now| idle.map(|idle| idle.lasted(now));
            prop_assert_eq!(lasted(second.memory.idle, later), lasted(first.memory.idle, NOW));
        }
    }

    /// While a rollout goes on there are more pods than were ordered. A value in all is divided by what one takes, not by
    /// them.
    #[test]
    fn outside_the_tolerance_the_pods_that_a_rollout_adds_call_for_nothing(spec in 1..100_i32, more in 1..50_i32, count in 0..2000_i64) {
        let of = |status_replicas| {
            let observation = Observation { status_replicas, ..seen(spec, vec![tasks(count)]) };
            decide(&plain(1, 200), &observation, &Memory::default(), NOW).desired_replicas
        };
        prop_assert_eq!(of(spec), of(spec + more));
    }

    #[test]
    fn with_some_data_missing_the_count_never_falls_except_to_the_maximum(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 3)),
        missing in nothing(),
        memory in any_memory(),
    ) {
        let mut policy = without_leave(policy);
        policy.metrics.push(ten_tasks());
        let place = policy.metrics.len() - 1;
        let mut observation = observation;
        observation.readings.truncate(place);
        observation.readings.push(missing);
        let decision = decide(&policy, &observation, &memory, NOW);
        if decision.desired_replicas < decision.current_replicas {
            prop_assert_eq!(decision.path, Path::AboveMaximum);
        }
    }

    #[test]
    fn a_decision_takes_no_more_than_the_largest_step(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 0..3)),
        memory in any_memory(),
        step in 1..10_i32,
    ) {
        let policy = Policy { largest_step: Some(step), ..policy };
        let decision = decide(&policy, &observation, &memory, NOW);
        if decision.path == Path::Metrics {
            let change = decision.desired_replicas.abs_diff(decision.current_replicas);
            // Awake again, it is outside of the bounds.
            let wakes = decision.current_replicas == 0 && decision.desired_replicas == decision.bounds.min();
            prop_assert!(change <= step.unsigned_abs() || wakes, "{decision:?}");
        }
    }

    /// As long as every pod is ready and sampled and no rollout is under way: whatever the metrics are, and whatever else
    /// has a say.
    #[test]
    fn more_load_never_gives_fewer_replicas(
        policy in a_users_policy(),
        loads in proptest::collection::vec(proptest::collection::vec(load_and_more(), MOST_PODS), 3),
        pods in (0..=MOST_PODS).prop_flat_map(serving_pods),
        series in 1..4_usize,
        memory in any_memory(),
        distrust in proptest::option::of(Just(Distrust::ShortHistory("a minute".to_owned()))),
    ) {
        let of = |load: fn(&(i64, i64)) -> i64| {
            let readings = policy.metrics.iter().zip(&loads).map(|(metric, loads)| {
                if !metric.source.is_per_pod() {
                    return Reading::Series(loads.iter().take(series).map(load).collect());
                }
                let values: Vec<_> = pods.iter().map(|pod| &*pod.name).zip(loads.iter().map(load)).collect();
                samples(&values)
            });
            let spec = i32::try_from(pods.len()).expect("few");
            let pods = Pods::Listed(pods.clone());
            let observation = Observation { pods, distrust: distrust.clone(), ..seen(spec, readings.collect()) };
            decide(&policy, &observation, &memory, NOW)
        };
        let (less, more) = (of(|load| load.0), of(|load| load.1));
        prop_assert!(less.desired_replicas <= more.desired_replicas, "{less:?}, and with more {more:?}");
    }
}
