//! Stopping all Autoscalers for a while.

use scalekit::commands::{self, CommandError};
use serde_json::{Value, json};

use super::fake::{FakeCluster, Fault};

fn autoscaler(name: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "scalekit.dev/v1alpha1",
        "kind": "Autoscaler",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "mode": mode,
            "maxReplicas": 5, "metrics": []},
    })
}

/// A cluster that knows Autoscalers, and has these.
fn cluster_with(autoscalers: &[(&str, &str)]) -> FakeCluster {
    let fake = FakeCluster::new();
    fake.put_as(
        "scalekit",
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "autoscalers.scalekit.dev"},
        }),
    );
    fake.put_as("kubectl", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
    for (name, mode) in autoscalers {
        fake.put_as("kubectl", autoscaler(name, mode));
    }
    fake
}

fn modes<const N: usize>(fake: &FakeCluster, names: [&str; N]) -> [Value; N] {
    names.map(|name| fake.get("Autoscaler", name).unwrap()["spec"]["mode"].clone())
}

fn remembered<const N: usize>(fake: &FakeCluster, names: [&str; N]) -> [Value; N] {
    names.map(|name| {
        fake.get("Autoscaler", name).unwrap()["metadata"]["annotations"]["scalekit.dev/mode-before-pause"].clone()
    })
}

#[tokio::test(start_paused = true)]
async fn all_autoscalers_are_stopped_and_get_back_the_mode_that_they_had() {
    let fake = cluster_with(&[("a", "Auto"), ("b", "Auto"), ("c", "Paused"), ("d", "Recommend")]);
    let modes = || modes(&fake, ["a", "b", "c", "d"]);
    let done = commands::pause(&fake.cluster()).await.unwrap();
    assert_eq!((done.changed.len(), done.unchanged), (2, 2));
    assert_eq!(modes(), ["Recommend", "Recommend", "Paused", "Recommend"]);
    // Again is nothing to do, and what it was is still known.
    assert_eq!(commands::pause(&fake.cluster()).await.unwrap().changed, []);
    // Somebody has decided otherwise about one of them meanwhile.
    let mut other = fake.get("Autoscaler", "b").unwrap();
    other["spec"]["mode"] = json!("Paused");
    fake.put_as("kubectl", other);
    let done = commands::resume(&fake.cluster()).await.unwrap();
    assert_eq!((done.changed.len(), done.unchanged), (2, 2));
    assert_eq!(modes(), ["Auto", "Paused", "Paused", "Recommend"]);
    for name in ["a", "b"] {
        let annotations = fake.get("Autoscaler", name).unwrap()["metadata"]["annotations"].clone();
        assert!(annotations.get("scalekit.dev/mode-before-pause").is_none(), "{annotations}");
    }
    fake.forget_calls();
    assert_eq!(commands::resume(&fake.cluster()).await.unwrap().changed, []);
    assert_eq!(fake.writes(), Vec::<String>::new());
}

/// Between the list and the write, somebody decides otherwise.
#[tokio::test(start_paused = true)]
async fn a_mode_that_somebody_sets_meanwhile_stands() {
    let fake = cluster_with(&[("a", "Auto"), ("b", "Auto"), ("c", "Auto"), ("d", "Auto")]);
    let meanwhile = |name: &str, path, mode: &str| fake.put_before("patch", path, autoscaler(name, mode));
    meanwhile("a", "/autoscalers/a", "Paused");
    meanwhile("b", "/autoscalers/b", "Recommend");
    // Something else of this one changes: it is stopped all the same.
    let mut labelled = autoscaler("c", "Auto");
    labelled["metadata"]["labels"] = json!({"team": "blue"});
    fake.put_before("patch", "/autoscalers/c", labelled);
    let done = commands::pause(&fake.cluster()).await.unwrap();
    assert_eq!((done.changed.len(), done.unchanged), (2, 2));
    let names = ["a", "b", "c", "d"];
    assert_eq!(modes(&fake, names), ["Paused", "Recommend", "Recommend", "Recommend"]);
    // Whose mode is somebody's own does not get another one back.
    assert_eq!(remembered(&fake, names), [Value::Null, Value::Null, json!("Auto"), json!("Auto")]);
    meanwhile("c", "/autoscalers/c", "Paused");
    let done = commands::resume(&fake.cluster()).await.unwrap();
    assert_eq!((done.changed.len(), done.unchanged), (2, 2));
    assert_eq!(modes(&fake, names), ["Paused", "Recommend", "Paused", "Auto"]);
    assert_eq!(remembered(&fake, names), [Value::Null, Value::Null, Value::Null, Value::Null]);
}

/// What is noted in it is what it gets back, whatever that is.
#[tokio::test(start_paused = true)]
async fn each_gets_the_mode_back_that_is_noted_in_it() {
    let fake = cluster_with(&[]);
    let names = ["a", "b", "c"];
    for (name, mode) in names.into_iter().zip(["Auto", "Recommend", "Paused"]) {
        let mut noted = autoscaler(name, "Recommend");
        noted["metadata"]["annotations"] = json!({"scalekit.dev/mode-before-pause": mode});
        fake.put_as("kubectl", noted);
    }
    assert_eq!(commands::resume(&fake.cluster()).await.unwrap().changed.len(), 3);
    assert_eq!(modes(&fake, names), ["Auto", "Recommend", "Paused"]);
    assert_eq!(remembered(&fake, names), [Value::Null, Value::Null, Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn one_that_changes_all_the_time_is_given_up_and_named() {
    let fake = cluster_with(&[("a", "Auto"), ("b", "Auto")]);
    fake.fault(Fault::on("patch", "/autoscalers/a").answers(409, "Conflict", "the object has been modified"));
    let Err(CommandError::Modes { changed: 1, failed, not_permitted: false }) = commands::pause(&fake.cluster()).await
    else {
        panic!("one is given up")
    };
    assert!(failed.len() == 1 && failed[0].0.to_string().ends_with("/a -n demo"), "{failed:?}");
    assert_eq!(modes(&fake, ["a", "b"]), ["Auto", "Recommend"]);
    assert_eq!(fake.writes().iter().filter(|write| write.ends_with("/autoscalers/a")).count(), 5);
}
