//! Prometheus' configuration for these settings on this platform.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    Options, api_server, assets, control_plane,
    edit::{self, Namespaces},
    objects::ContentDigest,
    one_process,
};
use crate::{
    additions::File,
    hex,
    platform::{Part, Platform, PlatformKind, Seen},
    yaml,
};

/// The ConfigMap with the files that Prometheus reads.
pub(super) const CONFIG_MAP: &str = "prometheus-config";
const CONFIG: &str = "prometheus.yml";
pub(super) const ALERTS: &str = "alerts.rules.yml";
pub(super) const RECORDED: &str = "recorded.rules.yml";
/// What the configuration has more where there is an Alertmanager.
const ALERTMANAGER: &str = "alertmanager.yml";

/// How the last of the configuration's `rule_files` begins. It is a pattern that no file has, and ends with a hash of all
/// that Prometheus is to load: what it has loaded, it says by repeating it.
const CONTENT: &str = "/etc/prometheus/config/content-";

/// The job of the kubelet's own page.
const KUBELET: &str = "kubelet";
/// Jobs that scrape the kubelet's port, whose certificate not every cluster can verify.
const KUBELET_JOBS: [&str; 4] = [KUBELET, "cadvisor", "kubelet-resource", "kubelet-probes"];

/// Whether a job scrapes the kubelet's port.
pub fn is_of_the_kubelet(job: &str) -> bool {
    KUBELET_JOBS.contains(&job)
}

const SERVICE_ACCOUNT_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// The Secret that holds the user's own scrape configurations, where there are any: they may hold passwords.
pub const SCRAPES_SECRET: &str = "prometheus-scrape-configs";

/// The name under which a rule file of the user's lies beside ours.
pub(super) fn rule_file(file: &File) -> String {
    format!("extra-{}.rules.yml", file.stem())
}

/// The name under which a scrape configuration of the user's lies beside ours.
pub fn scrape_file(file: &File) -> String {
    format!("extra-{}.scrape.yml", file.stem())
}

/// Where the runbooks lie in scalekit's own repository, and how the alerts name them there.
const RUNBOOKS: &str = "docs/runbooks.md";

/// The page of runbooks of this version, where the package says in which repository it is.
pub(super) fn repository_runbooks() -> Option<String> {
    let repository = env!("CARGO_PKG_REPOSITORY");
    let version = env!("CARGO_PKG_VERSION");
    (!repository.is_empty()).then(|| format!("{repository}/blob/v{version}/{RUNBOOKS}"))
}

/// The rule of an alert of ours, as it lies in the repository.
pub fn alert_rule(name: &str) -> Option<Value> {
    let mut alerts = assets::config("prometheus", ALERTS);
    let groups = edit::items(&mut alerts, "/groups");
    groups.flat_map(|group| edit::items(group, "/rules")).find(|rule| rule["alert"] == name).map(Value::take)
}

/// Jobs that may have no target without anything being wrong: nobody needs to annotate anything.
pub fn optional_jobs() -> Vec<String> {
    vec!["annotated-pods".to_owned(), "annotated-services".to_owned()]
}

/// Whether something may be wrong with the targets of a job without the stack being unwell: what users annotate is theirs,
/// and that a part of the control plane listens on its node's address does not say that a firewall lets anybody there.
pub fn is_optional(job: &str) -> bool {
    optional_jobs().iter().any(|optional| optional == job) || Part::of_job(job).is_some()
}

/// Jobs that have at least one target on this platform, all of them up, when the stack is healthy.
///
/// On a platform that is not known the DNS server is not counted on: managed clouds run other ones,
/// or give theirs no metrics port.
pub fn expected_jobs(options: &Options, platform: &Platform) -> Vec<String> {
    names(&configuration(options, platform))
        .into_iter()
        .filter(|job| !is_optional(job))
        .filter(|job| job != "coredns" || platform.kind != PlatformKind::Generic)
        .collect()
}

/// The configuration with the jobs of the components that there are.
fn whole(options: &Options) -> Value {
    let mut config = assets::config("prometheus", CONFIG);
    if options.alerting.is_some() {
        let mut more = assets::config("prometheus", ALERTMANAGER);
        config["alerting"] = more["alerting"].take();
        if let Some(jobs) = config["scrape_configs"].as_array_mut() {
            jobs.extend(more["scrape_configs"].as_array().into_iter().flatten().cloned());
        }
    }
    config
}

/// The same with each page scraped by one of them.
fn configuration(options: &Options, platform: &Platform) -> Value {
    let mut config = whole(options);
    if platform.one_process {
        one_process::scrape_once(&mut config);
    }
    control_plane::scrape(&mut config, platform, &options.additions);
    config
}

/// Names of all jobs that are ours, on whatever platform. Those of parts of the control plane give way to the user's own.
pub fn jobs(options: &Options) -> Vec<String> {
    names(&whole(options))
}

/// The text of the configuration among these objects.
fn configuration_text(objects: &[DynamicObject]) -> Option<&str> {
    let is_it = |object: &&DynamicObject| {
        edit::kind(object) == "ConfigMap" && object.metadata.name.as_deref() == Some(CONFIG_MAP)
    };
    objects.iter().find(is_it)?.data["data"][CONFIG].as_str()
}

/// Whether the configurations in both are the same to the letter, and so were made for the same.
pub fn is_scraped_alike(one: &[DynamicObject], other: &[DynamicObject]) -> bool {
    let texts = (configuration_text(one), configuration_text(other));
    texts.0.is_some() && texts.0 == texts.1
}

/// What was installed was made for: how the cluster was seen when that could be looked at.
pub fn scraped_as(live: &[DynamicObject]) -> Seen {
    let text = configuration_text(live);
    let api_port = api_server::port(live);
    let Some(config) = text.and_then(|text| yaml::parse::<Value>(text).ok()) else {
        return Seen { api_port, ..Seen::default() };
    };
    let configs = config["scrape_configs"].as_array().into_iter().flatten();
    let kubelet = configs.into_iter().find(|job| job["job_name"] == KUBELET);
    Seen {
        one_process: Some(!names(&config).iter().any(|job| job == one_process::API_SERVER)),
        kubelet_verifies: kubelet.map(|job| job["tls_config"]["insecure_skip_verify"] != true),
        exposed: Some(control_plane::scraped(&config)),
        api_port,
    }
}

/// Parts of the control plane that can be reached, that the `installed` configuration does not scrape there, and that `up`
/// would: it leaves to the user what they scrape themselves, and one process has one page.
pub fn unscraped(seen: &Seen, installed: &Seen, options: &Options) -> Vec<Part> {
    let mut unscraped = seen.unscraped(installed);
    unscraped
        .retain(|part| installed.one_process != Some(true) && !control_plane::is_theirs(*part, &options.additions));
    unscraped
}

/// By what the configuration that Prometheus says to have loaded is known to be the one in these objects; `None` where there
/// is none in them.
pub fn content_mark(objects: &[DynamicObject]) -> Option<String> {
    let config: Value = yaml::parse(configuration_text(objects)?).ok()?;
    let patterns = config["rule_files"].as_array()?.iter().filter_map(Value::as_str);
    patterns.into_iter().find(|pattern| pattern.starts_with(CONTENT)).map(str::to_owned)
}

fn names(config: &Value) -> Vec<String> {
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

    if !options.drop_metrics.is_empty() {
        let dropped = json!({"source_labels": ["__name__"], "regex": options.drop_metrics.join("|"), "action": "drop"});
        for job in edit::items(&mut config, "/scrape_configs") {
            match job["metric_relabel_configs"].as_array_mut() {
                Some(relabelings) => relabelings.push(dropped.clone()),
                None => job["metric_relabel_configs"] = json!([dropped]),
            }
        }
    }

    let mut alerts = assets::config("prometheus", ALERTS);
    for group in edit::items(&mut alerts, "/groups") {
        for rule in edit::items(group, "/rules") {
            let anchor = rule["annotations"]["runbook_url"].as_str().and_then(|url| url.strip_prefix(RUNBOOKS));
            if let (Some(page), Some(anchor)) = (&options.runbooks, anchor) {
                rule["annotations"]["runbook_url"] = json!(format!("{page}{anchor}"));
            }
            if let Some(step) = rule["annotations"]["first_step"].as_str() {
                let own = format!("-n {} ", namespaces.of("monitoring"));
                rule["annotations"]["first_step"] = json!(step.replace("-n monitoring ", &own));
            }
            if let Some(expression) = rule["expr"].as_str() {
                let expression = namespaces.in_queries(expression);
                rule["expr"] = json!(control_plane::with_theirs(&expression, &options.additions));
            }
        }
        for rule in edit::items(group, "/rules").filter(|rule| rule["alert"] == "JobWithoutTargets") {
            let absent = expected_jobs(options, platform).into_iter().map(|job| format!("absent(up{{job=\"{job}\"}})"));
            rule["expr"] = json!(absent.collect::<Vec<_>>().join(" or "));
        }
    }
    let recorded = assets::config("prometheus", RECORDED);
    let ours = ContentDigest::default().with(&config).with(&alerts).with(&recorded);
    let own = options.additions.rules.iter().chain(&options.additions.scrapes);
    let digest = own.fold(ours, |digest, file| digest.with_text(file.stem()).with_text(&file.text)).finish();
    if let Some(patterns) = config["rule_files"].as_array_mut() {
        patterns.push(json!(format!("{CONTENT}{}*", hex::encode(&digest[..8]))));
    }
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
    fn what_is_loaded_is_known_by_all_that_is_to_be_loaded() {
        let mark = |options: &Options| {
            let platform = platform::assume("kind".parse().unwrap(), &[], &[]);
            content_mark(&crate::catalog::stack(options, &platform)).unwrap()
        };
        let with = |rules: &[&str], scrapes: &[&str]| {
            let files = |texts: &[&str]| {
                let file = |text: &&str| File { name: "a.yml".to_owned(), text: (*text).to_owned() };
                texts.iter().map(file).collect::<Vec<_>>()
            };
            let additions = crate::additions::Additions { rules: files(rules), scrapes: files(scrapes) };
            mark(&Options { additions, ..test_options() })
        };
        let marks = [
            mark(&test_options()),
            mark(&Options { scrape_interval_seconds: 5, ..test_options() }),
            with(&["groups: []"], &[]),
            with(&["groups:"], &[]),
            with(&["groups:"], &["scrape_configs: []"]),
            with(&["groups:"], &["scrape_configs:"]),
        ];
        assert_eq!(marks.iter().collect::<std::collections::BTreeSet<_>>().len(), marks.len(), "{marks:?}");
        assert_eq!(mark(&test_options()), marks[0]);
        assert!(marks[0].ends_with('*'), "promtool takes one without for a file that is missing");
    }

    /// The kubelet exchanges the files of one volume at once, those of two one after the other.
    #[test]
    fn all_that_prometheus_loads_lies_in_one_volume() {
        let platform = platform::assume("kind".parse().unwrap(), &[], &[]);
        let objects = crate::catalog::stack(&test_options(), &platform);
        let set = objects.iter().find(|object| edit::kind(object) == "StatefulSet").unwrap();
        let sources = &set.data["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
        assert_eq!(sources[0]["configMap"]["name"], CONFIG_MAP);
        assert_eq!(sources[1]["secret"], json!({"name": SCRAPES_SECRET, "optional": true}));
    }

    #[test]
    fn runbooks_lie_where_they_are_said_to() {
        let options = Options { runbooks: Some("https://wiki.example/runbooks".to_owned()), ..test_options() };
        let alerts = built(&options, "kind")[ALERTS].to_string();
        assert!(alerts.contains("\"https://wiki.example/runbooks#targetdown\""), "{alerts}");
        assert!(!alerts.contains("docs/runbooks.md"));
        // A message links to what begins so, and to nothing else.
        let without = Options { runbooks: None, ..test_options() };
        let urls = |options: &Options| {
            let groups = built(options, "kind")[ALERTS]["groups"].as_array().unwrap().clone();
            let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
            rules.map(|rule| rule["annotations"]["runbook_url"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(urls(&options).iter().all(|url| url.starts_with("https://wiki.example/runbooks#")));
        assert!(urls(&without).iter().all(|url| url.starts_with("docs/runbooks.md#")));
        assert_eq!(repository_runbooks(), None, "docs/alerting.md says that there is no link by default");
    }

    #[test]
    fn what_to_look_at_first_is_looked_for_where_the_stack_is() {
        let alerts = built(&test_options(), "kind")[ALERTS].to_string();
        assert!(alerts.contains("kubectl logs -n m deployment/scaler"), "{alerts}");
        assert!(!alerts.contains("-n monitoring"), "{alerts}");
        assert!(alerts.contains(r#"namespace=\"m\", persistentvolumeclaim=\"prometheus-data\""#), "{alerts}");
        assert!(!alerts.contains(r#"namespace=\"monitoring\""#), "{alerts}");
    }

    #[test]
    fn a_metric_that_is_dropped_is_dropped_by_every_job() {
        let options = Options { drop_metrics: vec!["a".to_owned(), "b_total".to_owned()], ..test_options() };
        for job in built(&options, "kind")[CONFIG]["scrape_configs"].as_array().unwrap() {
            let last = job["metric_relabel_configs"].as_array().unwrap().last().unwrap();
            assert_eq!(*last, json!({"source_labels": ["__name__"], "regex": "a|b_total", "action": "drop"}));
        }
    }

    #[test]
    fn the_alert_for_jobs_without_targets_names_the_jobs_of_this_platform() {
        let expression = |platform| built(&test_options(), platform)[ALERTS].to_string();
        assert!(expression("kind").contains(r#"absent(up{job=\"coredns\"})"#));
        assert!(!expression("generic").contains(r#"absent(up{job=\"coredns\"})"#));
        assert!(!expression("kind").contains(r#"absent(up{job=\"annotated-"#));
    }

    /// promtool tests the rules as they stand in the file: they have to be those that are installed.
    #[test]
    fn the_rules_in_the_file_are_those_for_kind() {
        let rules = |alerts: &Value| {
            let groups = alerts["groups"].as_array().unwrap();
            let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
            rules.map(|rule| (rule["alert"].clone(), rule["expr"].clone())).collect::<Vec<_>>()
        };
        let platform = platform::assume("kind".parse().unwrap(), &[], &[]);
        let files = files(&test_options(), &platform, &Namespaces::new([("monitoring", "monitoring".to_owned())]));
        let (_, installed) = files.iter().find(|(name, _)| name == ALERTS).unwrap();
        assert_eq!(rules(&assets::config("prometheus", ALERTS)), rules(installed));
    }
}
