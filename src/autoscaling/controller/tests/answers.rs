//! Looks at what Prometheus says, or does not.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::fake::{Bench, spec};
use crate::prometheus::Error;

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

pub fn partial(value: f64) -> Error {
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
#[case::it_starts(Err(Error::Http(http::StatusCode::SERVICE_UNAVAILABLE)), "PrometheusHttpError")]
#[case::too_many_questions(Err(Error::Http(http::StatusCode::TOO_MANY_REQUESTS)), "PrometheusHttpError")]
#[case::behind_a_gateway(Err(Error::Http(http::StatusCode::BAD_GATEWAY)), "PrometheusHttpError")]
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
    let conditions = cluster.status().conditions;
    let told = conditions.iter().find(|condition| condition.kind == "ScalingActive").expect("told");
    assert!(told.message.contains("metric active-tasks: "), "{}", told.message);
    assert!(cluster.notes()[0].starts_with("metric active-tasks: "), "{:?}", cluster.notes());
    // What somebody else has to mend is no field of the spec.
    let is_ours = !["PartialAnswer", "PrometheusUnauthorized"].contains(&reason);
    assert!(!is_ours || told.message.contains("spec.metrics[0].prometheus."), "{}", told.message);
}

/// Also while the question is not asked again: what was said last is what is told.
#[tokio::test]
async fn an_http_status_that_says_no_is_told_with_what_to_do_about_that_status() {
    let mut bench = Bench::new(4, &spec(&json!({})), 0.0);
    bench.prometheus.set(Err(Error::Http(http::StatusCode::TOO_MANY_REQUESTS)));
    for _ in 0..2 {
        bench.look().await;
        let conditions = bench.api.cluster().status().conditions;
        let told = conditions.iter().find(|condition| condition.kind == "ScalingActive").expect("told");
        assert!(told.message.contains("it has too much to do: raise spec.interval"), "{}", told.message);
    }
}
