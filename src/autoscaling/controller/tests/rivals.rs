//! Looks that meet others who order another count.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::fake::{Bench, scale_writes, spec};

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

pub fn written_by(bench: &Bench, manager: &str, replicas: i32) {
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

#[rstest]
#[case::it_was_certainly_not_us(false, Some("ForeignWriter"))]
#[case::it_may_have_been_us(true, None)]
#[tokio::test]
async fn a_writer_whom_nothing_names_is_somebody(#[case] restarts: bool, #[case] conflict: Option<&str>) {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    written_by(&bench, "", 1);
    if restarts {
        bench.restart();
    }
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("Conflict", "True").as_deref(), conflict);
    assert_eq!(cluster.replicas, if restarts { 3 } else { 1 });
    let said = cluster.notes().join("\n").contains("somebody set the replica count from 3 to 1; it is left alone");
    assert_eq!(said, !restarts, "{:?}", cluster.notes());
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
    bench.elder = Some(super::super::Key::new("demo", "elder"));
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, bench.prometheus.asked()), (1, 0));
    assert_eq!(cluster.reason("Conflict", "True").as_deref(), Some("AnotherAutoscaler"));
    assert!(cluster.notes()[0].contains("demo/elder"), "{:?}", cluster.notes());
}

fn set_mode(bench: &Bench, mode: &str) {
    bench.api.cluster().autoscaler["spec"]["mode"] = json!(mode);
}

/// With many objects a scale that needed no change is not read at every look.
#[rstest]
#[case::few(1)]
#[case::many(5000)]
#[tokio::test(start_paused = true)]
async fn who_sets_the_count_while_it_is_paused_is_nobodys_rival(#[case] objects: usize) {
    let mut bench = Bench::new(3, &spec(&json!({})), 25.0);
    bench.context.objects.store(objects, std::sync::atomic::Ordering::Relaxed);
    bench.look().await;
    set_mode(&bench, "Paused");
    bench.look().await;
    written_by(&bench, "kubectl", 5);
    tokio::time::advance(Duration::from_secs(15)).await;
    bench.look().await;
    set_mode(&bench, "Auto");
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("Conflict", "True")), (3, None));
    assert!(cluster.events.iter().all(|event| event["reason"] != "ForeignWriter"), "{:?}", cluster.notes());
}

#[tokio::test]
async fn while_it_is_paused_there_is_no_conflict() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.context.hpas.put("demo", &bench.object().spec.scale_target_ref, "old-hpa");
    bench.look().await;
    assert_eq!(bench.api.cluster().reason("Conflict", "True").as_deref(), Some("HorizontalPodAutoscaler"));
    set_mode(&bench, "Paused");
    bench.look().await;
    assert_eq!(bench.api.cluster().reason("Conflict", "False").as_deref(), Some("NoConflict"));
}

/// Who else writes the count is in the status.
#[tokio::test(start_paused = true)]
async fn who_is_left_alone_is_left_alone_after_a_restart_as_well() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    written_by(&bench, "argocd-controller", 1);
    for seconds in [15, 30] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        bench.look().await;
        bench.restart();
    }
    bench.look().await;
    {
        let cluster = bench.api.cluster();
        assert_eq!((cluster.replicas, cluster.reason("Conflict", "True").as_deref()), (1, Some("ForeignWriter")));
    }
    // The minute began when he wrote it, not when the scaler did.
    tokio::time::advance(Duration::from_secs(31)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
    // And that it was not the first time is remembered as well.
    bench.restart();
    bench.look().await;
    written_by(&bench, "argocd-controller", 1);
    bench.look().await;
    let notes = bench.api.cluster().notes().join("\n");
    assert!(notes.contains("argocd-controller set the replica count from 3 to 1, for the 2th time"), "{notes}");
}

/// While the scaler does not run, or none leads.
#[tokio::test(start_paused = true)]
async fn who_writes_the_count_while_no_scaler_runs_is_named_and_left_alone() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.look().await;
    written_by(&bench, "argocd-controller", 1);
    bench.restart();
    bench.look().await;
    {
        let cluster = bench.api.cluster();
        assert_eq!((cluster.replicas, cluster.reason("Conflict", "True").as_deref()), (1, Some("ForeignWriter")));
        let notes = cluster.notes().join("\n");
        assert!(notes.contains("argocd-controller set the replica count from 3 to 1; it is left alone"), "{notes}");
    }
    tokio::time::advance(Duration::from_secs(61)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
}

const STATUS: &str = "/apis/scalekit.dev/v1alpha1/namespaces/demo/autoscalers/w/status";
/// Nobody may read who wrote the count of the target.
const SECRET: (http::StatusCode, http::Method, &str) =
    (http::StatusCode::FORBIDDEN, http::Method::GET, "/apis/apps/v1/namespaces/demo/deployments/w$");
const SCALE_OF_W: &str = "/apis/apps/v1/namespaces/demo/deployments/w/scale";

#[rstest]
#[case::it_never_wrote(35.0, false, false)]
#[case::it_wrote_last(45.0, false, false)]
#[case::its_last_write_is_in_no_status(45.0, true, false)]
#[case::and_who_wrote_it_cannot_be_read(45.0, true, true)]
#[tokio::test]
async fn after_a_restart_nobody_is_accused_of_what_the_scaler_wrote_itself(
    #[case] load: f64,
    #[case] status_is_lost: bool,
    #[case] writer_is_secret: bool,
) {
    let mut bench = Bench::new(4, &spec(&json!({})), 35.0);
    bench.look().await;
    bench.prometheus.set(Ok(vec![load]));
    if status_is_lost {
        bench.api.cluster().fails = Some((http::StatusCode::INTERNAL_SERVER_ERROR, http::Method::PATCH, STATUS));
    }
    bench.look().await;
    bench.api.cluster().fails = writer_is_secret.then_some(SECRET);
    bench.restart();
    let failed = bench.api.cluster().failed;
    bench.look().await;
    let failed = bench.api.cluster().failed - failed;
    assert_eq!(failed > 0, writer_is_secret, "it is asked who wrote it");
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("Conflict", "True"), None);
    assert!(cluster.events.iter().all(|event| event["reason"] != "ForeignWriter"), "{:?}", cluster.notes());
}

/// What an HPA did while this Autoscaler wrote nothing is no news when it goes on.
#[rstest]
#[case::beside_an_hpa("Auto", true)]
#[case::recommending("Recommend", false)]
#[case::paused("Paused", false)]
#[tokio::test]
async fn after_a_restart_nobody_is_accused_of_a_count_that_was_his_to_set(#[case] mode: &str, #[case] hpa: bool) {
    let mut bench = Bench::new(3, &spec(&json!({})), 25.0);
    bench.look().await;
    let target = bench.object().spec.scale_target_ref;
    set_mode(&bench, mode);
    if hpa {
        bench.context.hpas.put("demo", &target, "old-hpa");
    }
    bench.look().await;
    written_by(&bench, "kube-controller-manager", 5);
    bench.context.hpas.take_away("demo", &target);
    set_mode(&bench, "Auto");
    bench.restart();
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("Conflict", "True")), (3, None));
}

#[tokio::test]
async fn who_writes_the_count_after_a_write_of_ours_that_failed_is_named_and_left_alone() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().fails = Some((http::StatusCode::INTERNAL_SERVER_ERROR, http::Method::PUT, SCALE_OF_W));
    bench.look().await;
    bench.api.cluster().fails = None;
    written_by(&bench, "argocd-controller", 2);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("Conflict", "True").as_deref()), (2, Some("ForeignWriter")));
}

/// It was carried out all the same, and only the answer was lost.
#[rstest]
#[case::who_wrote_it_can_be_read(false)]
#[case::who_wrote_it_cannot_be_read(true)]
#[tokio::test]
async fn a_write_that_failed_and_was_carried_out_is_nobody_elses(#[case] writer_is_secret: bool) {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    bench.api.cluster().fails = Some((http::StatusCode::INTERNAL_SERVER_ERROR, http::Method::PUT, SCALE_OF_W));
    bench.look().await;
    written_by(&bench, "scalekit-autoscaler", 3);
    bench.api.cluster().fails = writer_is_secret.then_some(SECRET);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("Conflict", "True")), (3, None));
}
