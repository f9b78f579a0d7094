//! Fields, objects and versions that are somebody else's.

use std::{fmt::Write, sync::Mutex, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim},
    rbac::v1::ClusterRole,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{WatchStreamExt, wait::await_condition, watcher},
};
use serde_json::{Value, json};

use crate::{
    proxy::Plan,
    world::{Ended, World},
};

const STUCK: &str = "scalekit-test.example/stuck";

/// How long a watch may take to tell of a change.
const TOLD_WITHIN: Duration = Duration::from_secs(120);

/// What a controller takes to do its part.
const LIMIT: Duration = Duration::from_secs(180);

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
    let down = ["down", "--purge-data", "--yes", "--force-finalizers", "--timeout", "400s"];
    let words = world.runs(&down).await;
    assert!(words.contains("by force") && words.contains("nothing left"), "{words}");
}

/// The manifests of `render`.
pub async fn rendered(world: &World, namespace: &str) -> String {
    let rendered = world.runs(&["render", "-n", namespace, "--image", "scaler=example.org/scalekit:1"]).await;
    // What is said to people stands behind it; the same, as a comment, is part of it.
    rendered.split_once("\nleft out:").map_or(rendered.as_str(), |(manifests, _)| manifests).to_owned()
}

/// Runs `up` in the namespace of its arguments, and watches that Grafana has this many replicas all the while.
async fn never_fewer_than(world: &World, replicas: i32, up: &[&str]) {
    let namespace = up.iter().skip_while(|argument| **argument != "-n").nth(1).expect("a namespace");
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), namespace);
    let seen: Mutex<Vec<Option<i32>>> = Mutex::default();
    let only = watcher::Config::default().fields("metadata.name=grafana");
    let watch = watcher(deployments, only).applied_objects().try_for_each(|deployment| {
        seen.lock().unwrap().push(deployment.spec.replicas);
        std::future::ready(Ok(()))
    });
    let seen_so_often = async |times: usize| {
        while seen.lock().unwrap().len() < times {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // It is watched before the run begins, and until what the run has changed was told too, which may be after its end.
    let run = async {
        tokio::time::timeout(TOLD_WITHIN, seen_so_often(1)).await.expect("it is watched");
        let words = world.runs(up).await;
        assert!(!words.contains("foreign"), "{words}");
        tokio::time::timeout(TOLD_WITHIN, seen_so_often(2)).await.expect("its change is told");
    };
    tokio::select! {
        () = run => {}
        ended = watch => panic!("the watch ended: {ended:?}"),
    };
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() > 1 && seen.iter().all(|seen| *seen == Some(replicas)), "{seen:?}");
}

/// As Helm 3 writes: fields of its own manager, by updates. Something has scaled a workload since.
pub async fn what_helm_applied_is_adopted_without_a_replica_less(world: &World) {
    let manifests = rendered(world, "in-helm").await;
    world.kubectl_apply_as("helm", &manifests);
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-helm");
    let scaler = PatchParams { field_manager: Some("scalekit-autoscaler".to_owned()), ..PatchParams::default() };
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    deployments.patch_scale("grafana", &scaler, &three).await.unwrap();
    let uid = deployments.get("grafana").await.unwrap().metadata.uid;

    // With another declaration fields differ that are Helm's, which `up` takes over.
    let image = "scaler=example.org/scalekit:1";
    let plan = ["plan", "-n", "in-helm", "--image", image, "--scrape-interval", "30s", "-o", "json"];
    let Ended::Exited(10, words) = world.run(Plan::default(), &plan).await else { panic!("nothing to change") };
    // What is told on the way stands behind it.
    let planned: Value = serde_json::Deserializer::from_str(&words).into_iter().next().expect(&words).expect(&words);
    let objects = planned["objects"].as_array().expect(&words);
    assert!(objects.iter().all(|object| object["checked"] != "conflict"), "{words}");
    for name in ["grafana", "prometheus-config"] {
        let named = |object: &&Value| object["object"]["name"] == name && object["action"] == "configure";
        let found: Vec<&Value> = objects.iter().filter(named).collect();
        let taken = |object: &&Value| object["checked"] == "accepted" && object["taken_over_from"] == json!(["helm"]);
        assert!(!found.is_empty() && found.iter().all(taken), "{name}: {found:#?}");
    }

    never_fewer_than(world, 3, &World::up("in-helm")).await;
    let after = deployments.get("grafana").await.unwrap();
    assert_eq!(after.metadata.uid, uid, "it was made anew");
    let managers: Vec<_> =
        after.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).collect();
    assert!(managers.contains(&"scalekit") && !managers.contains(&"helm"), "{managers:?}");
    world.runs(&World::up("in-helm")).await;
    assert_eq!(world.proxy.writes(), 0, "it is not settled");
}

/// A chart has made objects under names of ours, in a namespace that is not ours: they are somebody else's, by force too,
/// and a removal does not see them.
pub async fn what_a_helm_release_has_under_our_names_is_refused_and_stays(world: &World) {
    world.settled().await;
    let mut manifests = "apiVersion: v1\nkind: Namespace\nmetadata: {name: in-charted}\n".to_owned();
    for (types, name, rest) in [
        ("apiVersion: v1\nkind: ServiceAccount", "grafana", ""),
        ("apiVersion: v1\nkind: ConfigMap", "prometheus-config", "data: {theirs: 'yes'}\n"),
        (
            "apiVersion: apps/v1\nkind: Deployment",
            "grafana",
            "spec:\n  selector: {matchLabels: {app: theirs}}\n  template:\n    metadata: {labels: {app: theirs}}\n    \
             spec: {containers: [{name: grafana, image: 'example.org/grafana:theirs'}]}\n",
        ),
    ] {
        write!(
            manifests,
            "---\n{types}\nmetadata:\n  name: {name}\n  namespace: in-charted\n  \
             labels: {{app.kubernetes.io/managed-by: Helm}}\n  annotations: {{meta.helm.sh/release-name: \
             kube-prometheus-stack, meta.helm.sh/release-namespace: in-charted}}\n{rest}"
        )
        .unwrap();
    }
    world.kubectl_apply_as("helm", &manifests);
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-charted");
    let before = deployments.get("grafana").await.unwrap();

    let forced = [&World::up("in-charted")[..], &["--force-conflicts"]].concat();
    for arguments in [World::up("in-charted"), forced] {
        let ended = world.run(Plan::default(), &arguments).await;
        let Ended::Exited(5, words) = ended else { panic!("{ended:?}") };
        for object in ["serviceaccount/grafana", "configmap/prometheus-config", "deployment.apps/grafana"] {
            assert!(words.contains(&format!("{object} -n in-charted")), "{object}: {words}");
        }
        let whose = " (managed by Helm, release kube-prometheus-stack -n in-charted)";
        assert_eq!(words.matches(whose).count(), 1, "{words}");
        assert!(words.contains("namespace/in-charted") && words.contains("hint: "), "{words}");
        assert_eq!(world.proxy.writes(), 0, "{arguments:?}");
    }
    world.runs(&["down", "--purge-data", "--yes"]).await;
    assert_eq!(world.proxy.writes(), 0);
    let after = deployments.get("grafana").await.unwrap();
    assert_eq!((after.metadata.uid, after.spec), (before.metadata.uid, before.spec));
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "in-charted");
    assert!(maps.get("prometheus-config").await.unwrap().data.unwrap().contains_key("theirs"));
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete("in-charted", &DeleteParams::background()).await.unwrap();
}

/// The manifests of `render`, applied by kubectl on its client's side, and scaled since.
pub async fn what_kubectl_applied_is_adopted_with_its_replicas(world: &World) {
    let manifests = rendered(world, "in-adopted").await;
    world.kubectl_apply(&manifests);
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-adopted");
    let managers = |deployment: &Deployment| -> Vec<String> {
        let entries = deployment.metadata.managed_fields.iter().flatten();
        entries.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.manager.clone()).collect()
    };
    let before = deployments.get("grafana").await.unwrap();
    assert_eq!(managers(&before), ["kubectl-client-side-apply"]);
    let scaler = PatchParams { field_manager: Some("scalekit-autoscaler".to_owned()), ..PatchParams::default() };
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    deployments.patch_scale("grafana", &scaler, &three).await.unwrap();
    let before = deployments.get("grafana").await.unwrap();

    never_fewer_than(world, 3, &World::up("in-adopted")).await;
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
    // What we do not declare is nobody's business but theirs.
    let another = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    let undeclared = Patch::Merge(json!({"spec": {"minReadySeconds": 7}}));
    let before = deployments.patch("grafana", &another, &undeclared).await.unwrap();

    let status = ["status", "-n", "in-shared", "--image", "scaler=example.org/scalekit:1"];
    let Ended::Exited(6, words) = world.run(Plan::default(), &status).await else {
        panic!("without pods it is not ready")
    };
    let changed = "deployment.apps/grafana -n in-shared was changed: spec.template.spec.containers[0].image is \
                   \"example.org/grafana:theirs\", should be ";
    assert!(words.contains(changed) && words.contains("(by kubectl-edit)"), "{words}");
    assert!(!words.contains("minReadySeconds"), "{words}");

    let ended = world.run(Plan::default(), &World::up("in-shared")).await;
    let Ended::Exited(5, words) = ended else { panic!("{ended:?}") };
    for said in ["deployment.apps/grafana", "image", "kubectl-edit", "example.org/grafana:theirs", "docker.io/grafana"]
    {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(!words.contains("minReadySeconds"), "{words}");
    // The lock was taken and given back; no object was touched.
    assert!(world.proxy.writes() <= 2, "{} writes", world.proxy.writes());
    world.runs(&[&World::up("in-shared")[..], &["--force-conflicts"]].concat()).await;
    let after = deployments.get("grafana").await.unwrap();
    let theirs = |deployment: &Deployment| {
        let entries = deployment.metadata.managed_fields.iter().flatten();
        let theirs: Vec<_> = entries.filter(|entry| entry.manager.as_deref() == Some("somebody")).cloned().collect();
        (deployment.spec.min_ready_seconds, theirs)
    };
    assert_eq!(theirs(&after), theirs(&before), "what we do not declare was touched");
    assert!(matches!(theirs(&after), (Some(7), entries) if entries.len() == 1), "{:?}", theirs(&after));
    let after = serde_json::to_value(after).unwrap();
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

/// The HPA itself, which brings a count below its bound up to that without a metric.
pub async fn a_count_that_an_hpa_holds_is_not_touched(world: &World) {
    world.runs(&World::up("in-hpa")).await;
    world.kubectl_apply(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: theirs, namespace: in-hpa}\nspec:\n  \
         scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: grafana}\n  minReplicas: 3\n  maxReplicas: 5\n  \
         metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]\n",
    );
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-hpa");
    let scaled = await_condition(deployments.clone(), "grafana", |deployment: Option<&Deployment>| {
        deployment.and_then(|deployment| deployment.spec.replicas) == Some(3)
    });
    tokio::time::timeout(LIMIT, scaled).await.expect("the HPA scales it").unwrap();
    let whose = |deployment: &Deployment| -> Vec<String> {
        let holds = |fields: &Value| fields.pointer("/f:spec/f:replicas").is_some();
        let entries = deployment.metadata.managed_fields.iter().flatten();
        let holders = entries.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| holds(&fields.0)));
        holders.filter_map(|entry| entry.manager.clone()).collect()
    };
    let before = deployments.get("grafana").await.unwrap();
    assert_eq!(whose(&before), ["kube-controller-manager"]);

    world.runs(&World::up("in-hpa")).await;
    assert_eq!(whose(&deployments.get("grafana").await.unwrap()), ["kube-controller-manager"]);
    // With another declaration too, and by force.
    let other = [&World::up("in-hpa")[..], &["--profile", "team", "--force-conflicts"]].concat();
    never_fewer_than(world, 3, &other).await;
    let after = deployments.get("grafana").await.unwrap();
    assert_eq!(whose(&after), ["kube-controller-manager"], "the count was sent");
    assert_ne!(after.metadata.generation, before.metadata.generation, "nothing else was written");
    world.runs(&other).await;
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

/// Nothing of theirs goes with us, and what they need stays, until it is theirs no more.
pub async fn an_autoscaler_of_somebody_elses_keeps_the_definition_and_is_named(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-theirs")).await;
    world.kubectl_apply(
        "apiVersion: scalekit.dev/v1alpha1\nkind: Autoscaler\nmetadata: {name: theirs, namespace: default}\n\
         spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  maxReplicas: 3\n  metrics:\n  \
         - type: Prometheus\n    prometheus: {name: m, query: up, target: {type: AverageValue, averageValue: '1'}}\n",
    );
    let down = ["down", "--purge-data", "--yes", "--timeout", "400s"];
    let Ended::Exited(8, words) = world.run(Plan::default(), &down).await else { panic!("something is left") };
    assert!(words.contains("autoscalers.scalekit.dev") && words.contains("theirs"), "{words}");
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.get("autoscalers.scalekit.dev").await.unwrap();
    let theirs = "/apis/scalekit.dev/v1alpha1/namespaces/default/autoscalers/theirs";
    let kept = world.client.request_text(http::Request::get(theirs).body(Vec::new()).unwrap()).await.unwrap();
    assert!(kept.contains("\"maxReplicas\":3"), "{kept}");

    world.client.request_text(http::Request::delete(theirs).body(Vec::new()).unwrap()).await.unwrap();
    let words = world.runs(&down).await;
    let summary = words.lines().find(|line| line.starts_with("nothing left (")).expect(&words);
    assert!(summary.contains(" s: delete ") && summary.contains(", proof "), "{summary}");
}

/// A volume that is to outlive its claim stays, and is named with its policy, before and after.
pub async fn a_volume_that_is_retained_is_named(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-retained")).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "in-retained");
    let claim = claims.get("prometheus-data").await.unwrap();
    let spec = claim.spec.as_ref().unwrap();
    let class = spec.storage_class_name.clone().unwrap();
    let size = spec.resources.as_ref().unwrap().requests.as_ref().unwrap()["storage"].0.clone();
    // Made for this claim, so that no provisioner and no pod is needed to bind them.
    world.kubectl_apply(&format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: retained}}\nspec:\n  storageClassName: {class}\n  \
         capacity: {{storage: 1Ti}}\n  accessModes: [ReadWriteOnce]\n  persistentVolumeReclaimPolicy: Retain\n  \
         hostPath: {{path: /nowhere}}\n  claimRef: {{namespace: in-retained, name: prometheus-data}}\n"
    ));
    let bound = await_condition(claims.clone(), "prometheus-data", |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    });
    tokio::time::timeout(LIMIT, bound).await.expect("the claim is bound").unwrap();

    let down = ["down", "--purge-data", "--yes", "--timeout", "400s"];
    let Ended::Exited(8, words) = world.run(Plan::default(), &down).await else { panic!("the volume is left") };
    let row = words.lines().find(|line| line.contains("in-retained/prometheus-data")).expect(&words);
    let expected = ["in-retained/prometheus-data", &size, &class, "Retain", "deleted"];
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), expected, "{words}");
    assert!(words.contains("persistentvolume/retained: ") && words.contains("Retain"), "{words}");
    // A line an object, as there is no terminal, and nothing twice.
    for line in
        ["  deleted namespace/in-retained\n", "  deleted clusterrole.rbac.authorization.k8s.io/scalekit-prometheus\n"]
    {
        assert_eq!(words.matches(line).count(), 1, "{line}: {words}");
    }
    // Nothing else is there by then, and nobody has taken it away.
    let Ended::Exited(8, words) = world.run(Plan::default(), &down).await else { panic!("the volume is left") };
    assert!(words.contains("persistentvolume/retained: ") && words.contains("Retain"), "{words}");
    assert_eq!(world.proxy.writes(), 0, "{words}");

    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    volumes.delete("retained", &DeleteParams::default()).await.unwrap();
    let gone = await_condition(volumes.clone(), "retained", |volume: Option<&PersistentVolume>| volume.is_none());
    tokio::time::timeout(LIMIT, gone).await.expect("the volume goes").unwrap();
    assert!(world.runs(&down).await.contains("nothing to remove"));
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
