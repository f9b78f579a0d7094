//! Removing: what goes, what stays, and what is said of it.

use rstest::rstest;
use scalekit::commands::{CommandError, Consent, demo_down, plan_removal};
use scalekit::event::Silent;
use scalekit::install::Left;
use scalekit::plan::Data;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

use super::{
    TIMEOUT, down, down_with,
    fake::{Call, FakeCluster, Fault},
    installed, stack, stack_with, up,
};

#[tokio::test(start_paused = true)]
async fn a_removal_leaves_nothing_but_what_was_there_before() {
    let fake = FakeCluster::new();
    let before = fake.everything();
    let cluster = fake.cluster();
    up(&cluster, stack()).await.unwrap();
    assert!(down(&cluster, Data::Purge).await.unwrap().anything);
    assert_eq!(fake.everything(), before);
    fake.forget_calls();
    assert!(!down(&cluster, Data::Purge).await.unwrap().anything);
    assert!(!fake.calls().iter().any(Call::is_write), "{:#?}", fake.writes());
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_not_where_it_was_said_to_be_is_left_alone() {
    let (_fake, cluster) = installed().await;
    let planned = async |namespace| plan_removal(&cluster, Some(namespace), Data::Purge, &Silent).await;
    let error = planned("observability").await.unwrap_err();
    assert_eq!(error.to_string(), "the stack is in namespace monitoring, not in observability");
    assert_eq!((error.exit_code(), error.hint().as_deref()), (2, Some("`scalekit down -n monitoring`, or without -n")));
    assert!(planned("monitoring").await.unwrap().anything);
}

/// What is there of ours may be anything: a sample, say, or what was applied by hand without its namespace.
#[tokio::test(start_paused = true)]
async fn without_a_stack_that_is_known_nothing_goes_by_a_name() {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    assert!(!plan_removal(&cluster, Some("monitoring"), Data::Purge, &Silent).await.unwrap().anything);
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}));
    fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n",
        "labels": {"app.kubernetes.io/managed-by": "scalekit"}}}));
    let error = plan_removal(&cluster, Some("monitoring"), Data::Purge, &Silent).await.unwrap_err();
    assert_eq!(error.to_string(), "no stack is known to be in namespace monitoring");
    assert!(plan_removal(&cluster, None, Data::Purge, &Silent).await.unwrap().anything);
}

#[rstest]
#[case::a_config_map(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "monitoring"}}), "configmap/theirs")]
#[case::a_job_by_time(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "theirs", "namespace": "monitoring"}}), "cronjob.batch/theirs")]
#[tokio::test(start_paused = true)]
async fn somebody_elses_object_keeps_the_namespace_and_is_named(#[case] theirs: Value, #[case] named: &str) {
    let (fake, cluster) = installed().await;
    let kind = theirs["kind"].as_str().unwrap().to_owned();
    fake.put(theirs);
    let error = down(&cluster, Data::Purge).await.unwrap_err();
    let CommandError::LeftBehind { left } = &error else { panic!("{error}") };
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(left[0].object.name == "monitoring" && left[0].why.contains(named), "{left:#?}");
    assert_eq!(error.exit_code(), 8);
    assert!(fake.get(&kind, "theirs").is_some());
    assert!(fake.get("Deployment", "grafana").is_none() && fake.get("Namespace", "monitoring-nodes").is_none());
}

#[rstest]
#[case::by_what_lies_elsewhere("Bundle", "elsewhere", true)]
#[case::by_a_controller_that_has_gone("ReplicaSet", "gone", false)]
#[tokio::test(start_paused = true)]
async fn what_is_owned_is_somebodys_unless_its_owner_counts(
    #[case] kind: &str,
    #[case] uid: &str,
    #[case] somebodys: bool,
) {
    let (fake, cluster) = installed().await;
    fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "monitoring",
        "ownerReferences": [{"apiVersion": "x/v1", "kind": kind, "name": "owner", "uid": uid}]}}));
    let ended = down(&cluster, Data::Purge).await;
    assert_eq!(matches!(&ended, Err(CommandError::LeftBehind { .. })), somebodys, "{:?}", ended.err());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_retained_is_named() {
    let (fake, cluster) = installed().await;
    let claim = fake.get("PersistentVolumeClaim", "prometheus-data").unwrap();
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": "monitoring", "name": "prometheus-data", "uid": claim["metadata"]["uid"]}}}));
    // The second run finds nothing to remove, and the volume as the first one did.
    for _ in 0..2 {
        let error = down(&cluster, Data::Purge).await.unwrap_err();
        let CommandError::LeftBehind { left } = &error else { panic!("{error}") };
        assert!(left.len() == 1 && left[0].object.name == "pv-1" && left[0].why.contains("Retain"), "{left:#?}");
    }
    fake.remove("PersistentVolume", "pv-1");
    assert!(!down(&cluster, Data::Purge).await.unwrap().anything);
}

/// A removal that died after its last deletion has not waited for it.
#[tokio::test(start_paused = true)]
async fn a_volume_that_its_provisioner_still_removes_is_waited_for_by_the_next_run() {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {
        "persistentVolumeReclaimPolicy": "Delete",
        "claimRef": {"namespace": "monitoring", "name": "grafana-data", "uid": "gone"}}}));
    let provisioner = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        fake.remove("PersistentVolume", "pv-1");
    };
    let cluster = fake.cluster();
    let (ended, ()) = tokio::join!(down(&cluster, Data::Purge), provisioner);
    assert!(!ended.unwrap().anything);
}

/// Many a chart calls a claim so.
#[rstest]
#[case::in_use("theirs", "grafana-data", Some("theirs"))]
#[case::in_a_namespace_of_theirs("theirs", "grafana-data", Some("gone"))]
#[case::of_another_name("gone", "data-0", Some("gone"))]
#[case::of_a_claim_that_never_was("monitoring", "prometheus-data", None)]
#[tokio::test(start_paused = true)]
async fn where_nothing_is_installed_a_volume_of_somebody_elses_is_not_named(
    #[case] namespace: &str,
    #[case] name: &str,
    #[case] uid: Option<&str>,
) {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}}));
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "grafana-data", "namespace": "theirs"}, "spec": {"storageClassName": "standard"}}));
    let claim = fake.get("PersistentVolumeClaim", "grafana-data").unwrap();
    let uid = uid.map(|uid| if uid == "theirs" { claim["metadata"]["uid"].clone() } else { json!(uid) });
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": {
        "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": namespace, "name": name, "uid": uid}}}));
    assert!(!down(&fake.cluster(), Data::Purge).await.unwrap().anything);
}

/// Kept data and its volume count as nothing left, however often that is asked; a volume whose claim was then deleted by
/// hand does not.
#[tokio::test(start_paused = true)]
async fn a_volume_of_kept_data_is_left_once_its_claim_is_gone() {
    let (fake, cluster) = installed().await;
    let claim = fake.get("PersistentVolumeClaim", "grafana-data").unwrap();
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": "monitoring", "name": "grafana-data", "uid": claim["metadata"]["uid"]}}}));
    for anything in [true, false] {
        assert_eq!(down(&cluster, Data::Keep).await.unwrap().anything, anything);
    }
    fake.remove("PersistentVolumeClaim", "grafana-data");
    let error = down(&cluster, Data::Keep).await.unwrap_err();
    let CommandError::LeftBehind { left } = &error else { panic!("{error}") };
    assert!(left.len() == 1 && left[0].object.name == "pv-1", "{left:#?}");
}

/// It lies in a namespace that waits for it, and is of a kind that no teardown names.
#[rstest]
#[case::a_pod("v1", "Pod")]
#[case::a_replica_set("apps/v1", "ReplicaSet")]
#[tokio::test(start_paused = true)]
async fn what_a_workload_made_is_let_go_by_force_like_the_workload(#[case] api_version: &str, #[case] kind: &str) {
    let (fake, cluster) = installed().await;
    fake.put(
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "grafana-1", "namespace": "monitoring",
        "labels": {"app.kubernetes.io/managed-by": "scalekit", "app.kubernetes.io/name": "grafana"},
        "finalizers": ["example.org/stuck"]}}),
    );
    let error = down(&cluster, Data::Purge).await.unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    assert!(fake.get(kind, "grafana-1").is_some(), "without a word");
    down_with(&cluster, Data::Purge, |options| options.force_finalizers = true).await.unwrap();
    assert!(fake.get(kind, "grafana-1").is_none() && fake.get("Namespace", "monitoring").is_none());
}

/// Their claim keeps the namespace, and its volume is in use: nothing waits for it, and nobody is told to delete it.
#[rstest]
#[case::that_goes_with_its_claim("Delete")]
#[case::that_is_retained("Retain")]
#[tokio::test(start_paused = true)]
async fn a_volume_of_somebody_elses_claim_is_none_of_ours(#[case] policy: &str) {
    let (fake, cluster) = installed().await;
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "theirs", "namespace": "monitoring"}, "spec": {"storageClassName": "standard"}}));
    let claim = fake.get("PersistentVolumeClaim", "theirs").unwrap();
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-theirs"}, "spec": {
        "persistentVolumeReclaimPolicy": policy,
        "claimRef": {"namespace": "monitoring", "name": "theirs", "uid": claim["metadata"]["uid"]}}}));
    let began = Instant::now();
    let error = down(&cluster, Data::Purge).await.unwrap_err();
    let CommandError::LeftBehind { left } = &error else { panic!("{error}") };
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(left[0].why.contains("persistentvolumeclaim/theirs"), "{left:#?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn kept_data_stays_with_its_password_and_is_taken_into_use_again() {
    let (fake, cluster) = installed().await;
    let uids = |fake: &FakeCluster| {
        let uid = |kind, name| fake.get(kind, name).unwrap_or_else(|| panic!("{name}"))["metadata"]["uid"].clone();
        [
            uid("Namespace", "monitoring"),
            uid("PersistentVolumeClaim", "prometheus-data"),
            uid("PersistentVolumeClaim", "grafana-data"),
            uid("Secret", "grafana-admin"),
        ]
    };
    let before = uids(&fake);
    let done = down(&cluster, Data::Keep).await.unwrap();
    assert_eq!(done.kept.len(), 4, "{:?}", done.kept);
    assert_eq!(uids(&fake), before);
    let left: Vec<String> = fake
        .everything()
        .into_keys()
        .filter(|name| !name.contains("kube-root-ca") && !name.contains("/default"))
        .collect();
    assert_eq!(
        left,
        [
            "Namespace /monitoring",
            "Node /n",
            "PersistentVolumeClaim monitoring/grafana-data",
            "PersistentVolumeClaim monitoring/prometheus-data",
            "Secret monitoring/grafana-admin",
            "StorageClass /standard"
        ]
    );
    let label = |fake: &FakeCluster, kind, name| {
        fake.get(kind, name).unwrap()["metadata"]["labels"]["scalekit.dev/kept"].clone()
    };
    assert_eq!(label(&fake, "Secret", "grafana-admin"), "data");
    assert!(!down(&cluster, Data::Keep).await.unwrap().anything, "what is kept is not to be removed again");

    up(&cluster, &stack_with(|options| options.grafana_password = "another".to_owned())).await.unwrap();
    assert_eq!(uids(&fake), before);
    for (kind, name) in
        [("Namespace", "monitoring"), ("PersistentVolumeClaim", "prometheus-data"), ("Secret", "grafana-admin")]
    {
        assert_eq!(label(&fake, kind, name), Value::Null, "{name} is in use again");
    }
    let secret = fake.get("Secret", "grafana-admin").unwrap();
    assert!(!secret.to_string().contains("another"), "Grafana reads its password on an empty database only");

    down(&cluster, Data::Purge).await.unwrap();
    assert!(fake.get("Namespace", "monitoring").is_none());
}

#[rstest]
#[case::on_a_node("scalekit.local/scalekit:0.1.0-0123456789ab", true)]
#[case::of_somebody_else("docker.io/library/busybox:1", false)]
#[tokio::test(start_paused = true)]
async fn an_image_that_a_removal_left_on_a_node_is_seen_by_the_next(#[case] image: &str, #[case] ours: bool) {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"images": [{"names": [image], "sizeBytes": 1}]}}));
    let done = down(&fake.cluster(), Data::Purge).await.unwrap();
    assert!(!done.anything);
    // There is no way from here to that node, which is said of an image that is there.
    assert_eq!(!done.images_left.is_empty(), ours, "{:?}", done.images_left);
}

#[rstest]
#[case::in_the_inventory(false)]
#[case::by_its_managed_fields(true)]
#[tokio::test(start_paused = true)]
async fn what_lost_its_label_is_no_proof_that_nothing_is_left(#[case] by_fields: bool) {
    let (fake, cluster) = installed().await;
    let mut role = fake.get("ClusterRole", "scalekit-prometheus").unwrap();
    role["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "somebody"});
    if by_fields {
        fake.remove("ClusterRole", "scalekit-prometheus");
        role["metadata"].as_object_mut().unwrap().remove("uid");
        role["metadata"]["managedFields"] = json!([{"manager": "scalekit", "operation": "Apply",
            "apiVersion": "rbac.authorization.k8s.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {}}]);
    }
    fake.put(role);
    // By the second run the inventory is gone; the managed fields, which a real API server always has, are there.
    for _ in 0..if by_fields { 2 } else { 1 } {
        let error = down(&cluster, Data::Purge).await.unwrap_err();
        let CommandError::LeftBehind { left } = &error else { panic!("{error}") };
        assert_eq!((left.len(), error.exit_code()), (1, 8), "{left:#?}");
        let Left { object, why } = &left[0];
        assert!(object.name == "scalekit-prometheus" && why.contains("took its label off"), "{left:#?}");
        assert!(fake.get("ClusterRole", "scalekit-prometheus").is_some(), "it was taken over, and is not deleted");
    }
    fake.remove("ClusterRole", "scalekit-prometheus");
    assert!(!down(&cluster, Data::Purge).await.unwrap().anything);
}

/// Every LIST of claims in turn: those before the lock, under it, and of the proof. Each fails for longer than one request
/// is tried for.
#[tokio::test(start_paused = true)]
async fn a_removal_gets_through_whatever_it_cannot_read_for_a_while() {
    let (installed, cluster) = installed().await;
    let start = installed.fork();
    down(&cluster, Data::Purge).await.unwrap();
    let lists = |path: &str| installed.calls().iter().filter(|call| call.verb == "list" && call.path == path).count();
    for path in ["/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes", "/api/v1/pods"] {
        assert!(lists(path) > 0, "{path} is not read");
        for before in 0..lists(path) {
            let fake = start.fork();
            let fails = Fault::on("list", path).answers(503, "ServiceUnavailable", "it restarts");
            fake.fault(fails.after(before).times(9));
            if let Err(error) = down(&fake.cluster(), Data::Purge).await {
                panic!("LIST {before} of {path}: {error:?}");
            }
        }
    }
}

/// Somebody else writes the sample: this run has nothing to do until that is over.
#[tokio::test(start_paused = true)]
async fn a_sample_that_another_run_writes_is_left_alone() {
    let (fake, cluster) = installed().await;
    let inventory = scalekit::catalog::demo_inventory("watcherbot");
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
    fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": inventory, "namespace": "demo",
        "labels": {"app.kubernetes.io/managed-by": "scalekit"}}}));
    let lease = |renewed: u32| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "scalekit-lock", "namespace": "demo", "labels": {"app.kubernetes.io/managed-by": "scalekit"}},
        "spec": {"holderIdentity": "elsewhere/7/another-boot", "leaseDurationSeconds": 15,
            "renewTime": format!("2026-01-01T00:00:{renewed:02}.000000Z")}})
    };
    fake.put(lease(0));
    fake.forget_calls();
    let renewed = async {
        for second in 1.. {
            tokio::time::sleep(Duration::from_secs(2)).await;
            fake.put(lease(second));
        }
    };
    let remove = || demo_down("watcherbot", "demo", Consent::Given, TIMEOUT, &cluster, &Silent);
    let error = tokio::select! {
        ended = remove() => ended.unwrap_err(),
        () = renewed => unreachable!(),
    };
    assert_eq!(error.exit_code(), 7, "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert!(fake.get("ConfigMap", &inventory).is_some());

    // Once that one has ended, this one holds it itself, and gives it back.
    fake.remove("Lease", "scalekit-lock");
    fake.forget_calls();
    assert!(remove().await.unwrap().anything);
    let leases = fake.calls().into_iter().filter(|call| call.is_write() && call.path.contains("/leases"));
    let verbs: Vec<&str> = leases.map(|call| call.verb).collect();
    assert_eq!(verbs, ["create", "delete"]);
    assert!(fake.get("Lease", "scalekit-lock").is_none() && fake.get("ConfigMap", &inventory).is_none());
}
