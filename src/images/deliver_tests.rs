//! Against fakes of the commands: small scripts that record what they are given.

use std::{fs, sync::Mutex};

use rstest::rstest;

use super::*;
use crate::images::{
    fake::Fake,
    plan::plan,
    route::{NodeContainer, Route},
};

const REFERENCE: &str = "scalekit.local/scalekit:0.1.0-0123456789ab";

#[derive(Default)]
struct Recorded(Mutex<Vec<String>>);

impl Reporter for Recorded {
    fn report(&self, event: Event) {
        let Event::Note { message } = event else { panic!("{event:?}") };
        self.0.lock().unwrap().push(message);
    }
}

impl Recorded {
    fn notes(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn containerd(fake: &Fake) -> Route {
    Route::Containerd { ctr: fake.program(), socket: "/run/c.sock".into(), node: Some("a".into()) }
}

async fn send(route: &Route) -> (Result<(), DeliverError>, Vec<String>) {
    let recorded = Recorded::default();
    let sent = deliver(&plan(route, REFERENCE), REFERENCE, &archive(), &recorded).await;
    (sent, recorded.notes())
}

/// Larger than a pipe's buffer (64 KiB), so that nobody gets away with not reading.
fn archive() -> Bytes {
    "0123456789abcdef".repeat(20_000).into()
}

/// The error with its causes, as it is shown.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn containerd_gets_the_archive_is_asked_for_it_and_pins_it() {
    let fake = Fake::good("ctr", REFERENCE);
    let (sent, notes) = send(&containerd(&fake)).await;
    sent.unwrap();
    assert_eq!(fake.read("input"), String::from_utf8(archive().to_vec()).unwrap());
    let expected = format!(
        "--address /run/c.sock --namespace k8s.io images import -\n\
         --address /run/c.sock --namespace k8s.io images ls --quiet name=={REFERENCE}\n\
         --address /run/c.sock --namespace k8s.io images label {REFERENCE} io.cri-containerd.pinned=pinned\n"
    );
    assert_eq!(fake.read("log"), expected);
    assert_eq!(notes, ["node a has the image"]);
}

#[tokio::test]
async fn every_node_of_kind_gets_it() {
    let fake = Fake::good("docker", REFERENCE);
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let containers = names.map(|name| NodeContainer { node: name.into(), container: name.into() }).to_vec();
    let (sent, mut notes) = send(&Route::Kind { program: fake.program(), containers }).await;
    sent.unwrap();
    let log = fake.read("log");
    for name in names {
        let import = format!(
            "exec -i {name} ctr --namespace=k8s.io images import --all-platforms --digests --snapshotter=overlayfs -\n"
        );
        assert_eq!(log.matches(&import).count(), 1, "{log}");
    }
    assert_eq!(fake.read("input").len(), 5 * archive().len());
    notes.sort();
    assert_eq!(notes, names.map(|name| format!("node {name} has the image")));
}

#[tokio::test]
async fn microk8s_and_k3s_get_it_through_their_own_command() {
    let microk8s = Fake::good("microk8s", REFERENCE);
    send(&Route::MicroK8s { microk8s: microk8s.program(), nodes: vec!["pi".into()] }).await.0.unwrap();
    assert!(microk8s.read("log").starts_with("images import -\nctr --namespace k8s.io images ls --quiet name=="));
    assert_eq!(microk8s.read("input").len(), archive().len());

    let k3s = Fake::good("k3s", REFERENCE);
    send(&Route::K3s { k3s: k3s.program(), node: "pi".into() }).await.0.unwrap();
    assert!(k3s.read("log").starts_with("ctr --namespace k8s.io images import -\n"));
    assert_eq!(k3s.read("input").len(), archive().len());
}

#[rstest]
#[case::microk8s(|folder: PathBuf| Route::MicroK8sFolder { folder, node: "pi".into() })]
#[case::k3s(|folder: PathBuf| Route::K3sFolder { folder, node: "pi".into() })]
#[tokio::test]
async fn a_folder_gets_one_whole_file_and_keeps_no_other(#[case] route: fn(PathBuf) -> Route) {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (sent, notes) = send(&route(folder.path().to_owned())).await;
        sent.unwrap();
        assert_eq!(notes, ["node pi was handed the image"]);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["scalekit-0.1.0-0123456789ab.tar"]);
        assert_eq!(fs::read(folder.path().join(&files[0])).unwrap(), archive());
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let (sent, _) = send(&Route::K3sFolder { folder: "/nowhere/images".into(), node: "pi".into() }).await;
    let said = chain(&sent.unwrap_err());
    let expected = "cannot put the image into /nowhere/images/scalekit-0.1.0-0123456789ab.tar: No such file";
    assert!(said.starts_with(expected), "{said}");
}

#[rstest]
#[case::it_says_why(
    "echo first >&2; echo 'ctr: connection refused' >&2; echo >&2; exit 1",
    "cannot import the image into node a: `ctr --address /run/c.sock --namespace k8s.io images import -` failed \
     (exit status: 1): ctr: connection refused"
)]
#[case::it_says_nothing(
    "exit 3",
    "cannot import the image into node a: `ctr --address /run/c.sock --namespace k8s.io images import -` failed \
     (exit status: 3): it wrote nothing to standard error"
)]
#[case::the_image_is_not_there_afterwards(
    "case \"$*\" in *import*) import;; esac",
    "node a does not have the image scalekit.local/scalekit:0.1.0-0123456789ab after importing it"
)]
#[case::another_image_is_there(
    "case \"$*\" in *import*) import;; *ls*) echo scalekit.local/scalekit:0.1.0-0123456789abc;; esac",
    "node a does not have the image scalekit.local/scalekit:0.1.0-0123456789ab after importing it"
)]
#[case::it_cannot_be_asked(
    "case \"$*\" in *import*) import;; *) echo 'ctr: permission denied' >&2; exit 1;; esac",
    "cannot see whether node a has the image: `ctr --address /run/c.sock --namespace k8s.io images ls --quiet \
     name==scalekit.local/scalekit:0.1.0-0123456789ab` failed (exit status: 1): ctr: permission denied"
)]
#[tokio::test]
async fn a_failure_is_told_in_the_commands_own_words(#[case] script: &str, #[case] expected: &str) {
    let fake = Fake::new("ctr", script);
    let (sent, notes) = send(&containerd(&fake)).await;
    assert_eq!(chain(&sent.unwrap_err()), expected);
    assert!(notes.is_empty(), "{notes:?}");
}

#[tokio::test]
async fn a_program_that_went_away_is_named() {
    let fake = Fake::good("ctr", REFERENCE);
    let route = containerd(&fake);
    fs::remove_file(fake.program()).unwrap();
    let (sent, _) = send(&route).await;
    let said = chain(&sent.unwrap_err());
    let expected =
        format!("cannot import the image into node a: cannot start {}: No such file", fake.program().display());
    assert!(said.starts_with(&expected), "{said}");
}

#[tokio::test]
async fn an_image_that_cannot_be_pinned_is_delivered_all_the_same() {
    let script = format!(
        "case \"$*\" in *import*) import;; *ls*) echo {REFERENCE};; *) echo 'ctr: no such command' >&2; exit 1;; esac"
    );
    let fake = Fake::new("ctr", &script);
    let (sent, notes) = send(&containerd(&fake)).await;
    sent.unwrap();
    assert_eq!(notes.len(), 2);
    assert!(notes[0].ends_with("(exit status: 1): ctr: no such command"), "{notes:?}");
    assert_eq!(notes[1], "node a has the image");
}

#[tokio::test]
async fn the_first_node_that_fails_ends_the_delivery() {
    let script = format!(
        "case \"$*\" in *' bad '*) echo 'no such container: bad' >&2; exit 125;; *import*) import;; *ls*) echo {REFERENCE};; esac"
    );
    let fake = Fake::new("docker", &script);
    let containers = ["bad", "good"].map(|name| NodeContainer { node: name.into(), container: name.into() }).to_vec();
    let (sent, _) = send(&Route::Kind { program: fake.program(), containers }).await;
    let said = chain(&sent.unwrap_err());
    assert!(said.starts_with("cannot import the image into node bad: `docker exec -i bad"), "{said}");
    assert!(said.ends_with("(exit status: 125): no such container: bad"), "{said}");
}

#[tokio::test]
async fn a_command_that_hangs_is_given_up() {
    let fake = Fake::new("ctr", "exec sleep 60");
    let command = Command { program: fake.program(), arguments: vec!["x".into()] };
    let error = run(&command, None, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "`ctr x` did not end within 50ms");
}

#[rstest]
#[case::has_it(&["a"], "echo scalekit.local/scalekit:0.1.0-0123456789ab", &[], false)]
#[case::has_it_and_the_status_is_old(&["a"], "echo scalekit.local/scalekit:0.1.0-0123456789ab", &["a"], false)]
#[case::lost_it_and_the_status_is_old(&["a"], "", &[], true)]
#[case::cannot_be_asked_and_lists_it(&["a"], "exit 1", &[], false)]
#[case::cannot_be_asked_and_does_not_list_it(&["a"], "exit 1", &["a"], true)]
#[case::cannot_be_asked_and_is_not_known(&[], "exit 1", &[], true)]
#[case::one_of_many_has_it(&["a", "b"], "echo scalekit.local/scalekit:0.1.0-0123456789ab", &["b"], true)]
#[case::all_of_many_have_it(&["a", "b"], "echo scalekit.local/scalekit:0.1.0-0123456789ab", &[], false)]
#[tokio::test]
async fn a_place_is_asked_before_anything_is_sent(
    #[case] nodes: &[&str],
    #[case] answer: &str,
    #[case] lacking: &[&str],
    #[case] expected: bool,
) {
    let strings = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    let fake = Fake::new("ctr", answer);
    let mut places = plan(&containerd(&fake), REFERENCE);
    places[0].nodes = strings(nodes);
    assert_eq!(!needing(places, REFERENCE, &strings(lacking)).await.is_empty(), expected);
    assert!(fake.read("log").contains("images ls --quiet name=="), "{}", fake.read("log"));
}
