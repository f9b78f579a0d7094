//! A registry that lives as long as its test.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the registry holds, and what it was asked.
#[derive(Default)]
struct Held {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Bytes>,
    /// By repository and tag or digest.
    manifests: BTreeMap<(String, String), Bytes>,
    uploads: usize,
}

/// A registry that lets everybody in, as far as images of one platform take it (OCI distribution spec 1.1).
pub struct Registry {
    pub address: SocketAddr,
    held: Arc<Mutex<Held>>,
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

impl Registry {
    /// On an address of this machine, at a free port.
    pub async fn start(address: IpAddr) -> Self {
        let held = Arc::new(Mutex::new(Held::default()));
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&held));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, held }
    }

    /// Puts an image of one layer there.
    pub fn has(&self, repository: &str, tag: &str) {
        let architecture = if env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let mut held = self.held.lock().unwrap();
        let mut blob = |kind: &str, text: String| {
            let (size, digest) = (text.len(), digest(text.as_bytes()));
            held.blobs.insert((repository.to_owned(), digest.clone()), text.into());
            json!({"mediaType": kind, "size": size, "digest": digest})
        };
        let config = blob("application/vnd.oci.image.config.v1+json", config.to_string());
        let layer = blob("application/vnd.oci.image.layer.v1.tar+gzip", format!("the files of {repository}"));
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        held.manifests.insert((repository.to_owned(), tag.to_owned()), manifest.to_string().into());
    }

    /// Blobs that were sent.
    pub fn uploads(&self) -> usize {
        self.held.lock().unwrap().uploads
    }
}

async fn answer(State(held): State<Arc<Mutex<Held>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut held = held.lock().unwrap();
    let path = head.uri.path().strip_prefix("/v2/").unwrap_or_default();
    let answer = Response::builder();
    let answer = if let Some((repository, which)) = path.split_once("/manifests/") {
        let key = |which: &str| (repository.to_owned(), which.to_owned());
        if head.method == Method::PUT {
            let manifest: Value = serde_json::from_slice(&body).unwrap();
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let mut blobs = layers.chain([&manifest["config"]]).map(|blob| blob["digest"].as_str().unwrap());
            if blobs.all(|blob| held.blobs.contains_key(&key(blob))) {
                held.manifests.insert(key(&digest(&body)), body.clone());
                held.manifests.insert(key(which), body);
                answer.status(StatusCode::CREATED).body(Body::empty())
            } else {
                answer.status(StatusCode::BAD_REQUEST).body("{}".into())
            }
        } else if let Some(manifest) = held.manifests.get(&key(which)) {
            let answer = answer.header("content-type", MANIFEST).header("docker-content-digest", digest(manifest));
            answer.body(manifest.clone().into())
        } else {
            answer.status(StatusCode::NOT_FOUND).body(Body::empty())
        }
    } else if let Some((repository, rest)) = path.split_once("/blobs/uploads/") {
        if rest.is_empty() {
            let place = format!("/v2/{repository}/blobs/uploads/1");
            answer.status(StatusCode::ACCEPTED).header("location", place).body(Body::empty())
        } else {
            let digest = digest(&body);
            let told = head.uri.query().unwrap_or_default().replace("%3A", ":");
            assert!(told.contains(&digest), "{told} is not {digest}");
            held.uploads += 1;
            held.blobs.insert((repository.to_owned(), digest), body);
            answer.status(StatusCode::CREATED).body(Body::empty())
        }
    } else {
        let (repository, digest) = path.split_once("/blobs/").unwrap_or_default();
        match held.blobs.get(&(repository.to_owned(), digest.to_owned())) {
            Some(blob) => answer.body(blob.clone().into()),
            None => answer.status(StatusCode::NOT_FOUND).body(Body::empty()),
        }
    };
    answer.unwrap()
}
