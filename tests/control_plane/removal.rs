//! Removing beside what is somebody else's or on its way out, and what is said of it.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Pod},
    rbac::v1::ClusterRole,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    proxy::Plan,
    world::{Ended, World},
};

const DOWN: [&str; 5] = ["down", "--purge-data", "--yes", "--timeout", "400s"];

/// What a controller takes to do its part.
const LIMIT: Duration = Duration::from_secs(180);

/// Deleted behind our back, and not waited for: the next run does.
pub async fn namespaces_on_their_way_out_are_waited_for(world: &World) {
    world.runs(&World::up("in-going")).await;
    let expected = world.everything("in-going").await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let both = ["in-going", "in-going-nodes"];
    let mut before = Vec::new();
    for name in both {
        before.push(namespaces.get(name).await.unwrap().metadata.uid);
        namespaces.delete(name, &DeleteParams::background()).await.unwrap();
    }
    world.runs(&World::up("in-going")).await;
    for (name, before) in both.iter().zip(before) {
        let after = namespaces.get(name).await.unwrap();
        assert!(after.metadata.deletion_timestamp.is_none(), "{name} is on its way out");
        assert_ne!(after.metadata.uid, before, "{name} is the one that was deleted");
    }
    crate::killed::same(&world.everything("in-going").await, &expected, "after the namespaces were deleted");
    world.runs(&World::up("in-going")).await;
    assert_eq!(world.proxy.writes(), 0, "it was not finished");
}

/// By the inventory as long as there is one, and by the managed fields where none knows it.
pub async fn what_lost_its_label_is_left_and_named(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-unlabelled")).await;
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    let name = "scalekit-prometheus";
    let off = Patch::Merge(json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}));
    let uid = roles.patch(name, &PatchParams::default(), &off).await.unwrap().metadata.uid;
    // No inventory knows this one: a run has died before it was on record, and another has taken its label.
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let traced = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scalekit-test-traced"},
        "data": {"a": "1"}});
    maps.patch("scalekit-test-traced", &PatchParams::apply("scalekit"), &Patch::Apply(traced)).await.unwrap();

    let first = world.run(Plan::default(), &DOWN).await;
    // Nothing is there to be removed by then, and no inventory.
    let second = world.run(Plan::default(), &DOWN).await;
    let there = roles.get_opt(name).await.unwrap();
    // Before anything is judged: no other step would see it.
    roles.delete(name, &DeleteParams::default()).await.unwrap();
    let still = maps.delete("scalekit-test-traced", &DeleteParams::default()).await;
    for ended in [first, second] {
        let Ended::Exited(8, words) = ended else { panic!("{ended:?}") };
        for object in
            ["clusterrole.rbac.authorization.k8s.io/scalekit-prometheus", "configmap/scalekit-test-traced -n default"]
        {
            let named = format!("{object}: scalekit made it, and somebody took its label");
            assert!(words.contains(&named), "{named}: {words}");
        }
    }
    still.expect("what was found by its managed fields is left too");
    assert_eq!(there.expect("it was taken over, and is not deleted").metadata.uid, uid);
    assert!(world.found("in-unlabelled").await.is_empty(), "the rest is gone");
    assert!(world.runs(&DOWN).await.contains("nothing to remove"));
}

/// What a Deployment of theirs made is no news beside it.
pub async fn a_deployment_of_somebody_elses_keeps_the_namespace_and_is_named_alone(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-company")).await;
    world.kubectl_apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: theirs, namespace: in-company}\nspec:\n  replicas: 2\n  \
         selector: {matchLabels: {app: theirs}}\n  template:\n    metadata: {labels: {app: theirs}}\n    \
         spec: {containers: [{name: c, image: 'example.org/theirs:1', resources: {}, securityContext: {\
         allowPrivilegeEscalation: false, runAsNonRoot: true, runAsUser: 20000, capabilities: {drop: [ALL]}, \
         seccompProfile: {type: RuntimeDefault}}}]}\n",
    );
    let sets: Api<ReplicaSet> = Api::namespaced(world.client.clone(), "in-company");
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "in-company");
    let theirs = ListParams::default().labels("app=theirs");
    let began = Instant::now();
    while pods.list(&theirs).await.unwrap().items.len() < 2 {
        assert!(began.elapsed() < LIMIT, "its pods are not made");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let Ended::Exited(8, words) = world.run(Plan::default(), &DOWN).await else { panic!("something is left") };
    let left = words.lines().find(|line| line.contains("namespace/in-company: ")).expect(&words);
    assert!(left.contains("deployment.apps/theirs"), "{left}");
    for noise in ["replicaset.apps/theirs", "pod/theirs"] {
        assert!(!words.contains(noise), "{noise}: {words}");
    }
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "in-company");
    let there: Vec<_> = deployments.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(there.iter().filter_map(|one| one.metadata.name.as_deref()).collect::<Vec<_>>(), ["theirs"]);
    let (sets, pods) = (sets.list(&theirs).await.unwrap().items, pods.list(&theirs).await.unwrap().items);
    assert_eq!((sets.len(), pods.len()), (1, 2));
    assert!(pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()));

    deployments.delete("theirs", &DeleteParams::background()).await.unwrap();
    // Without a wait: what goes with its owner keeps nothing.
    let words = world.runs(&DOWN).await;
    assert!(words.contains("nothing left"), "{words}");
}

/// Scaled up to four by an Autoscaler whose lower bound is two, and by one that has none.
pub async fn replica_counts_stay_or_go_back_to_the_lower_bound_where_that_is_asked_for(world: &World) {
    world.settled().await;
    for (reset, expected) in [(false, [4, 4]), (true, [2, 1])] {
        world.runs(&World::up("in-counted")).await;
        let mut manifests = String::new();
        for (name, least) in [("shop", "minReplicas: 2, "), ("till", "")] {
            use std::fmt::Write;
            write!(
                manifests,
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
                 replicas: 4\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
                 metadata: {{labels: {{app: {name}}}}}\n    \
                 spec: {{containers: [{{name: c, image: 'example.org/x:1'}}]}}\n---\n\
                 apiVersion: scalekit.dev/v1alpha1\nkind: Autoscaler\nmetadata: {{name: {name}, namespace: default, \
                 labels: {{app.kubernetes.io/managed-by: scalekit}}}}\nspec: {{{least}maxReplicas: 5, \
                 scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}, metrics: [{{type: Prometheus, \
                 prometheus: {{name: m, query: up, target: {{type: AverageValue, averageValue: '1'}}}}}}]}}\n---\n"
            )
            .unwrap();
        }
        world.kubectl_apply(&manifests);
        for name in ["shop", "till"] {
            // What the scaler would have written, which does not run here.
            let status = json!({"status": {"currentReplicas": 4, "desiredReplicas": 4}}).to_string().into_bytes();
            let path = format!("/apis/scalekit.dev/v1alpha1/namespaces/default/autoscalers/{name}/status");
            let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
            world.client.request_text(request.body(status).unwrap()).await.unwrap();
        }
        let down = [&DOWN[..], if reset { &["--reset-replicas"] } else { &[] }].concat();
        let ended = world.run(Plan::default(), &down).await;
        let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
        let mut counts = Vec::new();
        for name in ["shop", "till"] {
            counts.push(deployments.get(name).await.unwrap().spec.replicas.unwrap());
            deployments.delete(name, &DeleteParams::background()).await.unwrap();
        }
        let Ended::Exited(0, words) = ended else { panic!("{ended:?}") };
        assert_eq!(counts, expected, "{words}");
        let said = if reset {
            [
                "deployment.apps/shop -n default: from 4 replicas back to 2",
                "deployment.apps/till -n default: from 4 replicas back to 1",
            ]
        } else {
            [
                "deployment.apps/shop -n default stays at 4 replicas",
                "deployment.apps/till -n default stays at 4 replicas",
            ]
        };
        assert!(said.iter().all(|said| words.contains(said)), "{words}");
    }
}
