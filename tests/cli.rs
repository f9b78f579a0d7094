//! The binary without a cluster: what it says, where it says it, and with which exit code it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[path = "cli/servers.rs"]
mod servers;

use std::{
    collections::BTreeSet,
    fs,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kube::core::DynamicObject;
use rstest::rstest;
use scalekit::yaml;
use tempfile::TempDir;

/// What a run came to.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Ran {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        self
    }

    /// stderr holds the text.
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }

    #[track_caller]
    fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "");
        self
    }
}

/// A home of its own, in which nothing is but what a test puts there.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The binary, with an environment that holds nothing of this machine's.
    fn scalekit(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scalekit"));
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("COLUMNS", "100")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = self.scalekit();
        command.args(arguments);
        run(command)
    }

    fn run_with<'a>(&self, name: &str, value: &str, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = self.scalekit();
        command.env(name, value).args(arguments);
        run(command)
    }

    /// A kubeconfig for a server, and what it takes for a good authority.
    fn kubeconfig(&self, server: &str, authority: Option<&Path>) -> PathBuf {
        let authority =
            authority.map(|path| format!(", certificate-authority: {}", path.display())).unwrap_or_default();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters:\n- {{name: c, cluster: {{server: '{server}'{authority}}}}}\n\
             users:\n- {{name: u, user: {{token: t}}}}\ncontexts:\n- {{name: here, context: {{cluster: c, user: u}}}}\n\
             - {{name: there, context: {{cluster: c, user: u}}}}\n"
        );
        self.file("config", &text)
    }
}

/// No run takes longer than this, or a test that hangs would say nothing.
const LIMIT: Duration = Duration::from_secs(30);

fn run(command: Command) -> Ran {
    let began = Instant::now();
    let output = assert_cmd::Command::from_std(command).timeout(LIMIT).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: began.elapsed(),
    }
}

const RENDER: [&str; 7] =
    ["render", "--platform", "kind", "--storage-class", "standard", "--image", "scaler=example.org/scalekit:1"];

#[rstest]
#[case::program("")]
#[case::up("up")]
#[case::plan("plan")]
#[case::status("status")]
#[case::explain("explain")]
#[case::pause("pause")]
#[case::resume("resume")]
#[case::check("check")]
#[case::down("down")]
#[case::render("render")]
#[case::open("open")]
#[case::alert("alert")]
#[case::alert_test("alert test")]
#[case::images("images")]
#[case::images_list("images list")]
#[case::images_lock("images lock")]
#[case::images_save("images save")]
#[case::images_load("images load")]
#[case::images_push("images push")]
#[case::support_bundle("support-bundle")]
#[case::demo("demo")]
#[case::demo_list("demo list")]
#[case::demo_up("demo up")]
#[case::demo_load("demo load")]
#[case::demo_down("demo down")]
#[case::run("run")]
#[case::run_controller("run controller")]
#[case::run_watcherbot("run watcherbot")]
#[case::completions("completions")]
#[case::man("man")]
fn help_says_what_can_be_asked(#[case] verb: &str) {
    let ran = Home::new().run(verb.split_whitespace().chain(["--help"])).exits(0);
    assert_eq!(ran.stderr, "");
    insta::assert_snapshot!(
        format!("help_{}", if verb.is_empty() { "scalekit" } else { verb }).replace(' ', "_"),
        ran.stdout
    );
}

#[test]
fn every_verb_has_a_help_that_is_looked_at() {
    let help = Home::new().run(["--help"]).exits(0).stdout;
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // What is said of a verb may take more than one line.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    for verb in &verbs {
        let snapshot = snapshots.join(format!("cli__help_{verb}.snap"));
        assert!(snapshot.exists(), "{verb} is not among the cases of help_says_what_can_be_asked");
    }
    assert!(verbs.contains(&"up"), "{verbs:?}");
}

#[test]
fn the_version_is_the_packages() {
    let ran = Home::new().run(["--version"]).exits(0);
    assert_eq!(ran.stdout, format!("scalekit {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_verb_it_shows_the_help() {
    Home::new().run([]).exits(2).says("Usage: scalekit").prints_nothing();
}

#[rstest]
#[case::verb(&["upp"], "'up'")]
#[case::flag(&["up", "--namspace", "x"], "--namespace")]
#[case::value_of_a_choice(&["open", "kibana"], "grafana, prometheus")]
#[case::duration(&["up", "--timeout", "soon"], "`soon` is not a duration such as 15s")]
#[case::component(&["up", "--image", "grafna=x"], "grafna")]
#[case::image_without_reference(&["up", "--image", "grafana"], "COMPONENT=REF")]
#[case::platform(&["render", "--platform", "openstack"], "openstack")]
#[case::quiet_and_verbose(&["-q", "-v", "up"], "cannot be used with")]
#[case::namespace_of_a_sample(&["demo", "up", "watcherbot", "-n", "Demo"], "lower-case")]
#[case::image_reference(&["up", "--image", "grafana=https://x/y"], "scheme")]
#[case::platform_of_images(&["images", "save", "x.tar", "--platform", "linux/riscv64"], "linux/arm64")]
#[case::registry(&["images", "push", "https://reg.example"], "without a scheme")]
#[case::keep_and_purge(&["down", "--keep-data", "--purge-data"], "cannot be used with")]
#[case::no_load(&["demo", "load", "watcherbot"], "--tasks")]
#[case::two_loads(&["demo", "load", "watcherbot", "--tasks", "1", "--set", "2"], "cannot be used with")]
#[case::negative_load(&["demo", "load", "watcherbot", "--tasks=-1"], "-1")]
#[case::namespace(&["render", "--platform", "kind", "--storage-class", "x", "-n", "Monitoring"], "lower-case")]
fn what_cannot_be_asked_is_refused_with_the_way_out(#[case] arguments: &[&str], #[case] expected: &str) {
    Home::new().run(arguments.iter().copied()).exits(2).says(expected).prints_nothing();
}

#[test]
fn a_bad_value_in_the_environment_is_named() {
    let home = Home::new();
    home.run_with("SCALEKIT_TIMEOUT", "soon", ["up"]).exits(2).says("soon").says("--timeout");
}

#[test]
fn no_kubeconfig_anywhere_is_told_with_the_places() {
    // Where a distribution has put its own on this machine, that one is found, and this cannot be tried.
    if ["/var/snap/microk8s/current/credentials/client.config", "/etc/rancher/k3s/k3s.yaml"]
        .iter()
        .any(|path| Path::new(path).exists())
    {
        return;
    }
    let home = Home::new();
    let render = ["render", "--image", "scaler=example.org/scalekit:1"];
    for arguments in [&["up"][..], &["status"], &["down"], &render] {
        let place = home.0.path().join(".kube/config");
        home.run(arguments.iter().copied())
            .exits(4)
            .says("no kubeconfig")
            .says(&place.display().to_string())
            .says("hint:")
            .prints_nothing();
    }
}

#[rstest]
#[case::not_yaml("a: b: c\n")]
#[case::something_else("- just\n- a list\n")]
#[case::not_text("\u{0}\u{1}\u{2}")]
fn a_kubeconfig_that_is_none_is_a_mistake_in_the_input(#[case] content: &str) {
    let home = Home::new();
    let path = home.file("config", content);
    let path = path.to_str().unwrap();
    home.run(["--kubeconfig", path, "up"]).exits(2).says(path).says("cannot be used").prints_nothing();
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let home = Home::new();
    home.run(["--kubeconfig", "nowhere", "up"]).exits(2).says("nowhere").prints_nothing();
}

#[test]
fn an_unknown_context_is_answered_with_the_known_ones() {
    let home = Home::new();
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    let ran = home.run(["--kubeconfig", path.to_str().unwrap(), "--context", "elsewhere", "up"]);
    ran.exits(2).says("no context `elsewhere`").says("there are: here, there").prints_nothing();
}

/// What is waited for a server that is not one: five seconds are promised, the rest is for a slow machine.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_server_that_cannot_be_used_is_named_within_seconds() {
    let cases = [
        ("nothing listens", "https://127.0.0.1:9".to_owned(), None, "refused"),
        ("it takes the connection and says nothing", servers::silent("https"), None, ""),
        ("it takes a plain request and says nothing", servers::silent("http"), None, ""),
        ("it speaks no TLS", servers::babbling(), None, ""),
        (
            "its certificate is of another authority",
            servers::with_certificate(),
            Some("other-authority.pem"),
            "was the cluster made anew",
        ),
        ("it shakes hands and says nothing", servers::with_certificate(), Some("server.pem"), ""),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    // At once, for most of them wait for their five seconds.
    thread::scope(|scope| {
        for ((case, server, authority, cause), verb) in
            cases.iter().flat_map(|case| ["up", "status", "down"].map(|verb| (case, verb)))
        {
            let authority = authority.map(|name| folder.join(name));
            scope.spawn(move || {
                let home = Home::new();
                let path = home.kubeconfig(server, authority.as_deref());
                let ran = home.run(["--kubeconfig", path.to_str().unwrap(), verb]);
                assert!(ran.took < SOON, "{case}, {verb}: {:?}\n{}", ran.took, ran.stderr);
                let ran = ran.exits(4).says(server).says(cause).says("hint:").prints_nothing();
                assert!(!ran.stderr.contains("panicked"), "{case}, {verb}: {}", ran.stderr);
            });
        }
    });
}

/// An expired client certificate is a user whom the API server does not know.
#[rstest]
#[case::unknown_or_expired(401, "Unauthorized", "Unauthorized", "may have expired: fetch the kubeconfig anew")]
#[case::not_permitted(
    403,
    "Forbidden",
    "nodes is forbidden: User \\\"u\\\" cannot list resource",
    "a context with more rights"
)]
fn who_may_not_is_told_so_at_once(
    #[case] code: u16,
    #[case] reason: &'static str,
    #[case] message: &'static str,
    #[case] way_out: &str,
) {
    let server = servers::refusing(code, reason, message);
    let home = Home::new();
    let path = home.kubeconfig(&server, None);
    for verb in ["up", "plan", "status", "check", "down"] {
        let ran = home.run(["--kubeconfig", path.to_str().unwrap(), verb]);
        assert!(ran.took < SOON, "{verb}: {:?}", ran.took);
        let ran = ran.exits(4).prints_nothing();
        assert!(ran.stderr.contains("hint:") && ran.stderr.contains(way_out), "{verb}: {}", ran.stderr);
    }
}

/// As with kubectl: of two entries of the same name the first counts, a missing file is none, and files are found beside
/// the one that names them.
#[test]
fn several_kubeconfigs_are_read_as_one() {
    let home = Home::new();
    let folder = home.0.path();
    fs::create_dir(folder.join("other")).unwrap();
    let first = "apiVersion: v1\nkind: Config\ncurrent-context: one\ncontexts:\n- {name: one, context: {cluster: c, user: u}}\n\
                 clusters:\n- {name: c, cluster: {server: 'https://127.0.0.1:9'}}\n";
    let second = "apiVersion: v1\nkind: Config\ncurrent-context: two\ncontexts:\n- {name: two, context: {cluster: c2, user: u}}\n\
                  clusters:\n- {name: c, cluster: {server: 'https://127.0.0.1:1'}}\n- {name: c2, cluster: {server: 'https://127.0.0.1:7', \
                  certificate-authority: ca.pem}}\nusers:\n- {name: u, user: {token: t}}\n";
    home.file("first", first);
    home.file("other/second", second);
    home.file("other/ca.pem", include_str!("cli/other-authority.pem"));
    let list = "nowhere:first:other/second";
    home.run_with("KUBECONFIG", list, ["status"]).exits(4).says("https://127.0.0.1:9").says("refused");
    home.run_with("KUBECONFIG", list, ["--context", "two", "status"])
        .exits(4)
        .says("https://127.0.0.1:7")
        .says("refused");
    home.run_with("KUBECONFIG", list, ["--context", "x", "status"])
        .exits(2)
        .says("first:other/second")
        .says("one, two");
    // What it names and is not there is not looked for elsewhere: that would be another cluster.
    fs::create_dir(folder.join(".kube")).unwrap();
    home.file(".kube/config", second);
    home.run_with("KUBECONFIG", "nowhere", ["status"]).exits(4).says("no kubeconfig was found in nowhere");
}

/// Nothing is kept there: it is only looked into.
#[rstest]
#[case::not_there("/nowhere/at/all")]
#[case::read_only("/proc/self")]
#[case::empty("")]
fn a_home_that_cannot_be_written_to_is_none_of_our_business(#[case] place: &str) {
    let home = Home::new();
    assert!(home.run_with("HOME", place, RENDER).exits(0).stdout.contains("kind: Deployment"));
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    let path = path.to_str().unwrap();
    for verb in ["up", "status", "down"] {
        home.run_with("HOME", place, ["--kubeconfig", path, verb]).exits(4).says("https://127.0.0.1:9").says("refused");
    }
}

#[rstest]
#[case::unknown_key("namespace: a\nstorage:\n  sise: 5Gi\n", "3", "sise")]
#[case::wrong_type("namespace: a\nimages: 7\n", "2", "images")]
#[case::not_yaml("namespace: a\nimages: {b\n", "", "scalekit.yaml")]
#[case::twice("namespace: a\nnamespace: b\n", "2", "namespace")]
fn a_broken_settings_file_says_where(#[case] content: &str, #[case] line: &str, #[case] what: &str) {
    let home = Home::new();
    home.file("scalekit.yaml", content);
    let ran = home.run(RENDER).exits(2).says("scalekit.yaml").says(what).prints_nothing();
    let named = ran.stderr.contains(&format!("line {line}"))
        || ran.stderr.contains(&format!(":{line}:"))
        || ran.stderr.contains(&format!("{line} |"));
    assert!(named, "line {line} is not named in:\n{}", ran.stderr);
}

#[test]
fn a_settings_file_that_was_named_has_to_be_there() {
    Home::new().run(["--config", "mine.yaml", "up"]).exits(2).says("mine.yaml").prints_nothing();
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let home = Home::new();
    home.file("scalekit.yaml", "namespace: from-file\nregistry: registry.example.org\n");
    let namespaces = |ran: Ran| -> BTreeSet<String> {
        let objects: Vec<DynamicObject> = yaml::parse_all(&ran.exits(0).stdout).unwrap();
        objects.into_iter().filter_map(|object| object.metadata.namespace).collect()
    };
    assert!(namespaces(home.run(RENDER)).contains("from-file"));
    assert!(namespaces(home.run_with("SCALEKIT_NAMESPACE", "from-environment", RENDER)).contains("from-environment"));
    let both = home.run_with("SCALEKIT_NAMESPACE", "from-environment", RENDER.into_iter().chain(["-n", "from-flag"]));
    let found = namespaces(both);
    assert!(found.contains("from-flag") && !found.contains("from-environment"), "{found:?}");
}

#[test]
fn render_needs_no_cluster_and_keeps_the_budget() {
    let ran = Home::new().run(RENDER).exits(0).says("kubectl create secret generic grafana-admin -n monitoring");
    assert_eq!(Home::new().run(RENDER.into_iter().chain(["-q"])).exits(0).stderr, "");
    let objects: Vec<DynamicObject> = yaml::parse_all(&ran.stdout).unwrap();
    assert!((20..=45).contains(&objects.len()), "{} objects", objects.len());
    let images: BTreeSet<String> = objects
        .iter()
        .filter_map(|object| object.data.pointer("/spec/template/spec/containers")?.as_array())
        .flatten()
        .map(|container| container["image"].as_str().unwrap().to_owned())
        .collect();
    assert!(images.len() == 5 && images.contains("example.org/scalekit:1"), "{images:?}");
    for object in &objects {
        let types = object.types.as_ref().unwrap();
        assert!(!types.kind.is_empty() && object.metadata.name.is_some(), "{object:?}");
        let secret = types.kind == "Secret";
        assert!(!secret, "a password has no place in a repository: {:?}", object.metadata.name);
    }
    let claims: Vec<&DynamicObject> =
        objects.iter().filter(|object| object.types.as_ref().unwrap().kind == "PersistentVolumeClaim").collect();
    assert!(!claims.is_empty());
    assert!(claims.iter().all(|claim| claim.data["spec"]["storageClassName"] == "standard"), "{claims:?}");
}

/// Whoever applies manifests sends no image to the nodes: what runs there has to be named.
#[test]
fn render_needs_an_image_that_nodes_can_pull() {
    let home = Home::new();
    let without = ["render", "--platform", "kind", "--storage-class", "standard"];
    let into = without.into_iter().chain(["--output-dir", "manifests"]);
    home.run(into).exits(2).says("hint: add --image scaler=REF").says("scalekit images push").prints_nothing();
    assert!(!home.0.path().join("manifests").exists(), "something was written");
    // Before any cluster is asked.
    home.run(["render"]).exits(2).says("--image scaler=REF").prints_nothing();
    home.file("scalekit.yaml", "images: {scaler: 'example.org/scalekit:1'}\n");
    assert!(home.run(without).exits(0).stdout.contains("image: example.org/scalekit:1"));
}

#[test]
fn render_says_the_same_every_time() {
    assert_eq!(Home::new().run(RENDER).exits(0).stdout, Home::new().run(RENDER).exits(0).stdout);
}

const SCALER: [&str; 2] = ["--image", "scaler=127.0.0.1:9/scalekit:1"];

#[test]
fn images_are_listed_without_a_cluster() {
    let home = Home::new();
    home.file("scalekit.yaml", "registry: reg.example:5000/mirror\nimages: {grafana: 'grafana/grafana:1'}\n");
    let listed = home.run(["images", "list", "-o", "json"].into_iter().chain(SCALER)).exits(0);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let references: Vec<&str> =
        listed.as_array().unwrap().iter().map(|image| image["reference"].as_str().unwrap()).collect();
    assert!(references.contains(&"reg.example:5000/mirror/prometheus/prometheus:v3.14.0"), "{references:?}");
    assert!(references.contains(&"grafana/grafana:1") && references.contains(&"127.0.0.1:9/scalekit:1"));
    let table = home.run(["images", "list"].into_iter().chain(SCALER)).exits(0).stdout;
    assert!(references.iter().all(|reference| table.contains(reference)), "{table}");
}

#[test]
fn an_image_whose_registry_does_not_answer_stays_as_it_is_and_is_named() {
    let home = Home::new();
    let digest = format!("quay.io/a/b:1@sha256:{}", "0".repeat(64));
    let components = ["prometheus", "node-exporter", "kube-state-metrics", "grafana"];
    let fixed = components.map(|component| format!("{component}={digest}"));
    let mut arguments = vec!["images", "lock"];
    arguments.extend(SCALER);
    for image in &fixed {
        arguments.extend(["--image", image]);
    }
    let ran = home.run(arguments).exits(1).says("127.0.0.1:9/scalekit:1 is not fixed").says("refused");
    let block: serde_json::Value = yaml::parse(&ran.stdout).unwrap();
    assert_eq!(block["images"]["scaler"], "127.0.0.1:9/scalekit:1");
    assert_eq!(block["images"]["grafana"], digest.as_str());
}

#[rstest]
#[case::no_file("nowhere.tar", 1, "nowhere.tar")]
#[case::no_archive("scalekit.yaml", 2, "is no archive of `scalekit images save`")]
fn an_archive_that_is_none_is_named(#[case] file: &str, #[case] code: i32, #[case] why: &str) {
    let home = Home::new();
    home.file("scalekit.yaml", "namespace: monitoring\n");
    home.run(["images", "push", "--archive", file, "127.0.0.1:9"]).exits(code).says(why);
}

#[test]
fn references_by_tag_and_digest_are_rendered_as_they_are() {
    let home = Home::new();
    let digest = format!("r.example/grafana:1@sha256:{}", "0".repeat(64));
    home.file("scalekit.yaml", &format!("images: {{grafana: '{digest}'}}\n"));
    let rendered = home.run(RENDER).exits(0).stdout;
    let objects: Vec<DynamicObject> = yaml::parse_all(&rendered).unwrap();
    let image = |object: &DynamicObject| object.data.pointer("/spec/template/spec/containers/0/image").cloned();
    assert!(objects.iter().filter_map(image).any(|image| image == digest.as_str()), "{rendered}");
}

#[test]
fn render_into_a_folder_writes_one_file_an_object() {
    let home = Home::new();
    let ran = home.run(RENDER.into_iter().chain(["--output-dir", "manifests"])).exits(0).prints_nothing();
    let files: Vec<PathBuf> =
        fs::read_dir(home.0.path().join("manifests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(ran.stderr.contains(&format!("{} objects", files.len())), "{}", ran.stderr);
    let printed: Vec<DynamicObject> = yaml::parse_all(&home.run(RENDER).exits(0).stdout).unwrap();
    assert_eq!(files.len(), printed.len());
    for file in files {
        let object: DynamicObject = yaml::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(object.types.is_some(), "{}", file.display());
    }
}

#[test]
fn render_without_a_cluster_says_how_to_do_without_one() {
    let home = Home::new();
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    let arguments = ["render", "--platform", "kind", "--image", "scaler=example.org/scalekit:1"];
    let ran = home.run(["--kubeconfig", path.to_str().unwrap()].into_iter().chain(arguments)).exits(4);
    ran.says("127.0.0.1:9").says("refused").says("--platform").says("--storage-class").prints_nothing();
}

#[test]
fn a_folder_keeps_no_manifest_of_another_time() {
    let home = Home::new();
    let into = |namespace: &'static str| RENDER.into_iter().chain(["--output-dir", "manifests", "-n", namespace]);
    home.run(into("before")).exits(0);
    let folder = home.0.path().join("manifests");
    fs::write(folder.join("kustomization.yaml"), "resources: []\n").unwrap();
    home.run(into("after")).exits(0).says("removed before-deployment-grafana.yaml");
    let names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("before")), "{names:?}");
    assert!(names.contains(&"kustomization.yaml".to_owned()), "{names:?}");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let home = Home::new();
    for arguments in [&RENDER[..], &["completions", "bash"], &["man"], &["demo", "list"]] {
        let mut child =
            home.scalekit().arg("-q").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {}\n{stderr}", output.status);
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let home = Home::new();
    // assert_cmd takes stdout for itself.
    let output =
        home.scalekit().args(RENDER).stdout(OpenOptions::new().write(true).open("/dev/full").unwrap()).output();
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("could not be written"), "{}: {stderr}", output.status);
}

#[rstest]
#[case::bash(&["completions", "bash"], "_scalekit()")]
#[case::zsh(&["completions", "zsh"], "#compdef scalekit")]
#[case::fish(&["completions", "fish"], "complete -c scalekit")]
#[case::man(&["man"], ".TH scalekit")]
#[case::man_of_a_command(&["man", "images", "load"], ".TH scalekit-images-load")]
#[case::samples(&["demo", "list"], "watcherbot")]
fn what_needs_no_cluster_works_without_one(#[case] arguments: &[&str], #[case] expected: &str) {
    let ran = Home::new().run(arguments.iter().copied()).exits(0);
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn every_command_has_a_manual_page() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    home.run(["man", "--output-dir", folder.path().to_str().unwrap()]).exits(0);
    for page in ["scalekit.1", "scalekit-up.1", "scalekit-images-load.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let ran = home.run(["man", "images", "lode"]).exits(2);
    assert!(ran.stderr.contains("there is no command `images lode`"), "{}", ran.stderr);
}

#[test]
fn an_error_reads_without_colour() {
    let home = Home::new();
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    let ran = home.run(["--kubeconfig", path.to_str().unwrap(), "up"]).exits(4);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}
