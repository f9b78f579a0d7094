//! A cluster that reaches no registry.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use axum::{body::Body, extract::Request, response::Response};
use serde_json::Value;

use crate::world::World;

/// Saved from a registry that is gone afterwards, taken off the node, loaded, installed.
pub async fn a_cluster_without_a_registry_is_served_from_a_file(world: &World) {
    let Some(containerd) = containerd(world) else {
        println!("no containerd of the cluster can be reached from here");
        return;
    };
    let listed = world.scalekit(["images", "list", "-o", "json"]).exits(0).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stack = folder.path().join("stack.tar");
    let mut overrides = Vec::new();
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let exported = folder.path().join("exported.tar");
        let references: Vec<&str> = listed
            .iter()
            .filter(|image| image["sideLoaded"] == false)
            .map(|image| image["reference"].as_str().unwrap())
            .collect();
        ctr(world, &containerd, &[&["images", "export", exported.to_str().unwrap()], references.as_slice()].concat());
        let registry = Registry::of(&exported);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let app = axum::Router::new().fallback(move |request: Request| {
                let registry = Arc::clone(&registry);
                async move { registry.answer(&request) }
            });
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await
        });
        for image in listed.iter().filter(|image| image["sideLoaded"] == false) {
            let path = image["reference"].as_str().unwrap().split_once('/').unwrap().1;
            overrides.push(format!("--image={}={address}/{path}", image["component"].as_str().unwrap()));
        }
        let arguments = ["images", "save", stack.to_str().unwrap()].map(str::to_owned);
        let ran = world.scalekit(arguments.iter().chain(&overrides)).exits(0);
        println!("{}{} ({:.1} s)", ran.stdout, ran.stderr, ran.took.as_secs_f64());
        runtime.shutdown_background();
    }
    let before = ctr(world, &containerd, &["images", "ls", "-q"]);
    assert!(!before.contains("127.0.0.1:"), "{before}");
    let ran = world.scalekit(["images", "load", stack.to_str().unwrap()]).exits(0);
    println!("{}{} ({:.1} s)", ran.stdout, ran.stderr, ran.took.as_secs_f64());
    let names: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    assert_eq!(names.len(), listed.len(), "{names:?}");
    let table = ctr(world, &containerd, &["images", "ls"]);
    for name in &names {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name}\n{table}"));
        assert!(row.contains("io.cri-containerd.pinned=pinned"), "{row}");
    }
    let ran = world.scalekit([String::from("up"), String::from("--events=ndjson")].iter().chain(&overrides)).exits(0);
    println!("{} ({:.1} s)", ran.stdout, ran.took.as_secs_f64());
    in_order(&ran.stderr);
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
    let table = ctr(world, &containerd, &["images", "ls"]);
    let pinned = |line: &&str| line.starts_with("127.0.0.1:") && line.contains("pinned");
    assert_eq!(table.lines().find(pinned), None, "the pins are gone with the installation");
    let foreign: Vec<&str> = names.iter().filter(|name| name.starts_with("127.0.0.1:")).map(String::as_str).collect();
    ctr(world, &containerd, &[&["images", "rm", "--sync"], foreign.as_slice()].concat());
}

/// Every line is an event; steps begin before they end, in the order of `up`.
fn in_order(stderr: &str) {
    let lines: Vec<Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let steps = |kind: &str| -> Vec<&str> {
        lines.iter().filter(|line| line["event"] == kind).map(|line| line["step"].as_str().unwrap()).collect()
    };
    let mut expected = vec!["preflight", "plan", "image", "apply", "wait", "targets"];
    // Nothing is sent where everything is there.
    if !steps("step-started").contains(&"image") {
        expected.retain(|step| *step != "image");
    }
    assert_eq!(steps("step-started"), expected);
    assert_eq!(steps("step-finished"), expected);
}

fn containerd(world: &World) -> Option<PathBuf> {
    let settings: Value = scalekit::yaml::parse(&fs::read_to_string(world.settings()).unwrap()).unwrap();
    settings["containerdSocket"].as_str().map(PathBuf::from)
}

fn ctr(world: &World, socket: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(world.settings().with_file_name("bin").join("ctr"));
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]).args(arguments);
    World::run(&mut command).exits(0).stdout
}

/// A registry, without tokens, of what is in an archive.
struct Registry {
    /// By repository and tag: the digest.
    tags: BTreeMap<(String, String), String>,
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Registry {
    fn of(archive: &Path) -> Arc<Self> {
        let mut registry = Self { tags: BTreeMap::new(), blobs: BTreeMap::new() };
        let mut index = Value::Null;
        for entry in tar::Archive::new(fs::File::open(archive).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            match path.strip_prefix("blobs/sha256/") {
                Some(hex) => {
                    registry.blobs.insert(format!("sha256:{hex}"), bytes);
                }
                None if path == "index.json" => index = serde_json::from_slice(&bytes).unwrap(),
                None => {}
            }
        }
        for image in index["manifests"].as_array().unwrap() {
            let name = image["annotations"]["io.containerd.image.name"].as_str().unwrap();
            let (repository, tag) = name.split_once('/').unwrap().1.rsplit_once(':').unwrap();
            registry.tags.insert((repository.to_owned(), tag.to_owned()), image["digest"].as_str().unwrap().to_owned());
        }
        Arc::new(registry)
    }

    fn answer(&self, request: &Request) -> Response {
        let path = request.uri().path().strip_prefix("/v2/").unwrap_or_default();
        let found = if let Some((repository, which)) = path.split_once("/manifests/") {
            let digest = self.tags.get(&(repository.to_owned(), which.to_owned())).cloned().unwrap_or(which.to_owned());
            self.blobs.get(&digest).map(|bytes| {
                let kind: Value = serde_json::from_slice(bytes).unwrap();
                let kind =
                    kind["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned();
                Response::builder()
                    .header("content-type", kind)
                    .header("docker-content-digest", digest)
                    .body(Body::from(bytes.clone()))
            })
        } else {
            let digest = path.split_once("/blobs/").map_or("", |(_, digest)| digest);
            self.blobs.get(digest).map(|bytes| Response::builder().body(Body::from(bytes.clone())))
        };
        found.unwrap_or_else(|| Response::builder().status(404).body(Body::empty())).unwrap()
    }
}
