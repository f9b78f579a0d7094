use axum::body::Body;
use http_body_util::BodyExt;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::*;

async fn ask(bot: &Router, method: &str, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = bot.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn post(bot: &Router, path: &str) -> (u16, String) {
    let (status, body) = ask(bot, "POST", path).await;
    (status.as_u16(), body)
}

/// The samples of the text exposition, without comments and without the histogram, whose values are times.
async fn samples(bot: &Router) -> Vec<String> {
    let (_, text) = ask(bot, "GET", "/metrics").await;
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("watcherBot_request_latency_seconds"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn tasks_start_and_finish_and_the_answer_is_the_new_count() {
    let bot = router();
    assert_eq!(post(&bot, "/start_task").await, (200, r#"{"active_tasks":1}"#.into()));
    assert_eq!(post(&bot, "/start_task?count=24").await, (200, r#"{"active_tasks":25}"#.into()));
    assert_eq!(post(&bot, "/finish_task").await, (200, r#"{"active_tasks":24}"#.into()));
    assert_eq!(post(&bot, "/finish_task?count=24").await, (200, r#"{"active_tasks":0}"#.into()));
}

#[tokio::test]
async fn finishing_what_is_not_there_is_refused_and_changes_nothing() {
    let bot = router();
    let refused = r#"{"active_tasks":0,"error":"there is no active task to finish"}"#;
    assert_eq!(post(&bot, "/finish_task").await, (409, refused.into()));
    post(&bot, "/start_task?count=3").await;
    let refused = r#"{"active_tasks":3,"error":"cannot finish 4: only 3 active"}"#;
    assert_eq!(post(&bot, "/finish_task?count=4").await, (409, refused.into()));
    assert_eq!(post(&bot, "/finish_task?count=3").await, (200, r#"{"active_tasks":0}"#.into()));
}

#[rstest]
#[case::zero("0")]
#[case::negative("-1")]
#[case::too_many("100001")]
#[case::a_fraction("1.5")]
#[case::a_word("many")]
#[case::nothing("")]
#[tokio::test]
async fn a_count_that_is_none_is_refused(#[case] count: &str) {
    let bot = router();
    post(&bot, "/start_task").await;
    let refused = r#"{"active_tasks":1,"error":"count must be a whole number from 1 to 100000"}"#;
    for path in ["/start_task", "/finish_task"] {
        assert_eq!(post(&bot, &format!("{path}?count={count}")).await, (400, refused.into()));
    }
}

#[tokio::test]
async fn the_largest_count_is_taken() {
    let bot = router();
    assert_eq!(post(&bot, "/start_task?count=100000").await, (200, r#"{"active_tasks":100000}"#.into()));
}

#[rstest]
#[case::read_a_task_endpoint("GET", "/start_task", 405)]
#[case::put("PUT", "/finish_task", 405)]
#[case::post_to_metrics("POST", "/metrics", 405)]
#[case::elsewhere("GET", "/nowhere", 404)]
#[case::health("GET", "/healthz", 200)]
#[tokio::test]
async fn other_requests(#[case] method: &str, #[case] path: &str, #[case] status: u16) {
    assert_eq!(ask(&router(), method, path).await.0.as_u16(), status);
}

#[tokio::test]
async fn the_metrics_have_exactly_these_names_and_values() {
    let bot = router();
    let before = [
        "watcherBot_active_tasks 0",
        r#"watcherBot_requests_total{path="/finish_task",status="200"} 0"#,
        r#"watcherBot_requests_total{path="/start_task",status="200"} 0"#,
    ];
    assert_eq!(samples(&bot).await, before);
    post(&bot, "/finish_task").await;
    post(&bot, "/start_task?count=25").await;
    post(&bot, "/start_task?count=x").await;
    let after = [
        "watcherBot_active_tasks 25",
        r#"watcherBot_requests_total{path="/finish_task",status="200"} 0"#,
        r#"watcherBot_requests_total{path="/finish_task",status="409"} 1"#,
        r#"watcherBot_requests_total{path="/start_task",status="200"} 1"#,
        r#"watcherBot_requests_total{path="/start_task",status="400"} 1"#,
    ];
    assert_eq!(samples(&bot).await, after);
}

#[tokio::test]
async fn latency_is_a_histogram_of_the_task_endpoints_alone() {
    let bot = router();
    for _ in 0..3 {
        post(&bot, "/start_task").await;
        ask(&bot, "GET", "/healthz").await;
    }
    let (_, text) = ask(&bot, "GET", "/metrics").await;
    assert!(text.contains("# TYPE watcherBot_request_latency_seconds histogram\n"), "{text}");
    assert!(text.contains("\nwatcherBot_request_latency_seconds_count 3\n"), "{text}");
    assert!(text.contains("\nwatcherBot_request_latency_seconds_bucket{le=\"+Inf\"} 3\n"), "{text}");
    assert!(text.contains("# TYPE watcherBot_active_tasks gauge\n"), "{text}");
    assert!(text.contains("# TYPE watcherBot_requests counter\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn the_content_type_says_what_the_text_is() {
    let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_when_many_ask_at_once() {
    let bot = router();
    let asks: Vec<_> = (0..200)
        .map(|index| {
            let bot = bot.clone();
            let path = if index % 2 == 0 { "/start_task?count=3" } else { "/finish_task" };
            tokio::spawn(async move { (index % 2, post(&bot, path).await.0) })
        })
        .collect();
    let mut expected: u64 = 0;
    let mut finished = 0;
    for ask in asks {
        match ask.await.unwrap() {
            (0, 200) => expected += 3,
            (_, 200) => finished += 1,
            (_, status) => assert_eq!(status, 409),
        }
    }
    assert_eq!(samples(&bot).await[0], format!("watcherBot_active_tasks {}", expected - finished));
}

#[tokio::test]
async fn it_ends_within_a_second_even_with_a_request_half_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve_on(listener, shutdown.clone()));

    let mut whole = tokio::net::TcpStream::connect(address).await.unwrap();
    whole.write_all(b"POST /start_task HTTP/1.1\r\nHost: bot\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    whole.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    half.write_all(b"POST /start_task HTTP/1.1\r\nHost:").await.unwrap();

    shutdown.cancel();
    // A second is promised, the rest is for a slow machine.
    time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve(address, CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
}
