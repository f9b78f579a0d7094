//! Kubeconfigs and servers that cannot be used.

use std::{fs, path::Path, thread, time::Duration};

use rstest::rstest;

use super::{
    home::{Home, RENDER, Ran},
    servers,
};

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
            .exits(2)
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

/// Within which a server that is not one is named: five seconds are promised, the rest is for a slow machine.
const SOON: Duration = Duration::from_secs(25);

/// A slow machine may keep the first answer away from one run; not from each of these.
const TRIES: usize = 5;

/// Runs until it says this, or anything but that it was not answered.
fn answered(said: &str, run: impl Fn() -> Ran) -> Ran {
    let is_answered = |ran: &Ran| ran.stderr.contains(said) || !ran.stderr.contains("no answer within 4 s");
    (1..TRIES).map(|_| run()).find(is_answered).unwrap_or_else(&run)
}

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
    // At once, for most of them wait as long as a first answer may take.
    thread::scope(|scope| {
        for ((case, server, authority, cause), verb) in
            cases.iter().flat_map(|case| ["up", "status", "down"].map(|verb| (case, verb)))
        {
            let authority = authority.map(|name| folder.join(name));
            scope.spawn(move || {
                let home = Home::new();
                let path = home.kubeconfig(server, authority.as_deref());
                let ran = answered(cause, || home.run(["--kubeconfig", path.to_str().unwrap(), verb]));
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
        let ran = answered(way_out, || home.run(["--kubeconfig", path.to_str().unwrap(), verb]));
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
    home.file("other/ca.pem", include_str!("other-authority.pem"));
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
    home.run_with("KUBECONFIG", "nowhere", ["status"]).exits(2).says("no kubeconfig was found in nowhere");
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
