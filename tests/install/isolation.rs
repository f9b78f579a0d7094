//! What cannot be deleted holds up what needs it, and nothing else.

use kube::core::DynamicObject;
use scalekit::{catalog::Component, event::Action, install::InstallError, object::ObjectRef};
use serde_json::{Value, json};

use super::{
    INVENTORY, Told, failures,
    fake::{FakeCluster, Fault},
    installed, inventory, stack, stack_with, up, up_telling,
};

const CLAIM: &str = "persistentvolumeclaim/prometheus-data -n monitoring";
const PROMETHEUS: &str = "statefulset.apps/prometheus -n monitoring";

fn uid(fake: &FakeCluster, kind: &str, name: &str) -> Value {
    fake.get(kind, name).unwrap()["metadata"]["uid"].clone()
}

fn image_of_grafana(fake: &FakeCluster) -> Value {
    fake.get("Deployment", "grafana").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

/// What the inventory holds that was written last.
fn recorded(fake: &FakeCluster) -> std::collections::BTreeMap<String, bool> {
    inventory(&fake.get("ConfigMap", "scalekit-inventory").unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_does_not_make_room_for_itself_fails_what_needs_it_is_skipped_and_all_others_go_on() {
    let (fake, cluster) = installed().await;
    let mut claim = fake.get("PersistentVolumeClaim", "prometheus-data").unwrap();
    claim["spec"]["storageClassName"] = json!("no-such-class");
    fake.put_as("scalekit", claim);
    let mut old = fake.get("StatefulSet", "prometheus").unwrap();
    old["spec"]["podManagementPolicy"] = json!("OrderedReady");
    fake.put_as("scalekit", old);
    let before = uid(&fake, "StatefulSet", "prometheus");
    let refused = Fault::on("delete", "/persistentvolumeclaims/prometheus-data");
    fake.fault(refused.answers(422, "Invalid", "it is not to be deleted"));
    let next = stack_with(|options| options.images.extend([(Component::Grafana, "grafana:next".to_owned())]));

    let told = Told::default();
    let error = up_telling(&cluster, &next, &told).await.unwrap_err();
    let InstallError::Apply { skipped, .. } = &error else { panic!("{error:?}") };
    assert_eq!(failures(&error), [format!("{CLAIM}: it is not to be deleted")]);
    assert_eq!(skipped.iter().map(ToString::to_string).collect::<Vec<_>>(), [PROMETHEUS]);
    assert_eq!(told.of(Action::Skipped), [(PROMETHEUS.to_owned(), Some(format!("it needs {CLAIM}")))]);
    assert_eq!(image_of_grafana(&fake), "grafana:next");
    // Made anew it could not be, so it runs on as it is.
    assert_eq!(uid(&fake, "StatefulSet", "prometheus"), before);

    fake.heal();
    up(&cluster, &next).await.unwrap();
    assert_ne!(uid(&fake, "StatefulSet", "prometheus"), before);
    let claim = fake.get("PersistentVolumeClaim", "prometheus-data").unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "standard");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_and_cannot_be_deleted_stays_on_record_and_all_others_go() {
    let (fake, cluster) = installed().await;
    let gone = ["grafana", "grafana-dashboards", "grafana-config"];
    let fewer: Vec<DynamicObject> =
        stack().iter().filter(|object| !gone.contains(&&*ObjectRef::of(object).name)).cloned().collect();
    let refused = Fault::on("delete", "/configmaps/grafana-dashboards");
    fake.fault(refused.answers(422, "Invalid", "it is not to be deleted"));
    let stays = r#""ConfigMap"/"monitoring"/"grafana-dashboards""#;

    let error = up(&cluster, &fewer).await.unwrap_err();
    assert_eq!(error.to_string(), "an object could not be deleted");
    assert_eq!(failures(&error), ["configmap/grafana-dashboards -n monitoring: it is not to be deleted"]);
    assert!(fake.get("Deployment", "grafana").is_none() && fake.get("ServiceAccount", "grafana").is_none());
    assert_eq!(fake.writes().last().unwrap(), INVENTORY);
    let found = recorded(&fake);
    assert_eq!(found.len(), fewer.len() + 1, "{found:#?}");
    assert_eq!(found.get(stays), Some(&true), "it is not known as what it was: {found:#?}");

    fake.heal();
    up(&cluster, &fewer).await.unwrap();
    assert!(fake.get("ConfigMap", "grafana-dashboards").is_none());
    assert!(!recorded(&fake).contains_key(stays));
}
