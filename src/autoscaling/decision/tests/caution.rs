//! What holds a change back although it is called for.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::autoscaling::decision::{
    Decision, Memory, Path, caution::PendingPods, decide, memory::ConditionType, observation::Distrust,
    policy::FromZero,
};

/// Pods that have been Pending for so many seconds, beside three that serve.
fn with_pending(ages: &[i64], count: i64) -> Observation {
    let mut observation = seen(3, vec![tasks(count)]);
    let Pods::Listed(pods) = &mut observation.pods else { return observation };
    pods.extend(ages.iter().enumerate().map(|(place, age)| Pod {
        phase: Phase::Pending,
        created: Some(ago(*age)),
        ..ready_pod(&format!("pending-{place}"))
    }));
    observation
}

fn limited(decision: &Decision) -> Option<&str> {
    let condition = decision.memory.condition(ConditionType::ScalingLimited)?;
    condition.status.then_some(condition.reason.as_str())
}

#[rstest]
#[case::enough_for_long(&[121, 121], 45, 3, Some("PodsPending"))]
#[case::too_few(&[121], 45, 5, None)]
#[case::not_for_long(&[121, 120], 45, 5, None)]
#[case::down_is_another_thing(&[121, 121], 5, 1, None)]
fn no_more_are_ordered_while_those_there_are_do_not_start(
    #[case] ages: &[i64],
    #[case] count: i64,
    #[case] desired: i32,
    #[case] reason: Option<&str>,
) {
    let pending_pods = Some(PendingPods { count: 2, longer_than: seconds(120) });
    let decision = decide(&Policy { pending_pods, ..plain(1, 5) }, &with_pending(ages, count), &Memory::default(), NOW);
    assert_eq!((decision.desired_replicas, limited(&decision)), (desired, reason));
}

/// So many that the API server has refused, beside three that serve.
fn with_unmade(ordered: i32) -> Observation {
    Observation { spec_replicas: 3 + ordered, ..seen(3, vec![tasks(65)]) }
}

/// What a quota refuses is never Pending: it does not exist.
#[test]
fn no_more_are_ordered_while_those_that_were_are_not_made() {
    let pending_pods = Some(PendingPods { count: 2, longer_than: seconds(120) });
    let policy = Policy { pending_pods, ..plain(1, 7) };
    let mut memory = Memory::default();
    let mut look = |observation: &Observation, second: i64| {
        let decision = decide(&policy, observation, &memory, NOW + seconds(second));
        memory = decision.memory.clone();
        (decision.desired_replicas, limited(&decision).map(str::to_owned))
    };
    let free = || (7, None);
    let held = |replicas| (replicas, Some("PodsPending".to_owned()));
    assert_eq!(look(&with_unmade(1), 0), free(), "one is too few");
    assert_eq!(look(&with_unmade(2), 60), free());
    assert_eq!(look(&with_unmade(3), 180), free(), "not for long");
    assert_eq!(look(&with_unmade(3), 181), held(6));
    // A pod that is counted or listed is there, and the wait begins anew.
    assert_eq!(look(&Observation { status_replicas: 5, ..with_unmade(3) }, 240), free());
    assert_eq!(look(&with_unmade(3), 300), free());
    assert_eq!(look(&Observation { pods: Pods::Unknown("no right".to_owned()), ..with_unmade(3) }, 600), free());
}

/// A StatefulSet makes the next pod when the one before is ready.
#[test]
fn pods_that_come_one_by_one_are_being_made() {
    let pending_pods = Some(PendingPods { count: 2, longer_than: seconds(120) });
    let policy = Policy { pending_pods, ..plain(1, 20) };
    let mut memory = Memory::default();
    let mut look = |status_replicas: i32, second: i64| {
        let observation = Observation { spec_replicas: 12, status_replicas, ..seen(3, vec![tasks(200)]) };
        let decision = decide(&policy, &observation, &memory, NOW + seconds(second));
        memory = decision.memory.clone();
        limited(&decision).map(str::to_owned)
    };
    for minute in 0..6 {
        assert_ne!(look(3 + minute, i64::from(minute) * 60).as_deref(), Some("PodsPending"), "minute {minute}");
    }
    assert_eq!(look(8, 421).as_deref(), Some("PodsPending"), "none has come for two minutes");
}

/// As the HPA wakes what it has put to sleep itself, with a minimum above 0.
#[test]
fn a_step_does_not_end_below_the_minimum() {
    let mut policy = Policy { largest_step: Some(1), from_zero: FromZero::IfScaledToZero, ..plain(3, 9) };
    let mut memory = Memory::default();
    memory.set(ConditionType::ScaledToZero, true, "ScaledToZero", "it sleeps", NOW);
    let of = |policy: &Policy| decide(policy, &seen(0, vec![tasks(55)]), &memory, NOW).desired_replicas;
    assert_eq!(of(&policy), 3);
    // Beyond the minimum, the rate upwards is what is left.
    policy.largest_step = Some(5);
    assert_eq!(of(&policy), 4);
}

#[test]
fn a_pod_that_is_on_its_way_out_does_not_wait_for_anything() {
    let pending_pods = Some(PendingPods { count: 1, longer_than: seconds(120) });
    let mut observation = with_pending(&[600], 45);
    if let Pods::Listed(pods) = &mut observation.pods {
        pods.last_mut().expect("it is pending").deleting = true;
    }
    let decision = decide(&Policy { pending_pods, ..plain(1, 5) }, &observation, &Memory::default(), NOW);
    assert_eq!(decision.desired_replicas, 5);
}

fn crowd() -> Distrust {
    Distrust::ManyScaleDowns("most want to shrink".to_owned())
}

#[rstest]
#[case::a_crowd_down(crowd(), 5, 3, Some("ManyScaleDowns"))]
#[case::a_crowd_up(crowd(), 45, 5, None)]
#[case::a_short_history_down(Distrust::ShortHistory("a minute".to_owned()), 5, 3, Some("ShortHistory"))]
#[case::a_short_history_up(Distrust::ShortHistory("a minute".to_owned()), 45, 5, None)]
fn what_is_not_believed_scales_nothing_down(
    #[case] distrust: Distrust,
    #[case] count: i64,
    #[case] desired: i32,
    #[case] reason: Option<&str>,
) {
    let observation = Observation { distrust: Some(distrust), ..seen(3, vec![tasks(count)]) };
    let decision = decide(&plain(1, 5), &observation, &Memory::default(), NOW);
    assert_eq!((decision.desired_replicas, limited(&decision)), (desired, reason));
}

#[test]
fn bounds_are_kept_whatever_is_believed() {
    let observation = Observation { distrust: Some(crowd()), ..seen(9, vec![tasks(5)]) };
    assert_eq!(decide(&plain(1, 5), &observation, &Memory::default(), NOW).desired_replicas, 5);
}

proptest! {
    #[test]
    fn a_step_is_never_larger_than_allowed(current in 1..200_i32, count in 0..4000_i64, step in 1..20_i32) {
        let policy = Policy { largest_step: Some(step), ..plain(1, 200) };
        let decision = decide(&policy, &seen(current, vec![tasks(count)]), &Memory::default(), NOW);
        let free = decide(&plain(1, 200), &seen(current, vec![tasks(count)]), &Memory::default(), NOW);
        prop_assert_eq!(decision.path, Path::Metrics);
        prop_assert!(decision.desired_replicas.abs_diff(current) <= step.unsigned_abs());
        // It goes in the direction that is called for, and all the way if that is near.
        prop_assert_eq!(decision.action(), free.action());
        if free.desired_replicas.abs_diff(current) <= step.unsigned_abs() {
            prop_assert_eq!(decision.desired_replicas, free.desired_replicas);
        }
    }
}
