//! One look at a time.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::fake::{Bench, spec};
use crate::prometheus::Error;

const SCALE: &str = "PUT /apis/apps/v1/namespaces/demo/deployments/w/scale?&fieldManager=scalekit-autoscaler";

fn scale_writes(bench: &Bench) -> usize {
    bench.api.cluster().writes.iter().filter(|write| write.contains("/scale?")).count()
}

#[tokio::test]
async fn more_load_is_more_replicas_and_it_is_told() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.replicas, 3);
    assert!(cluster.writes.iter().any(|write| write == SCALE), "{:?}", cluster.writes);
    let status = cluster.status();
    assert_eq!((status.current_replicas, status.desired_replicas), (Some(1), Some(3)));
    assert_eq!(status.observed_generation, Some(7));
    assert_eq!(status.current_metrics[0].summary, "25/10 per replica");
    let decision = status.last_decision.expect("a decision");
    assert_eq!(decision.message, "active_tasks=25 current_replicas=1 desired_replicas=3 → scaling up");
    assert_eq!(cluster.reason("AbleToScale", "True").as_deref(), Some("SucceededRescale"));
    let event = &cluster.events[0];
    assert_eq!((&event["reason"], &event["regarding"]["name"]), (&json!("SuccessfulRescale"), &json!("w")));
}

#[tokio::test]
async fn every_event_says_its_own_change() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    for tasks in [25.0, 45.0, 5.0] {
        bench.prometheus.set(Ok(vec![tasks]));
        bench.look().await;
    }
    let cluster = bench.api.cluster();
    let expected = [
        "New size: 3 (was 1); reason: active-tasks above target; active_tasks=25",
        "New size: 5 (was 3); reason: active-tasks above target; active_tasks=45",
        "New size: 1 (was 5); reason: All metrics below target; active_tasks=5",
    ];
    assert_eq!(cluster.notes(), expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    bench.look().await;
    let writes = bench.api.cluster().writes.len();
    for _ in 0..50 {
        tokio::time::advance(Duration::from_secs(15)).await;
        bench.look().await;
    }
    let cluster = bench.api.cluster();
    // Of the looks, one writes: when the scale-up leaves the sight of every rate.
    assert!(cluster.writes.len() <= writes + 1, "{:?}", cluster.writes);
}

#[tokio::test(start_paused = true)]
async fn prometheus_that_does_not_answer_holds_the_count_and_is_left_alone() {
    let mut bench = Bench::new(4, &spec(&json!({})), 35.0);
    bench.look().await;
    bench.prometheus.set(Err(Error::Unreachable("connection refused".to_owned())));
    let asked = bench.prometheus.asked();
    let wake = bench.look().await.expect("a time to ask again");
    let wait = wake.duration_since(bench.context.clock.now());
    assert!((15..=30).contains(&wait.as_secs()), "{wait}");
    // Meanwhile it is not asked, and the failure is not told again.
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(bench.look().await, Some(wake));
    assert_eq!(bench.prometheus.asked(), asked + 1);
    {
        let cluster = bench.api.cluster();
        assert_eq!(cluster.replicas, 4);
        assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("PrometheusUnreachable"));
        let decision = cluster.status().last_decision.expect("a decision");
        assert_eq!(decision.message, "active_tasks=error current_replicas=4 desired_replicas=4 → no data: holding");
        assert_eq!(cluster.notes().len(), 1, "{:?}", cluster.notes());
        assert_eq!(cluster.events[0]["type"], "Warning");
    }
    // It is back: the next look after the wait scales at once.
    bench.prometheus.set(Ok(vec![5.0]));
    tokio::time::advance(Duration::from_secs(30)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 1);
}

#[rstest]
#[case::hold("Hold", 4, "MetricAbsent", 0)]
#[case::error("Error", 4, "FailedGetPrometheusMetric", 1)]
#[case::zero("Zero", 1, "", 1)]
#[tokio::test]
async fn no_series_is_not_an_outage(
    #[case] on_absent: &str,
    #[case] replicas: i32,
    #[case] reason: &str,
    #[case] events: usize,
) {
    let mut spec = spec(&json!({}));
    spec["metrics"][0]["prometheus"]["onAbsent"] = json!(on_absent);
    let mut bench = Bench::new(4, &spec, 0.0);
    bench.prometheus.set(Ok(vec![]));
    assert_eq!(bench.look().await, None, "the server is well");
    let cluster = bench.api.cluster();
    assert_eq!(cluster.replicas, replicas);
    assert_eq!(cluster.reason("ScalingActive", "False").unwrap_or_default(), reason);
    assert_eq!(cluster.events.len(), events);
}

#[rstest]
#[case::somebody_scales_to_where_we_would(3)]
#[case::somebody_scales_further(5)]
#[case::somebody_scales_less(2)]
#[tokio::test(start_paused = true)]
async fn who_orders_another_count_just_before_us_is_named_and_left_alone(#[case] others: i32) {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().others.push_back(others);
    bench.look().await;
    {
        let cluster = bench.api.cluster();
        assert_eq!(cluster.replicas, others, "not fought");
        assert_eq!(cluster.status().current_replicas, Some(others), "the decision is about what was there");
        assert_eq!(cluster.reason("Conflict", "True").as_deref(), Some("ForeignWriter"));
        assert_eq!(cluster.notes().len(), 1, "{:?}", cluster.notes());
        let said = format!("kubectl set the replica count from 1 to {others}; it is left alone");
        assert!(cluster.notes()[0].starts_with(&said), "{:?}", cluster.notes());
    }
    // Once by hand is not the last word.
    for seconds in [30, 31] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        bench.look().await;
    }
    assert_eq!(bench.api.cluster().replicas, 3);
    assert_eq!(bench.api.cluster().reason("Conflict", "False").as_deref(), Some("NoConflict"));
}

#[tokio::test]
async fn a_conflict_about_something_else_than_the_count_is_tried_again() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().others.extend([1, 1]);
    bench.look().await;
    assert_eq!(scale_writes(&bench), 3);
    assert_eq!(bench.api.cluster().replicas, 3);
    assert_eq!(bench.api.cluster().reason("Conflict", "True"), None);
}

#[tokio::test]
async fn a_conflict_that_does_not_end_is_told_and_given_up() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().others.extend([1; 7]);
    bench.look().await;
    assert_eq!(scale_writes(&bench), 5);
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("AbleToScale", "False").as_deref(), Some("FailedUpdateScale"));
    assert_eq!(cluster.events[0]["reason"], "FailedRescale");
}

#[tokio::test]
async fn recommend_writes_no_scale() {
    let mut bench = Bench::new(1, &spec(&json!({"mode": "Recommend"})), 25.0);
    bench.look().await;
    assert_eq!(scale_writes(&bench), 0);
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.status().desired_replicas), (1, Some(3)));
    let decision = cluster.status().last_decision.expect("a decision");
    assert_eq!(decision.message, "active_tasks=25 current_replicas=1 desired_replicas=3 → recommend only");
}

#[tokio::test]
async fn paused_asks_nobody() {
    let mut bench = Bench::new(1, &spec(&json!({"mode": "Paused"})), 25.0);
    bench.look().await;
    assert_eq!((scale_writes(&bench), bench.prometheus.asked()), (0, 0));
    assert_eq!(bench.api.cluster().reason("ScalingActive", "False").as_deref(), Some("Paused"));
}

#[tokio::test]
async fn a_missing_target_is_told_once_and_found_when_it_comes() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().target_exists = false;
    bench.look().await;
    bench.look().await;
    {
        let mut cluster = bench.api.cluster();
        assert_eq!(cluster.reason("AbleToScale", "False").as_deref(), Some("FailedGetScale"));
        assert_eq!(cluster.notes(), ["deployments.apps \"w\" not found"]);
        cluster.target_exists = true;
    }
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
    assert_eq!(bench.api.cluster().reason("AbleToScale", "True").as_deref(), Some("SucceededRescale"));
}

#[tokio::test]
async fn a_spec_that_an_older_definition_let_in_is_told_by_its_field() {
    let mut bench = Bench::new(1, &spec(&json!({"minReplicas": 9})), 25.0);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.replicas, 1);
    assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("InvalidSpec"));
    assert_eq!(cluster.notes(), ["spec.maxReplicas: it is less than minReplicas"]);
}

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

#[tokio::test]
async fn a_level_multiplies_the_pods_that_are_ready() {
    let target = json!({"type": "Value", "value": "500m"});
    let mut spec = spec(&json!({}));
    spec["metrics"][0]["prometheus"]["target"] = target;
    let mut bench = Bench::new(2, &spec, 0.9);
    let pod = |name: &str, ready: &str| {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "w", "uid": "target-1", "controller": true});
        json!({"metadata": {"name": name, "ownerReferences": [owner]}, "spec": {}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    };
    bench.api.cluster().pods = vec![pod("a", "True"), pod("b", "True"), pod("c", "False")];
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4, "0.9 of 0.5 for 2 ready pods");
}

#[tokio::test]
async fn our_own_metrics_say_what_was_decided() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    let text = bench.context.telemetry.text();
    for line in [
        "scalekit_autoscaler_desired_replicas{namespace=\"demo\",name=\"w\"} 3",
        "scalekit_autoscaler_current_replicas{namespace=\"demo\",name=\"w\"} 1",
        "scalekit_autoscaler_max_replicas{namespace=\"demo\",name=\"w\"} 5",
        "scalekit_autoscaler_metric_value{namespace=\"demo\",name=\"w\",metric=\"active-tasks\"} 25.0",
        "scalekit_autoscaler_metric_target{namespace=\"demo\",name=\"w\",metric=\"active-tasks\",type=\"AverageValue\"} 10.0",
        "scalekit_autoscaler_decisions_total{reason=\"DesiredWithinRange\",action=\"scale_up\"} 1",
        "scalekit_autoscaler_api_writes_total{resource=\"scale\",outcome=\"ok\"} 1",
        "scalekit_autoscaler_condition{namespace=\"demo\",name=\"w\",condition=\"AbleToScale\",reason=\"SucceededRescale\"} 1",
        "scalekit_autoscaler_last_rescale_timestamp_seconds{namespace=\"demo\",name=\"w\",action=\"scale_up\",\
         reason=\"DesiredWithinRange\",cause=\"active-tasks above target\",from=\"1\",to=\"3\"} ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    bench.prometheus.set(Ok(vec![45.0]));
    bench.look().await;
    let text = bench.context.telemetry.text();
    let rescales: Vec<_> = text.lines().filter(|line| line.contains("last_rescale_timestamp_seconds{")).collect();
    assert_eq!(rescales.len(), 1, "{rescales:?}");
    assert!(rescales[0].contains("from=\"3\",to=\"5\""), "{rescales:?}");
    bench.api.cluster().target_exists = false;
    bench.look().await;
    let text = bench.context.telemetry.text();
    assert!(text.contains("condition=\"AbleToScale\",reason=\"FailedGetScale\"} 0"), "{text}");
    assert_eq!(text.matches("condition=\"AbleToScale\"").count(), 1, "{text}");
    assert!(!text.contains("metric_value{"), "a value that was not read\n{text}");
    let key = super::super::Key { namespace: "demo".to_owned(), name: "w".to_owned() };
    bench.context.telemetry.forget(&key);
    assert!(!bench.context.telemetry.text().contains("name=\"w\""));
}

fn partial(value: f64) -> Error {
    let sample = crate::prometheus::Sample { labels: std::collections::BTreeMap::new(), value, at: 0.0 };
    Error::Partial { why: "a store is gone".to_owned(), samples: vec![sample] }
}

#[tokio::test]
async fn what_is_there_of_a_partial_answer_may_call_for_more() {
    let mut bench = Bench::new(3, &spec(&json!({})), 0.0);
    bench.prometheus.set(Err(partial(45.0)));
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 5);
    // With the rest of it missing, fewer is no answer.
    bench.prometheus.set(Err(partial(5.0)));
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("ScalingActive", "False").as_deref()), (5, Some("PartialAnswer")));
}

#[rstest]
#[case::not_a_number(Err(Error::NotFinite("NaN".to_owned())), "NotANumber")]
#[case::infinite(Err(Error::NotFinite("+Inf".to_owned())), "InfiniteValue")]
#[case::negative(Ok(vec![-1.0]), "NegativeValue")]
#[case::several(Ok(vec![1.0, 2.0]), "SeveralSeries")]
#[case::partial(Err(partial(0.0)), "PartialAnswer")]
#[case::partial_and_as_many(Err(partial(35.0)), "PartialAnswer")]
#[case::a_page(Err(Error::NotPrometheus { status: 200, reason: "expected value".to_owned() }), "NotPrometheus")]
#[case::a_login(Err(Error::NotPrometheus { status: 401, reason: "expected value".to_owned() }), "PrometheusUnauthorized")]
#[case::a_long_answer(Err(Error::TooLarge(1)), "AnswerTooLarge")]
#[case::late(Err(Error::Timeout(Duration::from_secs(5))), "PrometheusTimeout")]
#[case::gone(Err(Error::Unreachable("refused".to_owned())), "PrometheusUnreachable")]
#[case::a_typo(Err(Error::Refused { kind: "bad_data".to_owned(), message: "x".to_owned() }), "InvalidQuery")]
#[case::a_heavy_query(Err(Error::Refused { kind: "timeout".to_owned(), message: "x".to_owned() }), "QueryTimeout")]
#[case::a_range(Err(Error::WrongType("range vector".to_owned())), "WrongResultType")]
#[tokio::test]
async fn what_is_no_number_holds_and_has_a_reason_of_its_own(
    #[case] answer: Result<Vec<f64>, Error>,
    #[case] reason: &str,
) {
    let mut bench = Bench::new(4, &spec(&json!({})), 0.0);
    bench.prometheus.set(answer);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("ScalingActive", "False").as_deref()), (4, Some(reason)));
    assert_eq!(cluster.events[0]["reason"], reason);
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_and_a_fallback_go_on_after_a_restart_and_write_nothing_meanwhile() {
    let extra = json!({"minReplicas": 0, "cooldown": "5m", "fallback": {"after": "3m", "replicas": 2}});
    let mut bench = Bench::new(1, &spec(&extra), 0.0);
    bench.look().await;
    tokio::time::advance(Duration::from_secs(1)).await;
    bench.look().await;
    let writes = bench.api.cluster().writes.len();
    for _ in 0..18 {
        tokio::time::advance(Duration::from_secs(15)).await;
        bench.restart();
        bench.look().await;
    }
    // Of 18 restarts, one writes: when the count of the very first look leaves the memory.
    assert!(bench.api.cluster().writes.len() <= writes + 1, "270 s");
    assert_eq!(bench.api.cluster().status().last_decision.expect("one").reason, "CoolingDown");
    // 29 seconds are left; without data it does not run, but the fallback's time does.
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
    tokio::time::advance(Duration::from_secs(31)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 0);
}

fn written_by(bench: &Bench, manager: &str, replicas: i32) {
    let mut cluster = bench.api.cluster();
    (cluster.replicas, cluster.version) = (replicas, cluster.version + 1);
    cluster.writer = manager.to_owned();
}

#[tokio::test(start_paused = true)]
async fn somebody_else_who_writes_the_count_is_named_and_left_alone() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
    let mut overwritten = Vec::new();
    // A tool that sets the count to 1 every 3 minutes, for an hour.
    for second in (0..3600).step_by(15) {
        tokio::time::advance(Duration::from_secs(15)).await;
        if second % 180 == 0 && bench.api.cluster().replicas != 1 {
            written_by(&bench, "argocd-controller", 1);
        }
        let before = bench.api.cluster().replicas;
        bench.look().await;
        if bench.api.cluster().replicas != before {
            overwritten.push(second / 60);
        }
        if second == 0 {
            let cluster = bench.api.cluster();
            assert_eq!(cluster.replicas, 1, "not fought");
            assert_eq!(cluster.reason("Conflict", "True").as_deref(), Some("ForeignWriter"));
            let event = cluster.events.iter().find(|event| event["reason"] == "ForeignWriter").expect("an event");
            let note = event["note"].as_str().expect("a note");
            assert!(
                note.starts_with("argocd-controller set the replica count from 3 to 1; it is left alone"),
                "{note}"
            );
        }
    }
    assert!(overwritten.len() <= 5, "ever more seldom: {overwritten:?}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_set_the_count_once_does_not_have_the_last_word_for_ever() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    written_by(&bench, "kubectl", 5);
    for expected in [5, 5, 5, 3] {
        tokio::time::advance(Duration::from_secs(20)).await;
        bench.look().await;
        assert_eq!(bench.api.cluster().replicas, expected);
    }
    assert_eq!(bench.api.cluster().reason("Conflict", "False").as_deref(), Some("NoConflict"));
}

#[tokio::test]
async fn a_write_of_ours_whose_answer_was_lost_is_nobody_elses() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    written_by(&bench, "scalekit-autoscaler", 1);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("Conflict", "True")), (3, None));
}

#[tokio::test]
async fn an_hpa_of_the_same_workload_is_named_and_not_fought() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    let target = bench.object().spec.scale_target_ref;
    bench.context.hpas.put("demo", &target, "old-hpa");
    bench.look().await;
    {
        let cluster = bench.api.cluster();
        assert_eq!(cluster.replicas, 1);
        assert_eq!(cluster.reason("Conflict", "True").as_deref(), Some("HorizontalPodAutoscaler"));
        assert!(cluster.notes()[0].contains("old-hpa"), "{:?}", cluster.notes());
    }
    bench.context.hpas.take_away("demo", &target);
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
    assert_eq!(bench.api.cluster().reason("Conflict", "False").as_deref(), Some("NoConflict"));
}

#[tokio::test]
async fn the_younger_of_two_autoscalers_stops_and_names_the_other() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.elder = Some(super::super::Key { namespace: "demo".to_owned(), name: "elder".to_owned() });
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, bench.prometheus.asked()), (1, 0));
    assert_eq!(cluster.reason("Conflict", "True").as_deref(), Some("AnotherAutoscaler"));
    assert!(cluster.notes()[0].contains("demo/elder"), "{:?}", cluster.notes());
}

#[tokio::test]
async fn a_look_can_be_explained() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    let key = super::super::Key { namespace: "demo".to_owned(), name: "w".to_owned() };
    let explanation = bench.context.history.explain(&key, None).expect("it was looked at");
    assert_eq!(explanation.steps[1], "active-tasks is 25, a replica takes 10: 25 / 10 rounded up calls for 3");
    assert_eq!(explanation.would_change[0], "needs 31 active-tasks to reach 4");
}

/// With thousands of objects the scale is not read at every look, and what somebody orders is found all the same.
#[tokio::test(start_paused = true)]
async fn of_many_objects_a_scale_that_needs_no_change_is_not_read_every_time() {
    let mut bench = Bench::new(3, &spec(&json!({})), 25.0);
    bench.context.objects.store(5000, std::sync::atomic::Ordering::Relaxed);
    let mut counts = Vec::new();
    bench.look().await;
    bench.api.cluster().replicas = 5;
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(15)).await;
        bench.look().await;
        counts.push(bench.api.cluster().replicas);
    }
    assert_eq!(counts, [5, 5, 5, 5], "somebody else wrote it and is left alone once it is seen");
    assert_eq!(bench.api.cluster().reason("Conflict", "True").as_deref(), Some("ForeignWriter"));
    // It is found too when the metrics call for a change before the scale is read again.
    let mut bench = Bench::new(3, &spec(&json!({})), 25.0);
    bench.context.objects.store(5000, std::sync::atomic::Ordering::Relaxed);
    bench.look().await;
    written_by(&bench, "argocd-controller", 1);
    bench.prometheus.set(Ok(vec![45.0]));
    tokio::time::advance(Duration::from_secs(15)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 1, "not fought");
    let said = bench.api.cluster().notes().first().map(|note| (*note).to_owned()).unwrap_or_default();
    assert!(said.starts_with("argocd-controller set the replica count from 3 to 1"), "{said}");
    // What the metrics call for is ordered at once, whatever was read when.
    let mut bench = Bench::new(3, &spec(&json!({})), 25.0);
    bench.context.objects.store(5000, std::sync::atomic::Ordering::Relaxed);
    bench.look().await;
    bench.prometheus.set(Ok(vec![45.0]));
    tokio::time::advance(Duration::from_secs(15)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 5);
}
