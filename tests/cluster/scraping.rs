//! What Prometheus keeps of an idle cluster, and what it makes of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::world::World;

/// The control plane is scraped as this cluster lets it be seen, and what is left out is said.
pub async fn the_control_plane_is_scraped_once_and_what_is_not_is_said(world: &World) {
    let answer: Value = serde_json::from_str(&world.scalekit(["status", "-o", "json"]).exits(0).stdout).unwrap();
    let scraping = &answer["scraping"];
    let left_out: Vec<&str> =
        scraping["notScraped"].as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap()).collect();
    let with_series: Vec<String> = world
        .query(r#"group by (job) ({job=~"apiserver|controller-manager|kube-proxy|scheduler|etcd", __name__!="up"})"#)
        .await
        .iter()
        .map(|sample| sample.labels["job"].clone())
        .collect();
    let with_target: Vec<String> = world
        .targets()
        .await
        .active
        .into_iter()
        .map(|target| target.scrape_pool)
        .filter(|job| job == "apiserver")
        .collect();
    let mut with_series: Vec<&str> = with_series.iter().map(String::as_str).collect();
    with_series.sort_unstable();
    if scraping["oneProcess"] == true {
        assert_eq!(with_series, ["apiserver", "controller-manager", "kube-proxy", "scheduler"]);
        assert_eq!((left_out, with_target.len()), (vec!["etcd"], 0), "its page is the kubelet's");
    } else {
        assert_eq!(with_series, ["apiserver"]);
        assert_eq!((left_out.len(), with_target.len()), (4, 1), "{scraping:#}");
    }
    // No series of the API server twice: once for each label of its own, whatever the job.
    let twice = world.query("count by (instance, verb, code, resource, scope, group, version, component, subresource, dry_run) (apiserver_request_total) > 1").await;
    assert!(twice.is_empty(), "{twice:?}");
    // MicroK8s' kubelets have certificates of the cluster's authority, kubeadm's sign their own.
    if world.audit_mark().is_some() {
        assert_eq!(scraping["kubeletsVerified"], scraping["oneProcess"], "{scraping:#}");
    }
    println!(
        "kubelets verified: {}, one process: {}, left out: {}",
        scraping["kubeletsVerified"], scraping["oneProcess"], scraping["notScraped"]
    );
    world.scalekit(["status"]).exits(0).says("not scraped: ").says("etcd").says("the kubelets' certificates are");
}

/// A second scheduler, which waits for a lease that somebody else has and schedules nothing. The node's own programs are
/// mounted: it needs no image but one.
const SCHEDULER: &str = r"
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: second-scheduler, namespace: kube-system}
spec: {holderIdentity: somebody, leaseDurationSeconds: 36000, leaseTransitions: 0}
---
apiVersion: v1
kind: Pod
metadata:
  name: second-scheduler
  namespace: kube-system
  labels: {component: kube-scheduler, tier: control-plane}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
  - name: kube-scheduler
    image: docker.io/library/busybox:1.35.0
    imagePullPolicy: IfNotPresent
    command:
    - /run/bin/kube-scheduler
    - --bind-address=0.0.0.0
    - --secure-port=11259
    - --kubeconfig=/etc/kubernetes/pki/scheduler.conf
    - --authentication-kubeconfig=/etc/kubernetes/pki/scheduler.conf
    - --authorization-kubeconfig=/etc/kubernetes/pki/scheduler.conf
    - --leader-elect-resource-name=second-scheduler
    readinessProbe: {httpGet: {path: /healthz, port: 11259, scheme: HTTPS}, periodSeconds: 1}
    volumeMounts:
    - {name: bin, mountPath: /run/bin}
    - {name: build, mountPath: /run/build}
    - {name: pki, mountPath: /etc/kubernetes/pki}
  volumes:
  - {name: bin, hostPath: {path: /run/bin}}
  - {name: build, hostPath: {path: /run/build}}
  - {name: pki, hostPath: {path: /etc/kubernetes/pki}}
";

/// What answers on its node's address is scraped from the next run on, and no more when it has gone.
pub async fn a_scheduler_that_can_be_reached_is_scraped(world: &World) {
    let left_out = || {
        let answer: Value = serde_json::from_str(&world.scalekit(["status", "-o", "json"]).exits(0).stdout).unwrap();
        let left_out = answer["scraping"]["notScraped"].as_array().unwrap().clone();
        left_out.iter().map(|job| job["job"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = world.targets().await.active.len();
    world.apply(SCHEDULER);
    world.kubectl(["wait", "-n", "kube-system", "pod/second-scheduler", "--for=condition=Ready", "--timeout=60s"]);
    world.scalekit(["up"]).exits(0).says(&format!("{} scrape targets are up", before + 1));
    assert_eq!(left_out(), ["controller-manager", "kube-proxy", "etcd"]);
    let samples = world.query(r#"{job="scheduler"}"#).await;
    assert!(samples.iter().any(|sample| sample.labels["__name__"] == "up" && sample.value > 0.0), "{samples:?}");
    assert!(samples.iter().any(|sample| sample.labels["__name__"].starts_with("scheduler_")), "{samples:?}");
    println!("{} series of the scheduler", samples.len());

    world.kubectl(["delete", "-n", "kube-system", "pod/second-scheduler", "lease/second-scheduler"]);
    world.scalekit(["up"]).exits(0).says(&format!("{before} scrape targets are up"));
    assert_eq!(left_out(), ["scheduler", "controller-manager", "kube-proxy", "etcd"]);
}

/// The budget of one idle node.
pub async fn an_idle_node_has_fewer_than_3000_series(world: &World) {
    let head = world.query("prometheus_tsdb_head_series").await[0].value;
    let by_job: BTreeMap<String, f64> = world
        .query(r#"count by (job) ({job!=""})"#)
        .await
        .iter()
        .map(|sample| (sample.labels["job"].clone(), sample.value))
        .collect();
    println!("{head} series; by job: {by_job:?}");
    assert!(head < 3000.0, "{head} series; by job: {by_job:?}");
    assert!(by_job.values().sum::<f64>() > 700.0, "there is not everything yet: {by_job:?}");
}

/// Nothing is wrong with a cluster that has just been set up: no alert only waits for its time.
pub async fn no_alert_is_pending(world: &World) {
    // Each group is evaluated once an interval.
    let began = Instant::now();
    loop {
        let evaluated = world.query("prometheus_rule_group_last_duration_seconds > 0").await.len();
        if evaluated >= 8 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{evaluated} groups of rules were evaluated in a minute");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // The disk is that of the machine under the cluster, which may be filling up in earnest.
    let alerts = world.query(r#"ALERTS{alertname!~"NodeDisk.+|NodeInodes.+"}"#).await;
    let alerts: Vec<_> = alerts.into_iter().map(|sample| sample.labels).collect();
    assert!(alerts.is_empty(), "{alerts:#?}");
}
