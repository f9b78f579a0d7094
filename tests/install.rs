//! The installer against an API server in memory, as scenarios. Time is tokio's, and passes by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod fake;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};

use kube::core::DynamicObject;
use rstest::rstest;
use scalekit::{
    catalog::{self, Component, Options},
    cluster::Cluster,
    commands::{self, CommandError, Consent},
    event::Silent,
    install::{Failure, InstallError, Installer, Release},
    object::ObjectRef,
    plan::{self, Data},
    platform,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::fake::{FakeCluster, Fault};

const TIMEOUT: Duration = Duration::from_secs(300);

fn stack_with(change: impl FnOnce(&mut Options)) -> Vec<DynamicObject> {
    let mut options = Options { scaler_pull_policy: "IfNotPresent".to_owned(), ..Options::new("secret", "0.1.0") };
    options.storage.class = Some("standard".to_owned());
    options.images.insert(Component::Scaler, "example.org/scalekit:1".to_owned());
    change(&mut options);
    let mut objects = catalog::stack(&options, &platform::assume("kind".parse().unwrap(), &[], &[]));
    // What a dashboard says is nothing to the installer, and it is most of the bytes.
    for object in objects.iter_mut().filter(|object| object.metadata.name.as_deref() == Some("grafana-dashboards")) {
        let files = object.data["data"].as_object_mut().unwrap();
        files.values_mut().for_each(|file| *file = json!("{}"));
    }
    objects
}

/// The stack as it is by default. Made once: it is installed some hundred times here.
fn stack() -> &'static [DynamicObject] {
    static STACK: LazyLock<Vec<DynamicObject>> = LazyLock::new(|| stack_with(|_| {}));
    &STACK
}

fn release() -> Release {
    Release {
        inventory: catalog::INVENTORY.to_owned(),
        namespace: "monitoring".to_owned(),
        applyset: catalog::applyset_id(catalog::INVENTORY, "monitoring", "ConfigMap", ""),
        version: "0.1.0".to_owned(),
    }
}

/// What `scalekit up` does between its checks and the scrape targets.
async fn up(cluster: &Cluster, desired: &[DynamicObject]) -> Result<(), InstallError> {
    let installer = Installer::new(cluster, &Silent, TIMEOUT);
    let release = release();
    let state = installer.read(&release, desired).await?;
    let mut changes = plan::plan(desired, &state.live, &state.inventory);
    if installer.until_settled(&state.live).await? {
        let state = installer.read(&release, desired).await?;
        changes = plan::plan(desired, &state.live, &state.inventory);
    }
    installer.open(&release, desired, &changes).await?;
    if changes.has_changes() {
        let lock = installer.lock(&release).await?;
        let state = installer.read(&release, desired).await?;
        let changes = plan::plan(desired, &state.live, &state.inventory);
        let done = installer.apply(&release, desired, &changes, &state).await;
        lock.release().await;
        done?;
    }
    let objects: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
    installer.wait(&release, &objects).await
}

/// What `scalekit down` does.
async fn down(cluster: &Cluster, data: Data) -> Result<commands::Downed, CommandError> {
    let planned = commands::plan_removal(cluster, data, &Silent).await?;
    commands::down(&planned, Consent::Given, cluster, None, TIMEOUT, &Silent).await
}

async fn installed() -> (FakeCluster, Cluster) {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    up(&cluster, stack()).await.unwrap();
    fake.forget_calls();
    (fake, cluster)
}

fn failures(error: &InstallError) -> Vec<String> {
    error.failures().iter().map(|Failure { object, why, .. }| format!("{object}: {why}")).collect()
}

const INVENTORY: &str = "apply /api/v1/namespaces/monitoring/configmaps/scalekit-inventory";

/// Kind, namespace and name of what the stored inventory lists, and whether it knows UID and hash of each.
fn inventory(body: &Value) -> BTreeMap<String, bool> {
    let text = body["data"]["inventory.json"].as_str().expect("an inventory");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let known = |entry: &Value| entry["uid"].is_string() && entry["hash"].is_string();
    entries
        .iter()
        .map(|entry| (format!("{}/{}/{}", entry["kind"], entry["namespace"], entry["name"]), known(entry)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_namespace_is_written_first_then_the_intention_then_the_rest_by_its_needs() {
    let fake = FakeCluster::new();
    up(&fake.cluster(), stack()).await.unwrap();

    let writes = fake.writes();
    assert_eq!(writes[0], "apply /api/v1/namespaces/monitoring");
    assert_eq!(writes[1], INVENTORY);
    assert_eq!(writes.last().unwrap(), INVENTORY);
    // The namespace is written twice: the lock and the inventory, which is to know it, lie in it.
    assert_eq!(writes.len(), stack().len() + 3, "{writes:#?}");

    let stored: Vec<Value> = fake
        .calls()
        .into_iter()
        .filter(|call| call.to_string() == INVENTORY && call.is_write())
        .map(|call| call.body)
        .collect();
    let (intended, done) = (inventory(&stored[0]), inventory(&stored[1]));
    assert_eq!(intended.len(), stack().len());
    assert!(intended.values().all(|known| !known), "nothing was there when the intention was written");
    assert!(done.len() == stack().len() && done.values().all(|known| *known), "{done:#?}");

    let place =
        |ending: &str| writes.iter().position(|write| write.ends_with(ending)).unwrap_or_else(|| panic!("{ending}"));
    for (before, after) in [
        ("/namespaces/monitoring-nodes", "/daemonsets/node-exporter"),
        ("/serviceaccounts/grafana", "/deployments/grafana"),
        ("/configmaps/grafana-dashboards", "/deployments/grafana"),
        ("/secrets/grafana-admin", "/deployments/grafana"),
        ("/configmaps/prometheus-config", "/statefulsets/prometheus"),
        ("/clusterroles/scalekit-prometheus", "/clusterrolebindings/scalekit-prometheus"),
    ] {
        assert!(place(before) < place(after), "{before} goes before {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_run_writes_nothing() {
    let (fake, cluster) = installed().await;
    up(&cluster, stack()).await.unwrap();
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_written() {
    let (fake, cluster) = installed().await;
    up(&cluster, &stack_with(|options| options.images.extend([(Component::Grafana, "grafana:next".to_owned())])))
        .await
        .unwrap();
    assert_eq!(fake.writes(), [INVENTORY, "apply /apis/apps/v1/namespaces/monitoring/deployments/grafana", INVENTORY]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_by_hand_is_put_right() {
    let (fake, cluster) = installed().await;
    let mut theirs = fake.get("Deployment", "kube-state-metrics").unwrap();
    theirs["spec"]["template"]["spec"]["containers"][0]["image"] = json!("elsewhere:1");
    fake.put_as("scalekit", theirs);
    up(&cluster, stack()).await.unwrap();
    let image =
        fake.get("Deployment", "kube-state-metrics").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone();
    assert_ne!(image, "elsewhere:1");
}

#[tokio::test(start_paused = true)]
async fn a_failed_object_skips_what_needs_it_and_all_others_go_on() {
    let fake = FakeCluster::new();
    fake.fault(Fault::on("apply", "/serviceaccounts/grafana").answers(422, "Invalid", "it is not to your liking"));
    let error = up(&fake.cluster(), stack()).await.unwrap_err();
    let InstallError::Apply { skipped, .. } = &error else { panic!("{error}") };
    assert_eq!(failures(&error), ["serviceaccount/grafana -n monitoring: it is not to your liking"]);
    assert_eq!(skipped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["deployment.apps/grafana -n monitoring"]);
    // Everything but what was skipped, each once; what failed was tried too.
    let tried: BTreeSet<String> = fake.writes().into_iter().filter(|write| write != INVENTORY).collect();
    assert_eq!(tried.len(), stack().len() - 1, "{tried:#?}");

    fake.heal();
    up(&fake.cluster(), stack()).await.unwrap();
    assert!(fake.get("Deployment", "grafana").is_some());
}

#[rstest]
#[case::without_a_label(json!({}), "configmap/prometheus-config -n monitoring")]
#[case::of_helm(json!({"app.kubernetes.io/managed-by": "Helm"}), "configmap/prometheus-config -n monitoring (managed by Helm)")]
#[tokio::test(start_paused = true)]
async fn somebody_elses_object_is_refused_before_any_write(#[case] labels: Value, #[case] named: &str) {
    let fake = FakeCluster::new();
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring", "labels": {"app.kubernetes.io/managed-by": "scalekit"}}}));
    fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus-config", "namespace": "monitoring", "labels": labels},
        "data": {"theirs": "yes"}}));
    let error = up(&fake.cluster(), stack()).await.unwrap_err();
    assert!(matches!(error, InstallError::Foreign { .. }) && error.to_string().contains(named), "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_field_of_somebody_elses_is_a_conflict_that_names_field_and_owner() {
    let (fake, cluster) = installed().await;
    let changed = stack_with(|options| options.scrape_interval_seconds = 30);
    let declared = changed.iter().find(|object| ObjectRef::of(object).name == "prometheus-config").unwrap();
    let file = declared.data["data"].as_object().unwrap().keys().next().unwrap().clone();
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus-config", "namespace": "monitoring"}, "data": {&file: "theirs"}});
    fake.put_as("kubectl-edit", theirs);

    let error = up(&cluster, &changed).await.unwrap_err();
    let InstallError::Conflict { conflicts } = &error else { panic!("{error}") };
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].object.name, "prometheus-config");
    assert!(
        conflicts[0].why.contains(&format!(".data.{file}")) && conflicts[0].why.contains("kubectl-edit"),
        "{}",
        conflicts[0].why
    );
    assert!(error.hint().unwrap().contains("--force-conflicts"));

    let installer = Installer::new(&cluster, &Silent, TIMEOUT).force_conflicts(true);
    let state = installer.read(&release(), &changed).await.unwrap();
    let changes = plan::plan(&changed, &state.live, &state.inventory);
    installer.apply(&release(), &changed, &changes, &state).await.unwrap();
    assert_ne!(fake.get("ConfigMap", "prometheus-config").unwrap()["data"][&file], "theirs");
}

#[rstest]
#[case::it_stumbles(500, "InternalError")]
#[case::it_is_overloaded(429, "TooManyRequests")]
#[case::it_restarts(503, "ServiceUnavailable")]
#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again(#[case] code: u16, #[case] reason: &str) {
    let fake = FakeCluster::new();
    fake.fault(Fault::on("apply", "/serviceaccounts/grafana").answers(code, reason, "not now").times(4));
    fake.fault(Fault::on("apply", "/configmaps/scalekit-inventory").answers(code, reason, "not now").after(1).times(2));
    up(&fake.cluster(), stack()).await.unwrap();
    let tries = fake.writes().iter().filter(|write| write.ends_with("/serviceaccounts/grafana")).count();
    assert_eq!(tries, 5);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_ends_with_the_time_that_was_given() {
    let fake = FakeCluster::new();
    fake.fault(Fault::on("apply", "/serviceaccounts/grafana"));
    let began = Instant::now();
    let error = up(&fake.cluster(), stack()).await.unwrap_err();
    assert!(began.elapsed() <= TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(failures(&error)[0].starts_with("serviceaccount/grafana -n monitoring: "), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_on_its_way_out_is_waited_for() {
    let (fake, cluster) = installed().await;
    let before = fake.get("Namespace", "monitoring").unwrap()["metadata"]["uid"].clone();
    fake.linger(7);
    fake.terminate("monitoring");
    up(&cluster, stack()).await.unwrap();
    assert_ne!(fake.get("Namespace", "monitoring").unwrap()["metadata"]["uid"], before);
    assert!(fake.get("Deployment", "grafana").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_is_deleted_by_its_uid_and_what_took_its_name_is_not() {
    let (fake, cluster) = installed().await;
    let fewer: Vec<DynamicObject> = stack()
        .iter()
        .filter(|object| !["grafana-dashboards", "grafana"].contains(&ObjectRef::of(object).name.as_str()))
        .cloned()
        .collect();
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let state = installer.read(&release(), &fewer).await.unwrap();
    let changes = plan::plan(&fewer, &state.live, &state.inventory);
    // Between the look and the deletion, somebody makes it anew.
    fake.remove("ConfigMap", "grafana-dashboards");
    fake.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "grafana-dashboards", "namespace": "monitoring"}, "data": {"theirs": "yes"}}));
    let uid = fake.get("Deployment", "grafana").unwrap()["metadata"]["uid"].clone();
    fake.forget_calls();
    installer.apply(&release(), &fewer, &changes, &state).await.unwrap();

    assert!(fake.get("Deployment", "grafana").is_none());
    assert_eq!(fake.get("ConfigMap", "grafana-dashboards").unwrap()["data"]["theirs"], "yes");
    let calls = fake.calls();
    let deletions: Vec<_> = calls.iter().filter(|call| call.verb == "delete").collect();
    assert!(deletions.iter().all(|call| call.body["preconditions"]["uid"].is_string()), "{deletions:#?}");
    let grafana = deletions.iter().find(|call| call.path.ends_with("/deployments/grafana")).unwrap();
    assert_eq!(grafana.body["preconditions"]["uid"], uid);

    up(&cluster, &fewer).await.unwrap();
    assert!(fake.get("ConfigMap", "grafana-dashboards").is_some(), "it is not ours any more");
}

fn pod(name: &str, of: &Value, container: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "monitoring",
            "labels": of["spec"]["selector"]["matchLabels"]},
        "spec": {"containers": []}, "status": {"phase": "Pending", "containerStatuses": [container]}})
}

#[rstest]
#[case::an_image_that_is_not_on_the_node(
    json!({"name": "c", "image": "example.org/scalekit:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImageNeverPull"}}}),
    "image example.org/scalekit:1 is not on the node"
)]
#[case::a_crash_with_its_last_words(
    json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 7, "reason": "Error"}}}),
    "exit code 7), 3 restarts; it said:\n    no such flag"
)]
#[tokio::test(start_paused = true)]
async fn a_pod_that_will_not_start_fails_the_wait_within_seconds(#[case] container: Value, #[case] cause: &str) {
    let fake = FakeCluster::new();
    fake.hold("scaler");
    let desired = stack();
    let scaler = desired
        .iter()
        .find(|object| ObjectRef::of(object).name == "scaler" && ObjectRef::of(object).kind == "Deployment")
        .unwrap();
    fake.log_of("scaler-1", "no such flag\n");
    let began = Instant::now();
    let comes_up = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fake.put(pod("scaler-1", &scaler.data, &container));
        std::future::pending::<()>().await;
    };
    let cluster = fake.cluster();
    let error = tokio::select! {
        ended = up(&cluster, desired) => ended.unwrap_err(),
        () = comes_up => unreachable!(),
    };
    assert!(matches!(error, InstallError::Failed { .. }), "{error}");
    assert!(
        failures(&error).iter().any(|line| line.starts_with("deployment.apps/scaler") && line.contains(cause)),
        "{:#?}",
        failures(&error)
    );
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_crash_that_heals_is_no_verdict() {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    fake.hold("scaler");
    let desired = stack();
    let heals = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut scaler = fake.get("Deployment", "scaler").unwrap();
        let crashing = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        fake.put(pod("scaler-1", &scaler, &crashing));
        tokio::time::sleep(Duration::from_secs(2)).await;
        fake.remove("Pod", "scaler-1");
        scaler["status"] = json!({"observedGeneration": scaler["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
            "availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
        fake.put(scaler);
    };
    let (ended, ()) = tokio::join!(up(&cluster, desired), heals);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_an_unknown_class_fails_with_the_classes_there_are() {
    let fake = FakeCluster::new();
    let began = Instant::now();
    let error =
        up(&fake.cluster(), &stack_with(|options| options.storage.class = Some("fast".to_owned()))).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(failures(&error).iter().any(|line| line.contains("there is no StorageClass `fast`")), "{error:?}");
    assert!(
        error
            .failures()
            .iter()
            .any(|failure| failure.hint.as_deref().is_some_and(|hint| hint.contains("there are: standard"))),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_get_ready_is_told_when_time_runs_out() {
    let fake = FakeCluster::new();
    fake.hold("grafana");
    let error = up(&fake.cluster(), stack()).await.unwrap_err();
    assert!(matches!(error, InstallError::TimedOut { .. }), "{error}");
    assert!(failures(&error).iter().all(|line| line.contains("grafana")), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_leaves_nothing_but_what_was_there_before() {
    let fake = FakeCluster::new();
    let before = fake.everything();
    let cluster = fake.cluster();
    up(&cluster, stack()).await.unwrap();
    assert!(down(&cluster, Data::Purge).await.unwrap().anything);
    assert_eq!(fake.everything(), before);
    assert!(!down(&cluster, Data::Purge).await.unwrap().anything);
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

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_retained_is_named() {
    let (fake, cluster) = installed().await;
    let claim = fake.get("PersistentVolumeClaim", "prometheus-data").unwrap();
    fake.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": "monitoring", "name": "prometheus-data", "uid": claim["metadata"]["uid"]}}}));
    let error = down(&cluster, Data::Purge).await.unwrap_err();
    let CommandError::LeftBehind { left } = &error else { panic!("{error}") };
    assert!(left.len() == 1 && left[0].object.name == "pv-1" && left[0].why.contains("Retain"), "{left:#?}");
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

/// What may become of the lock of a run that died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It runs out, and whoever has something to write takes it.
    ForTheNextWriter,
    Nowhere,
}

/// Runs `work` once for every write it makes, dying with that write, and then once more undisturbed.
async fn at_every_kill_point<W, R>(
    start: &FakeCluster,
    work: W,
    expected: &BTreeMap<String, String>,
    lock: Left,
) -> usize
where
    W: AsyncFn(&Cluster) -> Result<R, CommandError>,
{
    for writes in 1.. {
        let fake = start.fork();
        let cluster = fake.cluster();
        fake.kill_after(writes);
        tokio::select! {
            biased;
            () = fake.died() => {}
            ended = work(&cluster) => {
                assert!(ended.is_ok(), "{}", ended.err().map(|error| format!("{error:?}")).unwrap_or_default());
                return writes - 1;
            }
        }
        fake.revive();
        // A new process has a connection of its own.
        if let Err(error) = work(&fake.cluster()).await {
            panic!("the run after a death at write {writes}: {error:?}");
        }
        let mut found = fake.everything();
        if lock == Left::ForTheNextWriter {
            found.retain(|name, _| name != "Lease monitoring/scalekit-lock");
        }
        let differs: Vec<_> = expected.iter().filter(|(name, text)| found.get(*name) != Some(text)).collect();
        let more: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
        assert!(differs.is_empty() && more.is_empty(), "after a death at write {writes}: {differs:#?} {more:#?}");
    }
    unreachable!("the work ends")
}

#[tokio::test(start_paused = true)]
async fn an_installation_that_died_at_any_write_is_finished_by_the_next_one() {
    let (fake, _) = installed().await;
    let points = at_every_kill_point(
        &FakeCluster::new(),
        async |cluster| up(cluster, stack()).await.map_err(CommandError::from),
        &fake.everything(),
        Left::ForTheNextWriter,
    )
    .await;
    assert!(points >= stack().len() + 2, "{points}");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_died_at_any_write_is_finished_by_the_next_one() {
    let mut next = stack_with(|options| options.scrape_interval_seconds = 30);
    next.retain(|object| ObjectRef::of(object).kind != "NetworkPolicy");
    let (fake, cluster) = installed().await;
    let start = fake.fork();
    up(&cluster, &next).await.unwrap();
    let points = at_every_kill_point(
        &start,
        async |cluster| up(cluster, &next).await.map_err(CommandError::from),
        &fake.everything(),
        Left::ForTheNextWriter,
    )
    .await;
    assert!(points >= 3, "{points}");
}

#[rstest]
#[case::of_everything(Data::Purge)]
#[case::of_all_but_the_data(Data::Keep)]
#[tokio::test(start_paused = true)]
async fn a_removal_that_died_at_any_write_is_finished_by_the_next_one(#[case] data: Data) {
    let (fake, cluster) = installed().await;
    let start = fake.fork();
    down(&cluster, data).await.unwrap();
    let points =
        at_every_kill_point(&start, async |cluster| down(cluster, data).await, &fake.everything(), Left::Nowhere).await;
    assert!(points >= 5, "{points}");
}

#[tokio::test(start_paused = true)]
async fn data_that_was_kept_is_in_use_again_whenever_the_run_died() {
    let (fake, cluster) = installed().await;
    down(&cluster, Data::Keep).await.unwrap();
    let start = fake.fork();
    up(&cluster, stack()).await.unwrap();
    at_every_kill_point(
        &start,
        async |cluster| up(cluster, stack()).await.map_err(CommandError::from),
        &fake.everything(),
        Left::ForTheNextWriter,
    )
    .await;
}

fn autoscaler(name: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "scalekit.dev/v1alpha1",
        "kind": "Autoscaler",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "mode": mode,
            "maxReplicas": 5, "metrics": []},
    })
}

#[tokio::test(start_paused = true)]
async fn all_autoscalers_are_stopped_and_get_back_the_mode_that_they_had() {
    let fake = FakeCluster::new();
    let definition = stack().iter().find(|object| object.types.as_ref().unwrap().kind == "CustomResourceDefinition");
    fake.put_as("kubectl", serde_json::to_value(definition.unwrap()).unwrap());
    for (name, mode) in [("a", "Auto"), ("b", "Auto"), ("c", "Paused"), ("d", "Recommend")] {
        fake.put_as("kubectl", autoscaler(name, mode));
    }
    let modes = || ["a", "b", "c", "d"].map(|name| fake.get("Autoscaler", name).unwrap()["spec"]["mode"].clone());
    let done = commands::pause(&fake.cluster()).await.unwrap();
    assert_eq!((done.changed.len(), done.unchanged), (2, 2));
    assert_eq!(modes(), ["Recommend", "Recommend", "Paused", "Recommend"]);
    // Again is nothing to do, and what it was is still known.
    assert_eq!(commands::pause(&fake.cluster()).await.unwrap().changed, []);
    // Somebody has decided otherwise about one of them meanwhile.
    let mut other = fake.get("Autoscaler", "b").unwrap();
    other["spec"]["mode"] = json!("Paused");
    fake.put_as("kubectl", other);
    let done = commands::resume(&fake.cluster()).await.unwrap();
    assert_eq!((done.changed.len(), done.unchanged), (2, 2));
    assert_eq!(modes(), ["Auto", "Paused", "Paused", "Recommend"]);
    for name in ["a", "b"] {
        let annotations = fake.get("Autoscaler", name).unwrap()["metadata"]["annotations"].clone();
        assert!(annotations.get("scalekit.dev/mode-before-pause").is_none(), "{annotations}");
    }
    fake.forget_calls();
    assert_eq!(commands::resume(&fake.cluster()).await.unwrap().changed, []);
    assert_eq!(fake.writes(), Vec::<String>::new());
}
