//! Prometheus' configuration for these settings on this platform.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    Options, assets,
    edit::{self, Namespaces},
    one_process,
};
use crate::{
    platform::{Platform, PlatformKind, Seen},
    yaml,
};

/// The ConfigMap with the files that Prometheus reads.
pub(super) const CONFIG_MAP: &str = "prometheus-config";
const CONFIG: &str = "prometheus.yml";
const ALERTS: &str = "alerts.rules.yml";
const RECORDED: &str = "recorded.rules.yml";
/// What the configuration has more where there is an Alertmanager.
const ALERTMANAGER: &str = "alertmanager.yml";

/// The job of the kubelet's own page.
const KUBELET: &str = "kubelet";
/// Jobs that scrape the kubelet's port, whose certificate not every cluster can verify.
const KUBELET_JOBS: [&str; 3] = [KUBELET, "cadvisor", "kubelet-probes"];
const SERVICE_ACCOUNT_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Jobs that may have no target without anything being wrong: nobody needs to annotate anything.
pub fn optional_jobs() -> Vec<String> {
    vec!["annotated-pods".to_owned(), "annotated-services".to_owned()]
}

/// Jobs that have at least one target on this platform, all of them up, when the stack is healthy.
///
/// On a platform that is not known the DNS server is not counted on: managed clouds run other ones,
/// or give theirs no metrics port.
pub fn expected_jobs(options: &Options, platform: &Platform) -> Vec<String> {
    let optional = optional_jobs();
    jobs(&configuration(options, platform))
        .into_iter()
        .filter(|job| !optional.contains(job))
        .filter(|job| job != "coredns" || platform.kind != PlatformKind::Generic)
        .collect()
}

/// The configuration with the jobs of the components that there are, and each page scraped by one of them.
fn configuration(options: &Options, platform: &Platform) -> Value {
    let mut config = assets::config("prometheus", CONFIG);
    if options.alerting.is_some() {
        let mut more = assets::config("prometheus", ALERTMANAGER);
        config["alerting"] = more["alerting"].take();
        if let Some(jobs) = config["scrape_configs"].as_array_mut() {
            jobs.extend(more["scrape_configs"].as_array().into_iter().flatten().cloned());
        }
    }
    if platform.one_process {
        one_process::scrape_once(&mut config);
    }
    config
}

/// What the configuration that is installed was made for: how the cluster was seen when that could be looked at.
pub fn scraped_as(live: &[DynamicObject]) -> Seen {
    let installed = live
        .iter()
        .find(|object| edit::kind(object) == "ConfigMap" && object.metadata.name.as_deref() == Some(CONFIG_MAP));
    let text = installed.and_then(|object| object.data["data"][CONFIG].as_str());
    let Some(config) = text.and_then(|text| yaml::parse::<Value>(text).ok()) else { return Seen::default() };
    let configs = config["scrape_configs"].as_array().into_iter().flatten();
    let kubelet = configs.into_iter().find(|job| job["job_name"] == KUBELET);
    Seen {
        one_process: Some(!jobs(&config).iter().any(|job| job == one_process::API_SERVER)),
        kubelet_verifies: kubelet.map(|job| job["tls_config"]["insecure_skip_verify"] != true),
    }
}

fn jobs(config: &Value) -> Vec<String> {
    let configs = config["scrape_configs"].as_array().into_iter().flatten();
    configs.filter_map(|job| job["job_name"].as_str()).map(str::to_owned).collect()
}

/// The files of [`CONFIG_MAP`].
pub(super) fn files(options: &Options, platform: &Platform, namespaces: &Namespaces<'_>) -> Vec<(String, Value)> {
    let mut config = configuration(options, platform);
    set_interval(&mut config, options.scrape_interval_seconds);
    config["storage"]["tsdb"]["retention"] = json!({"time": options.retention.time, "size": options.retention.size});
    for alertmanager in edit::items(&mut config, "/alerting/alertmanagers") {
        for targets in edit::items(alertmanager, "/static_configs") {
            targets["targets"] = json!([format!("alertmanager.{}.svc:9093", namespaces.of("monitoring"))]);
        }
    }
    for job in edit::items(&mut config, "/scrape_configs") {
        for discovery in edit::items(job, "/kubernetes_sd_configs") {
            for namespace in edit::items(discovery, "/namespaces/names") {
                namespaces.apply_to(namespace, "");
            }
        }
        if platform.kubelet_verifies && KUBELET_JOBS.iter().any(|name| job["job_name"] == *name) {
            job["tls_config"] = json!({"ca_file": SERVICE_ACCOUNT_CA});
        }
    }

    let mut alerts = assets::config("prometheus", ALERTS);
    for group in edit::items(&mut alerts, "/groups") {
        for rule in edit::items(group, "/rules").filter(|rule| rule["alert"] == "JobWithoutTargets") {
            let absent = expected_jobs(options, platform).into_iter().map(|job| format!("absent(up{{job=\"{job}\"}})"));
            rule["expr"] = json!(absent.collect::<Vec<_>>().join(" or "));
        }
    }
    let recorded = assets::config("prometheus", RECORDED);
    vec![(CONFIG.to_owned(), config), (ALERTS.to_owned(), alerts), (RECORDED.to_owned(), recorded)]
}

/// Prometheus refuses a timeout that is longer than the interval, and a job may be slower than the
/// rest but not faster.
fn set_interval(config: &mut Value, seconds: u32) {
    let timeout = seconds_of(&config["global"]["scrape_timeout"]).unwrap_or(10).min(seconds);
    config["global"]["scrape_interval"] = json!(format!("{seconds}s"));
    config["global"]["evaluation_interval"] = json!(format!("{seconds}s"));
    config["global"]["scrape_timeout"] = json!(format!("{timeout}s"));
    for job in edit::items(config, "/scrape_configs") {
        if seconds_of(&job["scrape_interval"]).is_some_and(|own| own < seconds) {
            job["scrape_interval"] = json!(format!("{seconds}s"));
        }
    }
}

/// A duration of the embedded configuration, which are all written in seconds.
fn seconds_of(value: &Value) -> Option<u32> {
    value.as_str()?.strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{catalog::test_options, platform};

    fn built(options: &Options, platform: &str) -> BTreeMap<String, Value> {
        let platform = platform::assume(platform.parse().unwrap(), &[], &[]);
        let namespaces = Namespaces::new([("monitoring", "m".to_owned()), ("monitoring-nodes", "m-nodes".to_owned())]);
        files(options, &platform, &namespaces).into_iter().collect()
    }

    fn job<'a>(files: &'a BTreeMap<String, Value>, name: &str) -> &'a Value {
        files[CONFIG]["scrape_configs"].as_array().unwrap().iter().find(|job| job["job_name"] == name).unwrap()
    }

    #[test]
    fn the_kubelet_is_verified_where_its_certificate_can_be() {
        for name in KUBELET_JOBS {
            assert_eq!(job(&built(&test_options(), "kind"), name)["tls_config"], json!({"insecure_skip_verify": true}));
            assert_eq!(
                job(&built(&test_options(), "microk8s"), name)["tls_config"],
                json!({"ca_file": SERVICE_ACCOUNT_CA})
            );
        }
    }

    #[test]
    fn discovery_follows_the_namespaces_that_are_ours_and_no_others() {
        let files = built(&test_options(), "kind");
        let names = |name| job(&files, name)["kubernetes_sd_configs"][0]["namespaces"]["names"].clone();
        assert_eq!(names("grafana"), json!(["m"]));
        assert_eq!(names("node-exporter"), json!(["m-nodes"]));
        assert_eq!(names("coredns"), json!(["kube-system"]));
    }

    #[test]
    fn a_short_interval_shortens_the_timeout_and_a_long_one_slows_every_job() {
        let interval = |seconds| built(&Options { scrape_interval_seconds: seconds, ..test_options() }, "kind");
        let fast = interval(5);
        assert_eq!(fast[CONFIG]["global"]["scrape_interval"], "5s");
        assert_eq!(fast[CONFIG]["global"]["scrape_timeout"], "5s");
        assert_eq!(job(&fast, "apiserver")["scrape_interval"], "20s");
        let slow = interval(120);
        assert_eq!(slow[CONFIG]["global"]["scrape_timeout"], "10s");
        assert_eq!(job(&slow, "apiserver")["scrape_interval"], "120s");
    }

    #[test]
    fn the_alert_for_jobs_without_targets_names_the_jobs_of_this_platform() {
        let expression = |platform| built(&test_options(), platform)[ALERTS].to_string();
        assert!(expression("kind").contains(r#"absent(up{job=\"coredns\"})"#));
        assert!(!expression("generic").contains(r#"absent(up{job=\"coredns\"})"#));
        assert!(!expression("kind").contains("annotated-"));
    }
}
