//! Images into a registry, and from there into what is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{Method, StatusCode};
use scalekit::yaml;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    proxy::Plan,
    world::{Ended, World, answered, finished},
};

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
struct Registry {
    address: SocketAddr,
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
    async fn start() -> Self {
        let held = Arc::new(Mutex::new(Held::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&held));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, held }
    }

    /// Puts an image of one layer there.
    fn has(&self, repository: &str, tag: &str) {
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

    fn uploads(&self) -> usize {
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

/// What a run says on stdout, where it ends well.
async fn stdout(world: &World, arguments: &[&str]) -> String {
    let mut run = world.command(world.binary());
    let output = run.args(arguments).spawn().unwrap().wait_with_output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The stand-ins of the stack's images lie in the registry under the paths of their own, are saved from there, and pushed
/// into another place of it.
pub async fn images_go_into_a_registry_and_up_takes_them_from_there(world: &World) {
    let registry = Registry::start().await;
    let mirror = format!("{}/mirror", registry.address);
    let listed: Vec<Value> = serde_json::from_str(&stdout(world, &["images", "list", "-o", "json"]).await).unwrap();
    let mut sources = Vec::new();
    for image in listed.iter().filter(|image| image["sideLoaded"] == false) {
        let (_, path) = image["reference"].as_str().unwrap().split_once('/').expect("a registry and a path");
        let (repository, tag) = path.rsplit_once(':').expect("a tag");
        registry.has(repository, tag);
        sources.push(format!("--image={}={}/{path}", image["component"].as_str().unwrap(), registry.address));
    }
    assert_eq!((sources.len(), listed.len()), (4, 5), "{listed:?}");
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("stack.tar");
    let archive = archive.to_str().unwrap();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    stdout(world, &[&["images", "save", archive], sources.as_slice()].concat()).await;

    let push = ["images", "push", "--archive", archive, &mirror];
    let pushed = stdout(world, &push).await;
    let pushed: BTreeMap<&str, &str> = pushed.lines().filter_map(|line| line.split_once("  ")).collect();
    assert_eq!(pushed.len(), listed.len(), "{pushed:?}");
    // Two blobs of each: what was sent is not sent again.
    assert_eq!(registry.uploads(), 2 * listed.len());
    stdout(world, &push).await;
    assert_eq!(registry.uploads(), 2 * listed.len());

    let own = *pushed.keys().find(|name| name.starts_with(&format!("{mirror}/scalekit:"))).expect("our own");
    let scaler = format!("scaler={own}");
    let from = ["--registry", &mirror, "--image", &scaler];
    let locked = stdout(world, &[&["images", "lock"], &from[..]].concat()).await;
    let block: Value = yaml::parse(&locked).unwrap();
    let fixed: BTreeSet<String> =
        block["images"].as_object().unwrap().values().map(|image| image.as_str().unwrap().to_owned()).collect();
    let expected: BTreeSet<String> = pushed.iter().map(|(name, digest)| format!("{name}@{digest}")).collect();
    assert_eq!(fixed, expected);

    let settings = folder.path().join("locked.yaml");
    fs::write(&settings, &locked).unwrap();
    let mut up = world.command(world.binary());
    up.args(world.through_the_proxy()).arg("--config").arg(&settings).args(["up", "--no-wait", "-n", "in-mirrored"]);
    let ended = answered(async || {
        world.proxy.follow(Plan::default());
        finished(up.spawn().unwrap()).await
    })
    .await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    let installed: BTreeSet<String> = world
        .found("in-mirrored")
        .await
        .into_values()
        .filter_map(|object| object.data.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned))
        .collect();
    assert_eq!(installed, expected);
    // The same by the tags.
    world.runs(&[&["up", "--no-wait", "-n", "in-mirrored"], &from[..]].concat()).await;
    let tagged = world.found("in-mirrored").await.into_values().filter_map(|object| {
        object.data.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned)
    });
    assert_eq!(tagged.collect::<BTreeSet<_>>(), pushed.keys().map(|&name| name.to_owned()).collect());
}
