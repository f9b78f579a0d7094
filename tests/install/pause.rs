//! Stopping all Autoscalers for a while.

use scalekit::commands;
use serde_json::{Value, json};

use super::fake::FakeCluster;

fn autoscaler(name: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "scalekit.dev/v1alpha1",
        "kind": "Autoscaler",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "mode": mode,
            "maxReplicas": 5, "metrics": []},
    })
}

#[tokio::test(start_paused = true)]
async fn all_autoscalers_are_stopped_and_get_back_the_mode_that_they_had() {
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
    for (name, mode) in [("a", "Auto"), ("b", "Auto"), ("c", "Paused"), ("d", "Recommend")] {
        fake.put_as("kubectl", autoscaler(name, mode));
    }
    let modes = || ["a", "b", "c", "d"].map(|name| fake.get("Autoscaler", name).unwrap()["spec"]["mode"].clone());
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
