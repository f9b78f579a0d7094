//! What is kept is read: a series that nothing shows or judges costs memory for nobody.

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;

use crate::{
    built::{dashboards, open_prometheus_config, panels, rules},
    expressions::metrics_of,
};

/// Kept though nothing reads it: when a process was started, which is asked by hand after a crash.
const BY_HAND: &str = "process_start_time_seconds";

/// What a past decision is recomputed from.
const BY_EXPLAIN: [&str; 6] = [
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas",
    "kube_deployment_status_replicas_ready",
    "kube_statefulset_replicas",
    "kube_statefulset_status_replicas",
    "kube_statefulset_status_replicas_ready",
];

/// The names that an allow-list is made of, of those that are no pattern.
fn names(list: &str) -> Vec<String> {
    let (names, rest) = alternatives(list);
    assert_eq!(rest, "", "a closing parenthesis too many in {list}");
    names.into_iter().filter(|name| !name.contains(['.', '+', '*'])).collect()
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
#[case("a_(b|c_(d|e))_total|x_.+|y", &["a_b_total", "a_c_d_total", "a_c_e_total", "y"])]
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
    let config = open_prometheus_config();
    let mut unread: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for job in config["scrape_configs"].as_array().expect("jobs") {
        let rules = job["metric_relabel_configs"].as_array().into_iter().flatten();
        let by_name = rules.filter(|rule| rule["action"] == "keep" && rule["source_labels"][0] == "__name__");
        for name in by_name.flat_map(|rule| names(rule["regex"].as_str().expect("a list"))) {
            if !read.contains(&name) {
                unread.entry(job["job_name"].to_string()).or_default().push(name.clone());
            }
            kept.insert(name);
        }
    }
    assert!(unread.is_empty(), "{unread:#?}");
    assert!(BY_EXPLAIN.iter().all(|&name| kept.contains(name)), "{kept:#?}");
}
