//! The jobs of Prometheus: bounded, complete, and no series twice.

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use scalekit::{
    catalog,
    platform::{Exposure, Part, Seen},
};
use serde_json::Value;

use crate::{
    built::{PLATFORMS, options, platform, prometheus_config},
    expressions::AllowList,
};

fn jobs(config: &Value) -> &Vec<Value> {
    config["scrape_configs"].as_array().expect("jobs")
}

/// The allow-list of each job that has one: names are matched by it as a whole.
fn allow_lists(platform_name: &str) -> BTreeMap<String, AllowList> {
    allow_lists_of(&prometheus_config(platform_name))
}

pub fn allow_lists_of(config: &Value) -> BTreeMap<String, AllowList> {
    jobs(config)
        .iter()
        .filter_map(|job| {
            let rules = job["metric_relabel_configs"].as_array()?;
            let keep = rules
                .iter()
                .find(|rule| rule["action"] == "keep" && rule["source_labels"] == serde_json::json!(["__name__"]))?;
            Some((job["job_name"].as_str()?.to_owned(), AllowList::new(keep["regex"].as_str()?)))
        })
        .collect()
}

/// A limit of a job: its own, else the one for all.
fn limit<'a>(config: &'a Value, job: &'a Value, key: &str) -> &'a Value {
    job.get(key).unwrap_or(&config["global"][key])
}

#[rstest]
fn every_job_is_bounded(#[values("kind", "microk8s", "k3s", "generic")] platform_name: &str) {
    let config = prometheus_config(platform_name);
    let lists = allow_lists(platform_name);
    for job in jobs(&config) {
        let name = job["job_name"].as_str().expect("a name");
        for key in [
            "sample_limit",
            "label_limit",
            "label_name_length_limit",
            "label_value_length_limit",
            "keep_dropped_targets",
        ] {
            // Prometheus reads 0 as no limit.
            assert!(limit(&config, job, key).as_u64().is_some_and(|limit| limit > 0), "{name} has no {key}");
        }
        assert_eq!(limit(&config, job, "body_size_limit"), "32MB", "{name}");
        let own_limit = job["sample_limit"].is_u64() && job["target_limit"].is_u64();
        assert!(lists.contains_key(name) || own_limit, "{name} has neither an allow-list nor limits");
        assert!(limit(&config, job, "scrape_interval").is_string(), "{name}");
    }
    assert_eq!(jobs(&config).len(), if platform(platform_name).one_process { 14 } else { 15 });
}

/// A process that is all of them answers at each port with the union of their series: what two jobs keep is counted
/// twice there, and what none keeps is on no dashboard.
#[rstest]
fn no_metric_of_the_control_plane_is_kept_by_two_jobs(#[values("kind", "microk8s", "k3s")] platform_name: &str) {
    let lists = allow_lists(platform_name);
    let one_process = ["apiserver", "kubelet", "cadvisor", "kubelet-resource", "kubelet-probes"];
    let candidates = [
        "apiserver_request_total",
        "apiserver_request_duration_seconds_bucket",
        "aggregator_unavailable_apiservice",
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "kubelet_volume_stats_used_bytes",
        "node_cpu_usage_seconds_total",
        "node_memory_working_set_bytes",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "prober_probe_total",
        "resource_scrape_error",
    ];
    for metric in candidates {
        let keeps = |job: &&&str| lists.get(**job).is_some_and(|list| list.matches(metric));
        let keepers: Vec<_> = one_process.iter().filter(keeps).collect();
        assert_eq!(keepers.len(), 1, "{metric} is kept by {keepers:?}");
    }
}

/// Where the scheduler and its like have no page that can be reached, no job waits for one; where they share the
/// kubelet's, they are on it.
#[test]
fn the_rest_of_the_control_plane_is_kept_where_its_page_is_the_kubelets() {
    for metric in
        ["scheduler_pending_pods", "node_collector_zone_size", "kubeproxy_sync_proxy_rules_duration_seconds_sum"]
    {
        let kept = |name: &str| allow_lists(name).iter().filter(|(_, list)| list.matches(metric)).count();
        assert_eq!((kept("kind"), kept("microk8s"), kept("k3s"), kept("generic")), (0, 1, 1, 0), "{metric}");
    }
}

/// What was seen at the installation can be read from what was installed, by who sees less.
#[rstest]
fn the_configuration_says_what_it_was_made_for(
    #[values(true, false)] one_process: bool,
    #[values(true, false)] kubelet_verifies: bool,
) {
    let exposed = if one_process { BTreeMap::new() } else { BTreeMap::from([(Part::Etcd, Exposure::Port(2381))]) };
    let seen = Seen {
        one_process: Some(one_process),
        kubelet_verifies: Some(kubelet_verifies),
        exposed: Some(exposed),
        api_port: Some(8443),
    };
    let installed = catalog::stack(&options(), &platform("generic").seen(seen.clone()));
    assert_eq!(catalog::scraped_as(&installed), seen);
    assert_eq!(catalog::scraped_as(&[]), Seen::default());
}

#[test]
fn discovery_is_by_endpointslice_node_and_pod_alone() {
    for job in jobs(&prometheus_config("kind")) {
        for discovery in job["kubernetes_sd_configs"].as_array().into_iter().flatten() {
            let role = discovery["role"].as_str().expect("a role");
            assert!(matches!(role, "endpointslice" | "node" | "pod"), "{} uses {role}", job["job_name"]);
        }
    }
}

#[test]
fn every_job_is_expected_or_optional() {
    for name in PLATFORMS {
        let config = prometheus_config(name);
        let configured: BTreeSet<_> = jobs(&config).iter().filter_map(|job| job["job_name"].as_str()).collect();
        let expected = catalog::expected_jobs(&options(), &platform(name));
        let optional = catalog::optional_jobs();
        assert!(expected.iter().chain(&optional).all(|job| configured.contains(job.as_str())), "{name}");
        assert!(expected.iter().all(|job| !optional.contains(job)), "{name}");
    }
    assert_eq!(catalog::expected_jobs(&options(), &platform("kind")).len(), 12);
    let on_kind: BTreeSet<_> = catalog::expected_jobs(&options(), &platform("kind")).into_iter().collect();
    let on_microk8s: BTreeSet<_> = catalog::expected_jobs(&options(), &platform("microk8s")).into_iter().collect();
    assert!(on_microk8s.is_subset(&on_kind));
    assert_eq!(on_kind.difference(&on_microk8s).collect::<Vec<_>>(), ["apiserver"], "it is scraped with the kubelet");
}
