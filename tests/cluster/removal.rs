//! Taking everything away, and nothing else.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, PersistentVolume};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{grafana, world::World};

pub async fn kept_data_is_used_again(world: &World) {
    let before = world.query("prometheus_tsdb_head_series").await[0].at;
    let (password, claims) = (grafana::password(world), claims(world));
    assert_eq!(claims.len(), 2, "{claims:?}");
    world.scalekit(["demo", "down", "watcherbot"]).exits(0).says("nothing left");
    world.scalekit(["down", "--keep-data", "--yes"]).exits(0).says("kept persistentvolumeclaim/prometheus-data");
    let left = world.kubectl([
        "get",
        "pods,deployments,statefulsets,services,configmaps",
        "-n",
        "monitoring",
        "-l",
        "app.kubernetes.io/managed-by=scalekit",
        "-o",
        "name",
    ]);
    assert_eq!(left, "", "only data is kept");
    world.scalekit(["up"]).exits(0);
    let again = world.query(&format!("prometheus_tsdb_head_series @ {before}")).await;
    assert_eq!(again.len(), 1, "samples of before are gone");
    assert_eq!(grafana::password(world), password);
    // And Grafana, whose pod is another one, lets in who has it, and nobody else.
    let opened = grafana::Opened::with(world, &[]);
    assert_eq!(opened.password, password);
    assert_eq!((opened.login(&password).await, opened.login("another").await), (200, 401));
    drop(opened);
    assert_eq!(self::claims(world), claims, "a claim that was made anew is another volume");
    world.scalekit(["demo", "up", "watcherbot"]).exits(0);
}

pub async fn down_leaves_nothing_and_touches_nothing_else(world: &World) {
    let name = "scalekit-test-bystander";
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), name);
    let bystander = serde_json::from_value(json!({"metadata": {"name": "x"}, "data": {"a": "b"}})).unwrap();
    let bystander: ConfigMap = config_maps.create(&PostParams::default(), &bystander).await.unwrap();

    let in_ours: Api<ConfigMap> = Api::namespaced(world.client.clone(), "monitoring");
    let theirs = serde_json::from_value(json!({"metadata": {"name": "theirs"}})).unwrap();
    in_ours.create(&PostParams::default(), &theirs).await.unwrap();
    world.scalekit(["down", "--purge-data", "--yes"]).exits(8).says("namespace/monitoring").says("configmap/theirs");
    assert!(in_ours.get_opt("theirs").await.unwrap().is_some(), "somebody else's ConfigMap was deleted");
    in_ours.delete("theirs", &DeleteParams::default()).await.unwrap();
    world.scalekit(["up"]).exits(0);

    let ran = world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
    println!("{}{} ({:.1} s)", ran.stderr, ran.stdout, ran.took.as_secs_f64());

    let after = config_maps.get("x").await.unwrap();
    assert_eq!(
        after.metadata.resource_version, bystander.metadata.resource_version,
        "somebody else's ConfigMap was touched"
    );
    namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    nothing_is_left(world).await;
}

/// After every kind of use.
pub async fn all_that_was_used_leaves_nothing(world: &World) {
    world.scalekit(["demo", "down", "watcherbot"]).exits(0);
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
    nothing_is_left(world).await;
}

pub async fn nothing_is_left(world: &World) {
    let kinds = world.kubectl(["api-resources", "--verbs=list", "-o", "name"]);
    for kind in kinds.lines().filter(|kind| !kind.starts_with("events")) {
        let found = world.kubectl([
            "get",
            kind,
            "-A",
            "-l",
            "app.kubernetes.io/managed-by=scalekit",
            "-o",
            "name",
            "--ignore-not-found",
        ]);
        assert_eq!(found, "", "{kind}");
    }
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let names: Vec<String> =
        namespaces.list(&ListParams::default()).await.unwrap().items.iter().map(ResourceExt::name_any).collect();
    for gone in ["monitoring", "monitoring-nodes", "demo"] {
        assert!(!names.iter().any(|name| name == gone), "{names:?}");
    }
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    let volumes = volumes.list(&ListParams::default()).await.unwrap().items;
    let ours = volumes.iter().filter(|volume| {
        let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        claim.is_some_and(|claim| ["monitoring", "demo"].contains(&claim.namespace.as_deref().unwrap_or_default()))
    });
    assert_eq!(ours.count(), 0, "volumes of claims that are gone");
    let definitions = world.kubectl(["get", "crd", "-o", "name"]);
    assert!(!definitions.contains("scalekit.dev"), "{definitions}");
}

pub async fn up_works_right_after_down(world: &World) {
    world.scalekit(["up"]).exits(0);
    world.scalekit(["status"]).exits(0);
}

pub async fn down_on_an_empty_cluster_says_so(world: &World) {
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("not installed");
}

/// The claims of the stack with their UIDs and their volumes.
pub fn claims(world: &World) -> Vec<String> {
    let format = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.spec.volumeName}{\"\\n\"}{end}";
    let listed = world.kubectl(["get", "persistentvolumeclaims", "-n", "monitoring", "-o", format]);
    listed.lines().map(str::to_owned).collect()
}

/// A removal that was killed after its last object, or that ended because of somebody else's, has nothing in the cluster any
/// more that knows of the image, which is pinned.
pub async fn an_image_that_a_removal_left_is_taken_off_by_the_next(world: &World) {
    let ours = || {
        let images = world.ctr(["images", "ls", "-q"])?;
        Some(images.lines().filter(|name| name.starts_with("scalekit.local/scalekit:")).count())
    };
    if ours().is_none() {
        return;
    }
    world.scalekit(["up", "--no-wait"]).exits(0);
    let label = "app.kubernetes.io/managed-by=scalekit";
    world.kubectl(["delete", "namespaces,clusterroles,clusterrolebindings,customresourcedefinitions", "-l", label]);
    assert_eq!(ours(), Some(1));
    // The kubelet tells of its images now and then.
    let nodes: Api<Node> = Api::all(world.client.clone());
    let began = Instant::now();
    loop {
        let listed = nodes.list(&ListParams::default()).await.unwrap().items.into_iter();
        let mut names =
            listed.filter_map(|node| node.status?.images).flatten().filter_map(|image| image.names).flatten();
        if names.any(|name| name.starts_with("scalekit.local/scalekit:")) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "the node does not list the image");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let ran = world.scalekit(["down"]).exits(0).says("not installed").says("1 image taken off the nodes");
    println!("{}", ran.stdout);
    assert_eq!(ours(), Some(0));
}
