//! What the API server would say: where it is asked, and what its answer is taken for.

use rstest::rstest;
use scalekit::{
    event::Silent,
    install::Installer,
    object::{ByName, ObjectRef},
    plan::{self, Checked, Inventory},
};
use serde_json::json;

use super::{
    TIMEOUT,
    fake::{FakeCluster, Fault},
    stack,
};

#[tokio::test(start_paused = true)]
async fn what_is_tried_elsewhere_meets_nobodys_object_of_the_same_name() {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
    let declared = stack().iter().find(|object| ObjectRef::of(object).name == "prometheus-config").unwrap();
    let file = declared.data["data"].as_object().unwrap().keys().next().unwrap().clone();
    fake.put_as(
        "kubectl-edit",
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "prometheus-config", "namespace": "default"}, "data": {file: "theirs"}}),
    );
    let cluster = fake.cluster();
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let changes = plan::plan(stack(), &[], &Inventory::default());
    let checked = installer.dry_run(stack(), &changes, &ByName::of(&[])).await;
    let (_, found) = checked.iter().find(|(object, _)| object.name == "prometheus-config").unwrap();
    assert_eq!(*found, Checked::Accepted { tried_in: Some("default"), taken_over_from: Vec::new() });
}

/// What is said of a ConfigMap of ours that these managers have applied before us, each with this content.
async fn tried_over(managers: &[&str]) -> (Checked, Vec<String>) {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}));
    let declared = stack().iter().find(|object| ObjectRef::of(object).name == "prometheus-config").unwrap();
    let file = declared.data["data"].as_object().unwrap().keys().next().unwrap().clone();
    let entry = |manager: &&str| {
        json!({"manager": *manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {(format!("f:{file}")): {}}}})
    };
    let fields: Vec<_> = managers.iter().map(entry).collect();
    for manager in managers {
        let metadata = json!({"name": "prometheus-config", "namespace": "monitoring", "managedFields": fields,
            "labels": declared.metadata.labels});
        let applied =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {(&file): "before"}});
        fake.put_as(manager, applied);
    }
    let live = [serde_json::from_value(fake.get("ConfigMap", "prometheus-config").unwrap()).unwrap()];
    let cluster = fake.cluster();
    fake.forget_calls();
    let changes = plan::plan(std::slice::from_ref(declared), &live, &Inventory::default());
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let mut checked = installer.dry_run(std::slice::from_ref(declared), &changes, &ByName::of(&live)).await;
    assert!(fake.writes().is_empty(), "{:?}", fake.writes());
    assert_eq!(checked.len(), 1, "{checked:?}");
    let in_conflict = match &checked[0].1 {
        Checked::Conflict { fields } => fields.iter().map(|field| field.owner.clone()).collect(),
        _ => Vec::new(),
    };
    (checked.remove(0).1, in_conflict)
}

#[tokio::test(start_paused = true)]
async fn what_up_takes_over_from_a_tool_is_no_conflict() {
    let taken_over_from = vec!["helm".to_owned(), "kubectl-client-side-apply".to_owned()];
    let expected = Checked::Accepted { tried_in: None, taken_over_from };
    assert_eq!(tried_over(&["kubectl-client-side-apply", "helm"]).await.0, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_changed_of_it_since_is_one() {
    assert_eq!(tried_over(&["helm", "kubectl-edit"]).await.1, ["conflict with \"kubectl-edit\""]);
}

/// What is said of one object of a stack whose namespaces are not there yet, when this goes wrong.
async fn tried(name: &str, fault: Fault) -> Checked {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
    fake.fault(fault);
    let cluster = fake.cluster();
    let changes = plan::plan(stack(), &[], &Inventory::default());
    let object = stack().iter().find(|object| ObjectRef::of(object).name == name).unwrap();
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let mut checked = installer.dry_run(std::slice::from_ref(object), &changes, &ByName::of(&[])).await;
    assert_eq!(checked.len(), 1, "{checked:?}");
    checked.remove(0).1
}

/// Where the first object is tried, if it is a ConfigMap.
const ELSEWHERE: &str = "/namespaces/default/configmaps/scalekit-dry-run-0";

#[rstest]
#[case::a_quota(403, "Forbidden", "configmaps \"c\" is forbidden: exceeded quota: q, requested: count/configmaps=1")]
#[case::a_level(403, "Forbidden", "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot")]
#[case::a_policy(422, "Invalid", "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no")]
#[case::a_webhook(400, "BadRequest", "admission webhook \"w\" denied the request: use labels")]
#[case::a_right(403, "Forbidden", "configmaps \"c\" is forbidden: User \"u\" cannot patch resource \"configmaps\"")]
#[tokio::test(start_paused = true)]
async fn what_may_be_another_namespaces_own_is_no_refusal(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let checked = tried("prometheus-config", Fault::on("apply", ELSEWHERE).answers(code, reason, message)).await;
    let Checked::NotTried { why } = checked else { panic!("{checked:?}") };
    assert!(why.contains("tried in `default`") && why.ends_with(message), "{why}");
}

#[rstest]
#[case::a_value(422, "Invalid", "ConfigMap \"c\" is invalid: data: Too long: may not be more than 1048576 bytes")]
#[case::a_field(
    400,
    "BadRequest",
    "ConfigMap in version \"v1\" cannot be handled: strict decoding error: unknown field"
)]
#[tokio::test(start_paused = true)]
async fn an_object_that_is_wrong_is_refused_wherever_it_is_tried(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let checked = tried("prometheus-config", Fault::on("apply", ELSEWHERE).answers(code, reason, message)).await;
    assert_eq!(checked, Checked::Refused { why: message.to_owned() });
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_where_it_belongs_is_refused_by_whatever_refuses_it() {
    let message = "admission webhook \"w\" denied the request: use labels";
    let fault = Fault::on("apply", "/namespaces/monitoring").answers(403, "Forbidden", message);
    assert_eq!(tried("monitoring", fault).await, Checked::Refused { why: message.to_owned() });
}
