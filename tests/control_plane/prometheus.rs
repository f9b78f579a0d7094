//! Servers that the scaler asks, and that answer what they are told to, well or ill: each a path of one listener.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
    serve::Listener,
};
use futures::{StreamExt, stream};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::listener::Encrypted;

/// What a server says to whatever it is asked.
#[derive(Clone, Debug)]
pub enum Says {
    /// This status and body.
    This(u16, String),
    /// Nothing, for as long as somebody waits.
    Nothing,
    /// That an answer comes, of which nothing does.
    OnlyThatItAnswers,
    /// The beginning of an answer, and then it hangs up.
    Half,
    /// That the answer is elsewhere.
    Elsewhere(String),
    /// Nothing to a query with this word in it; to all others this value.
    NothingAbout(&'static str, &'static str),
}

impl Says {
    /// A vector of these values, each a series of its own.
    pub fn values(values: &[&str]) -> Self {
        Self::answer(&json!({}), values)
    }

    /// The same, with these fields beside the data.
    pub fn answer(beside: &Value, values: &[&str]) -> Self {
        Self::This(200, vector(beside, values))
    }

    /// An error of the API.
    pub fn error(status: u16, kind: &str) -> Self {
        Self::This(status, json!({"status": "error", "errorType": kind, "error": "so it is"}).to_string())
    }
}

fn vector(beside: &Value, values: &[&str]) -> String {
    let series = |(place, value): (usize, &&str)| json!({"metric": {"n": place.to_string()}, "value": [1, value]});
    let result: Vec<Value> = values.iter().enumerate().map(series).collect();
    let mut answer = beside.clone();
    answer["status"] = json!("success");
    answer["data"] = json!({"resultType": "vector", "result": result});
    answer.to_string()
}

/// What each says, and how often it was asked.
#[derive(Default)]
struct Told {
    says: BTreeMap<String, Says>,
    asked: BTreeMap<String, usize>,
    /// What it wants to see.
    token: Option<String>,
}

/// All of them.
pub struct Servers {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

impl Servers {
    /// Listens on this machine, in the clear and to everybody.
    pub async fn start() -> Self {
        Self::serve(local().await, None)
    }

    /// The same by TLS, with the certificate of `tests/tls`, and for who shows this token.
    pub async fn start_guarded(token: &str) -> Self {
        Self::serve(Encrypted::new(local().await, &["http/1.1"]), Some(token.to_owned()))
    }

    fn serve(listener: impl Listener<Addr = SocketAddr>, token: Option<String>) -> Self {
        let told = Arc::new(Mutex::new(Told { token, ..Told::default() }));
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&told));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, told }
    }

    /// The address of one of them.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// From now on.
    pub fn say(&self, name: &str, says: Says) {
        locked(&self.told).says.insert(name.to_owned(), says);
    }

    /// How often one was asked.
    pub fn asked(&self, name: &str) -> usize {
        locked(&self.told).asked.get(name).copied().unwrap_or(0)
    }
}

async fn local() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn locked(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().expect("nobody panics with it")
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, request: Request) -> Response {
    let name = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    let says = {
        let mut told = locked(&told);
        *told.asked.entry(name.clone()).or_default() += 1;
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let wanted = told.token.as_ref().map(|token| format!("Bearer {token}"));
        let refused = wanted.is_some() && shown != wanted.as_deref();
        // What nobody has told anything is not there.
        let says = told.says.get(&name).cloned().unwrap_or_else(|| Says::This(404, String::new()));
        if refused { Says::This(401, "who are you?".to_owned()) } else { says }
    };
    match says {
        Says::This(status, body) => whole(status, body),
        Says::Nothing => std::future::pending().await,
        Says::NothingAbout(word, _) if request.uri().query().is_some_and(|query| query.contains(word)) => {
            std::future::pending().await
        }
        Says::NothingAbout(_, value) => whole(200, vector(&json!({}), &[value])),
        Says::OnlyThatItAnswers => Response::new(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        Says::Half => {
            let hangs_up = stream::once(async { Err(io::Error::other("it hangs up")) });
            let begins = stream::once(async { Ok(Bytes::from_static(b"{\"status\":\"succ")) });
            Response::new(Body::from_stream(begins.chain(hangs_up)))
        }
        Says::Elsewhere(url) => {
            let found = Response::builder().status(StatusCode::FOUND).header(header::LOCATION, url);
            found.body(Body::empty()).unwrap()
        }
    }
}

fn whole(status: u16, body: String) -> Response {
    Response::builder().status(status).body(Body::from(body)).unwrap()
}
