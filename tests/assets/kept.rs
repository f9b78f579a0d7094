//! What is kept is read: a series that nothing shows or judges costs memory for nobody.

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use serde_json::Value;

use crate::{
    built::{dashboards, open_prometheus_config, panels, pods, rules, stack},
    expressions::metrics_of,
};

/// Kept though nothing reads it: when a process was started, which is asked by hand after a crash.
const BY_HAND: &str = "process_start_time_seconds";

/// What a past decision is recomputed from.
const BY_EXPLAIN: [&str; 14] = [
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas",
    "kube_deployment_status_replicas_ready",
    "kube_pod_container_resource_requests",
    "kube_pod_container_status_restarts_total",
    "kube_pod_owner",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
    "kube_replicaset_owner",
    "kube_statefulset_replicas",
    "kube_statefulset_status_replicas",
    "kube_statefulset_status_replicas_ready",
];

/// The names that an allow-list is made of. A pattern stands for names that nobody can look at, so there is none.
fn names(list: &str) -> Vec<String> {
    let (names, rest) = alternatives(list);
    assert_eq!(rest, "", "a closing parenthesis too many in {list}");
    for name in &names {
        assert!(name.chars().all(|each| each.is_ascii_alphanumeric() || "_:".contains(each)), "{name} is a pattern");
    }
    names
}

/// What each job keeps of its pages, by name, where every page can be had.
fn kept() -> BTreeMap<String, Vec<String>> {
    let config = open_prometheus_config();
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in config["scrape_configs"].as_array().expect("jobs") {
        let rules = job["metric_relabel_configs"].as_array().into_iter().flatten();
        let by_name = rules.filter(|rule| rule["action"] == "keep" && rule["source_labels"][0] == "__name__");
        let names = by_name.flat_map(|rule| names(rule["regex"].as_str().expect("a list")));
        kept.entry(job["job_name"].as_str().expect("a name").to_owned()).or_default().extend(names);
    }
    kept
}

fn alternatives(list: &str) -> (Vec<String>, &str) {
    let (mut all, mut rest) = sequence(list);
    while let Some(next) = rest.strip_prefix('|') {
        let (more, after) = sequence(next);
        all.extend(more);
        rest = after;
    }
    (all, rest)
}

fn sequence(mut rest: &str) -> (Vec<String>, &str) {
    let mut all = vec![String::new()];
    while let Some(next) = rest.chars().next().filter(|next| !matches!(next, '|' | ')')) {
        let parts = if let Some(inside) = rest.strip_prefix('(') {
            let (parts, after) = alternatives(inside);
            rest = after.strip_prefix(')').expect("a closing parenthesis");
            parts
        } else {
            rest = &rest[next.len_utf8()..];
            vec![next.to_string()]
        };
        all = all.iter().flat_map(|start| parts.iter().map(move |part| format!("{start}{part}"))).collect();
    }
    (all, rest)
}

#[rstest]
#[case("a_(b|c_(d|e))_total|y", &["a_b_total", "a_c_d_total", "a_c_e_total", "y"])]
#[should_panic(expected = "x_.+ is a pattern")]
#[case("a|x_.+", &[])]
fn lists_are_read_as_names(#[case] list: &str, #[case] expected: &[&str]) {
    assert_eq!(names(list), expected);
}

#[test]
fn every_metric_that_is_kept_is_read_by_a_dashboard_or_a_rule() {
    let mut read: BTreeSet<String> = BY_EXPLAIN.iter().chain(&[BY_HAND]).map(|&name| name.to_owned()).collect();
    for rule in rules() {
        read.extend(metrics_of(rule["expr"].as_str().expect("an expression")));
    }
    for dashboard in dashboards().values() {
        let targets = panels(dashboard).flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        let annotations = dashboard["annotations"]["list"].as_array().expect("annotations").iter();
        for expression in targets.chain(annotations).filter_map(|asked| asked["expr"].as_str()) {
            read.extend(metrics_of(expression));
        }
        for variable in dashboard["templating"]["list"].as_array().expect("variables") {
            let definition = variable["definition"].as_str().expect("a definition");
            let inside =
                definition.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(',')).expect("a query");
            read.extend(metrics_of(inside.0));
        }
    }
    let kept = kept();
    let by_job = kept.iter().flat_map(|(job, names)| names.iter().map(move |name| (job, name)));
    let unread: Vec<_> = by_job.filter(|(_, name)| !read.contains(*name)).collect();
    assert!(unread.is_empty(), "{unread:#?}");
    assert!(BY_EXPLAIN.iter().all(|&name| kept.values().flatten().any(|kept| kept == name)), "{kept:#?}");
}

/// A name that the scaler does not have would be kept of nothing.
#[test]
fn what_is_kept_of_the_scaler_is_in_the_table_of_its_metrics() {
    let page = std::fs::read_to_string("docs/autoscaler.md").expect("the page");
    let kept = kept();
    let own = kept["scaler"].iter().filter_map(|name| name.strip_prefix("scalekit_autoscaler"));
    let families: BTreeSet<&str> =
        own.map(|name| name.strip_suffix("_bucket").or(name.strip_suffix("_count")).unwrap_or(name)).collect();
    assert!(families.len() > 10, "{families:?}");
    for family in families {
        assert!(page.contains(&format!("{family}`")), "no `scalekit_autoscaler{family}` is told of");
    }
}

/// What follows one of these in the arguments of a pod, up to the next comma.
fn asked_of(owner: &str, flag: &str) -> BTreeSet<String> {
    let objects = stack("kind");
    let pods = pods(&objects);
    let (_, pod) = pods.iter().find(|(name, _)| name == owner).expect("a pod");
    let arguments = pod["containers"][0]["args"].as_array().expect("arguments").iter().filter_map(Value::as_str);
    let asked = arguments.filter_map(|argument| argument.strip_prefix(flag)).flat_map(|list| list.split(','));
    asked.map(str::to_owned).collect()
}

/// Each kind is a list and a watch of the whole cluster, a right, and memory.
#[test]
fn kube_state_metrics_looks_at_no_kind_of_which_nothing_is_kept() {
    let kept = kept();
    let kinds: BTreeSet<&str> = kept["kube-state-metrics"]
        .iter()
        .map(|name| name.strip_prefix("kube_").and_then(|rest| rest.split('_').next()).expect("kube_KIND_…"))
        .collect();
    let asked = asked_of("Deployment kube-state-metrics", "--resources=");
    let asked: BTreeSet<&str> = asked.iter().map(|plural| plural.strip_suffix('s').expect("a plural")).collect();
    assert_eq!(asked, kinds);
}

/// The collectors of node-exporter that are named otherwise than what they collect, which is `node_COLLECTOR_…`.
const COLLECTED: [(&str, &str); 6] = [
    ("diskstats", "node_disk_"),
    ("loadavg", "node_load"),
    ("meminfo", "node_memory_"),
    ("netdev", "node_network_"),
    ("stat", "node_boot_time_seconds"),
    ("vmstat", "node_vmstat_"),
];

#[test]
fn node_exporter_collects_nothing_of_which_nothing_is_kept() {
    let kept = kept();
    let of = |collector: &str| {
        let named = COLLECTED.into_iter().find(|(name, _)| *name == collector);
        named.map_or_else(|| format!("node_{collector}_"), |(_, prefix)| prefix.to_owned())
    };
    // What else begins so is a collector's own setting.
    let asked = asked_of("DaemonSet node-exporter", "--collector.");
    let collectors = asked.iter().filter(|name| name.chars().all(|each| each.is_ascii_lowercase()));
    let prefixes: Vec<String> = collectors.map(|name| of(name)).collect();
    assert!(prefixes.len() > 5, "{asked:?}");
    for prefix in &prefixes {
        assert!(kept["node-exporter"].iter().any(|name| name.starts_with(prefix)), "nothing is kept of {prefix}");
    }
    for name in &kept["node-exporter"] {
        assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "nobody collects {name}");
    }
}
