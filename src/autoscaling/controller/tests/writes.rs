//! Writes that fail for a while.

use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::json;

use super::fake::{Bench, spec};

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
        assert_eq!(cluster.status().last_decision.expect("a decision").reason, "FailedRescale");
        // Once: what is throttled must not be pressed.
        assert_eq!((cluster.replicas, cluster.failed), (1, 1));
        cluster.fails = None;
    }
    bench.prometheus.set(Ok(vec![35.0]));
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4, "by the load of now");
}

#[rstest]
#[case::somebody_else_wrote(StatusCode::CONFLICT)]
#[case::throttled(StatusCode::TOO_MANY_REQUESTS)]
#[tokio::test]
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
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4, "the window is known all the same");
    bench.api.cluster().fails = None;
    bench.look().await;
    let status = bench.api.cluster().status();
    assert_eq!((status.current_replicas, status.desired_replicas), (Some(4), Some(4)));
    // By what was written a new controller holds the count too.
    bench.restart();
    bench.look().await;
    assert_eq!(bench.api.cluster().replicas, 4);
}
