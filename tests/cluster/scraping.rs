//! What Prometheus keeps of an idle cluster, and what it makes of it.

use std::collections::BTreeMap;

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
    assert!(by_job.values().sum::<f64>() > 1000.0, "there is not everything yet: {by_job:?}");
}

/// Nothing is wrong with a cluster that has just been set up: no alert only waits for its time.
pub async fn no_alert_is_pending(world: &World) {
    let evaluated = world.query("prometheus_rule_group_last_duration_seconds > 0").await;
    assert!(evaluated.len() >= 8, "not all groups of rules were evaluated yet: {evaluated:?}");
    // The disk is that of the machine under the cluster, which may be filling up in earnest.
    let alerts = world.query(r#"ALERTS{alertname!~"NodeDisk.+|NodeInodes.+"}"#).await;
    let alerts: Vec<_> = alerts.into_iter().map(|sample| sample.labels).collect();
    assert!(alerts.is_empty(), "{alerts:#?}");
}
