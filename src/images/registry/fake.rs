//! A registry made up for tests: it keeps what is pushed, wants tokens, and fails as it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::images::digest::sha256;

/// How an answer is spoiled.
#[derive(Clone, Debug)]
pub(in crate::images) enum Fault {
    /// Another status, with these words.
    Status(u16, &'static str),
    /// The connection ends after so many bytes.
    BreakOff(usize),
    /// The bytes are others.
    Change,
}

#[derive(Default)]
pub(in crate::images) struct Kept {
    /// By repository and digest.
    pub blobs: BTreeMap<(String, String), Bytes>,
    /// By repository and tag or digest: media type and bytes.
    pub manifests: BTreeMap<(String, String), (String, Bytes)>,
    /// What spoils the next answers to requests whose line holds the text.
    faults: Vec<(&'static str, Fault)>,
    /// Every request, a line each: `GET /v2/…`, with the kind of authorization.
    pub log: Vec<String>,
    /// Where an upload is sent to, if not here.
    pub elsewhere: Option<String>,
}

pub(in crate::images) struct FakeRegistry {
    pub address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

/// Who may push, and pull from repositories below `private/`.
pub(in crate::images) const USER: (&str, &str) = ("robot", "hunter2");

/// What speaks TLS needs one, as `main` installs it. A test that is not the first finds it there.
pub(in crate::images) fn provider() {
    let _there = rustls::crypto::ring::default_provider().install_default();
}

impl FakeRegistry {
    pub(in crate::images) async fn start() -> Self {
        provider();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, kept }
    }

    pub(in crate::images) fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// Spoils the next answer to a request whose line holds this text.
    pub(in crate::images) fn spoil(&self, request: &'static str, fault: Fault) {
        self.kept().faults.push((request, fault));
    }

    /// Puts a blob there, and gives its digest.
    pub(in crate::images) fn has_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = format!("sha256:{}", sha256(&bytes));
        self.kept().blobs.insert((repository.to_owned(), digest.clone()), bytes);
        digest
    }

    /// Puts a manifest there, under its digest and the tag, and gives its digest.
    pub(in crate::images) fn has_manifest(
        &self,
        repository: &str,
        tag: &str,
        kind: &str,
        json: &serde_json::Value,
    ) -> String {
        let bytes = Bytes::from(json.to_string());
        let digest = format!("sha256:{}", sha256(&bytes));
        for which in [tag, &digest] {
            let entry = (kind.to_owned(), bytes.clone());
            self.kept().manifests.insert((repository.to_owned(), which.to_owned()), entry);
        }
        digest
    }

    /// A reference in it.
    pub(in crate::images) fn at(&self, rest: &str) -> crate::images::reference::Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    /// The requests whose line holds the text.
    pub(in crate::images) fn asked(&self, text: &str) -> usize {
        self.kept().log.iter().filter(|line| line.contains(text)).count()
    }
}

async fn answer(State(kept): State<Arc<Mutex<Kept>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let (response, fault) = judged(&mut kept.lock().unwrap(), &parts, body);
    spoiled(response, fault).await
}

fn judged(kept: &mut Kept, parts: &http::request::Parts, body: Bytes) -> (Response, Option<Fault>) {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let authorization = header("authorization");
    let kind = authorization.split(' ').next().unwrap_or_default().to_owned();
    let line = format!("{} {} {kind}", parts.method, parts.uri);
    kept.log.push(line.clone());
    let fault = kept.faults.iter().position(|(text, _)| line.contains(text)).map(|place| kept.faults.remove(place).1);
    if let Some(Fault::Status(status, said)) = fault {
        let body = format!(r#"{{"errors":[{{"code":"FAULT","message":"{said}"}}]}}"#);
        return ((StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], body).into_response(), None);
    }
    let host = header("host");
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default().replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    if path == "/token" {
        return (token(&query, &authorization), fault);
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return (refused(404, "NAME_UNKNOWN", "no such place"), fault);
    };
    let (repository, rest) = split(rest);
    let push = ![Method::GET, Method::HEAD].contains(&parts.method);
    let good = [format!("Bearer repository:{repository}:pull"), format!("Bearer repository:{repository}:pull,push")];
    if !(authorization == good[1] || (!push && authorization == good[0])) {
        let challenge =
            format!(r#"Bearer realm="http://{host}/token",service="fake",scope="repository:{repository}:pull""#);
        let mut response = refused(401, "UNAUTHORIZED", "authentication required");
        response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
        return (response, fault);
    }
    let response = serve(kept, &parts.method, &repository, rest, &query, &parts.headers, &host, body);
    (response, fault)
}

fn token(query: &str, authorization: &str) -> Response {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope=")).unwrap_or_default();
    let known = authorization == format!("Basic {}", STANDARD.encode(format!("{}:{}", USER.0, USER.1)));
    if !known && (scope.ends_with("push") || scope.contains(":private/") || !authorization.is_empty()) {
        let body = r#"{"details":"incorrect username or password"}"#;
        return (StatusCode::UNAUTHORIZED, body).into_response();
    }
    format!(r#"{{"token":"{scope}"}}"#).into_response()
}

fn split(rest: &str) -> (String, &str) {
    let mark = ["/manifests/", "/blobs/"].iter().find_map(|mark| rest.find(mark)).unwrap_or(rest.len());
    (rest[..mark].to_owned(), rest[mark..].trim_start_matches('/'))
}

#[expect(clippy::too_many_arguments, reason = "a request taken apart")]
fn serve(
    kept: &mut Kept,
    method: &Method,
    repository: &str,
    rest: &str,
    query: &str,
    headers: &HeaderMap,
    host: &str,
    body: Bytes,
) -> Response {
    let key = |which: &str| (repository.to_owned(), which.to_owned());
    match (method.as_str(), rest.split_once('/')) {
        ("GET" | "HEAD", Some(("manifests", which))) => {
            let Some((kind, bytes)) = kept.manifests.get(&key(which)) else {
                return refused(404, "MANIFEST_UNKNOWN", "manifest unknown");
            };
            let digest = format!("sha256:{}", sha256(bytes));
            let headers = [("content-type", kind.clone()), ("docker-content-digest", digest)];
            (headers, bytes.clone()).into_response()
        }
        ("PUT", Some(("manifests", which))) => {
            let digest = format!("sha256:{}", sha256(&body));
            let text = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
            let named = [&text["config"]["digest"]]
                .into_iter()
                .chain(text["layers"].as_array().into_iter().flatten().map(|layer| &layer["digest"]));
            for blob in named.filter_map(serde_json::Value::as_str) {
                if !kept.blobs.contains_key(&key(blob)) {
                    return refused(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
                }
            }
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            for which in [which, &digest] {
                kept.manifests.insert(key(which), (kind.clone(), body.clone()));
            }
            StatusCode::CREATED.into_response()
        }
        ("POST", Some(("blobs", "uploads/"))) => {
            let to = kept.elsewhere.clone().unwrap_or_else(|| format!("http://{host}"));
            let place = format!("{to}/v2/{repository}/blobs/uploads/1?state=x");
            (StatusCode::ACCEPTED, [("location", place)]).into_response()
        }
        ("PUT", Some(("blobs", place))) if place.starts_with("uploads/") => {
            let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest=")).unwrap_or_default();
            if format!("sha256:{}", sha256(&body)) != digest {
                return refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
            kept.blobs.insert(key(digest), body);
            StatusCode::CREATED.into_response()
        }
        ("GET" | "HEAD", Some(("blobs", digest))) => {
            let Some(bytes) = kept.blobs.get(&key(digest)) else {
                return refused(404, "BLOB_UNKNOWN", "blob unknown to registry");
            };
            let from: Option<usize> = headers
                .get("range")
                .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
            match from {
                Some(from) => (StatusCode::PARTIAL_CONTENT, bytes.slice(from..)).into_response(),
                None => bytes.clone().into_response(),
            }
        }
        _ => refused(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

async fn spoiled(response: Response, fault: Option<Fault>) -> Response {
    let Some(fault) = fault else { return response };
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    match fault {
        Fault::Change => {
            let mut changed = bytes.to_vec();
            changed[0] ^= 1;
            Response::from_parts(parts, Body::from(changed))
        }
        Fault::BreakOff(length) => {
            // Without a length, the answer is cut where its stream fails.
            parts.headers.remove("content-length");
            let frames: [Result<Bytes, std::io::Error>; 2] =
                [Ok(bytes.slice(..length)), Err(std::io::Error::other("broken off"))];
            Response::from_parts(parts, Body::from_stream(futures::stream::iter(frames)))
        }
        Fault::Status(..) => Response::from_parts(parts, Body::from(bytes)),
    }
}

fn refused(status: u16, code: &str, message: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}
