//! The whole loop.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Options, run},
    fake::{FakeApi, spec},
};

fn options() -> Options {
    Options {
        // Nobody listens there.
        prometheus: "http://127.0.0.1:9".to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        instance: "pod-1".to_owned(),
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
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("a look within its interval");
    assert_eq!(api.cluster().replicas, 3);
    assert_eq!(api.cluster().events[0]["reason"], "FailedGetPrometheusMetric");
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), running).await.expect("it stops within a second");
    ended.expect("no panic").expect("no error");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = taken.local_addr().expect("an address");
    let api = FakeApi::new(1, &spec(&json!({})));
    let error = run(api.client(), Options { listen, ..options() }, CancellationToken::new()).await.expect_err("taken");
    assert_eq!(error.to_string(), format!("cannot listen on {listen}"));
}
