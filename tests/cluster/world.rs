//! The cluster under test, the binary under test, and ways to look at both.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, Config, Resource,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use scalekit::cluster::{Cluster, PodTunnel, listen};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{api_server, steps::Setting, upgrade};

/// How long who does not answer is asked again: a server that has much to do may lose a request.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// How long the stack may take until nothing is wrong with it: an Autoscaler that asked while Prometheus was away says so until
/// its next look, which may be five minutes later.
const HEALTHY_WITHIN: Duration = Duration::from_secs(330);

/// What the binary says of an API server that was silent from the beginning, so that nothing was done.
const SILENT: &str = "no answer within 4 s";

pub struct World {
    state: PathBuf,
    binary: PathBuf,
    pub client: Client,
    rbac: bool,
    flavour: String,
}

/// What a run of the binary gave.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    /// The run, if it ended with this code; a failed test otherwise, with all that it printed.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The same, if this stands somewhere in what it printed.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(all.contains(text), "expected {text:?} in:\n{all}");
        self
    }
}

impl World {
    pub async fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let state = env::var_os("CLUSTER_STATE").map_or_else(|| root.join("target/cluster"), |state| root.join(state));
        let binary = env::var_os("SCALEKIT").map_or_else(|| root.join("target/scalekit"), |binary| root.join(binary));
        assert!(binary.exists(), "{} is not there: `make build`", binary.display());
        let kubeconfig = state.join("kubeconfig");
        assert!(kubeconfig.exists(), "{} is not there: `make cluster`", kubeconfig.display());
        let config =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig).unwrap(), &KubeConfigOptions::default())
                .await
                .unwrap();
        let client = Client::try_from(config).unwrap();
        let roles: Api<k8s_openapi::api::rbac::v1::ClusterRole> = Api::all(client.clone());
        let rbac = roles.get_opt("cluster-admin").await.unwrap().is_some();
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
        let classes: Api<k8s_openapi::api::storage::v1::StorageClass> = Api::all(client.clone());
        let classes = classes.list(&ListParams::default()).await.unwrap().items;
        let flavour = scalekit::platform::detect(&nodes, &classes).kind.to_string();
        Self { state, binary, client, rbac, flavour }
    }

    pub fn name(&self) -> String {
        format!("{} ({}, RBAC {})", self.state.display(), self.flavour, if self.rbac { "on" } else { "off" })
    }

    /// Whether the API server enforces rights.
    pub fn rbac(&self) -> bool {
        self.rbac
    }

    /// Bytes of the binary under test.
    pub fn binary_size(&self) -> u64 {
        std::fs::metadata(&self.binary).unwrap().len()
    }

    /// The settings file of this cluster.
    pub fn settings(&self) -> PathBuf {
        self.state.join("scalekit.yaml")
    }

    /// How to reach this cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// The folder of this cluster, which is also home to what runs against it.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Runs the binary against this cluster with this cluster's settings.
    pub fn scalekit<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Ran {
        Self::run_answered(self.command().args(arguments))
    }

    /// Runs the binary, and again where the API server was silent from the beginning.
    pub fn run_answered(command: &mut Command) -> Ran {
        for _ in 0..3 {
            let ran = Self::run(command);
            if ran.code != 4 || !(ran.stderr.contains(SILENT) || ran.stdout.contains(SILENT)) {
                return ran;
            }
        }
        Self::run(command)
    }

    /// Runs the binary with these arguments until nothing is wrong, and gives that run.
    pub async fn until_it_passes(&self, arguments: &[&str]) -> Ran {
        let began = Instant::now();
        loop {
            let ran = self.scalekit(arguments);
            if ran.code == 0 || began.elapsed() > HEALTHY_WITHIN {
                return ran.exits(0);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The binary with the arguments that name this cluster and its settings.
    pub fn command(&self) -> Command {
        let mut command = self.bare();
        command.arg("--kubeconfig").arg(self.kubeconfig()).arg("--config").arg(self.settings());
        command
    }

    /// The binary without any argument, in an empty environment.
    pub fn bare(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().env("PATH", self.path()).env("HOME", &self.state);
        command
    }

    /// Where programs are looked for: at last among those of the cluster, for not every machine has a ctr.
    pub fn path(&self) -> OsString {
        let path = env::var_os("PATH").unwrap_or_default();
        env::join_paths(env::split_paths(&path).chain([self.state.join("bin")])).unwrap()
    }

    pub fn run(command: &mut Command) -> Ran {
        let began = Instant::now();
        let Output { status, stdout, stderr } = command.output().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took: began.elapsed(),
        }
    }

    /// How much the API server has logged until now, for [`World::requests_since`]; `None` where its log cannot be read.
    pub fn audit_mark(&self) -> Option<u64> {
        Some(std::fs::metadata(self.state.join("log/audit.log")).ok()?.len())
    }

    /// That the API server was asked for something since the mark, and nothing was written.
    pub fn asked_and_wrote_nothing(&self, mark: Option<u64>) {
        let Some(mark) = mark else { return };
        let (requests, writes) = self.requests_since(mark);
        assert!(!requests.is_empty(), "the audit log says nothing");
        assert_eq!(writes, Vec::<String>::new());
    }

    /// What users (not the cluster itself) asked of the API server since the mark: the requests, and of them the writes.
    /// A dry run and a review of rights write nothing.
    pub fn requests_since(&self, mark: u64) -> (Vec<String>, Vec<String>) {
        let log = std::fs::read(self.state.join("log/audit.log")).unwrap();
        let new = String::from_utf8_lossy(&log[usize::try_from(mark).unwrap()..]).into_owned();
        let requests: Vec<(String, String)> = new
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["stage"] == "ResponseComplete")
            .filter(|event| !event["user"]["username"].as_str().unwrap_or_default().starts_with("system:"))
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                (text("verb"), text("requestURI"))
            })
            .collect();
        let writes = requests
            .iter()
            .filter(|(verb, uri)| {
                ["create", "update", "patch", "delete", "deletecollection"].contains(&verb.as_str())
                    && !uri.contains("dryRun=All")
                    && !uri.contains("accessreviews")
                    && !uri.contains("/portforward")
            })
            .map(|(verb, uri)| format!("{verb} {uri}"))
            .collect();
        (requests.into_iter().map(|(verb, uri)| format!("{verb} {uri}")).collect(), writes)
    }

    /// Runs ctr on the node's containerd and gives what it printed; `None` where this machine does not have that.
    #[track_caller]
    pub fn ctr<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Option<String> {
        let socket = std::fs::read_to_string(self.settings()).ok()?;
        let socket = socket.lines().find_map(|line| line.strip_prefix("containerdSocket: "))?.to_owned();
        let mut command = Command::new(self.state.join("bin/ctr"));
        Some(Self::run(command.args(["-a", &socket, "-n", "k8s.io"]).args(arguments)).exits(0).stdout)
    }

    /// Where pods and the API server reach this machine; `None` where the cluster is somewhere else.
    pub fn host(&self) -> Option<IpAddr> {
        let settings = std::fs::read_to_string(self.state.join("settings")).ok()?;
        settings.lines().find_map(|line| line.strip_prefix("HOST_IP=")?.parse().ok())
    }

    pub fn deployments(&self, namespace: &str) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits by watch until the Deployment has this many replicas, all ready. Returns how long that took.
    pub async fn until_replicas(&self, namespace: &str, name: &str, replicas: i32, within: Duration) -> Duration {
        let began = Instant::now();
        let reached = becomes(self.deployments(namespace), name, within, |deployment| {
            deployment.and_then(|deployment| deployment.status.as_ref()).is_some_and(|status| {
                status.replicas.unwrap_or(0) == replicas && status.ready_replicas.unwrap_or(0) == replicas
            })
        });
        assert!(reached.await, "{name} has not {replicas} ready replicas after {within:?}");
        began.elapsed()
    }

    /// Waits until `status`, with these arguments, says that all is well.
    pub async fn until_healthy(&self, arguments: &[&str]) {
        self.until_it_passes(&[&["status"], arguments].concat()).await;
    }

    /// What `status`, with these arguments, says once all is well.
    pub async fn status_once_healthy(&self, arguments: &[&str]) -> Value {
        let ran = self.until_it_passes(&[&["status", "-o", "json"], arguments].concat()).await;
        serde_json::from_str(&ran.stdout).unwrap()
    }

    pub async fn pods(&self, namespace: &str, selector: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        pods.list(&ListParams::default().labels(selector)).await.unwrap().items
    }

    /// Forwards a free local port to a pod until the test ends, and gives the local address.
    pub async fn forward(&self, namespace: &str, pod: &str, port: u16) -> SocketAddr {
        let cluster = Cluster::new(self.client.clone(), "", "", "default");
        let tunnel = PodTunnel::new(&cluster, namespace, pod, port);
        let (local, serve) = listen(tunnel, SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        tokio::spawn(serve);
        local
    }
}

/// Whether an object becomes as it is wanted in this time, by watch. One that breaks says nothing of the object: then it is
/// watched anew.
pub async fn becomes<K>(objects: Api<K>, name: &str, within: Duration, wanted: impl Fn(Option<&K>) -> bool) -> bool
where
    K: Clone + Debug + Send + DeserializeOwned + Resource + 'static,
{
    let become_so = async {
        while await_condition(objects.clone(), name, &wanted).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(within, become_so).await.is_ok()
}

impl Setting for World {
    const ONE_STORY: bool = true;

    fn limit(&self) -> Duration {
        Duration::from_secs(1800)
    }

    fn does_not_apply(&self, step: &str) -> Option<String> {
        let takes_rbac = ["jobs_that_lost_their_rights_are_named", "status_works_with_few_rights"];
        let takes_this_machine = [
            "pods_objects_and_external_metrics_are_read_as_the_hpa_reads_them",
            "a_gateway_is_shown_a_token_and_a_tenant",
            "a_token_that_was_changed_is_used_within_a_minute",
        ];
        let takes_its_processes =
            ["an_api_server_that_is_away_while_up_waits_is_waited_for", "a_kubelet_pulls_what_was_pushed"];
        let takes_programs = "a_control_plane_that_can_be_reached_is_scraped";
        if !self.rbac && takes_rbac.contains(&step) {
            Some("the cluster does not enforce RBAC".to_owned())
        } else if step.starts_with("an_older_build") && env::var_os(upgrade::OLD).is_none() {
            Some(format!("{} names no earlier build", upgrade::OLD))
        } else if takes_this_machine.contains(&step) && self.host().is_none() {
            Some("the cluster does not reach this machine".to_owned())
        } else if takes_its_processes.contains(&step) && !api_server::record(&self.state).exists() {
            Some("its processes are none of this machine's".to_owned())
        } else if step == takes_programs && !(self.host().is_some() && self.flavour.starts_with("kind")) {
            Some("its parts are no programs of their own that a pod could run".to_owned())
        } else {
            None
        }
    }

    async fn begin(&self) {}

    /// What a person would look at first.
    async fn describe_failure(&self) {
        for arguments in [
            &["get", "pods,pvc,deployments,statefulsets,daemonsets,autoscalers", "-A", "-o", "wide"][..],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["logs", "-n", "monitoring", "deployment/scaler", "--tail=40"],
        ] {
            let mut command = Command::new(self.state.join("bin/kubectl"));
            command.arg("--kubeconfig").arg(self.state.join("kubeconfig")).args(arguments);
            let ran = Self::run(&mut command);
            println!("--- kubectl {}\n{}{}", arguments.join(" "), ran.stdout, ran.stderr);
        }
    }
}
