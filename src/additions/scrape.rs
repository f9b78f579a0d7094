//! Scrape configurations: files of the form that Prometheus' `scrape_config_files` takes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{File, Mistake, Mistakes, check_duration};
use crate::yaml::{self, Placed};

type Job = BTreeMap<Placed<String>, Placed<Value>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScrapeFile {
    scrape_configs: Vec<Placed<Job>>,
}

/// Keys of a `scrape_config` of Prometheus 3.14, its HTTP client among them.
const KEYS: [&str; 43] = [
    "job_name",
    "honor_labels",
    "honor_timestamps",
    "track_timestamps_staleness",
    "params",
    "scrape_interval",
    "scrape_timeout",
    "scrape_protocols",
    "fallback_scrape_protocol",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "scrape_failure_log_file",
    "metrics_path",
    "scheme",
    "enable_compression",
    "body_size_limit",
    "sample_limit",
    "target_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "keep_dropped_targets",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "extra_scrape_metrics",
    "relabel_configs",
    "metric_relabel_configs",
    "static_configs",
    "authorization",
    "basic_auth",
    "bearer_token",
    "bearer_token_file",
    "enable_http2",
    "follow_redirects",
    "http_headers",
    "oauth2",
    "tls_config",
    "no_proxy",
    "proxy_url",
    "proxy_from_environment",
];
const RELABEL_KEYS: [&str; 7] =
    ["source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action"];
const RELABEL_ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

/// Names of the jobs of a file; none where it cannot be read.
pub fn job_names(file: &File) -> Vec<String> {
    let parsed = yaml::parse::<ScrapeFile>(&file.text).map(|file| file.scrape_configs).unwrap_or_default();
    parsed.iter().filter_map(|job| get(&job.value, "job_name")?.value.as_str().map(str::to_owned)).collect()
}

/// The mistakes of all files together: a job has its name for itself.
pub(super) fn check(files: &[File], taken: &[String]) -> Vec<Mistake> {
    let mut jobs: BTreeMap<String, String> = taken.iter().map(|job| (job.clone(), "scalekit".to_owned())).collect();
    let mut found = Vec::new();
    for file in files {
        let mut mistakes = Mistakes::of(file);
        match yaml::parse::<ScrapeFile>(&file.text) {
            Err(error) => mistakes.unreadable(&error),
            Ok(parsed) => {
                for job in &parsed.scrape_configs {
                    check_job(job, &mut mistakes);
                    let Some(place) = get(&job.value, "job_name") else { continue };
                    let Some(name) = place.value.as_str() else { continue };
                    if let Some(whose) = jobs.get(name) {
                        mistakes.add(place, format!("there is a job `{name}` already, of {whose}"));
                    }
                    jobs.entry(name.to_owned()).or_insert_with(|| file.name.clone());
                }
            }
        }
        found.extend(mistakes.found);
    }
    found
}

fn get<'a>(job: &'a Job, key: &str) -> Option<&'a Placed<Value>> {
    job.iter().find(|(known, _)| known.value == key).map(|(_, value)| value)
}

fn check_job(job: &Placed<Job>, mistakes: &mut Mistakes<'_>) {
    for key in job.value.keys() {
        let known = KEYS.contains(&key.value.as_str())
            || key.value.ends_with("_sd_configs")
            || key.value == "proxy_connect_header";
        if !known {
            mistakes.add(key, format!("a scrape configuration has no key `{}`", key.value));
        }
    }
    match get(&job.value, "job_name") {
        None => mistakes.add(job, "`job_name` is missing"),
        Some(name) if name.value.as_str().is_none_or(str::is_empty) => mistakes.add(name, "`job_name` is empty"),
        Some(_) => {}
    }
    let interval = check_duration("scrape_interval", get(&job.value, "scrape_interval"), mistakes);
    let timeout = check_duration("scrape_timeout", get(&job.value, "scrape_timeout"), mistakes);
    if let (Some(interval), Some(timeout), Some(place)) = (interval, timeout, get(&job.value, "scrape_timeout"))
        && timeout > interval
    {
        mistakes.add(place, "`scrape_timeout` is longer than `scrape_interval`");
    }
    if let Some(scheme) = get(&job.value, "scheme").filter(|scheme| scheme.value != "http" && scheme.value != "https") {
        mistakes.add(scheme, "`scheme` is http or https");
    }
    for key in ["relabel_configs", "metric_relabel_configs"] {
        if let Some(list) = get(&job.value, key) {
            check_relabeling(key, list, mistakes);
        }
    }
    check_targets(&job.value, mistakes);
}

fn check_relabeling(key: &str, list: &Placed<Value>, mistakes: &mut Mistakes<'_>) {
    let Some(rules) = list.value.as_array() else {
        mistakes.add(list, format!("`{key}` is no list"));
        return;
    };
    for (position, rule) in rules.iter().enumerate() {
        let Some(rule) = rule.as_object() else {
            mistakes.add(list, format!("{key}[{position}] is no relabeling"));
            continue;
        };
        for unknown in rule.keys().filter(|name| !RELABEL_KEYS.contains(&name.as_str())) {
            mistakes.add(list, format!("{key}[{position}] has no key `{unknown}`"));
        }
        let action = rule.get("action").map(|action| action.as_str().unwrap_or_default().to_lowercase());
        if let Some(action) = action.filter(|action| !RELABEL_ACTIONS.contains(&action.as_str())) {
            mistakes.add(list, format!("{key}[{position}]: there is no action `{action}`"));
        }
    }
}

/// A target is HOST:PORT: a URL is the slip that is made most.
fn check_targets(job: &Job, mistakes: &mut Mistakes<'_>) {
    let Some(configs) = get(job, "static_configs") else { return };
    let targets: BTreeSet<&str> = configs
        .value
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|config| config["targets"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for target in targets.into_iter().filter(|target| target.contains('/') && get(job, "relabel_configs").is_none()) {
        mistakes.add(configs, format!("the target `{target}` is no HOST:PORT: path and scheme are keys of their own"));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn mistakes(texts: &[&str]) -> Vec<String> {
        let files: Vec<File> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| File { name: format!("{number}.yml"), text: (*text).to_owned() })
            .collect();
        check(&files, &["kubelet".to_owned()]).iter().map(ToString::to_string).collect()
    }

    const GOOD: &str = "scrape_configs:
- job_name: mine
  scrape_interval: 30s
  scrape_timeout: 5s
  basic_auth: {username: a, password: b}
  static_configs:
  - targets: [a.example:9100]
  relabel_configs:
  - {source_labels: [a], target_label: b, action: Replace}
- job_name: pods
  kubernetes_sd_configs: [{role: pod}]
";

    #[test]
    fn what_prometheus_takes_is_taken() {
        assert_eq!(mistakes(&[GOOD]), Vec::<String>::new());
        assert_eq!(job_names(&File { name: String::new(), text: GOOD.to_owned() }), ["mine", "pods"]);
    }

    #[rstest]
    #[case::no_name("- scrape_interval: 5s\n", "0.yml:2:3: `job_name` is missing")]
    #[case::ours("- job_name: kubelet\n", "0.yml:2:13: there is a job `kubelet` already, of scalekit")]
    #[case::unknown_key("- job_name: a\n  scrape_intervall: 5s\n", "0.yml:3:3: a scrape configuration has no key")]
    #[case::duration("- job_name: a\n  scrape_interval: 5\n", "0.yml:3:20: `scrape_interval` is no duration")]
    #[case::timeout(
        "- job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
        "0.yml:4:19: `scrape_timeout` is longer"
    )]
    #[case::scheme("- job_name: a\n  scheme: ftp\n", "0.yml:3:11: `scheme` is")]
    #[case::url(
        "- job_name: a\n  static_configs:\n  - targets: ['http://a:1/metrics']\n",
        "0.yml:4:5: the target `http"
    )]
    #[case::relabel_key(
        "- job_name: a\n  relabel_configs:\n  - {sourcelabels: [x]}\n",
        "0.yml:4:5: relabel_configs[0] has no key `sourcelabels`"
    )]
    #[case::relabel_action(
        "- job_name: a\n  metric_relabel_configs:\n  - {action: keepp}\n",
        "0.yml:4:5: metric_relabel_configs[0]: there is no action"
    )]
    fn a_mistake_has_its_place(#[case] rest: &str, #[case] expected: &str) {
        let found = mistakes(&[&format!("scrape_configs:\n{rest}")]);
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{found:?}");
    }

    #[test]
    fn a_job_of_another_file_is_named_with_its_file() {
        let found = mistakes(&[GOOD, "scrape_configs:\n- job_name: mine\n"]);
        assert_eq!(found, ["1.yml:2:13: there is a job `mine` already, of 0.yml"]);
    }

    #[test]
    fn lines_that_may_hold_a_password_are_not_quoted() {
        let found = mistakes(&["scrape_configs:\n- basic_auth: {password: hunter\n  job_name: a\n"]);
        assert!(!found.is_empty() && !found.join("\n").contains("hunter"), "{found:?}");
    }
}
