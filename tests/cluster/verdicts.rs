//! What will never work is said within ten seconds of the cluster showing it, with one cause and a way out.
//!
//! A step a failure, on a real kubelet, with the wait that `up` uses: each in a namespace of its own, with a workload of
//! one pod that fails in one way.

use std::time::Duration;

use k8s_openapi::api::{
    core::v1::{Event, Pod},
    storage::v1::StorageClass,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject},
};
use scalekit::{
    catalog::APPLYSET_PART_OF,
    event::Silent,
    install::{InstallError, Installer},
    object::ObjectRef,
    plan::{Inventory, plan},
};
use serde_json::{Value, json};

use crate::{
    nodes::until,
    place::{Place, WITHIN, applied, clocked, ended_again, event, fails_once, image, said, script, waits, workload},
    world::World,
};

/// Longer than a loaded machine takes until something is said, or works.
const LIMIT: Duration = Duration::from_secs(300);

/// An image that does not come: the reference, what else is said of it, and what to do.
async fn cannot_be_pulled(world: &World, place: &str, reference: &str, said: &[&str], hint: &str) {
    let place = Place::new(world, place, json!({})).await;
    let first = format!("image {reference} cannot be pulled");
    let cause: Vec<&str> = [first.as_str()].into_iter().chain(said.iter().copied()).collect();
    place.fails(image(reference), waits("ErrImagePull"), &cause, hint).await;
}

pub async fn an_image_that_is_not_there(world: &World) {
    let hint = "--registry or --image";
    cannot_be_pulled(world, "no-image", "docker.io/library/nowhere:1", &["not found"], hint).await;
}

pub async fn a_registry_that_refuses(world: &World) {
    // containerd's words for a 401 that stays one with a token.
    let said = ["pull access denied"];
    cannot_be_pulled(world, "refuses", "docker.io/library/unauthorized-x:1", &said, "check the reference").await;
}

pub async fn a_registry_that_fails(world: &World) {
    cannot_be_pulled(world, "broken", "docker.io/library/broken-x:1", &["500"], "check the reference").await;
}

pub async fn a_registry_that_hangs(world: &World) {
    cannot_be_pulled(world, "hangs", "docker.io/library/hang-x:1", &["504"], "check the reference").await;
}

pub async fn a_container_that_exits_again_and_again(world: &World) {
    let place = Place::new(world, "exits", json!({})).await;
    let mut container = script("echo first; echo cannot open /etc/x; exit 1");
    // Without a probe it would be ready for the moment that it runs.
    container["readinessProbe"] = json!({"exec": {"command": ["false"]}});
    let pod = json!({"containers": [container]});
    let cause = ["ends again and again (exit code 1)", "it said:\n    first\n    cannot open /etc/x"];
    place.fails(workload("StatefulSet", pod), ended_again, &cause, "--previous").await;
}

pub async fn an_init_container_that_fails(world: &World) {
    let place = Place::new(world, "init", json!({})).await;
    let mut first = script("echo no such table; exit 3");
    first["name"] = json!("migrate");
    let pod = json!({"initContainers": [first], "containers": [script("sleep 1000")]});
    let cause = ["container migrate ends again and again (exit code 3)", "it said:\n    no such table"];
    place.fails(workload("Deployment", pod), ended_again, &cause, "-c migrate --previous").await;
}

pub async fn a_missing_key_of_a_config_map(world: &World) {
    let place = Place::new(world, "no-key", json!({})).await;
    place
        .put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}))
        .await;
    let mut container = script("sleep 1000");
    container["env"] = json!([{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}}]);
    let pod = json!({"containers": [container]});
    let cause = ["couldn't find key b in ConfigMap verdict-no-key/settings"];
    place.fails(workload("StatefulSet", pod), waits("CreateContainerConfigError"), &cause, "make what it names").await;
}

pub async fn a_config_map_that_a_volume_needs(world: &World) {
    let place = Place::new(world, "no-volume", json!({})).await;
    let mut container = script("sleep 1000");
    container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let pod = json!({"containers": [container], "volumes": [{"name": "v", "configMap": {"name": "nowhere"}}]});
    let cause = ["volume \"v\"", "configmap \"nowhere\" not found"];
    place.fails(workload("DaemonSet", pod), event("FailedMount", "not found"), &cause, "make what it names").await;
}

pub async fn a_pod_that_fits_on_no_node(world: &World) {
    let place = Place::new(world, "too-large", json!({})).await;
    let mut container = script("sleep 1000");
    container["resources"] = json!({"requests": {"cpu": "1000"}});
    let pod = json!({"containers": [container]});
    let cause = ["fits on no node", "Insufficient cpu"];
    place
        .fails(workload("StatefulSet", pod), event("FailedScheduling", "Insufficient cpu"), &cause, "free resources")
        .await;
}

pub async fn a_node_selector_that_no_node_has(world: &World) {
    let place = Place::new(world, "no-node", json!({})).await;
    let pod = json!({"containers": [script("sleep 1000")], "nodeSelector": {"disk": "tape"}});
    let cause = ["it is to run on none of the", "its node selector is disk=tape"];
    let counted = |set: &Value| set["status"]["observedGeneration"] == 1;
    place.fails_by_itself(workload("DaemonSet", pod.clone()), counted, &cause, "label a node").await;

    let place = Place::new(world, "no-node-either", json!({})).await;
    let cause = ["fits on no node", "didn't match Pod's node affinity/selector"];
    place.fails(workload("Deployment", pod), event("FailedScheduling", "didn't match"), &cause, "free resources").await;
}

fn no_pods() -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
}

/// The quota, which is no kind that is installed.
async fn quota(place: &Place<'_>, quota: Value) {
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> =
        Api::namespaced(place.world.client.clone(), &place.name);
    applied(&quotas, "none", &quota).await;
    until("the quota controller has counted, before which it does not hold", async || {
        let hard = quotas.get("none").await.ok()?.status?.hard?;
        (Some(&json!(hard["pods"])) == quota.pointer("/spec/hard/pods")).then_some(())
    })
    .await;
}

pub async fn a_quota_that_is_used_up(world: &World) {
    for kind in ["Deployment", "StatefulSet"] {
        let place = Place::new(world, &format!("quota-{}", kind.to_lowercase()), json!({})).await;
        quota(&place, no_pods()).await;
        let pod = json!({"containers": [script("sleep 1000")]});
        let cause = ["its pods are refused", "exceeded quota: none"];
        place
            .fails(workload(kind, pod), event("FailedCreate", "exceeded quota"), &cause, "raise the ResourceQuota")
            .await;
    }
}

/// A later run says the same at once, though the controller tries again in minutes only; and once the quota is raised, what
/// the controller said before is no verdict any more.
pub async fn a_quota_that_was_raised_since(world: &World) {
    let place = Place::new(world, "raised", json!({})).await;
    quota(&place, no_pods()).await;
    let object = place.put(workload("StatefulSet", json!({"containers": [script("sleep 1000")]}))).await;
    place.shown(event("FailedCreate", "exceeded quota")).await;
    // Its controller backs off: 5 ms, doubled each time.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (ended, clock) = clocked(world, place.wait(&object, LIMIT)).await;
    let Err(InstallError::Failed { failures }) = &ended else { panic!("{ended:?}") };
    said(failures, &object, &["exceeded quota: none"], "raise the ResourceQuota");
    clock.ended_within(WITHIN, clock.began, &failures[0].why);
    let mut raised = no_pods();
    raised["spec"]["hard"]["pods"] = json!("5");
    quota(&place, raised).await;
    place.wait(&object, LIMIT).await.unwrap();
    place.go().await;
}

pub async fn a_pod_security_level_that_is_too_strict(world: &World) {
    let strict = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let place = Place::new(world, "strict", strict).await;
    let pod = json!({"containers": [script("sleep 1000")]});
    let cause = ["its pods are refused", "violates PodSecurity \"restricted"];
    place.fails(workload("DaemonSet", pod), event("FailedCreate", "violates"), &cause, "look at its labels").await;
}

pub async fn a_claim_of_an_unknown_class(world: &World) {
    let place = Place::new(world, "no-class", json!({})).await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "nowhere",
            "resources": {"requests": {"storage": "1Gi"}}}});
    let cause = ["there is no StorageClass `nowhere`"];
    place.fails_by_itself(claim, |claim| claim["status"].is_object(), &cause, "name one with --storage-class").await;
}

/// A class whose provisioner is not there: the controller asks it, and nobody begins.
pub async fn a_claim_whose_provisioner_is_not_there(world: &World) {
    let place = Place::new(world, "no-provisioner", json!({})).await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "scalekit-test-nobody"}, "provisioner": "scalekit-test.example/nobody"});
    let classes: Api<StorageClass> = Api::all(world.client.clone());
    applied(&classes, "scalekit-test-nobody", &class).await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "scalekit-test-nobody",
            "resources": {"requests": {"storage": "1Gi"}}}});
    // It may be starting: the cluster shows that it is not once it has been silent for half a minute.
    let silent = |_: &[Pod], events: &[Event]| {
        let asked = events.iter().filter(|event| event.reason.as_deref() == Some("ExternalProvisioning"));
        asked.filter_map(|event| event.first_timestamp.as_ref()).any(|first| {
            let now = jiff::Timestamp::from_second(wall_seconds()).unwrap();
            now.duration_since(first.0).as_secs() >= 30
        })
    };
    let cause = ["nothing makes the volumes of StorageClass `scalekit-test-nobody`", "scalekit-test.example/nobody"];
    place.fails(claim, silent, &cause, "--storage-class").await;
    classes.delete("scalekit-test-nobody", &DeleteParams::default()).await.unwrap();
}

/// Its own grace is a period of five seconds three times; from then on it is overdue.
pub async fn a_readiness_probe_that_never_passes(world: &World) {
    let place = Place::new(world, "unready", json!({})).await;
    let mut container = script("sleep 1000");
    // With time to end: a probe that has none left says that, and nothing of what the command printed.
    container["readinessProbe"] = json!({"exec": {"command": ["sh", "-c", "echo no leader; exit 1"]}, "timeoutSeconds": 5,
        "periodSeconds": 5, "failureThreshold": 3});
    let overdue = |_: &[Pod], events: &[Event]| {
        let failed = events.iter().filter(|event| event.reason.as_deref() == Some("Unhealthy"));
        failed.filter_map(|event| event.first_timestamp.as_ref()).any(|first| {
            let now = jiff::Timestamp::from_second(wall_seconds()).unwrap();
            now.duration_since(first.0).as_secs() >= 15
        })
    };
    let cause = ["container c runs, but is not ready: Readiness probe failed: no leader"];
    place.fails(workload("StatefulSet", json!({"containers": [container]})), overdue, &cause, "kubectl logs -n").await;
}

#[expect(clippy::disallowed_methods, reason = "a test of how long something takes")]
fn wall_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Ours and another that has its names: ours is taken, and never served.
pub async fn a_definition_whose_names_are_taken(world: &World) {
    let place = Place::new(world, "names", json!({})).await;
    let labels = json!({"app.kubernetes.io/managed-by": "scalekit", APPLYSET_PART_OF: place.release().applyset});
    let definition = |name: &str, plural: &str| -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "labels": labels},
            "spec": {"group": "verdict.test", "scope": "Namespaced", "names": {"plural": plural, "kind": "Taken"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]}}))
        .unwrap()
    };
    let cluster = place.cluster();
    let installer = Installer::new(&cluster, &Silent, LIMIT);
    let apply = async |object: DynamicObject| {
        let desired = [object];
        let state = installer.read(&place.release(), &desired).await.unwrap();
        let changes = plan(&desired, &[], &Inventory::default());
        installer.apply(&place.release(), &desired, &changes, &state).await.unwrap();
        place.wait(&ObjectRef::of(&desired[0]), LIMIT).await
    };
    apply(definition("firsts.verdict.test", "firsts")).await.unwrap();
    let second = definition("seconds.verdict.test", "seconds");
    let object = ObjectRef::of(&second);
    let cause = ["its names are not accepted", "is already in use"];
    let shown = place.shown_of(&object, |definition| has_condition(definition, "NamesAccepted", "False"));
    fails_once(world, &object, apply(second), shown, &cause, "kubectl get crds").await;
    for name in ["firsts.verdict.test", "seconds.verdict.test"] {
        world.kubectl(["delete", "crd", name]);
    }
    place.go().await;
}

fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == kind && condition["status"] == status)
}

pub async fn an_aggregated_api_without_its_service(world: &World) {
    let place = Place::new(world, "no-api", json!({})).await;
    nobody_answers(place, "nowhere", "ServiceNotFound").await;
}

pub async fn an_aggregated_api_whose_pods_do_not_listen(world: &World) {
    let place = Place::new(world, "deaf-api", json!({})).await;
    let workload = workload("Deployment", json!({"containers": [script("sleep 1000")]}));
    let selector = workload["spec"]["selector"]["matchLabels"].clone();
    let deployment = place.put(workload).await;
    place.wait(&deployment, LIMIT).await.unwrap();
    let spec = json!({"selector": selector, "ports": [{"port": 443, "protocol": "TCP"}]});
    place.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "deaf"}, "spec": spec})).await;
    nobody_answers(place, "deaf", "FailedDiscoveryCheck").await;
}

/// An API for which this Service of the place does not answer. While it is so no namespace of the cluster goes, so it is taken away
/// once it is judged.
async fn nobody_answers(place: Place<'_>, service: &str, reason: &str) {
    let name = format!("v1.{service}.verdict.test");
    let registration: DynamicObject = serde_json::from_value(json!({"apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name, "labels": {APPLYSET_PART_OF: place.release().applyset}},
        "spec": {"group": format!("{service}.verdict.test"), "version": "v1", "groupPriorityMinimum": 1000,
            "versionPriority": 10, "insecureSkipTLSVerify": true,
            "service": {"namespace": place.name, "name": service}}}))
    .unwrap();
    let object = ObjectRef::of(&registration);
    let registrations = place.cluster().api_for(&object).unwrap();
    applied(&registrations, &name, &registration).await;
    let shown = place.shown_of(&object, |found| {
        has_condition(found, "Available", "False") && found["status"]["conditions"][0]["reason"] == reason
    });
    let wait = async {
        let ended = place.wait(&object, LIMIT).await;
        registrations.delete(&name, &DeleteParams::default()).await.unwrap();
        ended
    };
    let hint = "no namespace of the cluster can be deleted";
    fails_once(place.world, &object, wait, shown, &["it does not answer: ", service], hint).await;
    place.go().await;
}

/// The same through the program, with its exit code.
pub async fn up_names_an_image_that_a_registry_refuses(world: &World) {
    let ran = world.scalekit(["up", "--image", "grafana=docker.io/library/unauthorized-x:1"]).exits(6);
    let ran = ran.says("deployment.apps/grafana").says("image docker.io/library/unauthorized-x:1 cannot be pulled");
    let ran = ran.says("hint: check the reference");
    println!("{:.1?}", ran.took);
    // Beside the ten seconds, what the pull and the rest of the run take on a loaded machine.
    assert!(ran.took < Duration::from_secs(180), "{:?}", ran.took);
}
