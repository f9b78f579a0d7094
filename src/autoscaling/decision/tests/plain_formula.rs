//! `ceil(tasks / 10)` between 1 and 5: what a user expects who never heard of windows and tolerances.

use rstest::rstest;

use super::*;
use crate::autoscaling::decision::{Memory, decide, settle};

#[rstest]
#[case::none_is_the_minimum(0, 1)]
#[case::ten_fit_on_one(10, 1)]
#[case::eleven_need_two(11, 2)]
#[case::twenty_fit_on_two(20, 2)]
#[case::twenty_one_need_three(21, 3)]
#[case::thirty_fit_on_three(30, 3)]
#[case::thirty_one_need_four(31, 4)]
#[case::forty_fit_on_four(40, 4)]
#[case::forty_one_need_five(41, 5)]
#[case::more_than_the_maximum(1000, 5)]
fn ten_tasks_a_replica(#[case] count: i64, #[case] expected: i32) {
    // From every count at once: a default rule upwards adds 4 in 15 s, one downwards removes all.
    for current in 1..=5 {
        let decision = decide(&plain(1, 5), &seen(current, vec![tasks(count)]), &Memory::default(), NOW);
        assert_eq!(decision.desired_replicas, expected, "{count} tasks at {current} replicas");
    }
}

#[test]
fn five_replicas_in_one_step_are_four_more_than_one() {
    let decision = decide(&plain(1, 9), &seen(1, vec![tasks(81)]), &Memory::default(), NOW);
    assert_eq!(decision.desired_replicas, 5, "the default rule upwards allows 4 pods in 15 s");
}

#[test]
fn without_behavior_one_replica_may_become_four() {
    let policy = Policy { behavior: None, ..plain(1, 9) };
    assert_eq!(decide(&policy, &seen(1, vec![tasks(81)]), &Memory::default(), NOW).desired_replicas, 4);
}

#[test]
fn a_story_of_ticks_is_the_formula_at_each_of_them() {
    let (policy, mut memory, mut replicas, mut now) = (plain(1, 5), Memory::default(), 1, NOW);
    for (count, expected) in [(5, 1), (11, 2), (25, 3), (35, 4), (45, 5), (25, 3), (5, 1), (45, 5), (0, 1)] {
        let decision = decide(&policy, &seen(replicas, vec![tasks(count)]), &memory, now);
        assert_eq!(decision.desired_replicas, expected, "{count} tasks at {replicas} replicas");
        memory = settle(&policy, &decision, now);
        replicas = expected;
        now += seconds(15);
    }
}
