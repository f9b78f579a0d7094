//! A control plane without a kubelet, the binary, and what the one holds after the other ran.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, TypeMeta},
    config::{KubeConfigOptions, Kubeconfig},
};
use scalekit::{
    catalog,
    cluster::{Cluster, INSTALLED},
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    listener::AUTHORITY,
    proxy::{Plan, Proxy},
    soak,
    steps::Setting,
    upgrade,
};

/// How a run of the binary ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with this code and these words.
    Exited(i32, String),
    /// By SIGKILL.
    Killed,
}

impl Ended {
    /// Whether its first request had no answer in time: until then it has asked nothing else, and written nothing.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Exited(4, words) if words.contains("no answer within 4 s"))
    }
}

pub struct World {
    state: PathBuf,
    binary: PathBuf,
    kubeconfig: PathBuf,
    /// The same without TLS.
    plain_kubeconfig: PathBuf,
    /// Whether rights are enforced.
    rbac: bool,
    pub client: Client,
    pub proxy: Proxy,
}

const OURS: &str = "app.kubernetes.io/managed-by=scalekit";

/// Longer than anything here takes, or a run that hangs would say nothing.
pub const LIMIT: Duration = Duration::from_secs(600);

/// How long kubectl may take to see what it was told of a moment before.
const KUBECTL: Duration = Duration::from_secs(60);

/// A machine that does much else may keep the first answer away from one run; not from each of these.
pub const TRIES: usize = 3;

impl World {
    pub async fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let state = root.join(env::var_os("CLUSTER_STATE").expect("CLUSTER_STATE names a cluster made with KUBELET=0"));
        let settings = fs::read_to_string(state.join("settings")).expect("a cluster of dev/cluster");
        assert!(settings.contains("\nKUBELET=0\n"), "{} has a kubelet", state.display());
        let binary = env::var_os("SCALEKIT").map_or_else(|| root.join("target/scalekit"), |binary| root.join(binary));
        assert!(binary.exists(), "{} is not there: `make build`", binary.display());
        let original = Kubeconfig::read_from(state.join("kubeconfig")).unwrap();
        let config = Config::from_custom_kubeconfig(original, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let proxy = Proxy::start(client.clone()).await;
        let (kubeconfig, plain_kubeconfig) = (state.join("through-the-proxy"), state.join("through-the-proxy-plainly"));
        fs::write(&kubeconfig, naming(&proxy.url())).unwrap();
        fs::write(&plain_kubeconfig, naming(&proxy.plain_url())).unwrap();
        let rbac = settings.contains("\nRBAC=1\n");
        Self { state, binary, kubeconfig, plain_kubeconfig, rbac, client, proxy }
    }

    /// The folder of the cluster.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The binary under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A program in an empty environment, which ends with what waits for it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", &self.state);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The arguments by which the binary goes through the proxy, on the one connection that it has to an API server.
    pub fn through_the_proxy(&self) -> [&OsStr; 2] {
        [OsStr::new("--kubeconfig"), self.kubeconfig.as_os_str()]
    }

    /// The same without TLS, where each request in flight takes a connection.
    pub fn plainly_through_the_proxy(&self) -> [&OsStr; 2] {
        [OsStr::new("--kubeconfig"), self.plain_kubeconfig.as_os_str()]
    }

    /// The binary, or an earlier one, started through the proxy.
    pub fn start(&self, binary: Option<&Path>, arguments: &[&str]) -> Child {
        let mut command = self.command(binary.unwrap_or(&self.binary));
        command.args(self.through_the_proxy()).args(arguments).spawn().unwrap()
    }

    /// The binary, started past the proxy.
    pub fn start_past_the_proxy(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(&self.binary);
        command.arg("--kubeconfig").arg(self.state.join("kubeconfig")).args(arguments).spawn().unwrap()
    }

    /// Runs the binary by a plan, to its end or its death. A run that was not answered is begun again, unless requests are to
    /// fail.
    pub async fn run(&self, plan: Plan, arguments: &[&str]) -> Ended {
        if plan.faults.is_some() {
            return self.once(plan, arguments).await;
        }
        answered(async || self.once(plan.clone(), arguments).await).await
    }

    /// The same, whether it was answered or not.
    pub async fn once(&self, plan: Plan, arguments: &[&str]) -> Ended {
        self.proxy.follow(plan);
        self.to_its_end(self.start(None, arguments)).await
    }

    /// Starts the binary by a plan, and leaves it at work when it has written so many times.
    pub async fn begun(&self, plan: Plan, arguments: &[&str], writes: usize) -> Child {
        for _ in 0..TRIES {
            self.proxy.follow(plan.clone());
            let mut run = self.start(None, arguments);
            tokio::select! {
                biased;
                () = self.proxy.written(writes) => return run,
                _status = run.wait() => {}
            }
            let ended = finished(run).await;
            assert!(ended.is_unanswered(), "it ended before {writes} writes: {ended:?}");
        }
        panic!("{arguments:?}: never an answer")
    }

    /// Waits for the end of what was started by a plan, or kills it when that is its end.
    pub async fn to_its_end(&self, run: Child) -> Ended {
        tokio::select! {
            ended = finished(run) => ended,
            // The process is killed when what waits for it is dropped.
            () = self.proxy.fatal() => Ended::Killed,
        }
    }

    /// Runs it undisturbed; it has to end well.
    pub async fn runs(&self, arguments: &[&str]) -> String {
        match self.run(Plan::default(), arguments).await {
            Ended::Exited(0, words) => words,
            ended => panic!("{arguments:?}: {ended:?}"),
        }
    }

    /// `up` into a namespace, without waiting for pods that never come.
    pub fn up(namespace: &str) -> Vec<&str> {
        vec!["up", "--no-wait", "-n", namespace, "--image", "scaler=example.org/scalekit:1", "--timeout", "400s"]
    }

    /// Everything with our label, by kind and name. `namespace` is written as NS, so that installations in different ones
    /// can be compared.
    pub async fn found(&self, namespace: &str) -> BTreeMap<String, DynamicObject> {
        let cluster = Cluster::new(self.client.clone(), "", "", "default");
        let mut found = BTreeMap::new();
        for kind in INSTALLED {
            let api = cluster.api(&kind, None);
            let list = match api.list(&ListParams::default().labels(OURS)).await {
                Ok(list) => list,
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                Err(error) => panic!("{}: {error}", kind.kind),
            };
            for object in list {
                let place = object.namespace().unwrap_or_else(|| object.name_any());
                let elsewhere = kind.kind == "Namespace" || kind.namespaced;
                if elsewhere && place != namespace && place != format!("{namespace}-nodes") {
                    continue;
                }
                let name = format!("{} {}/{}", kind.kind, object.namespace().unwrap_or_default(), object.name_any());
                // A list says the kind once.
                let types = Some(TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_owned() });
                found.insert(name.replace(namespace, "NS"), DynamicObject { types, ..object });
            }
        }
        found
    }

    /// The same as it was declared: what differs from run to run or belongs to the API server and to controllers is left
    /// out.
    pub async fn everything(&self, namespace: &str) -> BTreeMap<String, String> {
        let set = catalog::applyset_id(catalog::INVENTORY, namespace, "ConfigMap", "");
        let as_declared = |object: DynamicObject| {
            // A hash of files that name the namespace.
            let mark = catalog::content_mark(std::slice::from_ref(&object));
            let mut text = declared(serde_json::to_value(&object).unwrap()).to_string();
            if let Some(mark) = mark {
                text = text.replace(&mark, "MARK");
            }
            text.replace(&set, "SET").replace(namespace, "NS")
        };
        self.found(namespace).await.into_iter().map(|(name, object)| (name, as_declared(object))).collect()
    }

    /// Takes away what is there, not by the binary under test, and without waiting for the namespaces.
    pub async fn clear(&self) {
        let cluster = Cluster::new(self.client.clone(), "", "", "default");
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for namespace in namespaces.list(&ListParams::default().labels(OURS)).await.unwrap() {
            if namespace.metadata.deletion_timestamp.is_none() {
                let _gone = namespaces.delete(&namespace.name_any(), &DeleteParams::background()).await;
            }
        }
        for kind in INSTALLED.iter().filter(|kind| !kind.namespaced && kind.kind != "Namespace") {
            let api = cluster.api(kind, None);
            api.delete_collection(&DeleteParams::background(), &ListParams::default().labels(OURS)).await.unwrap();
            let began = Instant::now();
            while !api.list_metadata(&ListParams::default().labels(OURS)).await.unwrap().items.is_empty() {
                assert!(began.elapsed() < LIMIT, "{} does not go", kind.kind);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until no namespace is on its way out: a removal looks at all of them.
    pub async fn settled(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let began = Instant::now();
        while !namespaces.list(&ListParams::default().labels(OURS)).await.unwrap().items.is_empty() {
            assert!(began.elapsed() < LIMIT, "the namespaces do not go");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Applies manifests as people do, on kubectl's side.
    pub fn kubectl_apply(&self, manifests: &str) {
        self.kubectl_apply_as("kubectl-client-side-apply", manifests);
    }

    /// The same in the name of another field manager.
    pub fn kubectl_apply_as(&self, manager: &str, manifests: &str) {
        let file = self.state.join("applied.yaml");
        fs::write(&file, manifests).unwrap();
        let began = Instant::now();
        loop {
            let apply = ["apply", "--field-manager", manager, "-f"];
            let output = self.kubectl().args(apply).arg(&file).output().unwrap();
            if output.status.success() {
                return;
            }
            // The first pass meets namespaces and a definition that are not there yet, and what was defined a moment before
            // may be served a moment later.
            assert!(began.elapsed() < KUBECTL, "{}", String::from_utf8_lossy(&output.stderr));
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// kubectl for this cluster. What it remembers of an API server lies beside it: elsewhere that is another cluster's.
    pub fn kubectl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(self.state.join("bin/kubectl"));
        command.arg("--kubeconfig").arg(self.state.join("kubeconfig"));
        command.arg("--cache-dir").arg(self.state.join("kubectl-cache"));
        command
    }
}

impl Setting for World {
    const ONE_STORY: bool = false;

    fn limit(&self) -> Duration {
        Duration::from_secs(if soak() { 3600 } else { 1200 })
    }

    fn does_not_apply(&self, step: &str) -> Option<String> {
        if step.contains("an_older_build") && env::var_os(upgrade::OLD).is_none() {
            Some(format!("{} names no earlier build", upgrade::OLD))
        } else if ["an_account_that_may_only_read", "a_check_by_who_may_little"].iter().any(|one| step.starts_with(one))
            && !self.rbac
        {
            Some("the cluster does not enforce RBAC".to_owned())
        } else {
            None
        }
    }

    async fn begin(&self) {
        self.clear().await;
    }

    async fn describe_failure(&self) {}
}

/// Sends a run a signal.
pub fn signal(run: &Child, signal: &str) {
    let pid = run.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status();
    assert!(sent.unwrap().success(), "no {signal} for {pid}");
}

/// A kubeconfig for this server, to which nobody has to say who they are.
fn naming(server: &str) -> String {
    let cluster = json!({"server": server, "certificate-authority-data": STANDARD.encode(AUTHORITY)});
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": {}}], "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]})
    .to_string()
}

/// Runs until the first request was answered, within reason.
pub async fn answered(mut run: impl AsyncFnMut() -> Ended) -> Ended {
    for _ in 1..TRIES {
        let ended = run().await;
        if !ended.is_unanswered() {
            return ended;
        }
    }
    run().await
}

/// Waits for the end of a run and for what it said.
pub async fn finished(run: Child) -> Ended {
    let output = tokio::time::timeout(LIMIT, run.wait_with_output()).await.expect("it ends").unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ended::Exited(output.status.code().unwrap_or(-1), words)
}

/// What a manifest declared of an object, and who manages it.
fn declared(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "selfLink"] {
        metadata.remove(field);
    }
    let own: Vec<Value> = metadata
        .remove("managedFields")
        .and_then(|fields| fields.as_array().cloned())
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| entry["manager"] == "scalekit")
        .map(|entry| json!([entry["operation"], entry["fieldsV1"]]))
        .collect();
    metadata.insert("managedFields".to_owned(), own.into());
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations
            .retain(|name, _| !name.starts_with("deployment.kubernetes.io/") && !name.starts_with("deprecated."));
        // Where there are no others, there may be none of these either: they come a moment after the object.
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object["status"] = Value::Null;
    if object["data"]["inventory.json"].is_string() {
        let mut entries: Value = serde_json::from_str(object["data"]["inventory.json"].as_str().unwrap()).unwrap();
        for entry in entries.as_array_mut().unwrap() {
            let hash = entry["hash"].as_str().unwrap_or_default();
            assert!(entry["uid"].is_string() && !hash.is_empty(), "the inventory does not know {entry}");
            // Both are another in another namespace.
            (entry["uid"], entry["hash"]) = (Value::Null, Value::Null);
        }
        object["data"]["inventory.json"] = entries;
    }
    // A hash of files that name the namespace.
    if let Some(hash) = object.pointer_mut("/spec/template/metadata/annotations")
        && let Some(hash) = hash.get_mut(catalog::CONFIG_HASH)
    {
        *hash = Value::Null;
    }
    // A password of its own each time, addresses from the cluster's ranges, and who is first.
    for path in ["/data/password", "/spec/clusterIP", "/spec/clusterIPs"] {
        if let Some(value) = object.pointer_mut(path) {
            *value = Value::Null;
        }
    }
    object
}
