//! What is no longer wanted goes; what others have put beside it stays, and so do data.

use rstest::rstest;
use scalekit::catalog::ExternalPrometheus;
use scalekit::event::Action;
use serde_json::{Value, json};

use super::{Told, installed, stack_with, up_telling};

#[rstest]
#[case::of_ours_alone(false)]
#[case::of_others_too(true)]
#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_what_is_ours_and_stays_with_what_is_not(#[case] others: bool) {
    let (fake, cluster) = installed().await;
    if others {
        fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "monitoring-nodes"}}));
    }
    let alone = stack_with(|options| {
        options.external = Some(ExternalPrometheus { url: "http://prometheus.theirs:9090".to_owned(), secret: None });
    });
    let told = Told::default();
    up_telling(&cluster, &alone, &told).await.unwrap();
    // It may still be on its way out.
    let stays = |namespace: &Value| namespace["metadata"]["deletionTimestamp"].is_null();
    assert_eq!(fake.get("Namespace", "monitoring-nodes").is_some_and(|found| stays(&found)), others);
    assert!(fake.get("DaemonSet", "node-exporter").is_none() && fake.get("StatefulSet", "prometheus").is_none());
    assert_eq!(fake.get("ConfigMap", "theirs").is_some(), others);

    let kept = told.of(Action::Kept);
    let says = |object: &str, words: &str| {
        kept.iter().any(|(kept, why)| kept.starts_with(object) && why.as_deref().is_some_and(|why| why.contains(words)))
    };
    assert_eq!(says("namespace/monitoring-nodes", "configmap/theirs"), others, "{kept:?}");
    assert!(says("persistentvolumeclaim/prometheus-data", "down --purge-data"), "{kept:?}");
    assert!(says("secret/grafana-admin", "down --purge-data"), "{kept:?}");

    // It has been told.
    let again = Told::default();
    up_telling(&cluster, &alone, &again).await.unwrap();
    assert_eq!(again.of(Action::Kept), []);
}
