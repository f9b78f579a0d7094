//! What stands in the way of an installation, found before anything is written.

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Namespace, Pod},
        rbac::v1::ClusterRole,
        storage::v1::StorageClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::{Value, json};

use crate::{
    proxy::Plan,
    world::{Ended, LIMIT, World},
};

const NAMESPACE: &str = "in-checked";
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const API: &str = "v1.scalekit-test.example";

/// A pod of another monitoring that claims our port, a namespace that is too strict for our pods, a role and a definition of
/// somebody else's under names of ours, an API that nobody serves, and the heartbeat of a node whose clock is years behind.
const IN_THE_WAY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: exporter, namespace: default}
spec:
  hostNetwork: true
  automountServiceAccountToken: false
  containers: [{name: c, image: 'quay.io/prometheus/node-exporter:v1', ports: [{containerPort: 9100, hostPort: 9100}]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: in-checked-nodes, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scalekit-prometheus, labels: {app.kubernetes.io/managed-by: Helm}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: autoscalers.scalekit.dev, labels: {app.kubernetes.io/managed-by: theirs}}
spec:
  group: scalekit.dev
  scope: Namespaced
  names: {plural: autoscalers, kind: Autoscaler}
  versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.scalekit-test.example}
spec:
  group: scalekit-test.example
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: default}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: scalekit-test-slow, namespace: kube-node-lease}
spec: {holderIdentity: scalekit-test-slow, leaseDurationSeconds: 40, renewTime: '2020-01-01T00:00:00.000000Z'}
";

/// Every finding of `check --pre`, and its exit code.
async fn checked(world: &World) -> (i32, Vec<Value>) {
    checks(world, &["--pre", "-n", NAMESPACE]).await
}

/// Every finding of `check` with these arguments, and its exit code.
async fn checks(world: &World, arguments: &[&str]) -> (i32, Vec<Value>) {
    let check = [&["check", "-o", "json", "--image", "scaler=example.org/scalekit:1"][..], arguments].concat();
    let Ended::Exited(code, words) = world.run(Plan::default(), &check).await else { panic!("nobody kills it") };
    assert_eq!(world.proxy.writes(), 0, "{words}");
    let report = words.find('{').and_then(|begin| Some(&words[begin..=words.rfind('}')?])).expect(&words);
    let mut report: Value = serde_json::from_str(report).unwrap();
    let Value::Array(findings) = report["checks"].take() else { panic!("{words}") };
    (code, findings)
}

/// That a check has found this, this bad.
#[track_caller]
fn found(findings: &[Value], check: &str, severity: &str, said: &str) {
    let of_check: Vec<&Value> = findings.iter().filter(|finding| finding["check"] == check).collect();
    let is_it = |finding: &&&Value| {
        finding["severity"] == severity && finding["message"].as_str().is_some_and(|words| words.contains(said))
    };
    let finding =
        of_check.iter().find(is_it).unwrap_or_else(|| panic!("{check}: {severity}, {said:?} in {of_check:#?}"));
    assert!(severity == "ok" || finding["hint"].is_string(), "{finding:#}");
}

/// Takes an object away, and waits until it is gone.
async fn remove<K>(api: Api<K>, name: &str)
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let uid = api.get_metadata(name).await.unwrap().uid().unwrap();
    api.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    tokio::time::timeout(LIMIT, await_condition(api, name, is_deleted(&uid))).await.expect("it goes").unwrap();
}

pub async fn what_stands_in_the_way_is_found_with_a_way_out(world: &World) {
    world.settled().await;
    let client = &world.client;
    let classes: Api<StorageClass> = Api::all(client.clone());
    let class = classes.list(&ListParams::default()).await.unwrap().items.remove(0);
    remove(classes.clone(), &class.name_any()).await;
    world.kubectl_apply(IN_THE_WAY);
    let services: Api<APIService> = Api::all(client.clone());
    let judged = await_condition(services.clone(), API, |service: Option<&APIService>| {
        let conditions = service.and_then(|service| service.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Available" && one.status == "False"))
    });
    tokio::time::timeout(LIMIT, judged).await.expect("it is judged").unwrap();

    let (refused, all) = checked(world).await;
    // Two classes, neither of them the platform's own, both the default.
    for name in ["one", "other"] {
        let class =
            json!({"metadata": {"name": name, "annotations": {DEFAULT: "true"}}, "provisioner": "x.example/disks"});
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    }
    let (_, ambiguous) = checked(world).await;
    let up = world.run(Plan::default(), &World::up(NAMESPACE)).await;
    let written = world.proxy.writes();

    // Before anything is judged: the steps that follow have nothing to do with it.
    remove(services, API).await;
    for name in ["one", "other"] {
        remove(classes.clone(), name).await;
    }
    let mut as_before = class.clone();
    as_before.metadata.resource_version = None;
    as_before.metadata.uid = None;
    classes.create(&PostParams::default(), &as_before).await.unwrap();
    remove(Api::<Pod>::namespaced(client.clone(), "default"), "exporter").await;
    remove(Api::<ClusterRole>::all(client.clone()), "scalekit-prometheus").await;
    remove(Api::<CustomResourceDefinition>::all(client.clone()), "autoscalers.scalekit.dev").await;
    remove(Api::<Namespace>::all(client.clone()), "in-checked-nodes").await;
    remove(Api::<Lease>::namespaced(client.clone(), "kube-node-lease"), "scalekit-test-slow").await;
    let (_, well) = checked(world).await;

    assert_eq!(refused, 3, "{all:#?}");
    found(&all, "storage-class", "error", "no StorageClass to take volumes from: there is none");
    found(&all, "port-9100", "error", "taken by default/exporter");
    found(&all, "other-monitoring", "warning", "default/exporter");
    found(
        &all,
        "pod-security",
        "error",
        "namespace in-checked-nodes enforces restricted, and its pods need privileged",
    );
    for object in ["customresourcedefinition.apiextensions.k8s.io/autoscalers.scalekit.dev", "scalekit-prometheus"] {
        found(&all, "ownership", "error", object);
    }
    found(&all, "ownership", "error", "managed by Helm");
    found(&all, "clock", "warning", "clocks differ: node scalekit-test-slow is ");
    found(&all, "clock", "warning", " s behind the API server");
    found(&all, "api-services", "warning", &format!("APIService {API} does not answer"));
    found(&ambiguous, "storage-class", "error", "several StorageClasses are the default one: one, other");
    let Ended::Exited(3, words) = up else { panic!("{up:?}") };
    assert!(words.contains("several StorageClasses") && written == 0, "{written} writes: {words}");

    for (check, said) in [
        ("storage-class", class.name_any()),
        ("port-9100", "free".to_owned()),
        ("other-monitoring", "no other Prometheus".to_owned()),
        ("pod-security", "privileged".to_owned()),
        ("ownership", "no object of anybody else".to_owned()),
        ("clock", "within 10 s".to_owned()),
        ("api-services", "every aggregated API answers".to_owned()),
    ] {
        found(&well, check, "ok", &said);
    }
    // Nothing runs here: neither what makes the volumes nor the cluster's DNS.
    found(&well, "provisioner", "warning", "is not there");
    found(&well, "dns", "warning", "k8s-app=kube-dns");
    found(&well, "nodes", "warning", "not ready");
}

/// Nothing runs here: its kubelet would say this of a pod that does.
pub async fn a_prometheus_that_never_gets_through_its_start_is_found(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-replayed")).await;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "in-replayed");
    let made = await_condition(pods.clone(), "prometheus-0", |pod: Option<&Pod>| pod.is_some());
    tokio::time::timeout(LIMIT, made).await.expect("it is made").unwrap();
    let killed = |restarts: u32| {
        let status = json!({"name": "prometheus", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        Patch::Merge(json!({"status": {"phase": "Running", "containerStatuses": [status]}}))
    };
    let words = "prometheus-0 runs out of memory whenever it starts";
    for (restarts, severity, said) in [(1, "ok", "Prometheus gets through its start"), (2, "error", words)] {
        pods.patch_status("prometheus-0", &PatchParams::default(), &killed(restarts)).await.unwrap();
        let (code, findings) = checks(world, &["-n", "in-replayed"]).await;
        assert_eq!(code, 3, "nothing is ready here: {findings:#?}");
        found(&findings, "wal-replay", severity, said);
    }
}
