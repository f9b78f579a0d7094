//! Fields, objects and versions that are somebody else's.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap, rbac::v1::ClusterRole};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    proxy::Plan,
    world::{Ended, World},
};

const STUCK: &str = "scalekit-test.example/stuck";

pub async fn a_stuck_finalizer_is_named_and_taken_off_only_by_force(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-stuck")).await;
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "in-stuck");
    let hold = Patch::Merge(json!({"metadata": {"finalizers": [STUCK]}}));
    roles.patch("scalekit-prometheus", &PatchParams::default(), &hold).await.unwrap();
    maps.patch("prometheus-config", &PatchParams::default(), &hold).await.unwrap();

    let ended = world.run(Plan::default(), &["down", "--purge-data", "--yes", "--timeout", "15s"]).await;
    let Ended::Exited(6, words) = ended else { panic!("{ended:?}") };
    assert!(words.contains("scalekit-prometheus") && words.contains(STUCK), "{words}");
    assert!(words.contains("namespace/in-stuck"), "{words}");
    let down = ["down", "--purge-data", "--yes", "--force-finalizers", "--timeout", "60s"];
    let words = world.runs(&down).await;
    assert!(words.contains("by force") && words.contains("nothing left"), "{words}");
}

/// The manifests of `render`, applied by kubectl on its client's side, and scaled since.
pub async fn what_kubectl_applied_is_adopted_with_its_replicas(world: &World) {
    let rendered = world.runs(&["render", "-n", "in-adopted", "--image", "scaler=example.org/scalekit:1"]).await;
    // What is said to people stands behind it; the same, as a comment, is part of it.
    let manifests = rendered.split_once("\nleft out:").map_or(rendered.as_str(), |(manifests, _)| manifests);
    world.kubectl_apply(manifests);
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-adopted");
    let managers = |deployment: &Deployment| -> Vec<String> {
        let entries = deployment.metadata.managed_fields.iter().flatten();
        entries.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.manager.clone()).collect()
    };
    let before = deployments.get("grafana").await.unwrap();
    assert_eq!(managers(&before), ["kubectl-client-side-apply"]);

    world.runs(&World::up("in-adopted")).await;
    let after = deployments.get("grafana").await.unwrap();
    assert_eq!(managers(&after), ["scalekit"]);
    assert_eq!(after.metadata.uid, before.metadata.uid, "it was made anew");
    // Its generation grows all the same: with a Deployment, kubectl's annotation that goes is a change.
    assert_eq!(after.spec, before.spec, "its pods were changed");
    world.runs(&World::up("in-adopted")).await;
    assert_eq!(world.proxy.writes(), 0);
}

pub async fn a_field_of_somebody_elses_is_a_conflict_before_anything_is_written(world: &World) {
    world.runs(&World::up("in-shared")).await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-shared");
    let theirs = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let image = |image: &str| {
        Patch::Merge(json!({"spec": {"template": {"spec": {"containers": [{"name": "grafana", "image": image}]}}}}))
    };
    let image = match image("example.org/grafana:theirs") {
        Patch::Merge(patch) => Patch::Strategic(patch),
        other => other,
    };
    deployments.patch("grafana", &theirs, &image).await.unwrap();

    let ended = world.run(Plan::default(), &World::up("in-shared")).await;
    let Ended::Exited(5, words) = ended else { panic!("{ended:?}") };
    for said in ["deployment.apps/grafana", "image", "kubectl-edit", "example.org/grafana:theirs", "docker.io/grafana"]
    {
        assert!(words.contains(said), "{said}: {words}");
    }
    // The lock was taken and given back; no object was touched.
    assert!(world.proxy.writes() <= 2, "{} writes", world.proxy.writes());
    world.runs(&[&World::up("in-shared")[..], &["--force-conflicts"]].concat()).await;
    let after = serde_json::to_value(deployments.get("grafana").await.unwrap()).unwrap();
    let image = after.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap();
    assert!(image.starts_with("docker.io/grafana"), "{image}");
}

pub async fn a_count_that_something_scales_is_left_alone(world: &World) {
    world.runs(&World::up("in-scaled")).await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-scaled");
    let scaler = PatchParams { field_manager: Some("scalekit-autoscaler".to_owned()), ..PatchParams::default() };
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    deployments.patch_scale("kube-state-metrics", &scaler, &three).await.unwrap();

    world.runs(&World::up("in-scaled")).await;
    let count = deployments.get("kube-state-metrics").await.unwrap().spec.replicas;
    assert_eq!(count, Some(3));
    world.runs(&World::up("in-scaled")).await;
    assert_eq!(world.proxy.writes(), 0, "it is not settled");
}

/// An earlier build stored Autoscalers in a version that this one does not have any more.
pub async fn what_is_stored_in_an_older_version_of_the_definition_is_stored_anew(world: &World) {
    world.runs(&World::up("in-stored")).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = "autoscalers.scalekit.dev";
    let mut old = serde_json::to_value(definitions.get(name).await.unwrap()).unwrap();
    let mut version = old["spec"]["versions"][0].clone();
    version["name"] = json!("v1alpha0");
    old["spec"]["versions"][0]["storage"] = json!(false);
    old["spec"]["versions"].as_array_mut().unwrap().push(version);
    let applied = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "labels": old["metadata"]["labels"], "annotations": old["metadata"]["annotations"]},
        "spec": old["spec"]});
    let scalekit = PatchParams::apply("scalekit").force();
    definitions.patch(name, &scalekit, &Patch::Apply(&applied)).await.unwrap();
    let status = Patch::Merge(json!({"status": {"storedVersions": ["v1alpha0"]}}));
    definitions.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    let manifest = "apiVersion: scalekit.dev/v1alpha0\nkind: Autoscaler\nmetadata: {name: kept, namespace: default}\n\
        spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  maxReplicas: 3\n  metrics:\n  \
        - type: Prometheus\n    prometheus: {name: m, query: up, target: {type: AverageValue, averageValue: '1'}}\n";
    world.kubectl_apply(manifest);

    world.runs(&World::up("in-stored")).await;
    let after = serde_json::to_value(definitions.get(name).await.unwrap()).unwrap();
    assert_eq!(after["status"]["storedVersions"], json!(["v1alpha1"]));
    let names: Vec<&Value> = after["spec"]["versions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["v1alpha1"]);
    let kept = world.client.request_text(
        http::Request::get("/apis/scalekit.dev/v1alpha1/namespaces/default/autoscalers/kept").body(Vec::new()).unwrap(),
    );
    assert!(kept.await.unwrap().contains("\"maxReplicas\":3"));
    world.runs(&World::up("in-stored")).await;
    assert_eq!(world.proxy.writes(), 0);
    // It is somebody else's to the steps that follow, and would keep the definition from going.
    let gone = http::Request::delete("/apis/scalekit.dev/v1alpha1/namespaces/default/autoscalers/kept");
    world.client.request_text(gone.body(Vec::new()).unwrap()).await.unwrap();
}

pub async fn what_a_newer_version_installed_is_refused(world: &World) {
    world.runs(&World::up("in-newer")).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "in-newer");
    let newer = json!({"metadata": {"annotations": {"applyset.kubernetes.io/tooling": "scalekit/99.0.0"}}});
    maps.patch("scalekit-inventory", &PatchParams::default(), &Patch::Merge(newer)).await.unwrap();
    let ended = world.run(Plan::default(), &World::up("in-newer")).await;
    let Ended::Exited(3, words) = ended else { panic!("{ended:?}") };
    assert!(words.contains("scalekit 99.0.0 wrote what is installed"), "{words}");
    assert_eq!(world.proxy.writes(), 0);
}
