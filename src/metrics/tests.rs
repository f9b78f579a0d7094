//! Against an API server that knows some paths.

use std::sync::{Arc, Mutex};

use axum::body::Body as Answer;
use http::{Request, Response};
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// What the API server was asked for.
type Asked = Arc<Mutex<Vec<String>>>;

fn apis(known: Vec<(&'static str, Value)>) -> (MetricsApis, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let known = Arc::new(known);
    let answer = move |request: Request<Body>| {
        let (log, known) = (log.clone(), known.clone());
        async move {
            let uri = request.uri().to_string();
            log.lock().expect("a lock").push(uri.clone());
            let found = known.iter().find(|(path, _)| uri == *path).map(|(_, body)| body.clone());
            let (status, body) = match found {
                Some(body) => (body["code"].as_u64().unwrap_or(200), body.to_string()),
                None => (404, "404 page not found\n".to_owned()),
            };
            let status = u16::try_from(status).expect("a status");
            Ok::<_, kube::Error>(Response::builder().status(status).body(Answer::from(body)).expect("a response"))
        }
    };
    (MetricsApis::new(Client::new(tower::service_fn(answer), "default")), asked)
}

fn group(versions: &[&str]) -> Value {
    let of = |version: &&str| json!({"groupVersion": format!("x/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(of).collect();
    json!({"kind": "APIGroup", "versions": all, "preferredVersion": all[0]})
}

#[tokio::test]
async fn usage_is_read_as_metrics_server_writes_it() {
    let pods = json!({"kind": "PodMetricsList", "items": [{
        "metadata": {"name": "w-1"}, "timestamp": "2026-11-25T14:05:00Z", "window": "15.019s",
        "containers": [{"name": "app", "usage": {"cpu": "123456789n", "memory": "12Mi"}}, {"name": "side", "usage": {}}],
    }]});
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/demo/pods?labelSelector=app%3Dw%2Cx%20in%20%28a%29";
    let (apis, _) = apis(vec![("/apis/metrics.k8s.io", group(&["v1beta1"])), (path, pods)]);
    let usage = apis.usage("demo", "app=w,x in (a)").await.expect("usage");
    assert_eq!(usage[0].window, SignedDuration::from_millis(15_019));
    // Rounded up to thousandths, as the HPA does.
    let expected = BTreeMap::from([("cpu".to_owned(), 124), ("memory".to_owned(), 12 * 1024 * 1024 * 1000)]);
    assert_eq!(usage[0].containers, [("app".to_owned(), expected), ("side".to_owned(), BTreeMap::new())]);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_not_there_is_told_apart_and_looked_for_again() {
    let (apis, asked) = apis(vec![]);
    assert_eq!(apis.usage("demo", "app=w").await, Err(Error::Absent(RESOURCE)));
    assert_eq!(apis.usage("demo", "app=w").await, Err(Error::Absent(RESOURCE)));
    assert_eq!(asked.lock().expect("a lock").len(), 1, "for a minute it is taken for absent");
    tokio::time::advance(REMEMBERED).await;
    assert_eq!(apis.usage("demo", "app=w").await, Err(Error::Absent(RESOURCE)));
    assert_eq!(asked.lock().expect("a lock").len(), 2);
}

#[rstest]
#[case::the_preferred(&["v1beta1", "v1beta2"], "v1beta1")]
#[case::the_one_we_can_read(&["v1", "v1beta2"], "v1beta2")]
#[tokio::test]
async fn a_metric_of_pods_in_the_version_that_the_cluster_prefers(#[case] versions: &[&str], #[case] used: &str) {
    let values = json!({"kind": "MetricValueList", "items": [
        {"describedObject": {"kind": "Pod", "name": "w-1", "apiVersion": "/v1"}, "metricName": "rps",
            "timestamp": "2026-11-25T14:05:00Z", "value": "850m"},
        {"describedObject": {"kind": "Pod", "name": "w-2", "apiVersion": "/v1"}, "metric": {"name": "rps"},
            "timestamp": "2026-11-25T14:05:00Z", "windowSeconds": 30, "value": "2"},
    ]});
    let path = format!(
        "/apis/custom.metrics.k8s.io/{used}/namespaces/demo/pods/*/rps?labelSelector=app%3Dw&metricLabelSelector=code%3D200"
    );
    let (apis, _) = apis(vec![("/apis/custom.metrics.k8s.io", group(versions)), (path.leak(), values)]);
    let values = apis.pods("demo", "app=w", "rps", Some("code=200")).await.expect("values");
    let seen: Vec<_> = values.iter().map(|value| (&*value.name, value.value, value.window.as_secs())).collect();
    assert_eq!(seen, [("w-1", 850, 60), ("w-2", 2000, 30)]);
}

#[rstest]
#[case::an_object(("ingresses.networking.k8s.io", "main"), "namespaces/demo/ingresses.networking.k8s.io/main/hits")]
#[case::the_namespace(("namespaces", "demo"), "namespaces/demo/metrics/hits")]
#[tokio::test]
async fn a_metric_of_an_object(#[case] object: (&str, &str), #[case] path: &str) {
    let value = json!({"describedObject": {"name": "main"}, "timestamp": "2026-11-25T14:05:00Z", "value": "7"});
    let path = format!("/apis/custom.metrics.k8s.io/v1beta2/{path}").leak();
    let (one, _) = apis(vec![("/apis/custom.metrics.k8s.io", group(&["v1beta2"])), (path, json!({"items": [value]}))]);
    assert_eq!(one.object("demo", object, "hits", None).await, Ok(7000));
    let (two, _) =
        apis(vec![("/apis/custom.metrics.k8s.io", group(&["v1beta2"])), (path, json!({"items": [value, value]}))]);
    assert!(matches!(two.object("demo", object, "hits", None).await, Err(Error::Unreadable(_))));
}

#[tokio::test]
async fn an_external_metric_may_have_several_series() {
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/demo/queue?labelSelector=name%3Da";
    let values = json!({"items": [{"metricName": "queue", "value": "3"}, {"metricName": "queue", "value": "1500m"}]});
    let (apis, _) = apis(vec![("/apis/external.metrics.k8s.io", group(&["v1beta1"])), (path, values)]);
    assert_eq!(apis.external("demo", "queue", Some("name=a")).await, Ok(vec![3000, 1500]));
}

#[tokio::test]
async fn what_the_adapter_says_is_passed_on() {
    let refusal = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "the server could not find the metric rps for pods"});
    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/demo/pods/*/rps?labelSelector=app%3Dw";
    let (apis, _) = apis(vec![("/apis/custom.metrics.k8s.io", group(&["v1beta2"])), (path, refusal)]);
    let expected = Error::Refused("the server could not find the metric rps for pods".to_owned());
    assert_eq!(apis.pods("demo", "app=w", "rps", None).await, Err(expected));
}
