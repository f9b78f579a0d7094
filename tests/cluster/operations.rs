//! What an operator does beside installing and removing: few rights, watching, a bundle, other ways in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::world::World;

/// Who may list and get what `status` looks at, with and without a way to Prometheus.
pub async fn status_works_with_few_rights(world: &World) {
    world.kubectl(["create", "serviceaccount", "scalekit-test-reader", "-n", "default"]);
    world.kubectl([
        "create",
        "clusterrole",
        "scalekit-test-reader",
        "--verb=get,list",
        "--resource=namespaces,customresourcedefinitions.apiextensions.k8s.io,clusterroles.rbac.authorization.k8s.io,\
         clusterrolebindings.rbac.authorization.k8s.io,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,\
         serviceaccounts,configmaps,secrets,persistentvolumeclaims,services,networkpolicies.networking.k8s.io,\
         deployments.apps,statefulsets.apps,daemonsets.apps,autoscalers.scalekit.dev,pods,nodes,events,\
         storageclasses.storage.k8s.io",
    ]);
    let account = "--serviceaccount=default:scalekit-test-reader";
    let binding =
        ["create", "clusterrolebinding", "scalekit-test-reader", "--clusterrole=scalekit-test-reader", account];
    world.kubectl(binding);
    let kubeconfig = kubeconfig_of(world, "scalekit-test-reader");
    let blind = status_as(world, &kubeconfig, |_| true).await;
    let finding = blind["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "targets");
    let finding = finding.unwrap_or_else(|| panic!("{blind:#}"));
    assert_eq!((&blind["healthy"], &finding["severity"]), (&json!(true), &json!("warning")), "{blind:#}");
    assert!(finding["message"].as_str().unwrap().contains("unknown"), "{finding}");
    assert!(blind.get("targets").is_none(), "{blind:#}");

    let proxy = ["--verb=get", "--resource=services/proxy", "--resource-name=prometheus:9090", "-n", "monitoring"];
    world.kubectl([&["create", "role", "scalekit-test-reader"][..], &proxy].concat());
    let binding =
        ["create", "rolebinding", "scalekit-test-reader", "--role=scalekit-test-reader", account, "-n", "monitoring"];
    world.kubectl(binding);
    status_as(world, &kubeconfig, |seeing| {
        let targets = &seeing["targets"];
        targets["total"].as_u64().is_some_and(|total| total > 5) && targets["up"] == targets["total"]
    })
    .await;

    world.kubectl(["delete", "role,rolebinding", "scalekit-test-reader", "-n", "monitoring"]);
    world.kubectl(["delete", "clusterrole,clusterrolebinding", "scalekit-test-reader"]);
    world.kubectl(["delete", "serviceaccount", "scalekit-test-reader", "-n", "default"]);
}

/// What `status` says to whom a kubeconfig names, once it exits well and is as it is wanted: the API server learns of rights a
/// moment after they are made, and a target whose scrape was missed is down until the next.
async fn status_as(world: &World, kubeconfig: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let mut command = world.bare();
        command.arg("--kubeconfig").arg(kubeconfig).arg("--config").arg(world.settings());
        let ran = World::run(command.args(["status", "-o", "json"]));
        if ran.code == 0 {
            let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
            if wanted(&answer) {
                return answer;
            }
        }
        assert!(began.elapsed() < TOLD_WITHIN, "exit code {}: {}{}", ran.code, ran.stdout, ran.stderr);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A kubeconfig that knows nothing but the account's token.
fn kubeconfig_of(world: &World, account: &str) -> PathBuf {
    let token = world.kubectl(["create", "token", account, "-n", "default"]);
    let view = world.kubectl(["config", "view", "--raw", "--minify", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&view).unwrap();
    config["users"] = json!([{"name": "account", "user": {"token": token.trim()}}]);
    config["contexts"][0]["context"]["user"] = json!("account");
    let path = world.settings().with_file_name("kubeconfig-account");
    fs::write(&path, config.to_string()).unwrap();
    path
}

pub async fn a_watch_tells_each_change_and_ends_with_ctrl_c(world: &World) {
    let mut command = Command::from(world.command());
    command.args(["status", "--watch", "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watch = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    until_told(&mut lines, true, || {}).await;
    // It takes longer to come back than the shortest time between two looks, unless the machine is busy elsewhere.
    let pod = ["delete", "pod", "-n", "monitoring", "prometheus-0", "--wait=false", "--ignore-not-found"];
    world.kubectl(pod);
    let began = Instant::now();
    until_told(&mut lines, false, || {
        world.kubectl(pod);
    })
    .await;
    println!("seen after {:.1} s", began.elapsed().as_secs_f64());
    until_told(&mut lines, true, || {}).await;
    interrupt(watch.id().expect("it runs"));
    assert_eq!(timeout(OPENED_WITHIN, watch.wait()).await.expect("its end").unwrap().code(), Some(130));

    // On a terminal it takes a screen of its own, and gives the first one back.
    let command = world.command();
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = parts.map(|part| format!("'{}'", part.display())).collect();
    let line = line.join(" ");
    let mut script = Command::new("script");
    script.args(["-qefc", &format!("{line} status --watch"), "/dev/null"]);
    script.env_clear().env("PATH", world.path()).env("HOME", "/nowhere").env("TERM", "xterm");
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let shown =
        timeout(TOLD_WITHIN, shown_until_ctrl_c(script.spawn().unwrap())).await.expect("it is healthy, and ends");
    let (other, rest) = shown.split_once("\x1b[?1049h").unwrap();
    assert!(!other.contains("COMPONENT"), "{other}");
    let (_, after) = rest.split_once("\x1b[?1049l").unwrap();
    assert!(after.contains("healthy") && !after.contains("error"), "{after}");
}

/// Reads what a watch tells until it is this. Only changes are told: whenever there is none for half a minute, something is
/// done about it.
async fn until_told(lines: &mut Lines<BufReader<ChildStdout>>, healthy: bool, nothing_told: impl Fn()) {
    let told = async {
        loop {
            match timeout(Duration::from_secs(30), lines.next_line()).await {
                Ok(line) => {
                    let told: Value = serde_json::from_str(&line.unwrap().expect("it goes on")).unwrap();
                    if told["healthy"] == healthy {
                        return;
                    }
                }
                Err(_) => nothing_told(),
            }
        }
    };
    assert!(timeout(TOLD_WITHIN, told).await.is_ok(), "it is not told that healthy is {healthy}");
}

/// All that a watch shows on its terminal, which is left, as a person does it, once it says how it is.
async fn shown_until_ctrl_c(mut terminal: Child) -> String {
    let mut stdout = terminal.stdout.take().unwrap();
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("healthy") {
        let length = stdout.read_buf(&mut shown).await.unwrap();
        assert!(length > 0, "it ended early: {}", String::from_utf8_lossy(&shown));
    }
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
    stdout.read_to_end(&mut shown).await.unwrap();
    assert_eq!(terminal.wait().await.unwrap().code(), Some(130));
    String::from_utf8_lossy(&shown).into_owned()
}

/// Longer than a loaded machine takes for what is told by itself, scrapes among it.
const TOLD_WITHIN: Duration = Duration::from_secs(240);

/// A port-forward that does not begin, or does not end, in this time never will.
const OPENED_WITHIN: Duration = Duration::from_secs(180);

/// Prometheus, through a port-forward that ends with Ctrl-C.
pub async fn what_is_opened_answers_on_this_machine(world: &World) {
    let mut command = Command::from(world.command());
    command.args(["open", "prometheus", "--no-browser"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut opened = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(opened.stdout.take().unwrap()).lines();
    let url = timeout(OPENED_WITHIN, lines.next_line()).await.expect("an address").unwrap().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let client = reqwest::Client::builder().tls_certs_only(std::iter::empty()).no_proxy().build().unwrap();
    // More than one, and at once: each is a stream of its own.
    let query = reqwest::Url::parse(&url).unwrap().join("/api/v1/query?query=vector(1)").unwrap();
    let asked = (0..4).map(|_| client.get(query.clone()).send());
    for answer in futures::future::try_join_all(asked).await.unwrap() {
        assert_eq!(answer.status().as_u16(), 200);
        assert!(answer.text().await.unwrap().contains("\"success\""));
    }
    interrupt(opened.id().expect("it runs"));
    assert_eq!(timeout(OPENED_WITHIN, opened.wait()).await.expect("its end").unwrap().code(), Some(130));
    client.get(query).send().await.unwrap_err();
}

fn interrupt(process: u32) {
    std::process::Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap();
}

pub async fn a_bundle_holds_what_is_needed_and_no_secret(world: &World) {
    let webhook = "https://hooks.example.com/services/T0000/B0000/w3bh00kw3bh00k";
    let label = "app.kubernetes.io/managed-by=scalekit";
    world.kubectl([
        "create",
        "secret",
        "generic",
        "receiver",
        "-n",
        "monitoring",
        &format!("--from-literal=url={webhook}"),
    ]);
    // Where it should not be, and somebody put it all the same.
    world.kubectl([
        "create",
        "configmap",
        "receiver",
        "-n",
        "monitoring",
        &format!("--from-literal=note=it is {webhook}"),
    ]);
    world.kubectl(["label", "secret/receiver", "configmap/receiver", "-n", "monitoring", label]);
    let password =
        world.kubectl(["get", "secret", "grafana-admin", "-n", "monitoring", "-o", "jsonpath={.data.password}"]);
    let file = world.settings().with_file_name("bundle.tar.gz");
    let began = Instant::now();
    let ran = world.scalekit(["support-bundle", file.to_str().unwrap()]).exits(0);
    println!("{}{} ({:.1} s)", ran.stdout, ran.stderr, began.elapsed().as_secs_f64());
    let listed = tar(&["-tzf", file.to_str().unwrap()]);
    for expected in [
        "README.txt",
        "status.json",
        "platform.json",
        "prometheus/targets.json",
        "objects/monitoring/secret-receiver.yaml",
        "logs/monitoring/",
    ] {
        assert!(listed.contains(&format!("scalekit-support/{expected}")), "{expected} is not in\n{listed}");
    }
    let all = tar(&["-xzOf", file.to_str().unwrap()]);
    assert!(all.contains("[hidden]") && all.len() > 10_000);
    let decoded = world.kubectl([
        "get",
        "secret",
        "grafana-admin",
        "-n",
        "monitoring",
        "-o",
        "go-template={{.data.password | base64decode}}",
    ]);
    assert!(decoded.len() > 10);
    for secret in [password.as_str(), decoded.as_str(), webhook, "w3bh00kw3bh00k"] {
        assert!(!all.contains(secret), "a secret is in the bundle");
    }
    world.kubectl(["delete", "secret/receiver", "configmap/receiver", "-n", "monitoring"]);
    fs::remove_file(file).unwrap();
}

pub fn tar(arguments: &[&str]) -> String {
    let ran = std::process::Command::new("tar").args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// As a GitOps tool would do it, and then by `up`.
pub async fn a_rendered_folder_that_was_applied_is_taken_over(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let own = world.scalekit(["images", "list", "-o", "json"]).exits(0).stdout;
    let own: Vec<Value> = serde_json::from_str(&own).unwrap();
    let own =
        own.iter().find(|image| image["component"] == "scaler").unwrap()["reference"].as_str().unwrap().to_owned();
    let scaler = format!("scaler={own}");
    world.scalekit(["render", "--image", &scaler, "--output-dir", path]).exits(0);
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.file_name().unwrap().to_string_lossy().starts_with("namespace-") {
            world.kubectl(["apply", "--server-side", "-f", entry.to_str().unwrap()]);
        }
    }
    world.kubectl(["apply", "--server-side", "-f", path]);
    let before = world.kubectl([
        "get",
        "deployments,statefulsets",
        "-n",
        "monitoring",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ]);
    let ran = world.scalekit(["up"]).exits(0);
    println!("{}{}", ran.stderr, ran.stdout);
    let after = world.kubectl([
        "get",
        "deployments,statefulsets",
        "-n",
        "monitoring",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ]);
    assert_eq!(before, after, "something was made anew");
    world.scalekit(["plan"]).exits(0).says("nothing to change");
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
}
