//! Told-time stories of what the HPA does not have: cooldown, activation, fallback, schedules.

use jiff::{civil::DateTime, tz::TimeZone};
use rstest::rstest;

use super::*;
use crate::autoscaling::decision::{Memory, Path, decide, policy::Fallback, schedule::Schedule, settle};

fn asleep_allowed() -> Policy {
    Policy { cooldown: Some(seconds(300)), ..plain(0, 10) }
}

/// Looks at `(second, reading, count that is expected)` one after the other, and does what is decided.
fn tell(policy: &Policy, replicas: i32, story: &[(i64, Reading, i32)]) {
    let (mut memory, mut replicas) = (Memory::default(), replicas);
    for (second, reading, expected) in story {
        let now = NOW + seconds(*second);
        let decision = decide(policy, &seen(replicas, vec![reading.clone()]), &memory, now);
        assert_eq!(decision.desired_replicas, *expected, "after {second} s: {decision:?}");
        memory = if decision.is_to_be_written() { settle(policy, &decision, now) } else { decision.memory };
        replicas = *expected;
    }
}

fn down() -> Reading {
    Reading::Failed("it is down".to_owned())
}

#[test]
fn to_zero_only_when_nothing_was_there_for_the_whole_cooldown() {
    tell(
        &asleep_allowed(),
        4,
        &[
            (0, tasks(35), 4),
            (15, tasks(0), 1),
            (300, tasks(0), 1),
            (305, tasks(1), 1),
            (310, tasks(0), 1),
            (609, tasks(0), 1),
            (610, tasks(0), 0),
        ],
    );
}

#[test]
fn a_cooldown_does_not_run_without_data() {
    tell(
        &asleep_allowed(),
        1,
        &[
            (0, tasks(0), 1),
            (100, down(), 1),
            (5000, down(), 1),
            (5015, tasks(0), 1),
            // 100 s had run, so 200 s are left.
            (5214, tasks(0), 1),
            (5215, tasks(0), 0),
        ],
    );
}

#[test]
fn a_cooldown_says_how_long_it_still_takes() {
    let policy = asleep_allowed();
    let first = decide(&policy, &seen(1, vec![tasks(0)]), &Memory::default(), NOW);
    let decision = decide(&policy, &seen(1, vec![tasks(0)]), &first.memory, NOW + seconds(100));
    assert_eq!(decision.cooling_down, Some(seconds(200)));
}

#[test]
fn what_is_asleep_wakes_in_one_write() {
    tell(&asleep_allowed(), 0, &[(0, tasks(0), 0), (15, tasks(95), 10)]);
    tell(&Policy { behavior: None, ..asleep_allowed() }, 0, &[(0, tasks(75), 8)]);
}

#[test]
fn rates_that_somebody_set_hold_on_waking_up_too() {
    let mut policy = asleep_allowed();
    let one = crate::autoscaling::decision::policy::ScalingPolicy {
        kind: crate::autoscaling::decision::policy::PolicyKind::Pods,
        value: 1,
        period_s: 60,
    };
    policy.behavior.as_mut().expect("it is set").scale_up.policies = Some(vec![one]);
    tell(&policy, 0, &[(0, tasks(95), 1)]);
}

#[test]
fn what_is_asleep_wakes_only_above_the_activation() {
    let mut policy = asleep_allowed();
    policy.metrics[0].activation = 5_000;
    tell(&policy, 0, &[(0, tasks(5), 0), (15, tasks(6), 1), (30, tasks(5), 1)]);
}

#[test]
fn a_recent_proposal_does_not_wake_what_somebody_put_to_sleep() {
    let policy = Policy { behavior: None, ..asleep_allowed() };
    let first = decide(&policy, &seen(4, vec![tasks(40)]), &Memory::default(), NOW);
    let decision = decide(&policy, &seen(0, vec![tasks(0)]), &first.memory, NOW + seconds(15));
    assert_eq!(decision.desired_replicas, 0);
}

fn with_fallback(replicas: i32, below_current: bool) -> Policy {
    Policy { fallback: Some(Fallback { after: seconds(180), replicas, below_current }), ..plain(0, 10) }
}

#[test]
fn a_fallback_stands_in_when_data_is_missing_for_long() {
    tell(
        &with_fallback(6, false),
        2,
        &[
            (0, down(), 2),
            (179, down(), 2),
            (180, down(), 6),
            (195, tasks(5), 1),
            (210, down(), 1),
            (300, Reading::Absent, 1),
        ],
    );
}

#[rstest]
#[case::never_below_the_current_count(false, 8)]
#[case::unless_told(true, 3)]
fn a_fallback_of_fewer(#[case] below_current: bool, #[case] expected: i32) {
    tell(&with_fallback(3, below_current), 8, &[(0, down(), 8), (180, down(), expected)]);
}

#[test]
fn a_fallback_wakes_what_is_asleep_and_stays_within_the_bounds() {
    tell(&with_fallback(3, false), 0, &[(0, down(), 0), (180, down(), 3)]);
    tell(&with_fallback(99, false), 1, &[(0, down(), 1), (180, down(), 5), (195, down(), 10)]);
}

#[test]
fn a_fallback_is_of_one_metric_and_the_others_count() {
    let policy = Policy {
        metrics: vec![ten_tasks(), Metric { name: "other".to_owned(), ..ten_tasks() }],
        ..with_fallback(3, true)
    };
    let first = decide(&policy, &seen(8, vec![down(), tasks(45)]), &Memory::default(), NOW);
    assert_eq!(first.desired_replicas, 8, "one is missing: no scale-down");
    let later = decide(&policy, &seen(8, vec![down(), tasks(45)]), &first.memory, NOW + seconds(180));
    assert_eq!(later.desired_replicas, 5, "the larger of 3 and 5");
    assert!(later.failure.is_some(), "that one is missing is still told");
}

fn schedule(start: &str, end: &str, min: i32, max: i32) -> Schedule {
    Schedule {
        name: "s".to_owned(),
        zone: TimeZone::get("Europe/Berlin").expect("it is bundled"),
        start: start.parse().expect("a cron"),
        end: end.parse().expect("a cron"),
        min: Some(min),
        max: Some(max),
    }
}

fn utc(text: &str) -> Timestamp {
    text.parse::<DateTime>().expect("a time").to_zoned(TimeZone::UTC).expect("in range").timestamp()
}

#[rstest]
// Office hours, 8 to 18. In Berlin it is UTC+1 in winter, UTC+2 from the last Sunday of March, 29th, 01:00 UTC.
#[case::friday_in_winter_before("0 8 * * 1-5", "0 18 * * 1-5", "2026-03-27T06:59:59", false)]
#[case::friday_in_winter("0 8 * * 1-5", "0 18 * * 1-5", "2026-03-27T07:00:00", true)]
#[case::friday_in_winter_end("0 8 * * 1-5", "0 18 * * 1-5", "2026-03-27T17:00:00", false)]
#[case::saturday("0 8 * * 1-5", "0 18 * * 1-5", "2026-03-28T10:00:00", false)]
#[case::monday_in_summer_before("0 8 * * 1-5", "0 18 * * 1-5", "2026-03-30T05:59:59", false)]
#[case::monday_in_summer("0 8 * * 1-5", "0 18 * * 1-5", "2026-03-30T06:00:00", true)]
#[case::over_midnight("0 22 * * *", "0 6 * * *", "2026-03-27T23:30:00", true)]
// 02:30 is skipped on that Sunday: it counts at 03:00, which is 01:00 UTC.
#[case::before_the_skipped_hour("30 2 * * *", "0 12 * * *", "2026-03-29T00:59:59", false)]
#[case::after_the_skipped_hour("30 2 * * *", "0 12 * * *", "2026-03-29T01:00:00", true)]
// 02:30 comes twice on the 25th of October: at 00:30 and at 01:30 UTC. The first counts.
#[case::before_the_first("30 2 * * *", "0 12 * * *", "2026-10-25T00:29:59", false)]
#[case::the_first_time("30 2 * * *", "0 12 * * *", "2026-10-25T00:30:00", true)]
#[case::the_hour_again("30 2 * * *", "0 12 * * *", "2026-10-25T01:00:00", true)]
#[case::the_second_time("30 2 * * *", "0 12 * * *", "2026-10-25T01:30:00", true)]
#[case::an_end_the_first_time("0 1 * * *", "30 2 * * *", "2026-10-25T00:30:00", false)]
#[case::an_end_does_not_come_undone("0 1 * * *", "30 2 * * *", "2026-10-25T01:00:00", false)]
#[case::a_start_in_the_hour_before("0 2 * * *", "30 2 * * *", "2026-10-25T01:10:00", false)]
fn a_schedule_follows_the_clock_on_the_wall(
    #[case] start: &str,
    #[case] end: &str,
    #[case] now: &str,
    #[case] expected: bool,
) {
    assert_eq!(schedule(start, end, 1, 2).holds(utc(now)), expected);
}

#[test]
fn a_schedule_changes_the_bounds_and_gives_them_back() {
    let policy = Policy { schedules: vec![schedule("0 8 * * *", "0 18 * * *", 3, 10)], ..plain(1, 5) };
    let at = |time: &str, replicas: i32, load: i64| {
        let decision = decide(&policy, &seen(replicas, vec![tasks(load)]), &Memory::default(), utc(time));
        (decision.desired_replicas, decision.path, decision.schedules.len())
    };
    assert_eq!(at("2026-06-01T05:59:59", 1, 5), (1, Path::Metrics, 0));
    assert_eq!(at("2026-06-01T06:00:00", 1, 5), (3, Path::BelowMinimum, 1));
    assert_eq!(at("2026-06-01T06:00:15", 3, 75), (7, Path::Metrics, 1));
    assert_eq!(at("2026-06-01T16:00:00", 7, 75), (5, Path::AboveMaximum, 0));
}

#[test]
fn the_later_schedule_in_the_list_has_the_last_word() {
    let all_day = Schedule { min: Some(4), max: None, ..schedule("0 0 * * *", "1 0 31 12 *", 0, 0) };
    let policy = Policy { schedules: vec![schedule("0 0 * * *", "1 0 31 12 *", 2, 8), all_day], ..plain(1, 5) };
    let decision = decide(&policy, &seen(5, vec![tasks(50)]), &Memory::default(), utc("2026-06-01T12:00:00"));
    assert_eq!((decision.bounds.min(), decision.bounds.max()), (4, 8));
}

#[test]
fn a_target_that_slept_by_a_schedule_is_not_off_when_the_schedule_ends() {
    let night = Schedule { max: None, ..schedule("0 22 * * *", "0 6 * * *", 0, 0) };
    let policy = Policy { schedules: vec![night], ..plain(2, 5) };
    let of = |time: &str, replicas: i32| {
        decide(&policy, &seen(replicas, vec![tasks(0)]), &Memory::default(), utc(time)).desired_replicas
    };
    assert_eq!((of("2026-06-01T21:00:00", 2), of("2026-06-02T05:00:00", 0)), (0, 2));
}
