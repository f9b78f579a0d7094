//! What the metrics say, and is not enough to scale down.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::fake::{Bench, Cluster, spec};
use crate::{
    autoscaling::controller::{
        Key,
        crowd::{Look, Wants},
    },
    prometheus::Error,
};

/// What every question about a history has in it.
const HISTORY: &str = "count(count_over_time(";

/// Ten requests a second for each replica, over five minutes.
fn rate() -> Value {
    let mut spec = spec(&json!({}));
    spec["metrics"][0]["prometheus"]["query"] = json!("sum(rate(requests_total{app=\"w\"}[5m]))");
    spec
}

async fn look_after(bench: &mut Bench, seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    bench.look().await;
}

fn replicas(bench: &Bench) -> i32 {
    bench.api.cluster().replicas
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_shorter_than_the_range_scales_nothing_down_and_is_told() {
    let mut bench = Bench::new(4, &rate(), 5.0);
    bench.prometheus.set_of(HISTORY, Ok(vec![1.0]));
    bench.look().await;
    {
        let cluster = bench.api.cluster();
        assert_eq!(cluster.replicas, 4);
        assert_eq!(cluster.reason("ScalingLimited", "True").as_deref(), Some("ShortHistory"));
        assert_eq!(cluster.reason("ScalingActive", "True").as_deref(), Some("ValidMetricFound"), "it was read");
        let decision = cluster.status().last_decision.expect("a decision");
        assert_eq!(decision.reason, "ShortHistory");
        assert_eq!(decision.message, "active_tasks=5 current_replicas=4 desired_replicas=4 → held back");
        let why = "http://prometheus has too few samples of `requests_total{app=\"w\"}` in the 5m that the query of metric \
                   active-tasks looks back, so the value may be too low";
        assert_eq!(cluster.notes(), [why]);
        let key = Key::new("demo", "w");
        let explained = bench.context.history.explain(&key, None).expect("a decision").steps;
        assert!(explained.contains(&format!("held back: {why}")), "{explained:?}");
    }
    // It is asked again when that may have changed, and told once.
    look_after(&mut bench, 15).await;
    assert_eq!(bench.prometheus.asked_of(HISTORY), 1);
    look_after(&mut bench, 15).await;
    assert_eq!((bench.prometheus.asked_of(HISTORY), bench.api.cluster().notes().len()), (2, 1));
    // More is believed all the while.
    bench.prometheus.set(Ok(vec![45.0]));
    look_after(&mut bench, 15).await;
    assert_eq!(replicas(&bench), 5);
    // With the whole range there is nothing to doubt any more.
    bench.prometheus.set(Ok(vec![5.0]));
    bench.prometheus.set_of(HISTORY, Ok(vec![0.0]));
    look_after(&mut bench, 30).await;
    assert_eq!(replicas(&bench), 1);
}

#[rstest]
#[case::no_range("sum(tasks)", 4, 5.0, 0)]
#[case::more_is_called_for("sum(rate(requests_total[5m]))", 4, 45.0, 0)]
#[case::nothing_changes("sum(rate(requests_total[5m]))", 4, 35.0, 0)]
#[case::a_bound_that_was_lowered("sum(rate(requests_total[5m]))", 9, 5.0, 0)]
#[case::less_is_called_for("sum(rate(requests_total[5m]))", 4, 5.0, 1)]
#[tokio::test]
async fn a_server_is_asked_about_its_history_only_when_the_count_would_fall_by_it(
    #[case] query: &str,
    #[case] replicas: i32,
    #[case] value: f64,
    #[case] asked: usize,
) {
    let mut spec = spec(&json!({}));
    spec["metrics"][0]["prometheus"]["query"] = json!(query);
    let mut bench = Bench::new(replicas, &spec, value);
    bench.prometheus.set_of(HISTORY, Ok(vec![0.0]));
    bench.look().await;
    assert_eq!(bench.prometheus.asked_of(HISTORY), asked);
}

#[rstest]
#[case::a_subquery("max_over_time(sum(rate(requests_total[5m]))[1h:])", Ok(vec![1.0]))]
#[case::a_server_that_does_not_understand(
    "sum(rate(requests_total[5m]))",
    Err(Error::Refused { kind: "bad_data".to_owned(), message: "unknown function".to_owned() })
)]
#[case::a_server_that_is_too_slow_for_that(
    "sum(rate(requests_total[5m]))",
    Err(Error::Timeout(Duration::from_secs(5)))
)]
#[tokio::test]
async fn what_cannot_be_known_about_a_history_holds_nothing(
    #[case] query: &str,
    #[case] answer: Result<Vec<f64>, Error>,
) {
    let mut spec = spec(&json!({}));
    spec["metrics"][0]["prometheus"]["query"] = json!(query);
    let mut bench = Bench::new(4, &spec, 5.0);
    bench.prometheus.set_of(HISTORY, answer);
    bench.look().await;
    assert_eq!(replicas(&bench), 1);
}

/// A range that is longer than what the server keeps, say: after five minutes and the longest time between two scrapes nobody
/// can say any more that the history is young.
#[tokio::test(start_paused = true)]
async fn what_is_never_covered_holds_the_count_for_as_long_as_the_range_is() {
    let mut bench = Bench::new(4, &rate(), 5.0);
    bench.prometheus.set_of(HISTORY, Ok(vec![1.0]));
    bench.look().await;
    let mut held = 0;
    while replicas(&bench) == 4 {
        assert!(held < 100, "held for ever");
        held += 1;
        look_after(&mut bench, 30).await;
    }
    assert_eq!((replicas(&bench), held * 30), (1, 450));
}

/// Looks at so many others that the same server feeds; how many are believed at the second look.
fn others_begin_to_want_fewer(bench: &Bench, others: usize) -> usize {
    let look = |wants: Wants| {
        let note = |place: usize| {
            let key = Key::new("demo", &format!("other-{place}"));
            let look = Look { wants, in_vain: false, interval: jiff::SignedDuration::from_secs(15) };
            bench.context.crowd.note(&key, &["http://prometheus"], look, bench.context.clock.now()).is_none()
        };
        (0..others).map(note).filter(|believed| *believed).count()
    };
    look(Wants::NoFewer);
    look(Wants::FewerNow)
}

/// Twenty others that the same server feeds begin to want fewer in the same instant.
#[tokio::test(start_paused = true)]
async fn what_most_want_at_once_is_held_and_told_and_after_a_while_believed() {
    let mut bench = Bench::new(4, &spec(&json!({})), 35.0);
    bench.look().await;
    others_begin_to_want_fewer(&bench, 20);
    bench.prometheus.set(Ok(vec![5.0]));
    look_after(&mut bench, 15).await;
    {
        let cluster = bench.api.cluster();
        assert_eq!(cluster.replicas, 4, "held");
        assert_eq!(cluster.reason("ScalingLimited", "True").as_deref(), Some("ManyScaleDowns"));
        let event = cluster.events.iter().find(|event| event["reason"] == "ManyScaleDowns").expect("an event");
        let note = event["note"].as_str().expect("a note");
        assert!(note.starts_with("http://prometheus: more than 50 % of the Autoscalers that it feeds"), "{note}");
    }
    look_after(&mut bench, 280).await;
    assert_eq!(replicas(&bench), 4, "for five minutes");
    look_after(&mut bench, 21).await;
    assert_eq!(replicas(&bench), 1);
}

/// What it would be in mode Auto is what it reports.
#[tokio::test(start_paused = true)]
async fn what_most_want_at_once_is_not_recommended_either() {
    let mut bench = Bench::new(4, &spec(&json!({"mode": "Recommend"})), 35.0);
    bench.look().await;
    others_begin_to_want_fewer(&bench, 20);
    bench.prometheus.set(Ok(vec![5.0]));
    look_after(&mut bench, 15).await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("ScalingLimited", "True").as_deref(), Some("ManyScaleDowns"));
    assert_eq!(cluster.status().desired_replicas, Some(4));
}

/// With it there are ten, of which five may begin at once; without it there are nine, which are too few for a share.
#[rstest]
#[case::it_can(|_: &mut Cluster| {}, 5)]
#[case::paused(|cluster: &mut Cluster| cluster.autoscaler["spec"]["mode"] = json!("Paused"), 9)]
#[case::a_spec_that_cannot_be(|cluster: &mut Cluster| cluster.autoscaler["spec"]["interval"] = json!("never"), 9)]
#[case::its_target_is_gone(|cluster: &mut Cluster| cluster.target_exists = false, 9)]
#[tokio::test]
async fn who_cannot_scale_does_not_make_the_share_of_the_others_smaller(
    #[case] change: fn(&mut Cluster),
    #[case] believed: usize,
) {
    let mut bench = Bench::new(4, &spec(&json!({})), 35.0);
    bench.look().await;
    change(&mut bench.api.cluster());
    bench.look().await;
    assert_eq!(others_begin_to_want_fewer(&bench, 9), believed);
}

#[rstest]
#[case::an_elder(true)]
#[case::an_hpa(false)]
#[tokio::test]
async fn who_gives_way_to_a_rival_does_not_make_the_share_of_the_others_smaller(#[case] elder: bool) {
    let mut bench = Bench::new(4, &spec(&json!({})), 35.0);
    bench.look().await;
    if elder {
        bench.elder = Some(Key::new("demo", "elder"));
    } else {
        bench.context.hpas.put("demo", &bench.object().spec.scale_target_ref, "old-hpa");
    }
    bench.look().await;
    assert_eq!(others_begin_to_want_fewer(&bench, 9), 9);
}

/// Off, or asleep: it cannot want fewer than none.
#[tokio::test]
async fn who_has_no_replica_does_not_make_the_share_of_the_others_smaller() {
    let mut bench = Bench::new(4, &spec(&json!({})), 35.0);
    bench.look().await;
    super::rivals::written_by(&bench, "kubectl", 0);
    bench.look().await;
    assert_eq!(others_begin_to_want_fewer(&bench, 9), 9);
}

#[tokio::test]
async fn a_step_is_no_larger_than_the_scaler_was_told_and_that_is_said() {
    let mut bench = Bench::new(1, &spec(&json!({})), 45.0);
    bench.context.largest_step = Some(1);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("ScalingLimited", "True").as_deref()), (2, Some("StepLimit")));
    assert!(cluster.notes()[0].starts_with("New size: 2 (was 1)"), "{:?}", cluster.notes());
}

/// For this alone the pods of the target are listed.
#[rstest]
#[case::pending_for_long("Pending", 121, 3, Some("PodsPending"))]
#[case::just_ordered("Pending", 60, 5, None)]
#[case::running("Running", 600, 5, None)]
#[tokio::test]
async fn pods_that_do_not_start_hold_the_count(
    #[case] phase: &str,
    #[case] age: i64,
    #[case] expected: i32,
    #[case] reason: Option<&str>,
) {
    let mut bench = Bench::new(3, &spec(&json!({"pendingPods": {"count": 1, "longerThan": "2m"}})), 45.0);
    let created = bench.context.clock.wall() - jiff::SignedDuration::from_secs(age);
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "w", "uid": "target-1", "controller": true});
    let metadata = json!({"name": "a", "creationTimestamp": format!("{created:.0}"), "ownerReferences": [owner]});
    bench.api.cluster().pods = vec![json!({"metadata": metadata, "spec": {}, "status": {"phase": phase}})];
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!((cluster.replicas, cluster.reason("ScalingLimited", "True").as_deref()), (expected, reason));
    assert_eq!(cluster.events[0]["reason"], reason.unwrap_or("SuccessfulRescale"));
}

/// One says 45 and the other 25: five replicas or three.
async fn two_servers_by_turns(bench: &mut Bench, looks: u32) -> Vec<i32> {
    let mut seen = Vec::new();
    for look in 0..looks {
        bench.prometheus.set(Ok(vec![if look % 2 == 0 { 45.0 } else { 25.0 }]));
        look_after(bench, 15).await;
        seen.push(replicas(bench));
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn of_two_servers_that_disagree_the_higher_one_counts_for_a_window() {
    let behavior = json!({"scaleUp": {"tolerance": "0"},
        "scaleDown": {"tolerance": "0", "stabilizationWindowSeconds": 60}});
    let mut bench = Bench::new(1, &spec(&json!({"behavior": behavior})), 25.0);
    let seen = two_servers_by_turns(&mut bench, 40).await;
    assert!(seen.iter().all(|replicas| *replicas == 5), "up at once, and never down: {seen:?}");
    // Both say 25 now. The last one to say 45 did so 15 s ago.
    bench.prometheus.set(Ok(vec![25.0]));
    let mut seen = Vec::new();
    for _ in 0..4 {
        look_after(&mut bench, 15).await;
        seen.push(replicas(&bench));
    }
    assert_eq!(seen, [5, 5, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn of_two_servers_that_disagree_each_is_believed_without_a_window() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    assert_eq!(two_servers_by_turns(&mut bench, 4).await, [5, 3, 5, 3]);
}
