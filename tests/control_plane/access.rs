//! Ways to a cluster that do not lead there: a clear error soon, the right exit code, and nothing written.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    str::SplitWhitespace,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    killed::same,
    world::{Ended, World, answered, finished},
};

/// What is promised.
const SOON: Duration = Duration::from_secs(5);

/// A machine that does much else may hold one run up, or keep its first answer away; it does not hold up each of these.
const TRIES: usize = 5;

/// How long an API server may take to see that somebody has a right.
const RIGHTS: Duration = Duration::from_secs(60);

const NAMESPACE: &str = "in-nowhere";

/// A kubeconfig of this cluster, changed, in a folder.
struct Kubeconfig {
    folder: TempDir,
    text: Value,
}

impl Kubeconfig {
    fn of(world: &World) -> Self {
        let text = fs::read(world.state().join("kubeconfig")).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), text: serde_json::from_slice(&text).unwrap() }
    }

    fn cluster(&mut self) -> &mut Value {
        &mut self.text["clusters"][0]["cluster"]
    }

    fn user(&mut self) -> &mut Value {
        &mut self.text["users"][0]["user"]
    }

    /// Written to a file, which is there as long as this is.
    fn path(&self) -> String {
        let path = self.folder.path().join("config");
        fs::write(&path, self.text.to_string()).unwrap();
        path.display().to_string()
    }
}

fn in_base64(file: &Path) -> Value {
    STANDARD.encode(fs::read(file).unwrap()).into()
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// With an administrator's certificate of the cluster's authority that is valid from and until these times, written as
/// ASN.1 does. Signed with a serial number and an index of their own, so that the cluster's files stay as they are.
fn signed(world: &World, from: &str, until: &str) -> Kubeconfig {
    let mut config = Kubeconfig::of(world);
    let folder = config.folder.path().to_owned();
    let pki = world.state().join("pki");
    let authority = format!(
        "[ca]\ndefault_ca = cluster\n[cluster]\ndatabase = index\nserial = serial\nnew_certs_dir = .\npolicy = any\n\
         default_md = sha256\nunique_subject = no\ncertificate = {0}/ca.crt\nprivate_key = {0}/ca.key\n\
         x509_extensions = client\n[client]\nextendedKeyUsage = clientAuth\n\
         [any]\norganizationName = optional\ncommonName = supplied\n",
        pki.display()
    );
    fs::write(folder.join("ca.conf"), authority).unwrap();
    fs::write(folder.join("index"), "").unwrap();
    fs::write(folder.join("serial"), "4711\n").unwrap();
    let subject = "/O=system:masters/CN=kubernetes-admin";
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "request"];
    openssl(&folder, &[&["req", "-new", "-subj", subject][..], &key].concat());
    let sign = ["ca", "-batch", "-notext", "-config", "ca.conf", "-in", "request", "-out", "certificate"];
    openssl(&folder, &[&sign[..], &["-startdate", from, "-enddate", until]].concat());
    *config.user() = json!({"client-certificate-data": in_base64(&folder.join("certificate")),
        "client-key-data": in_base64(&folder.join("key"))});
    config
}

pub async fn a_way_that_does_not_lead_to_the_cluster_is_named_within_seconds(world: &World) {
    let unknown = "does not accept the credentials";
    let anew = "fetch the kubeconfig anew";
    let mut of_nobody = Kubeconfig::of(world);
    *of_nobody.user() = json!({"token": "of-nobody"});
    let mut mistrusted = Kubeconfig::of(world);
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/other-authority.pem");
    mistrusted.cluster()["certificate-authority-data"] = in_base64(&other);
    let mut unreachable = Kubeconfig::of(world);
    let server = unreachable.cluster()["server"].as_str().expect("a server").to_owned();
    // A port of the node on which nothing listens.
    let nowhere = format!("{}:9", server.rsplit_once(':').expect("a port").0);
    unreachable.cluster()["server"] = nowhere.as_str().into();

    // The same one that has not expired is let in, and finds nothing installed.
    let valid = signed(world, "20240101000000Z", "21240101000000Z");
    refused(world, &["--kubeconfig", &valid.path(), "status", "-n", NAMESPACE], 6).await;

    for (case, config, said) in [
        ("an expired certificate", signed(world, "20240101000000Z", "20240102000000Z"), [unknown, anew]),
        ("a token of nobody", of_nobody, [unknown, anew]),
        ("another authority", mistrusted, ["certificate", "made anew"]),
        ("no server", unreachable, [nowhere.as_str(), "is the cluster running"]),
    ] {
        let path = config.path();
        for verb in [&["up", "-n", NAMESPACE][..], &["plan"], &["status"], &["check"], &["down"]] {
            let words = refused(world, &[&["--kubeconfig", &path], verb].concat(), 4).await;
            let told = said.iter().all(|said| words.contains(said)) && words.contains("hint: ");
            assert!(told && !words.contains("panicked"), "{case}, {verb:?}: {words}");
        }
    }
    let config = Kubeconfig::of(world);
    let path = config.path();
    for verb in [&["up", "-n", NAMESPACE][..], &["down"]] {
        let words = refused(world, &[&["--kubeconfig", &path, "--context", "nowhere"], verb].concat(), 2).await;
        assert!(words.contains("no context `nowhere`") && words.contains("hint: there are: "), "{verb:?}: {words}");
    }
    assert_eq!(world.found(NAMESPACE).await.keys().collect::<Vec<_>>(), Vec::<&String>::new());
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get_opt(NAMESPACE).await.unwrap().is_none());
}

/// Runs the binary, which has to end soon with this code.
async fn refused(world: &World, arguments: &[&str], code: i32) -> String {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let began = Instant::now();
        let ended = directly(world, arguments).await;
        took.push(began.elapsed());
        match ended {
            ended if ended.is_unanswered() => {}
            Ended::Exited(found, words) if found == code => {
                if took.last().is_some_and(|took| *took < SOON) {
                    return words;
                }
            }
            ended => panic!("{arguments:?}: {ended:?}"),
        }
    }
    panic!("{arguments:?} took {took:?}, or was not answered");
}

/// Runs the binary by a kubeconfig of its own.
async fn directly(world: &World, arguments: &[&str]) -> Ended {
    finished(world.command(world.binary()).args(arguments).spawn().unwrap()).await
}

/// The same on a way that leads to the cluster: its exit code and its words, after as much time as it takes.
async fn led(world: &World, arguments: &[&str]) -> (i32, String) {
    match answered(async || directly(world, arguments).await).await {
        Ended::Exited(code, words) => (code, words),
        Ended::Killed => unreachable!("nobody killed it"),
    }
}

/// Sees everything and may change nothing.
pub async fn an_account_that_may_only_read_is_told_what_it_may_not_and_writes_nothing(world: &World) {
    world.settled().await;
    let name = "scalekit-test-reader";
    let config = account(world, name, &[("*", &["get", "list", "watch"])]).await;
    let path = config.path();
    let reader = |arguments: &[&'static str]| [&["--kubeconfig"], &[path.as_str()][..], arguments].concat();

    // The token works: this is what it may, as soon as the API server knows.
    let plan = reader(&["plan", "-n", NAMESPACE, "--image", "scaler=example.org/scalekit:1"]);
    let began = Instant::now();
    loop {
        let (code, words) = led(world, &plan).await;
        if code == 10 {
            break;
        }
        assert!(began.elapsed() < RIGHTS, "{code}: {words}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (code, words) = led(world, &reader(&World::up(NAMESPACE))).await;
    assert_eq!(code, 4, "{words}");
    for said in ["this user may not create, delete, patch ", "namespaces", "hint: use a context with the rights of"] {
        assert!(words.contains(said), "{said}: {words}");
    }
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get_opt(NAMESPACE).await.unwrap().is_none());

    world.runs(&World::up(NAMESPACE)).await;
    // Statuses are written by others meanwhile, so what is compared is what was declared, of the same objects.
    let uids = async || -> BTreeMap<String, Option<String>> {
        world.found(NAMESPACE).await.into_iter().map(|(name, object)| (name, object.metadata.uid)).collect()
    };
    let before = (world.everything(NAMESPACE).await, uids().await);
    let (code, words) = led(world, &reader(&["down", "--purge-data", "--yes"])).await;
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("forbidden") && words.contains("hint: "), "{words}");
    same(&world.everything(NAMESPACE).await, &before.0, "after a removal by who may not");
    assert_eq!(uids().await, before.1);

    forget(world, name).await;
}

/// First an account that may do nothing at all; then it is given what was named, and no more.
pub async fn a_check_by_who_may_little_names_every_right_that_is_missing(world: &World) {
    let name = "scalekit-test-newcomer";
    let config = account(world, name, &[]).await;
    let path = config.path();
    let image = ["--image", "scaler=example.org/scalekit:1"];
    let check = [&["--kubeconfig", &path, "check", "--pre", "-n", NAMESPACE][..], &image].concat();
    let (code, words) = led(world, &check).await;
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("hint: use a context with the rights of cluster-admin"), "{words}");
    let missing = words.split_once("this user may not ").expect(&words).1.lines().next().unwrap();
    let named = rights(missing);
    println!("{} rights: {missing}", named.len());
    for (right, verb) in [("nodes", "list"), ("namespaces", "create"), ("secrets", "patch"), ("deployments", "delete")]
    {
        let is_it = |(resource, verbs): &(&str, Vec<&str>)| resource.starts_with(right) && verbs.contains(&verb);
        assert!(named.iter().any(is_it), "{verb} {right}: {missing}");
    }

    let given: Vec<(&str, &[&str])> = named.iter().map(|(resource, verbs)| (*resource, verbs.as_slice())).collect();
    allow(world, name, &given);
    let began = Instant::now();
    let report = loop {
        let (code, words) = led(world, &[&check[..], &["-o", "json"]].concat()).await;
        let report = words.find('{').map(|begin| &words[begin..]);
        let report = report.and_then(|text| serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok());
        let checks = report.as_ref().and_then(|report| report["checks"].as_array()).cloned().unwrap_or_default();
        if checks.iter().any(|found| found["check"] == "permissions" && found["severity"] == "ok") {
            break checks;
        }
        assert!(began.elapsed() < RIGHTS, "with all that was named: {code}: {words}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert!(report.len() > 10, "{report:#?}");
    forget(world, name).await;
}

/// The rights in `create, patch clusterroles, roles in monitoring; may not list nodes`, by resource. Whatever the namespace.
fn rights(missing: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rights = Vec::new();
    for part in missing.split("; may not ") {
        let mut words = part.split_whitespace();
        let verbs = listed(&mut words);
        rights.extend(listed(&mut words).into_iter().map(|resource| (resource, verbs.clone())));
    }
    rights
}

/// The words up to the first that has no comma behind it.
fn listed<'a>(words: &mut SplitWhitespace<'a>) -> Vec<&'a str> {
    let mut listed = Vec::new();
    for word in words {
        listed.push(word.trim_end_matches(','));
        if !word.ends_with(',') {
            break;
        }
    }
    listed
}

/// An account with these rights everywhere, by resource, and a way to the cluster as that one.
async fn account(world: &World, name: &str, rights: &[(&str, &[&str])]) -> Kubeconfig {
    allow(world, name, rights);
    world.kubectl_apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: default}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, name: {name}, namespace: default}}]\n"
    ));
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "default");
    let token = accounts.create_token_request(name, &PostParams::default(), &TokenRequest::default()).await.unwrap();
    let mut config = Kubeconfig::of(world);
    *config.user() = json!({"token": token.status.expect("a token").token});
    config
}

/// Gives an account these rights instead of those that it has.
fn allow(world: &World, name: &str, rights: &[(&str, &[&str])]) {
    let rules: Vec<Value> = rights
        .iter()
        .map(|(resource, verbs)| json!({"apiGroups": ["*"], "resources": [resource], "verbs": verbs}))
        .collect();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "rules": rules});
    world.kubectl_apply(&role.to_string());
}

async fn forget(world: &World, name: &str) {
    let gone = DeleteParams::default();
    Api::<ClusterRoleBinding>::all(world.client.clone()).delete(name, &gone).await.unwrap();
    Api::<ClusterRole>::all(world.client.clone()).delete(name, &gone).await.unwrap();
    Api::<ServiceAccount>::namespaced(world.client.clone(), "default").delete(name, &gone).await.unwrap();
}

/// Nothing is kept there.
pub async fn a_home_that_cannot_be_written_to_holds_nothing_up(world: &World) {
    let home = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o ro none \"$HOME\" && ! touch \"$HOME/x\" 2>/dev/null && exec \"$0\" \"$@\"";
    let mut run = world.command("unshare");
    run.env("HOME", home.path()).current_dir(home.path());
    run.args(["--mount", "sh", "-c", script]).arg(world.binary()).args(world.through_the_proxy());
    run.args(World::up("in-homeless"));
    let ended = answered(async || finished(run.spawn().unwrap()).await).await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    world.runs(&World::up("in-homeless")).await;
    assert_eq!(world.proxy.writes(), 0, "it was not finished");
}
