//! What servers want to see, from Secrets beside the Autoscaler.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::fake::{Bench, spec};
use crate::autoscaling::api::PrometheusMetric;

fn metric(auth: &Value) -> PrometheusMetric {
    let metric = json!({"name": "m", "query": "q", "target": {"type": "Value", "value": "1"},
        "serverAddress": "https://mimir", "auth": auth});
    serde_json::from_value(metric).expect("a metric")
}

/// `data` is in base64, as in a Secret.
fn bench(data: Value) -> Bench {
    let bench = Bench::new(1, &spec(&json!({})), 0.0);
    set(&bench, data);
    bench
}

fn set(bench: &Bench, data: Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mimir"}, "data": data});
    bench.api.cluster().answers = vec![("/api/v1/namespaces/demo/secrets/mimir".to_owned(), secret)];
}

#[tokio::test]
async fn every_kind_of_it_is_read() {
    let key = |key: &str| json!({"name": "mimir", "key": key});
    let auth = json!({
        "ca": key("ca"),
        "basic": {"username": key("user"), "password": key("password")},
        "clientCertificate": {"certificate": key("crt"), "privateKey": key("key")},
        "headers": [{"name": "X-Scope-OrgID", "value": "shop"}, {"name": "X-Key", "valueFrom": key("user")}],
    });
    let bench = bench(json!({"ca": "Y2E=", "user": "dQ==", "password": "cA==", "crt": "Y3J0", "key": "a2V5"}));
    let server = bench.context.credentials.server("demo", &metric(&auth)).await.expect("a server");
    let access = server.access.expect("access");
    assert_eq!(server.address, "https://mimir");
    assert_eq!(access.authorities.as_deref(), Some(&b"ca"[..]));
    assert_eq!(access.basic, Some(("u".to_owned(), "p".to_owned())));
    assert_eq!(access.identity.as_deref(), Some(&b"crt\nkey"[..]));
    let expected = [("X-Scope-OrgID", "shop"), ("X-Key", "u")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(access.headers, expected);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_changed_is_used_within_a_minute() {
    let auth = json!({"bearerToken": {"name": "mimir", "key": "token"}});
    let bench = bench(json!({"token": "b25l"}));
    let token = async || {
        let server = bench.context.credentials.server("demo", &metric(&auth)).await.expect("a server");
        server.access.expect("access").bearer_token.clone().expect("a token")
    };
    assert_eq!(token().await, "one");
    set(&bench, json!({"token": "dHdv"}));
    assert_eq!(token().await, "one", "the API server is not asked at every look");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(token().await, "two");
}

#[rstest]
#[case::no_key(
    json!({"a": "YQ==", "b": "Yg=="}),
    "auth.bearerToken: Secret demo/mimir has no key token; `kubectl describe secret mimir -n demo` lists those that it has"
)]
#[case::no_text(json!({"token": "/w=="}), "auth.bearerToken: key token of Secret demo/mimir is no text")]
#[tokio::test]
async fn what_is_wrong_with_it_is_named(#[case] data: Value, #[case] expected: &str) {
    let auth = json!({"bearerToken": {"name": "mimir", "key": "token"}});
    let error = bench(data).context.credentials.server("demo", &metric(&auth)).await.expect_err("no access");
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_holds_the_count() {
    let mut spec = spec(&json!({}));
    spec["metrics"][0]["prometheus"]["serverAddress"] = json!("https://mimir");
    spec["metrics"][0]["prometheus"]["auth"] = json!({"bearerToken": {"name": "gone", "key": "token"}});
    let mut bench = Bench::new(4, &spec, 5.0);
    bench.look().await;
    let cluster = bench.api.cluster();
    assert_eq!(cluster.reason("ScalingActive", "False").as_deref(), Some("CredentialsUnavailable"));
    let expected = "metric active-tasks: spec.metrics[0].prometheus.auth.bearerToken: Secret demo/gone cannot be read: \
        secrets is forbidden; if it is there, bind a Role in namespace demo with get of secrets, resourceNames [gone]";
    assert!(cluster.notes()[0].starts_with(expected), "{:?}", cluster.notes());
    assert_eq!(cluster.replicas, 4);
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named_with_the_field_and_what_to_do() {
    let bench = bench(json!({}));
    let gone = (http::StatusCode::NOT_FOUND, http::Method::GET, "/api/v1/namespaces/demo/secrets/");
    bench.api.cluster().answers.clear();
    bench.api.cluster().fails = Some(gone);
    let auth = json!({"headers": [{"name": "X", "valueFrom": {"name": "gone", "key": "x"}}]});
    let error = bench.context.credentials.server("demo", &metric(&auth)).await.expect_err("no access");
    assert!(error.starts_with("auth.headers[0].valueFrom: Secret demo/gone cannot be read: "), "{error}");
    assert!(error.ends_with("; make it there, or write the name of one that is"), "{error}");
}
