//! What is told of decisions, remembered or made again.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use http::StatusCode;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tower::ServiceExt;

use super::{
    super::{
        Key,
        http::{Vitals, router},
    },
    fake::{Bench, spec},
};
use crate::autoscaling::explain::Explanation;

pub(super) async fn ask(bench: Bench, query: &str) -> (StatusCode, String) {
    let vitals = Arc::new(Vitals::new(bench.context.clock));
    vitals.leads(true);
    let request = Request::get(format!("/explain/demo/w{query}")).body(Body::empty()).expect("a request");
    let answer = router(vitals, Arc::new(bench.context)).oneshot(request).await.expect("an answer");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

fn bench() -> (Bench, i64) {
    let bench = Bench::new(3, &spec(&json!({})), 25.0);
    let now = bench.context.clock.now().as_second();
    (bench, now)
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("an instant")
}

#[tokio::test]
async fn what_is_remembered_is_told_as_it_was() {
    let (mut bench, _) = bench();
    bench.look().await;
    let (status, text) = ask(bench, "?output=json").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let told: Explanation = serde_json::from_str(&text).expect("an explanation");
    assert_eq!((told.desired_replicas, told.recomputed), (3, false));
    assert_eq!(told.metrics[0].value.as_deref(), Some("25"));
    assert_eq!(told.would_change[0], "needs 31 active-tasks to reach 4");
}

#[tokio::test]
async fn what_could_not_be_ordered_is_not_told_as_if_it_was() {
    let (mut bench, _) = bench();
    bench.prometheus.set(Ok(vec![45.0]));
    bench.api.cluster().scale_is_forbidden = true;
    bench.look().await;
    let last = bench.api.cluster().status().last_decision.expect("a decision");
    assert_eq!(last.reason, "FailedRescale");
    let why = "deployments.apps \"w\" is forbidden; that right comes with the installation: run `scalekit up` again";
    assert!(last.message.ends_with(&format!("→ scaling up failed: {why}")), "{}", last.message);
    let (_, text) = ask(bench, "?output=json").await;
    let told: Explanation = serde_json::from_str(&text).expect("an explanation");
    assert_eq!((told.current_replicas, told.desired_replicas), (3, 5));
    assert_eq!(told.problem.as_deref(), Some(why));
    let said = format!("5 would be right, but it could not be ordered: {why}");
    assert_eq!(told.steps.last(), Some(&said));
}

#[tokio::test]
async fn looks_that_came_to_no_decision_are_told_rather_than_the_decision_before() {
    let (mut bench, _) = bench();
    bench.prometheus.set(Ok(vec![45.0]));
    bench.look().await;
    let last = |bench: &Bench| bench.context.history.explain(&key(), None).expect("a look");
    let target = bench.object().spec.scale_target_ref;
    for (said, begin, end) in [
        (
            "not found",
            (|bench, _| bench.api.cluster().target_exists = false) as fn(&Bench, &_),
            (|bench, _| bench.api.cluster().target_exists = true) as fn(&Bench, &_),
        ),
        (
            "paused",
            |bench, _| bench.api.cluster().autoscaler["spec"]["mode"] = json!("Paused"),
            |bench, _| bench.api.cluster().autoscaler["spec"]["mode"] = json!("Auto"),
        ),
        (
            "less than minReplicas",
            |bench, _| bench.api.cluster().autoscaler["spec"]["minReplicas"] = json!(9),
            |bench, _| bench.api.cluster().autoscaler["spec"]["minReplicas"] = json!(1),
        ),
        (
            "old-hpa scales",
            |bench, target| bench.context.hpas.put("demo", target, "old-hpa"),
            |bench, target| bench.context.hpas.take_away("demo", target),
        ),
    ] {
        begin(&bench, &target);
        bench.look().await;
        let told = last(&bench);
        assert!(told.steps[0].starts_with("nothing was decided: ") && told.steps[0].contains(said), "{told:?}");
        assert_eq!((told.current_replicas, told.desired_replicas, told.steps.len()), (5, 5, 1));
        end(&bench, &target);
        bench.look().await;
        assert_eq!(last(&bench).problem, None, "{said}");
    }
}

fn key() -> Key {
    Key::new("demo", "w")
}

#[tokio::test]
async fn what_nobody_remembers_is_made_again_from_history_and_marked() {
    let (bench, now) = bench();
    // An hour ago there were 2 for 15 tasks, and a moment later 35.
    bench
        .prometheus
        .kept("scalekit_autoscaler_current_replicas", vec![(now - 9000, 2)].into_iter().map(float).collect());
    let tasks = vec![(now - 9000, 15), (now - 3600, 35)].into_iter().map(float).collect();
    bench.prometheus.kept("watcherBot_active_tasks", tasks);
    let (status, text) = ask(bench, &format!("?output=json&at={}", at(now - 3590))).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let told: Explanation = serde_json::from_str(&text).expect("an explanation");
    assert!(told.recomputed && told.text().contains("recomputed"));
    assert_eq!((told.to, told.current_replicas, told.desired_replicas), (at(now - 3590), 2, 4));
}

#[tokio::test]
async fn a_window_is_made_again_too() {
    let spec = spec(&json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 120}}}));
    let bench = Bench::new(3, &spec, 25.0);
    let now = bench.context.clock.now().as_second();
    bench.prometheus.kept("scalekit_autoscaler_current_replicas", vec![float((now - 9000, 4))]);
    bench.prometheus.kept("watcherBot_active_tasks", vec![float((now - 9000, 40)), float((now - 3600, 10))]);
    let (_, text) = ask(bench, &format!("?at={}", at(now - 3530))).await;
    assert!(text.contains("a higher proposal within the stabilization window holds it at 4: 4 at "), "{text}");
}

/// The last positive sample was 9 minutes ago, longer than any window is.
#[tokio::test]
async fn a_cooldown_is_made_again_too() {
    for (cooldown, desired) in [("8m", 0), ("20m", 1)] {
        let mut spec = spec(&json!({"minReplicas": 0, "cooldown": cooldown}));
        spec["behavior"]["scaleUp"] = json!({});
        let bench = Bench::new(1, &spec, 0.0);
        let now = bench.context.clock.now().as_second();
        bench.prometheus.kept("scalekit_autoscaler_current_replicas", vec![float((now - 90_000, 1))]);
        bench.prometheus.kept("watcherBot_active_tasks", vec![float((now - 90_000, 5)), float((now - 4140, 0))]);
        let (_, text) = ask(bench, &format!("?output=json&at={}", at(now - 3600))).await;
        let told: Explanation = serde_json::from_str(&text).expect("an explanation");
        assert_eq!(told.desired_replicas, desired, "{cooldown}: {text}");
    }
}

#[tokio::test]
async fn what_is_made_again_takes_no_more_than_the_largest_step() {
    let (mut bench, now) = bench();
    bench.context.largest_step = Some(1);
    bench.prometheus.kept("scalekit_autoscaler_current_replicas", vec![float((now - 9000, 2))]);
    bench.prometheus.kept("watcherBot_active_tasks", vec![float((now - 9000, 45))]);
    let (_, text) = ask(bench, &format!("?output=json&at={}", at(now - 3600))).await;
    let told: Explanation = serde_json::from_str(&text).expect("an explanation");
    assert_eq!(told.desired_replicas, 3, "{text}");
}

#[tokio::test]
async fn what_prometheus_did_not_keep_is_not_made_up() {
    let (bench, now) = bench();
    let (status, text) = ask(bench, &format!("?at={}", at(now - 3600))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("kept no replica count of that time"), "{text}");
}

#[tokio::test]
async fn what_rests_on_metrics_without_a_history_is_refused_and_not_told_as_a_hold() {
    let queue = json!({"type": "External", "external": {
        "metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "5"},
    }});
    let fallback = json!({"after": "1m", "replicas": 4});
    let kept = |spec, count| {
        let bench = Bench::new(3, &spec, 0.0);
        let now = bench.context.clock.now().as_second();
        bench.prometheus.kept("scalekit_autoscaler_current_replicas", vec![float((now - 9000, count))]);
        (bench, format!("?at={}", at(now - 3600)))
    };
    for extra in [json!({"metrics": [queue]}), json!({"metrics": [queue], "fallback": fallback})] {
        let (bench, query) = kept(spec(&extra), 3);
        let (status, text) = ask(bench, &query).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
        assert!(
            text.contains(
                "none can be made again: queue: it was not read around that time, or http://prometheus does not scrape \
                 the scaler with"
            ),
            "{text}"
        );
    }
    // What no metric is needed for is told.
    let (bench, query) = kept(spec(&json!({"metrics": [queue]})), 9);
    let (status, text) = ask(bench, &query).await;
    assert!(status == StatusCode::OK && text.contains("that is more than maxReplicas 5"), "{text}");
    // And so is what rests on a query besides.
    let query_too = spec(&json!({}))["metrics"][0].clone();
    let (bench, query) = kept(spec(&json!({"metrics": [queue, query_too]})), 3);
    let (status, text) = ask(bench, &query).await;
    assert!(status == StatusCode::OK && text.contains("queue could not be read"), "{text}");
}

#[tokio::test]
async fn the_future_is_not_explained() {
    let (bench, _) = bench();
    let later = bench.context.clock.now() + SignedDuration::from_hours(1);
    assert_eq!(ask(bench, &format!("?at={later}")).await.0, StatusCode::BAD_REQUEST);
}

fn float((second, value): (i64, i32)) -> (i64, f64) {
    (second, f64::from(value))
}
