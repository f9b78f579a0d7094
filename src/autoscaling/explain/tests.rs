//! The words for what happens most.

use std::{collections::BTreeMap, fmt::Write};

use jiff::SignedDuration;
use rstest::rstest;

use super::*;
use crate::autoscaling::decision::{
    Bounds, Memory, Observation, Reading, decide,
    memory::{Recommendation, ScaleEvent},
    observation::{Container, Phase, Pod, Pods, ReadyCondition, Sample},
    policy::{Behavior, Fallback, Metric, OnAbsent, PolicyKind, Rules, ScalingPolicy, SelectPolicy, Source},
    schedule::Schedule,
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
#[case::the_rate(
    policy(1, 50),
    1,
    tasks(95),
    "the rate upwards (4 pods in 15 s; 0 replicas of it used) allows no more than 5"
)]
#[case::outside(policy(1, 5), 9, tasks(5), "that is more than maxReplicas 5: down to it at once")]
#[case::off(policy(1, 5), 0, tasks(5), "0 replicas with minReplicas above 0 mean off: nothing is decided")]
#[case::missing(policy(1, 5), 2, Reading::Failed("it is down".to_owned()), "without it the count does not fall, and nothing calls for more: it is down")]
#[case::fallback(
    Policy { fallback: Some(Fallback { after: SignedDuration::ZERO, replicas: 4, below_current: false }), ..policy(1, 5) },
    2, Reading::Absent, "tasks could not be read for long: the fallback calls for 4"
)]
#[case::recommend(Policy { mode: Mode::Recommend, ..policy(1, 5) }, 1, tasks(25), "3 would be right; mode Recommend writes nothing")]
#[case::window(Policy { behavior: None, ..policy(1, 5) }, 4, tasks(5), "a higher proposal within the stabilization window holds it at 4: 4 at 2027-01-15T08:00:00Z, which counts for 5m, until 2027-01-15T08:05:00Z")]
fn every_step_that_decided_is_said(
    #[case] policy: Policy,
    #[case] replicas: i32,
    #[case] reading: Reading,
    #[case] step: &str,
) {
    let steps = run(&policy, replicas, reading).explain().steps;
    assert!(steps.iter().any(|said| said == step), "{steps:#?}");
}

/// Only what was ordered counts as written.
#[test]
fn the_chain_says_whether_the_count_was_written_and_is_of_no_look_without_a_decision() {
    let chain = |run: Run| run.explain().chain.expect("something was decided");
    let written = |run: Run| chain(run)["written"].clone();
    let auto = policy(1, 5);
    assert_eq!(written(run(&auto, 1, tasks(25))), true);
    assert_eq!(written(run(&auto, 3, tasks(25))), false, "it stays");
    assert_eq!(written(run(&Policy { mode: Mode::Recommend, ..auto.clone() }, 1, tasks(25))), false);
    let seen = Observation {
        spec_replicas: 1,
        status_replicas: 1,
        pods: Pods::Unknown(String::new()),
        readings: vec![tasks(25)],
        distrust: None,
    };
    let decision = decide(&auto, &seen, &Memory::default(), NOW);
    assert_eq!(written(Run::unwritten(&decision, &auto, "it may not", None)), false);
    let yields = Decision { yields_to: Some("kubectl".to_owned()), ..decision };
    let yields = chain(Run::of(&yields, &auto, None));
    assert_eq!((&yields["written"], &yields["yieldsTo"]), (&false.into(), &"kubectl".into()));
    let paused = chain(run(&Policy { mode: Mode::Paused, ..auto.clone() }, 1, tasks(25)));
    assert_eq!((&paused["path"], &paused["written"]), (&"Paused".into(), &false.into()));
    assert_eq!(chain(run(&auto, 0, tasks(25)))["path"], "Disabled");
    assert_eq!(Run::blocked("it is paused", NOW, None).explain().chain, None);
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

/// A pod that was ready long ago and requests half a core, and one of which nothing is known yet.
fn pod(name: &str, ready: bool) -> Pod {
    let long_ago = NOW - SignedDuration::from_hours(1);
    let containers = vec![Container { name: "app".to_owned(), requests: [("cpu".to_owned(), 500)].into() }];
    Pod {
        name: name.to_owned(),
        phase: if ready { Phase::Running } else { Phase::Pending },
        created: Some(long_ago),
        started: Some(long_ago),
        ready: Some(ReadyCondition { status: Some(ready), since: long_ago }),
        deleting: false,
        requests: BTreeMap::new(),
        containers,
    }
}

/// Everything that a chain can hold, as a person reads it.
#[test]
fn the_whole_chain_of_each_way_to_decide() {
    let (mut told, mut chains) = (String::new(), String::new());
    let mut tell = |title: &str, policy: &Policy, observation: &Observation, memory: &Memory| {
        let explanation = Run::of(&decide(policy, observation, memory, NOW), policy, None).explain();
        // Writing to a string does not fail.
        let _ = write!(told, "# {title}\n{}\n", explanation.text());
        let _ = write!(chains, "# {title}\n{:#}\n", explanation.chain.expect("something was decided"));
    };
    let seen = |replicas: i32, readings: Vec<Reading>, pods: Pods| Observation {
        spec_replicas: replicas,
        status_replicas: replicas,
        pods,
        readings,
        distrust: None,
    };
    let unknown = || Pods::Unknown("they were not listed".to_owned());
    let ago = |seconds: i64| NOW - SignedDuration::from_secs(seconds);
    let fresh = Memory::default();
    let metric = |name: &str, source: Source, target: Target| Metric::new(name, source, target, OnAbsent::Hold);
    let latency = metric("latency", Source::Prometheus, Target::Value(250));
    let cpu = metric("cpu", Source::Resource { resource: "cpu".to_owned() }, Target::Utilization(50));
    let plain = Policy { behavior: Some(Behavior::default()), ..policy(1, 50) };

    let all = Pods::Listed(vec![pod("a", true), pod("b", true), pod("c", false)]);
    let two = Policy { metrics: vec![plain.metrics[0].clone(), latency], ..plain.clone() };
    let readings = vec![tasks(15), Reading::Series(vec![500])];
    tell("two metrics, of which one counts the pods that serve", &two, &seen(3, readings.clone(), all.clone()), &fresh);

    let sample = |value: i64| Sample { value, at: NOW, window: SignedDuration::from_secs(15) };
    let per_pod = |values: &[(&str, i64)]| {
        Reading::PerPod(values.iter().map(|(name, value)| ((*name).to_owned(), sample(*value))).collect())
    };
    let of_pods = Policy { metrics: vec![cpu], ..plain.clone() };
    let busy = per_pod(&[("a", 450), ("b", 400)]);
    tell("a metric per pod, and a pod that starts", &of_pods, &seen(3, vec![busy], all), &fresh);
    let silent = Pods::Listed(vec![pod("a", true), pod("b", true)]);
    tell("a pod without a sample", &of_pods, &seen(2, vec![per_pod(&[("a", 100)])], silent), &fresh);

    tell("within the tolerance", &plain, &seen(4, vec![tasks(41)], unknown()), &fresh);
    let earlier = Memory {
        recommendations: Some(vec![
            Recommendation { replicas: 6, at: ago(120) },
            Recommendation { replicas: 4, at: ago(60) },
        ]),
        ..Memory::default()
    };
    tell("a window", &plain, &seen(4, vec![tasks(10)], unknown()), &earlier);

    let grown = Memory { scale_ups: vec![ScaleEvent { change: 4, at: ago(5), outdated: false }], ..Memory::default() };
    tell("a rate of which all is used", &plain, &seen(5, vec![tasks(400)], unknown()), &grown);
    let slowly = Rules {
        stabilization_window_s: Some(0),
        policies: Some(vec![ScalingPolicy { kind: PolicyKind::Percent, value: 10, period_s: 60 }]),
        ..Rules::default()
    };
    let slow = Behavior { scale_up: Rules::default(), scale_down: slowly };
    tell(
        "a rate downwards",
        &Policy { behavior: Some(slow), ..plain.clone() },
        &seen(20, vec![tasks(0)], unknown()),
        &fresh,
    );
    let none = Rules { select_policy: Some(SelectPolicy::Disabled), ..Rules::default() };
    let never = Behavior { scale_up: none, scale_down: Rules::default() };
    let never = Policy { behavior: Some(never), ..plain.clone() };
    tell("no change in this direction", &never, &seen(2, vec![tasks(400)], unknown()), &fresh);
    tell(
        "without behavior",
        &Policy { behavior: None, ..plain.clone() },
        &seen(1, vec![tasks(400)], unknown()),
        &fresh,
    );

    let office = Schedule {
        name: "office".to_owned(),
        zone: jiff::tz::TimeZone::UTC,
        start: "0 8 * * *".parse().expect("a cron"),
        end: "0 18 * * *".parse().expect("a cron"),
        min: Some(3),
        max: None,
    };
    let scheduled = Policy { schedules: vec![office], ..plain.clone() };
    tell("a schedule", &scheduled, &seen(1, vec![tasks(5)], unknown()), &fresh);
    tell("a schedule whose bounds hold", &scheduled, &seen(4, vec![tasks(400)], unknown()), &fresh);

    let down = || Reading::Failed("it is down".to_owned());
    tell("one metric of two is missing", &two, &seen(1, vec![tasks(25), down()], unknown()), &fresh);
    tell("what is left calls for less", &two, &seen(4, vec![tasks(25), down()], unknown()), &fresh);
    let zero = Metric { on_absent: OnAbsent::Zero, ..plain.metrics[0].clone() };
    let zero = Policy { metrics: vec![zero], ..policy(0, 5) };
    tell("nothing counts as 0", &zero, &seen(1, vec![Reading::Absent], unknown()), &fresh);
    let old = Reading::Stale(SignedDuration::from_secs(120));
    tell("a sample that is too old", &plain, &seen(2, vec![old], unknown()), &fresh);
    let cool = Policy { cooldown: Some(SignedDuration::from_mins(5)), ..policy(0, 5) };
    tell("a cooldown", &cool, &seen(1, vec![tasks(0)], unknown()), &fresh);
    let step = Policy { largest_step: Some(2), ..plain };
    tell("the largest step", &step, &seen(4, vec![tasks(80)], unknown()), &fresh);
    tell("outside of the bounds", &step, &seen(60, vec![tasks(80)], unknown()), &fresh);
    insta::assert_snapshot!(told);
    insta::assert_snapshot!("the_same_in_fields", chains);
}
