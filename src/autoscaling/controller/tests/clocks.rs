//! Looks in the course of time: restarts, steps of the clock, and what goes on after both.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::{
    answers::partial,
    fake::{Bench, spec},
};

fn with_default_window() -> Value {
    spec(&json!({"behavior": null}))
}

#[tokio::test(start_paused = true)]
async fn a_window_goes_on_after_a_restart() {
    let mut bench = Bench::new(1, &with_default_window(), 35.0);
    bench.look().await;
    bench.prometheus.set(Ok(vec![5.0]));
    // Restarted before every look: the 4 counts as proposed until the first of them, 15 s after it was.
    // (At exactly one window, the stored microseconds decide.)
    for step in (1..=20).chain([22]) {
        tokio::time::advance(Duration::from_secs(if step == 22 { 30 } else { 15 })).await;
        bench.restart();
        bench.look().await;
        let expected = if step * 15 < 15 + 300 { 4 } else { 1 };
        assert_eq!(bench.api.cluster().replicas, expected, "after {} s", step * 15);
    }
}

/// A machine that was suspended for an hour, or whose clock was wrong by one.
#[rstest]
#[case::forward(3600)]
#[case::back(-3600)]
#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_neither_empties_a_window_nor_stretches_it(#[case] step: i64) {
    let mut bench = Bench::new(1, &with_default_window(), 35.0);
    bench.look().await;
    bench.prometheus.set(Ok(vec![5.0]));
    bench.context.clock.step(step);
    for (seconds, expected) in [(15, 4), (270, 4), (30, 1)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        bench.look().await;
        assert_eq!(bench.api.cluster().replicas, expected);
    }
    let cluster = bench.api.cluster();
    let told = cluster.status().last_decision.expect("a decision").time.0;
    let late = bench.context.clock.wall().duration_since(told).abs();
    assert!(late <= jiff::SignedDuration::from_secs(2), "told by the clock on the wall: {late}");
}

#[tokio::test(start_paused = true)]
async fn schedules_follow_the_wall_clock_after_a_step() {
    let mut bench = Bench::new(1, &spec(&json!({})), 5.0);
    // The hour in which it will be in two hours.
    let hour = (bench.context.clock.wall().to_zoned(jiff::tz::TimeZone::UTC).hour() + 2) % 24;
    let schedule = json!([{"name": "busy", "timeZone": "UTC", "start": format!("0 {hour} * * *"),
        "end": format!("0 {} * * *", (hour + 1) % 24), "minReplicas": 4}]);
    bench.api.cluster().autoscaler["spec"]["schedules"] = schedule;
    for (step, expected) in [(0, 1), (7200, 4), (7200, 1), (-7200, 4)] {
        bench.context.clock.step(step);
        bench.look().await;
        assert_eq!(bench.api.cluster().replicas, expected, "{step}");
    }
}

#[tokio::test]
async fn another_target_of_the_same_name_starts_afresh() {
    let mut bench = Bench::new(1, &with_default_window(), 35.0);
    bench.look().await;
    {
        let mut cluster = bench.api.cluster();
        (cluster.uid, cluster.replicas) = ("target-2".to_owned(), 2);
    }
    bench.prometheus.set(Ok(vec![5.0]));
    bench.look().await;
    let memory = bench.api.cluster().status().memory.expect("a memory");
    assert_eq!(memory.target_uid, "target-2");
    // The 4 of the first target is forgotten; the 2 of this one is remembered.
    assert_eq!(memory.recommendations.iter().map(|entry| entry.replicas).collect::<Vec<_>>(), [2, 1]);
}

fn sleepy() -> Value {
    spec(&json!({"minReplicas": 0, "cooldown": "5m", "fallback": {"after": "3m", "replicas": 2}}))
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_and_a_fallback_go_on_after_a_restart() {
    let mut bench = Bench::new(1, &sleepy(), 0.0);
    bench.look().await;
    // What was an eighth of the cooldown is kept, and an hour without a scaler is none of it.
    for _ in 0..3 {
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(15)).await;
            bench.look().await;
        }
        bench.restart();
        tokio::time::advance(Duration::from_secs(3600)).await;
        bench.look().await;
    }
    assert_eq!(bench.api.cluster().replicas, 1, "225 s");
    assert_eq!(bench.api.cluster().status().last_decision.expect("one").reason, "CoolingDown");
    // 75 seconds are left; without data it does not run, but the fallback's time does.
    bench.prometheus.set(Err(partial(0.0)));
    for seconds in [0, 60, 119] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        bench.restart();
        bench.look().await;
        assert_eq!(bench.api.cluster().replicas, 1, "{seconds}");
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    bench.restart();
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 2);
    assert_eq!(bench.api.cluster().reason("ScalingActive", "True").as_deref(), Some("Fallback"));
    bench.prometheus.set(Ok(vec![0.0]));
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 1, "the rest of the cooldown");
    tokio::time::advance(Duration::from_secs(80)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_is_noted_eight_times() {
    let mut bench = Bench::new(1, &sleepy(), 0.0);
    bench.look().await;
    let writes = bench.api.cluster().writes.len();
    for _ in 0..19 {
        tokio::time::advance(Duration::from_secs(15)).await;
        bench.look().await;
    }
    assert_eq!(bench.api.cluster().replicas, 1, "285 s");
    // One more: the count of the very first look leaves the memory.
    assert!(bench.api.cluster().writes.len() <= writes + 9, "{:?}", bench.api.cluster().writes);
}

/// An hour in which nobody reads the metrics, in the middle of a cooldown of five minutes.
#[rstest]
#[case::paused(|bench: &Bench| bench.api.cluster().autoscaler["spec"]["mode"] = json!("Paused"))]
#[case::invalid(|bench: &Bench| bench.api.cluster().autoscaler["spec"]["minReplicas"] = json!(9))]
#[case::no_target(|bench: &Bench| bench.api.cluster().target_exists = false)]
#[case::a_rival(|bench: &Bench| bench.context.hpas.put("demo", &bench.object().spec.scale_target_ref, "hpa"))]
#[tokio::test(start_paused = true)]
async fn a_cooldown_does_not_run_while_nothing_is_decided(#[case] stop: fn(&Bench)) {
    let mut bench = Bench::new(1, &sleepy(), 0.0);
    for _ in 0..10 {
        bench.look().await;
        tokio::time::advance(Duration::from_secs(15)).await;
    }
    let spec = bench.api.cluster().autoscaler["spec"].clone();
    stop(&bench);
    for _ in 0..4 {
        bench.look().await;
        tokio::time::advance(Duration::from_mins(15)).await;
    }
    bench.api.cluster().autoscaler["spec"] = spec;
    bench.api.cluster().target_exists = true;
    bench.context.hpas.take_away("demo", &bench.object().spec.scale_target_ref);
    let mut left = Vec::new();
    for _ in 0..11 {
        bench.look().await;
        left.push(bench.api.cluster().replicas);
        tokio::time::advance(Duration::from_secs(15)).await;
    }
    assert_eq!(left, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], "150 s were left");
}
