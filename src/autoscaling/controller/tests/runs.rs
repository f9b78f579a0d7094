//! The whole loop.

use std::{sync::Arc, time::Duration};

use rstest::rstest;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Options, TERMS, http::Vitals, reconcile::reconcile, run},
    fake::{Bench, FakeApi, spec},
};
use crate::lease::Terms;

/// Longer than anything here takes, or a test that hangs would say nothing.
const LIMIT: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        // Nobody listens there.
        prometheus: "http://127.0.0.1:9".to_owned(),
        prometheus_credentials: None,
        listen: "127.0.0.1:0".parse().expect("an address"),
        instance: "pod-1".to_owned(),
        terms: TERMS,
        most_down_share: 0.5,
        largest_step: None,
    }
}

#[tokio::test]
async fn it_looks_at_what_is_listed_and_stops_within_a_second() {
    // As the program does first thing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(3, &spec(&json!({"interval": "1s"})));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(api.client(), options(), shutdown.clone()));
    // An object beside it cannot be read; this one is looked at all the same.
    let told = async {
        while api.cluster().events.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, told).await.expect("a look within its interval");
    assert_eq!(api.cluster().replicas, 3);
    assert_eq!(api.cluster().events[0]["reason"], "PrometheusUnreachable");
    shutdown.cancel();
    // A second is promised, the rest is for a slow machine.
    let ended = tokio::time::timeout(Duration::from_secs(10), running).await.expect("it stops within a second");
    ended.expect("no panic").expect("no error");
    let cluster = api.cluster();
    let lease = cluster.lease.as_ref().expect("a lease");
    assert_eq!(lease["spec"].get("holderIdentity"), None, "given back: {lease}");
    assert_eq!(lease["metadata"]["labels"]["app.kubernetes.io/managed-by"], "scalekit");
}

const HPAS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";

#[tokio::test]
async fn nothing_is_looked_at_before_all_hpas_are_listed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(3, &spec(&json!({"interval": "1s"})));
    looks_only_when_it_can_list(&api, HPAS).await;
}

const LAST_PAGE: &str = "/apis/scalekit.dev/v1alpha1/autoscalers?&limit=500&continue=more";

/// What comes first of a long list may have an elder that comes last.
#[tokio::test]
async fn nothing_is_looked_at_before_all_autoscalers_are_listed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(3, &spec(&json!({"interval": "1s"})));
    let page = |items: Vec<serde_json::Value>, metadata: serde_json::Value| json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "AutoscalerList", "metadata": metadata, "items": items});
    let first = page(vec![api.cluster().autoscaler.clone()], json!({"resourceVersion": "1", "continue": "more"}));
    api.cluster().answers = vec![
        (LAST_PAGE.to_owned(), page(Vec::new(), json!({"resourceVersion": "1"}))),
        ("/apis/scalekit.dev/v1alpha1/autoscalers?&limit=500".to_owned(), first),
    ];
    looks_only_when_it_can_list(&api, LAST_PAGE).await;
}

/// How much was written, but for the lease.
fn written(api: &FakeApi) -> usize {
    api.cluster().writes.iter().filter(|write| !write.contains("/leases")).count()
}

/// While this list fails nothing is looked at, and then it is.
async fn looks_only_when_it_can_list(api: &FakeApi, list: &'static str) {
    api.cluster().fails = Some((http::StatusCode::INTERNAL_SERVER_ERROR, http::Method::GET, list));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(api.client(), options(), shutdown.clone()));
    until("it was tried", || api.cluster().failed > 0).await;
    // Longer than its interval.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(written(api), 0, "{:?}", api.cluster().writes);
    api.cluster().fails = None;
    until("it is looked at", || !api.cluster().events.is_empty()).await;
    shutdown.cancel();
    running.await.expect("no panic").expect("no error");
}

#[rstest]
#[case::no_right(http::StatusCode::FORBIDDEN)]
#[case::not_served(http::StatusCode::NOT_FOUND)]
#[tokio::test]
async fn hpas_that_can_never_be_listed_stop_nobody(#[case] status: http::StatusCode) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(3, &spec(&json!({"interval": "1s"})));
    api.cluster().fails = Some((status, http::Method::GET, HPAS));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(api.client(), options(), shutdown.clone()));
    let looked = async {
        while api.cluster().events.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, looked).await.expect("a look all the same");
    shutdown.cancel();
    running.await.expect("no panic").expect("no error");
}

/// It may come back, and so is waited for, but not for ever.
#[tokio::test(start_paused = true)]
async fn hpas_whose_list_fails_are_waited_for_for_thirty_seconds() {
    let Bench { api, context, .. } = Bench::new(1, &spec(&json!({"interval": "1s"})), 25.0);
    api.cluster().fails = Some((http::StatusCode::INTERNAL_SERVER_ERROR, http::Method::GET, HPAS));
    let (vitals, shutdown) = (Vitals::new(context.clock), CancellationToken::new());
    let (client, stop) = (api.client(), shutdown.clone());
    let running = tokio::spawn(async move { reconcile(client, Arc::new(context), &vitals, &stop).await });
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(api.cluster().failed > 1, "it was tried again");
    assert_eq!(api.cluster().replicas, 1, "and nothing was looked at");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(api.cluster().replicas, 3);
    shutdown.cancel();
    assert!(running.await.expect("no panic").expect("no error").all_looks_ended);
}

/// All of its objects go with it, and the watch of them ends.
#[tokio::test(start_paused = true)]
async fn when_the_definition_goes_nothing_is_scaled_and_when_it_comes_back_it_goes_on() {
    let Bench { api, context, prometheus, .. } = Bench::new(1, &spec(&json!({})), 25.0);
    let telemetry = context.telemetry.clone();
    let (vitals, shutdown) = (Vitals::new(context.clock), CancellationToken::new());
    let (client, stop) = (api.client(), shutdown.clone());
    let running = tokio::spawn(async move { reconcile(client, Arc::new(context), &vitals, &stop).await });
    until("it is scaled", || api.cluster().replicas == 3).await;

    {
        let mut cluster = api.cluster();
        cluster.fails =
            Some((http::StatusCode::NOT_FOUND, http::Method::GET, "/apis/scalekit.dev/v1alpha1/autoscalers"));
        let gone = json!({"type": "DELETED", "object": cluster.autoscaler});
        let watch = cluster.watch.take().expect("a watch");
        watch.unbounded_send(format!("{gone}\n").into()).expect("somebody who watches");
    }
    prometheus.set(Ok(vec![45.0]));
    until("it was watched in vain", || api.cluster().failed > 1).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(api.cluster().replicas, 3, "the count stays");
    assert!(!telemetry.text().contains("name=\"w\""), "nothing is told of it any more");
    assert!(!running.is_finished());

    api.cluster().fails = None;
    until("it watches again", || api.cluster().watch.is_some()).await;
    let expired = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410,
        "reason": "Expired", "message": "too old resource version: 1 (2)"}});
    let watch = api.cluster().watch.take().expect("a watch");
    watch.unbounded_send(format!("{expired}\n").into()).expect("somebody who watches");
    until("it is scaled again", || api.cluster().replicas == 5).await;
    shutdown.cancel();
    assert!(running.await.expect("no panic").expect("no error").all_looks_ended);
}

#[tokio::test]
async fn while_another_leads_nothing_is_looked_at() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(3, &spec(&json!({"interval": "1s"})));
    api.cluster().lease = Some(json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "scalekit-scaler", "namespace": "default", "resourceVersion": "0"},
        "spec": {"holderIdentity": "pod-0", "leaseDurationSeconds": 15},
    }));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(api.client(), options(), shutdown.clone()));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    shutdown.cancel();
    running.await.expect("no panic").expect("no error");
    let cluster = api.cluster();
    assert_eq!(cluster.writes, Vec::<String>::new());
    assert_eq!(
        cluster.lease.as_ref().expect("a lease")["spec"]["holderIdentity"],
        "pod-0",
        "it is not ours to give back"
    );
}

/// Waits in told time until something holds. Of kube's waits half a minute is the longest, which chance may double.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within five minutes: {what}");
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_and_leads_again_when_it_can() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(3, &spec(&json!({"interval": "1s"})));
    let shutdown = CancellationToken::new();
    // In the same proportions as the real ones, fifteen times as fast.
    let terms = Terms {
        duration: Duration::from_secs(1),
        renew_deadline: Duration::from_millis(667),
        retry: Duration::from_millis(133),
    };
    let running = tokio::spawn(run(api.client(), Options { terms, ..options() }, shutdown.clone()));
    until("it leads", || !api.cluster().events.is_empty()).await;
    let since = std::time::Instant::now();
    api.cluster().lease_is_lost = true;
    // Its status is gone: a controller that leads writes it anew at its next look, within a second.
    let wrote = || {
        api.cluster().autoscaler["status"] = json!(null);
        std::thread::yield_now();
    };
    until("it has stopped", || {
        wrote();
        since.elapsed() > Duration::from_millis(900)
    })
    .await;
    // A look that was let through before may still write, at once; who goes on looking writes after an interval only.
    let (mut writes, mut quiet) = (written(&api), 0);
    until("its last look has ended", || {
        wrote();
        quiet = if written(&api) == writes { quiet + 1 } else { 0 };
        writes = written(&api);
        quiet > 6
    })
    .await;
    // Longer than its interval.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let after = written(&api);
    assert_eq!(after, writes, "it writes no more");
    api.cluster().lease_is_lost = false;
    until("it leads again", || {
        wrote();
        written(&api) > after
    })
    .await;
    shutdown.cancel();
    running.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = taken.local_addr().expect("an address");
    let api = FakeApi::new(1, &spec(&json!({})));
    let error = run(api.client(), Options { listen, ..options() }, CancellationToken::new()).await.expect_err("taken");
    assert_eq!(error.to_string(), format!("cannot listen on {listen}"));
}
