//! Writing: in which order, what is left alone, what is tried again.

use kube::core::DynamicObject;
use rstest::rstest;
use scalekit::catalog::Component;
use scalekit::cluster::Interruption;
use scalekit::event::Action;
use scalekit::event::Silent;
use scalekit::event::{Event, Reporter};
use scalekit::install::InstallError;
use scalekit::install::Installer;
use scalekit::install::State;
use scalekit::object::ObjectRef;
use scalekit::plan::{self, Inventory};
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

use super::{
    INVENTORY, TIMEOUT, Told, failures,
    fake::{FakeCluster, Fault},
    installed, inventory, release, stack, stack_with, up, up_telling,
};

#[tokio::test(start_paused = true)]
async fn the_namespace_is_written_first_then_the_intention_then_the_rest_by_its_needs() {
    let fake = FakeCluster::new();
    up(&fake.cluster(), stack()).await.unwrap();

    let writes = fake.writes();
    assert_eq!(writes[0], "apply /api/v1/namespaces/monitoring");
    assert_eq!(writes[1], INVENTORY);
    assert_eq!(writes.last().unwrap(), INVENTORY);
    // Each object once, and the inventory twice.
    assert_eq!(writes.len(), stack().len() + 2, "{writes:#?}");

    let stored: Vec<Value> = fake
        .calls()
        .into_iter()
        .filter(|call| call.to_string() == INVENTORY && call.is_write())
        .map(|call| call.body)
        .collect();
    // By the convention of ApplySets: who lists its members has to know where they are.
    for stored in &stored {
        let annotation = |name: &str| &stored["metadata"]["annotations"][format!("applyset.kubernetes.io/{name}")];
        assert_eq!(annotation("additional-namespaces"), "monitoring-nodes");
        assert!(annotation("contains-group-kinds").as_str().unwrap().contains("DaemonSet.apps"));
    }
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
async fn what_no_other_run_wrote_since_the_plan_is_not_read_again() {
    let lists = |fake: &FakeCluster| {
        let calls = fake.calls();
        calls.iter().filter(|call| call.to_string().ends_with("/apis/apps/v1/statefulsets")).count()
    };
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let state = installer.read(&release(), stack()).await.unwrap();
    let changes = plan::plan(stack(), &state.live, &state.inventory);
    installer.write(&release(), stack(), &[], &changes, state.clone()).await.unwrap();
    assert_eq!(lists(&fake), 1, "{:#?}", fake.calls());
    // By the same plan again: it knows nothing of the run before.
    installer.write(&release(), stack(), &[], &changes, state).await.unwrap();
    assert_eq!(lists(&fake), 2);
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
    let told = Told::default();
    let error = up_telling(&fake.cluster(), stack(), &told).await.unwrap_err();
    let InstallError::Apply { skipped, .. } = &error else { panic!("{error}") };
    assert_eq!(failures(&error), ["serviceaccount/grafana -n monitoring: it is not to your liking"]);
    assert_eq!(skipped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["deployment.apps/grafana -n monitoring"]);
    let reason = "it needs serviceaccount/grafana -n monitoring".to_owned();
    assert_eq!(told.of(Action::Skipped), [("deployment.apps/grafana -n monitoring".to_owned(), Some(reason))]);
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
#[case::somebody_was_faster(409, "Conflict")]
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

#[tokio::test(start_paused = true)]
async fn what_is_fitted_to_the_cluster_is_fitted_to_what_is_there_under_the_lock() {
    let (fake, cluster) = installed().await;
    fake.put(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "another"},
        "provisioner": "example.org/x"}));
    let mut claim = fake.get("PersistentVolumeClaim", "prometheus-data").unwrap();
    claim["spec"]["storageClassName"] = json!("another");
    fake.put_as("scalekit", claim);
    // The plan was made without the claim: what is desired has its class still.
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let changes = plan::plan(stack(), &[], &Inventory::default());
    installer.write(&release(), stack(), &[], &changes, State::default()).await.unwrap();
    let claim = fake.get("PersistentVolumeClaim", "prometheus-data").unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "another");
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_a_namespace_that_is_not_there_is_not_asked_for() {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    Installer::new(&cluster, &Silent, TIMEOUT).read(&release(), stack()).await.unwrap();
    let asked: Vec<String> =
        fake.calls().iter().filter(|call| call.verb == "get").map(|call| call.path.clone()).collect();
    let inside: Vec<&String> = asked.iter().filter(|path| path.contains("/namespaces/monitoring")).collect();
    // The namespaces themselves and the inventory.
    assert_eq!(inside.len(), 3, "{inside:#?}");
    assert!(asked.iter().any(|path| path.contains("/clusterroles/")), "{asked:#?}");
}

/// Tells the run to end as soon as it has written an object.
struct StopsAtTheFirst(Interruption);

impl Reporter for StopsAtTheFirst {
    fn report(&self, event: Event) {
        if matches!(event, Event::Object { action: Action::Created, ref object, .. } if object.kind != "Namespace") {
            self.0.stop();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_told_to_end_gives_its_lock_back_and_writes_no_more() {
    let fake = FakeCluster::new();
    let interruption = Interruption::default();
    let cluster = fake.cluster().interrupted_by(&interruption);
    let error = up_telling(&cluster, stack(), &StopsAtTheFirst(interruption.clone())).await.unwrap_err();
    assert!(matches!(error, InstallError::Interrupted), "{error}");
    assert_eq!(fake.get("Lease", "scalekit-lock"), None);
    assert!(fake.writes().len() < stack().len(), "it went on");
    // Whoever told it to end need not wait any longer.
    tokio::time::timeout(Duration::from_millis(1), interruption.released()).await.unwrap();

    let began = Instant::now();
    up(&fake.cluster(), stack()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "it waited for a lock: {:?}", began.elapsed());
}

/// The namespace is on its way out, and tells of an API that does not answer, as long as its controller does not look again.
fn is_kept_by_an_api(fake: &FakeCluster) {
    let mut going = fake.get("Namespace", "monitoring").unwrap();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    going["metadata"]["finalizers"] = json!(["kubernetes"]);
    going["status"] = json!({"conditions": [{"type": "NamespaceDeletionDiscoveryFailure", "status": "True",
        "message": "unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1"}]});
    fake.hold("monitoring");
    fake.put_as("scalekit", going);
}

fn api_service(available: &str) -> Value {
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "status": {"conditions": [{"type": "Available", "status": available, "reason": "MissingEndpoints"}]}})
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_an_api_which_does_not_answer_keeps_is_named_soon() {
    let (fake, cluster) = installed().await;
    is_kept_by_an_api(&fake);
    fake.put(api_service("False"));
    let began = Instant::now();
    let error = up(&cluster, stack()).await.unwrap_err();
    assert!(matches!(error, InstallError::NotGone { .. }), "{error}");
    assert!(failures(&error)[0].contains("namespace/monitoring: unable to retrieve"), "{:?}", failures(&error));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Whoever has mended it runs the command again at once, and the namespace's controller looks again after a minute at most.
#[rstest]
#[case::which_answers_again(Some(api_service("True")))]
#[case::which_is_gone(None)]
#[tokio::test(start_paused = true)]
async fn a_namespace_that_still_tells_of_an_api_is_waited_for(#[case] service: Option<Value>) {
    let (fake, cluster) = installed().await;
    is_kept_by_an_api(&fake);
    if let Some(service) = service {
        fake.put(service);
    }
    let its_controller = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        fake.remove("Namespace", "monitoring");
    };
    let (done, ()) = tokio::join!(up(&cluster, stack()), its_controller);
    done.unwrap();

    is_kept_by_an_api(&fake);
    let began = Instant::now();
    let error = up(&cluster, stack()).await.unwrap_err();
    assert!(failures(&error)[0].contains("namespace/monitoring: unable to retrieve"), "{:?}", failures(&error));
    assert!(began.elapsed() < Duration::from_secs(90), "for ever: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_changed_in_place_is_made_anew_and_its_data_stay() {
    let (fake, cluster) = installed().await;
    let uid = |kind, name| fake.get(kind, name).unwrap()["metadata"]["uid"].clone();
    let before = (uid("StatefulSet", "prometheus"), uid("PersistentVolumeClaim", "prometheus-data"));
    let mut old = fake.get("StatefulSet", "prometheus").unwrap();
    old["spec"]["podManagementPolicy"] = json!("OrderedReady");
    // A tool applied it: what is made anew has nothing to be taken over.
    fake.put_as("kubectl", old);
    up(&cluster, stack()).await.unwrap();
    let after = (uid("StatefulSet", "prometheus"), uid("PersistentVolumeClaim", "prometheus-data"));
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
    assert_eq!(fake.get("StatefulSet", "prometheus").unwrap()["spec"]["podManagementPolicy"], "Parallel");
    fake.forget_calls();
    up(&cluster, stack()).await.unwrap();
    assert_eq!(fake.writes(), Vec::<String>::new());
}

/// What reads well may not take a write: a server without a quorum, or whose disk is full.
#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_written_is_told_and_ends_the_run_in_time() {
    let fake = FakeCluster::new();
    fake.fault(Fault::on("create", "/leases").answers(500, "InternalError", "etcdserver: no leader"));
    let (cluster, told, began) = (fake.cluster(), Told::default(), Instant::now());
    let ended = tokio::time::timeout(2 * TIMEOUT, up_telling(&cluster, stack(), &told)).await.expect("it ends");
    let error = ended.unwrap_err();
    let is_the_lock = |object: &ObjectRef| object.name == "scalekit-lock";
    assert!(matches!(&error, InstallError::Inventory { object, .. } if is_the_lock(object)), "{error}");
    assert!(began.elapsed() <= TIMEOUT, "{:?}", began.elapsed());
    let told = told.0.lock().unwrap();
    let waits = |event: &&Event| matches!(event, Event::InProgress { object, .. } if is_the_lock(object));
    assert!(told.iter().filter(waits).count() > 10, "it waited in silence");
}

/// Between the plan and the lock another run has written, so everything is read once more.
#[rstest]
#[case::the_inventory("get", "/configmaps/scalekit-inventory")]
#[case::what_is_installed("list", "/configmaps")]
#[tokio::test(start_paused = true)]
async fn what_is_read_under_the_lock_is_read_until_it_can_be(#[case] verb: &'static str, #[case] path: &'static str) {
    let (fake, cluster) = installed().await;
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let changes = plan::plan(stack(), &[], &Inventory::default());
    fake.fault(Fault::on(verb, path).answers(503, "ServiceUnavailable", "it restarts").times(20));
    installer.write(&release(), stack(), &[], &changes, State::default()).await.unwrap();
}
