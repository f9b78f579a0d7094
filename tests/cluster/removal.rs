//! Taking everything away, and nothing else.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, PersistentVolume};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{grafana, nodes::until, world::World};

pub async fn kept_data_is_used_again(world: &World) {
    let series = "prometheus_tsdb_head_series";
    let before = until("Prometheus is scraped", async || Some(world.query(series).await.first()?.at)).await;
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
    // The samples of before are not gone.
    world.until_samples(&format!("{series} @ {before}"), 1).await;
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

/// What is deleted may be listed for a moment, and an aggregated API may have no answer for one.
pub async fn nothing_is_left(world: &World) {
    let began = Instant::now();
    while let Err(left) = look_for_anything_left(world).await {
        assert!(began.elapsed() < Duration::from_secs(120), "{left}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn look_for_anything_left(world: &World) -> Result<(), String> {
    let none = |what: &str, left: &str| if left.is_empty() { Ok(()) } else { Err(format!("{what}: {left}")) };
    let kinds = listed(world, &["api-resources", "--verbs=list", "-o", "name"])?;
    // What is measured is no object.
    let objects = |kind: &&str| !kind.starts_with("events") && !kind.ends_with(".metrics.k8s.io");
    for kind in kinds.lines().filter(objects) {
        let ours = ["-A", "-l", "app.kubernetes.io/managed-by=scalekit", "-o", "name", "--ignore-not-found"];
        none(kind, &listed(world, &[&["get", kind][..], &ours].concat())?)?;
    }
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespaces = namespaces.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let mut names = namespaces.items.iter().map(ResourceExt::name_any);
    let still = names.find(|name| ["monitoring", "monitoring-nodes", "demo"].contains(&name.as_str()));
    none("namespace", &still.unwrap_or_default())?;
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    let volumes = volumes.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let of_ours = |volume: &&PersistentVolume| {
        let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        claim.is_some_and(|claim| ["monitoring", "demo"].contains(&claim.namespace.as_deref().unwrap_or_default()))
    };
    let still = volumes.items.iter().find(of_ours).map(ResourceExt::name_any);
    none("volume of a claim that is gone", &still.unwrap_or_default())?;
    let definitions = listed(world, &["get", "crd", "-o", "name"])?;
    none("definition", definitions.lines().find(|name| name.contains("scalekit.dev")).unwrap_or_default())
}

/// What kubectl prints, or what it says against it.
fn listed(world: &World, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(world.state().join("bin/kubectl"));
    let ran = World::run(command.arg("--kubeconfig").arg(world.kubeconfig()).args(arguments));
    if ran.code == 0 { Ok(ran.stdout) } else { Err(ran.stderr) }
}

pub async fn up_works_right_after_down(world: &World) {
    world.scalekit(["up"]).exits(0);
    world.until_healthy(&[]).await;
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
        assert!(began.elapsed() < Duration::from_secs(300), "the node does not list the image");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let ran = world.scalekit(["down"]).exits(0).says("not installed").says("1 image taken off the nodes");
    println!("{}", ran.stdout);
    assert_eq!(ours(), Some(0));
}
