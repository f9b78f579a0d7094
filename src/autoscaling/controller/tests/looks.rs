//! One look at a time.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::{
    fake::{Bench, SCALE, scale_writes, spec},
    rivals::written_by,
};

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
        let expected = "spec.scaleTargetRef.name: deployments.apps \"w\" not found; make it, or write the name of one that \
            is in this namespace";
        assert_eq!(cluster.notes(), [expected]);
        cluster.target_exists = true;
    }
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
    assert_eq!(bench.api.cluster().reason("AbleToScale", "True").as_deref(), Some("SucceededRescale"));
}

/// `/apis/other.dev/v1` as discovery tells it: things have a scale, pictures have none.
fn things() -> Value {
    let kind = |name: &str, kind: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"]});
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "other.dev/v1",
        "resources": [kind("things", "Thing"), kind("things/scale", "Scale"), kind("pictures", "Picture")]})
}

#[rstest]
#[case::no_such_kind(
    "other.dev/v1",
    "Poem",
    "spec.scaleTargetRef.kind: the API server has no kind Poem in other.dev/v1; install"
)]
#[case::no_such_group(
    "unknown.dev/v1",
    "Thing",
    "spec.scaleTargetRef.kind: the API server has no kind Thing in unknown.dev/v1; install"
)]
#[case::no_version(
    "a/b/c",
    "Thing",
    "spec.scaleTargetRef.apiVersion: `a/b/c` is not an API version; write one such as apps/v1"
)]
#[case::no_scale("other.dev/v1", "Picture", "spec.scaleTargetRef.kind: pictures.other.dev have no scale subresource")]
#[tokio::test]
async fn a_target_that_cannot_be_scaled_is_named_with_its_field(
    #[case] api_version: &str,
    #[case] kind: &str,
    #[case] said: &str,
) {
    let target = json!({"apiVersion": api_version, "kind": kind, "name": "w"});
    let mut bench = Bench::new(1, &spec(&json!({"scaleTargetRef": target})), 25.0);
    bench.api.cluster().answers = vec![("/apis/other.dev/v1".to_owned(), things())];
    bench.look().await;
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("AbleToScale", "False").as_deref(), Some("FailedGetScale"));
    assert_eq!(cluster.notes().len(), 1, "told once: {:?}", cluster.notes());
    assert!(cluster.notes()[0].starts_with(said), "{:?}", cluster.notes());
}

/// A definition may get a scale while the scaler runs.
#[tokio::test]
async fn a_kind_that_gets_a_scale_is_scaled_without_a_restart() {
    let target = json!({"apiVersion": "other.dev/v1", "kind": "Picture", "name": "w"});
    let mut bench = Bench::new(1, &spec(&json!({"scaleTargetRef": target})), 25.0);
    bench.api.cluster().answers = vec![("/apis/other.dev/v1".to_owned(), things())];
    bench.look().await;
    let mut list = things();
    list["resources"][1]["name"] = json!("pictures/scale");
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w", "uid": "p"},
        "spec": {"replicas": 3}, "status": {"replicas": 3}});
    let path = "/apis/other.dev/v1/namespaces/demo/pictures/w/scale".to_owned();
    bench.api.cluster().answers = vec![(path, scale), ("/apis/other.dev/v1".to_owned(), list)];
    bench.look().await;
    assert_eq!(bench.api.cluster().reason("AbleToScale", "True").as_deref(), Some("ReadyForNewScale"));
}

/// A thing of 3 replicas and its kind, which is uninstalled, or loses its scale, and comes back.
#[rstest]
#[case::definition(
    None,
    "there is no kind Thing in unknown.dev/v1 any more: its CustomResourceDefinition, or that version of it, is gone; \
     install it again"
)]
#[case::scale(Some("things/status"), "things.unknown.dev have no scale subresource")]
#[tokio::test]
async fn a_kind_that_goes_is_told_and_found_again_when_it_returns(#[case] instead: Option<&str>, #[case] says: &str) {
    let target = json!({"apiVersion": "unknown.dev/v1", "kind": "Thing", "name": "w"});
    let mut bench = Bench::new(3, &spec(&json!({"scaleTargetRef": target})), 25.0);
    let mut kinds = things();
    kinds["groupVersion"] = json!("unknown.dev/v1");
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w", "uid": "t"},
        "spec": {"replicas": 3}, "status": {"replicas": 3}});
    let list = |kinds| ("/apis/unknown.dev/v1".to_owned(), kinds);
    let served = vec![("/apis/unknown.dev/v1/namespaces/demo/things/w/scale".to_owned(), scale), list(kinds.clone())];
    let left = instead.map(|instead| {
        kinds["resources"][1]["name"] = json!(instead);
        list(kinds)
    });
    for _ in 0..2 {
        bench.api.cluster().fails = None;
        bench.api.cluster().answers.clone_from(&served);
        bench.look().await;
        assert_eq!(bench.api.cluster().reason("AbleToScale", "True").as_deref(), Some("ReadyForNewScale"));
        bench.api.cluster().answers = left.clone().into_iter().collect();
        let scales = "/apis/unknown.dev/v1/namespaces/";
        bench.api.cluster().fails = Some((http::StatusCode::NOT_FOUND, http::Method::GET, scales));
        for _ in 0..2 {
            bench.look().await;
            let cluster = bench.api.cluster();
            assert_eq!(cluster.reason("AbleToScale", "False").as_deref(), Some("FailedGetScale"));
            let said = cluster.status().last_decision.expect("why there is none").message;
            assert!(said.starts_with(&format!("spec.scaleTargetRef.kind: {says}")), "{said}");
        }
    }
}

/// The API server refuses all but the last by itself, where its definition is ours.
#[rstest]
#[case::min_above_max(
    json!({"minReplicas": 9}),
    "spec.maxReplicas: it is less than minReplicas; raise it, or lower spec.minReplicas"
)]
#[case::no_metrics(json!({"metrics": []}), "spec.metrics: it is empty, so there is nothing to scale by; name a metric")]
#[case::two_targets(
    json!({"metrics": [{"type": "Prometheus", "prometheus": {"name": "m", "query": "q",
        "target": {"type": "Value", "value": "1", "averageValue": "1"}}}]}),
    "spec.metrics[0].prometheus.target: both value and averageValue are set; leave one out"
)]
#[case::never(
    json!({"schedules": [{"name": "s", "start": "0 0 30 2 *", "end": "0 1 * * *", "minReplicas": 2}]}),
    "spec.schedules[0].start: `0 0 30 2 *`: it never comes: no such day is in these months; write one that they have"
)]
#[tokio::test]
async fn a_spec_that_an_older_definition_let_in_is_told_by_its_field(#[case] wrong: Value, #[case] told: &str) {
    let mut bench = Bench::new(1, &spec(&wrong), 25.0);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.replicas, 1);
    assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("InvalidSpec"));
    assert_eq!(cluster.notes(), [told]);
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
        "scalekit_autoscaler_current_replicas{namespace=\"demo\",name=\"w\"} 3",
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
    let key = super::super::Key::new("demo", "w");
    bench.context.telemetry.forget(&key);
    assert!(!bench.context.telemetry.text().contains("name=\"w\""));
}

#[tokio::test]
async fn a_look_can_be_explained() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    let key = super::super::Key::new("demo", "w");
    let explanation = bench.context.history.explain(&key, None).expect("it was looked at");
    assert_eq!(explanation.steps[1], "active-tasks is 25, a replica takes 10: 25 / 10 rounded up calls for 3");
    assert_eq!(explanation.would_change[0], "needs 31 active-tasks to reach 4");
}

/// Nobody knows its pods, and for a value in all nobody needs to.
#[tokio::test]
async fn a_target_without_a_selector_is_scaled_by_what_counts_no_pods() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().selector = "";
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
}

#[tokio::test]
async fn a_value_that_is_too_large_is_the_largest_that_fits() {
    let mut bench = Bench::new(1, &spec(&json!({})), 1e300);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("ScalingLimited", "True").as_deref()), (5, Some("TooManyReplicas")));
}

/// With thousands of objects a value that moves is not a write at each look, and what becomes of it is told at once.
#[tokio::test(start_paused = true)]
async fn of_many_objects_readings_alone_are_not_written_every_time() {
    let mut bench = Bench::new(3, &spec(&json!({})), 25.0);
    let statuses = |bench: &Bench| bench.api.cluster().writes.iter().filter(|write| write.contains("/status")).count();
    bench.look().await;
    bench.look().await;
    for (objects, expected) in [(1, 20..=20), (5000, 1..=2)] {
        bench.context.objects.store(objects, std::sync::atomic::Ordering::Relaxed);
        let before = statuses(&bench);
        for look in 0..20 {
            tokio::time::advance(Duration::from_secs(15)).await;
            bench.prometheus.set(Ok(vec![25.5 + f64::from(look % 2)]));
            bench.look().await;
        }
        let written = statuses(&bench) - before;
        assert!(expected.contains(&written), "{written} of {objects}");
    }
    bench.prometheus.set(Ok(vec![35.0]));
    let before = statuses(&bench);
    bench.look().await;
    assert_eq!(statuses(&bench) - before, 1);
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
