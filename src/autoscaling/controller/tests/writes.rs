//! Writes that fail for a while.

use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::json;

use super::{
    super::leader::Fence,
    fake::{Bench, spec},
};
use crate::autoscaling::decision::memory::ConditionType;

/// Throttled, in trouble, without a leader.
#[rstest]
#[case::throttled(StatusCode::TOO_MANY_REQUESTS)]
#[case::in_trouble(StatusCode::INTERNAL_SERVER_ERROR)]
#[case::not_there(StatusCode::SERVICE_UNAVAILABLE)]
#[tokio::test]
async fn a_count_that_could_not_be_written_is_decided_on_anew_at_the_next_look(#[case] status: StatusCode) {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    let scale = "/apis/apps/v1/namespaces/demo/deployments/w/scale";
    bench.api.cluster().fails = Some((status, Method::PUT, scale));
    bench.look().await;
    {
        let mut cluster = bench.api.cluster();
        assert_eq!(cluster.events[0]["reason"], "FailedRescale");
        // Once: what is throttled must not be pressed.
        assert_eq!((cluster.replicas, cluster.failed), (1, 1));
        cluster.fails = None;
    }
    bench.prometheus.set(Ok(vec![35.0]));
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4, "by the load of now");
}

/// Another may lead already: what was decided is not written, nor told.
#[tokio::test]
async fn who_loses_the_lead_before_his_write_does_not_write() {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    let open = std::mem::replace(&mut bench.context.fence, Fence::shut(bench.context.clock));
    bench.look().await;
    assert_eq!(bench.api.cluster().writes, Vec::<String>::new());
    let condition = bench.kept.memory.condition(ConditionType::AbleToScale).expect("a condition");
    assert_eq!((condition.status, &*condition.reason), (false, "FailedUpdateScale"));
    assert!(condition.message.ends_with("this controller does not lead any more"), "{}", condition.message);
    bench.context.fence = open;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
}

/// What can wait does so, and the counts do not.
#[rstest]
#[case::it_says_for_how_long(StatusCode::TOO_MANY_REQUESTS, 40, 3)]
#[case::it_does_not_say(StatusCode::TOO_MANY_REQUESTS, 0, 1)]
#[case::it_is_in_trouble_and_says_for_how_long(StatusCode::INTERNAL_SERVER_ERROR, 20, 2)]
#[case::it_is_in_trouble(StatusCode::INTERNAL_SERVER_ERROR, 0, 1)]
#[tokio::test(start_paused = true)]
async fn an_api_server_that_has_too_much_to_do_is_spared_the_statuses_for_as_long_as_it_says(
    #[case] status: StatusCode,
    #[case] seconds: u32,
    #[case] looks_until_then: usize,
) {
    let mut bench = Bench::new(1, &spec(&json!({})), 25.0);
    let path = "/apis/scalekit.dev/v1alpha1/namespaces/demo/autoscalers/w/status";
    bench.api.cluster().fails = Some((status, Method::PATCH, path));
    bench.api.cluster().retry_after = seconds;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 3);
    bench.api.cluster().fails = None;
    let mut looks = 0;
    while bench.api.cluster().autoscaler["status"].is_null() {
        assert!(looks < 10, "never written");
        looks += 1;
        bench.prometheus.set(Ok(vec![if looks % 2 == 0 { 25.0 } else { 45.0 }]));
        tokio::time::advance(Duration::from_secs(15)).await;
        bench.look().await;
        assert_eq!(bench.api.cluster().replicas, if looks % 2 == 0 { 3 } else { 5 }, "counts do not wait");
    }
    assert_eq!(looks, looks_until_then);
}

#[rstest]
#[case::somebody_else_wrote(StatusCode::CONFLICT)]
#[case::throttled(StatusCode::TOO_MANY_REQUESTS)]
#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_written_is_written_at_the_next_look_and_nothing_is_forgotten(
    #[case] status: StatusCode,
) {
    let window = json!({"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "0"}});
    let mut bench = Bench::new(1, &spec(&json!({"behavior": window})), 35.0);
    let path = "/apis/scalekit.dev/v1alpha1/namespaces/demo/autoscalers/w/status";
    bench.api.cluster().fails = Some((status, Method::PATCH, path));
    bench.look().await;
    let seen = |bench: &Bench| {
        let cluster = bench.api.cluster();
        (cluster.replicas, cluster.failed)
    };
    assert_eq!(seen(&bench), (4, 1), "the count does not wait for it");
    bench.prometheus.set(Ok(vec![5.0]));
    tokio::time::advance(Duration::from_secs(15)).await;
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4, "the window is known all the same");
    bench.api.cluster().fails = None;
    tokio::time::advance(Duration::from_secs(15)).await;
    bench.look().await;
    let status = bench.api.cluster().status();
    assert_eq!((status.current_replicas, status.desired_replicas), (Some(4), Some(4)));
    // By what was written a new controller holds the count too.
    bench.restart();
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4);
}
