//! The words for what happens most.

use jiff::SignedDuration;
use rstest::rstest;

use super::*;
use crate::autoscaling::decision::{
    Bounds, Memory, Observation, Reading, decide,
    observation::Pods,
    policy::{Behavior, Fallback, Metric, OnAbsent, Rules, Source},
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// Ten tasks for each replica by the plain formula.
fn policy(min: i32, max: i32) -> Policy {
    let up = Rules { tolerance: Some(0.0), ..Rules::default() };
    let down = Rules { tolerance: Some(0.0), stabilization_window_s: Some(0), ..Rules::default() };
    let metric = Metric::new("tasks", Source::Prometheus, Target::AverageValue(10_000), OnAbsent::Hold);
    Policy {
        behavior: Some(Behavior { scale_up: up, scale_down: down }),
        ..Policy::new(Bounds::new(min, max), vec![metric])
    }
}

fn run(policy: &Policy, replicas: i32, reading: Reading) -> Run {
    let observation = Observation {
        spec_replicas: replicas,
        status_replicas: replicas,
        pods: Pods::Unknown("they were not listed".to_owned()),
        readings: vec![reading],
        distrust: None,
    };
    Run::of(&decide(policy, &observation, &Memory::default(), NOW), policy, None)
}

fn tasks(count: i64) -> Reading {
    Reading::Series(vec![count * 1000])
}

#[test]
fn the_chain_of_a_scale_up_with_its_numbers() {
    let explanation = run(&policy(1, 5), 1, tasks(25)).explain();
    assert_eq!(
        explanation.steps,
        [
            "ordered: 1, there: 1",
            "tasks is 25, a replica takes 10: 25 / 10 rounded up calls for 3",
            "3 instead of 1 is ordered",
        ]
    );
    assert_eq!(explanation.would_change, ["needs 31 tasks to reach 4", "needs 20 tasks or fewer to fall to 2"]);
}

/// What is said would change the decision does, and a little less does not.
#[rstest]
#[case::three(3, 25, 31, 4)]
#[case::one(1, 5, 11, 2)]
#[case::asleep(0, 0, 1, 1)]
fn what_would_change_it_does(#[case] replicas: i32, #[case] now: i64, #[case] needed: i64, #[case] reached: i32) {
    let policy = policy(0, 5);
    let explanation = run(&policy, replicas, tasks(now)).explain();
    assert_eq!(explanation.would_change[0], format!("needs {needed} tasks to reach {reached}"));
    assert_eq!(run(&policy, replicas, tasks(needed)).explain().desired_replicas, reached);
    assert!(run(&policy, replicas, tasks(needed - 1)).explain().desired_replicas < reached);
}

#[test]
fn with_a_tolerance_it_takes_more() {
    let policy = Policy { behavior: None, ..policy(1, 50) };
    // 20 replicas take 200; 10 % more is borne, so 221 are needed, which is 23 replicas.
    let explanation = run(&policy, 20, tasks(205)).explain();
    assert_eq!(explanation.would_change[0], "needs 221 tasks to reach 23");
    assert_eq!(run(&policy, 20, tasks(221)).explain().desired_replicas, 23);
    assert_eq!(run(&policy, 20, tasks(220)).explain().desired_replicas, 20);
}

#[rstest]
#[case::the_maximum(policy(1, 5), 4, tasks(95), "maxReplicas is 5")]
#[case::the_rate(policy(1, 50), 1, tasks(95), "the rate upwards allows no more than 5")]
#[case::outside(policy(1, 5), 9, tasks(5), "that is more than maxReplicas 5: down to it at once")]
#[case::off(policy(1, 5), 0, tasks(5), "0 replicas with minReplicas above 0 mean off: nothing is decided")]
#[case::missing(policy(1, 5), 2, Reading::Failed("it is down".to_owned()), "without it the count does not fall, and nothing calls for more: it is down")]
#[case::fallback(
    Policy { fallback: Some(Fallback { after: SignedDuration::ZERO, replicas: 4, below_current: false }), ..policy(1, 5) },
    2, Reading::Absent, "tasks could not be read for long: the fallback calls for 4"
)]
#[case::recommend(Policy { mode: Mode::Recommend, ..policy(1, 5) }, 1, tasks(25), "3 would be right; mode Recommend writes nothing")]
#[case::window(Policy { behavior: None, ..policy(1, 5) }, 4, tasks(5), "a higher proposal within the stabilization window holds it at 4")]
fn every_step_that_decided_is_said(
    #[case] policy: Policy,
    #[case] replicas: i32,
    #[case] reading: Reading,
    #[case] step: &str,
) {
    let steps = run(&policy, replicas, reading).explain().steps;
    assert!(steps.iter().any(|said| said == step), "{steps:#?}");
}

#[test]
fn the_same_decision_again_makes_a_run_longer() {
    let policy = policy(1, 5);
    let mut first = run(&policy, 3, tasks(25));
    let mut again = run(&policy, 3, tasks(25));
    again.to_s += 15;
    again.from_s += 15;
    assert!(first.goes_on_with(&again));
    assert_eq!(first.explain().to.duration_since(first.explain().from).as_secs(), 15);
    assert!(!first.goes_on_with(&run(&policy, 3, tasks(26))));
}

#[test]
fn a_run_is_small() {
    // A day at 15 s is 5760 of them, and 100 objects must fit into 64 MiB.
    let bytes = size_of::<Run>() + size_of::<Point>();
    assert!(bytes * 5760 * 100 <= 64 << 20, "{bytes} bytes");
}
