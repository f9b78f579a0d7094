//! Over the wire, with a server such as an API server: how many connections a run has, and what becomes of what was asked
//! when one is lost.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body as Sent,
    extract::State,
    http::{Method, Request, StatusCode, Version},
    response::{IntoResponse, Response},
    serve::Listener,
};
use futures::future::join_all;
use hyper_util::{rt::TokioIo, server::conn::auto, service::TowerToHyperService};
use rstest::rstest;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    net::TcpListener,
    sync::{Barrier, Notify},
};

use super::*;
use listener::{AUTHORITY, BOTH, Encrypted};

#[path = "../../tests/tls/listener.rs"]
mod listener;

/// What a run has in flight at most.
const IN_FLIGHT: usize = 16;

/// More of them than a connection takes unread, with either side's windows.
const LARGE: usize = 700_000;

/// Answers by the path of a request, and notes how it was asked.
struct Server {
    versions: Mutex<BTreeSet<Version>>,
    connections: AtomicUsize,
    asked: AtomicUsize,
    all_in_flight: Barrier,
    cut: Notify,
}

impl Server {
    /// Serves until the test ends. The server, and a client of it that has had a first answer, as each run's has.
    async fn start(versions: &[&str]) -> (Arc<Self>, Client) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", tcp.local_addr().expect("an address"));
        let server = Arc::new(Self {
            versions: Mutex::default(),
            connections: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            all_in_flight: Barrier::new(IN_FLIGHT),
            cut: Notify::new(),
        });
        tokio::spawn(Arc::clone(&server).serve(Encrypted::new(tcp, versions)));

        let mut config = Config::new(url.parse().expect("a URL"));
        config.default_retry = false;
        config.root_cert = Some(vec![CertificateDer::from_pem_slice(AUTHORITY).expect("an authority").to_vec()]);
        let client = clients(config).expect("a client").requests;
        assert_eq!(ask(&client, Method::GET, "/version", "").await.expect("an answer"), "");
        (server, client)
    }

    async fn serve(self: Arc<Self>, mut listener: Encrypted) {
        let router = Router::new().fallback(Self::answer).with_state(Arc::clone(&self));
        loop {
            let (stream, _) = listener.accept().await;
            self.connections.fetch_add(1, Ordering::SeqCst);
            let (server, service) = (Arc::clone(&self), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                tokio::select! {
                    _ended = builder.serve_connection(TokioIo::new(stream), service) => {}
                    () = server.cut.notified() => {}
                }
            });
        }
    }

    async fn answer(State(server): State<Arc<Self>>, request: Request<Sent>) -> Response {
        let (head, body) = request.into_parts();
        server.versions.lock().expect("a lock").insert(head.version);
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("all of it");
        match head.uri.path() {
            "/large" => {
                server.all_in_flight.wait().await;
                body.into_response()
            }
            "/stumbles" if server.asked.fetch_add(1, Ordering::SeqCst) == 0 => {
                StatusCode::TOO_MANY_REQUESTS.into_response()
            }
            "/lost" if server.asked.fetch_add(1, Ordering::SeqCst) == 0 => {
                server.cut.notify_waiters();
                std::future::pending().await
            }
            _ => body.into_response(),
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn ask(client: &Client, method: Method, path: &str, body: impl Into<String>) -> Result<String, kube::Error> {
    let request = Request::builder().method(method).uri(path).body(body.into().into_bytes()).expect("a request");
    client.request_text(request).await
}

#[rstest]
#[case::share_a_connection(BOTH, Version::HTTP_2, 1..=1)]
#[case::take_one_each_where_the_server_speaks_no_http_2(&["http/1.1"], Version::HTTP_11, IN_FLIGHT..=IN_FLIGHT + 1)]
#[tokio::test]
async fn large_requests_in_flight(
    #[case] offered: &[&str],
    #[case] spoken: Version,
    #[case] connections: RangeInclusive<usize>,
) {
    let (server, client) = Server::start(offered).await;
    let bodies: Vec<String> = ('a'..).take(IN_FLIGHT).map(|letter| letter.to_string().repeat(LARGE)).collect();
    let answers = join_all(bodies.iter().map(|body| ask(&client, Method::PATCH, "/large", body))).await;
    for (answer, body) in answers.into_iter().zip(&bodies) {
        assert!(answer.expect("an answer") == *body, "it is not what was sent");
    }
    assert!(connections.contains(&server.connections()), "{}", server.connections());
    assert_eq!(*server.versions.lock().expect("a lock"), BTreeSet::from([spoken]));
}

#[tokio::test]
async fn a_read_that_stumbles_is_asked_again_on_the_same_connection() {
    let (server, client) = Server::start(BOTH).await;
    ask(&client, Method::GET, "/stumbles", "").await.expect("an answer");
    assert_eq!((server.asked(), server.connections()), (2, 1));
}

/// As when what stands between ends it, or an API server goes away of several.
#[tokio::test]
async fn a_read_whose_connection_is_lost_is_asked_again_on_another() {
    let (server, client) = Server::start(BOTH).await;
    ask(&client, Method::GET, "/lost", "").await.expect("an answer");
    assert_eq!((server.asked(), server.connections()), (2, 2));
}

/// It may have been done: whether it is tried again is for those to say who know what it does.
#[tokio::test]
async fn a_write_whose_connection_is_lost_fails_and_the_next_one_takes_another() {
    let (server, client) = Server::start(BOTH).await;
    let lost = ask(&client, Method::PATCH, "/lost", "").await.expect_err("nobody answered it");
    let said = crate::cluster::Error::from(lost);
    assert!(said.is_transient(), "{said}");
    ask(&client, Method::PATCH, "/lost", "").await.expect("an answer");
    assert_eq!((server.asked(), server.connections()), (2, 2));
}
