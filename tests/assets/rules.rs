//! Alerts and recorded series: they read what is kept, say what is wrong, and are tested.

use std::collections::BTreeSet;

use scalekit::yaml;
use serde_json::{Value, json};

use crate::{
    built::{alerts, file, rules, whole_stack},
    expressions::check_expression,
};

#[test]
fn rules_read_metrics_that_are_kept() {
    for rule in rules() {
        check_expression(rule["expr"].as_str().expect("an expression"), &format!("the rule {}", rule_name(&rule)));
    }
}

fn rule_name(rule: &Value) -> &str {
    rule["alert"].as_str().or(rule["record"].as_str()).expect("a name")
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() {
    let runbooks = std::fs::read_to_string("docs/runbooks.md").expect("the runbooks");
    let sections: BTreeSet<_> = runbooks.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = rule_name(&alert).to_owned();
        assert!(sections.contains(name.as_str()), "{name} has no runbook");
        let anchor = format!("docs/runbooks.md#{}", name.to_lowercase());
        let url = alert["annotations"]["runbook_url"].as_str().expect("a runbook");
        assert!(url.ends_with(&anchor), "{name}: {url}");
        for key in ["summary", "description", "first_step"] {
            assert!(alert["annotations"][key].is_string(), "{key} of {name}");
        }
        let severity = alert["labels"]["severity"].as_str().expect("a severity");
        assert!(matches!(severity, "critical" | "warning"), "severity of {name}");
        assert!(names.insert(name), "{} is there twice", rule_name(&alert));
    }
    let orphans: Vec<_> = sections.into_iter().filter(|section| !names.contains(*section)).collect();
    assert!(orphans.is_empty(), "runbooks of no alert: {orphans:?}");
}

/// Alerts about a state: it holds or it does not, which no number says better than the labels do.
const STATES: [&str; 19] = [
    "AggregatedApiDown",
    "AnnotatedTargetDown",
    "AutoscalerInvalid",
    "AutoscalerUnableToScale",
    "ContainerNotStarting",
    "ControlPlanePartDown",
    "EtcdWithoutLeader",
    "HpaUnableToScale",
    "ImagePullFailing",
    "JobFailed",
    "JobWithoutTargets",
    "KubeletCannotCount",
    "NodeNotReady",
    "NodeUnderPressure",
    "PersistentVolumeFailed",
    "PodNotReady",
    "PrometheusNotIngesting",
    "ScalerWithoutLeader",
    "TargetDown",
];

#[test]
fn every_alert_about_an_amount_says_how_much_it_is() {
    for alert in alerts() {
        let description = alert["annotations"]["description"].as_str().expect("a description");
        let name = rule_name(&alert);
        assert_ne!(description.contains("$value"), STATES.contains(&name), "{name}: {description}");
        assert!(description.contains("{{ $"), "{name} says nothing of what it is about: {description}");
    }
}

/// A target that is down has its node as a label, and would else silence all that is told of the node itself, or be silenced
/// while a disk fills up.
#[test]
fn warnings_about_a_node_give_way_to_alerts_about_the_node_alone() {
    let config: Value =
        yaml::parse(&file(&whole_stack("kind"), "alertmanager-config", "alertmanager.yml")).expect("YAML");
    let rules = config["inhibit_rules"].as_array().expect("rules");
    let of_nodes = rules.iter().find(|rule| rule["equal"] == json!(["node"])).expect("a rule for nodes");
    let sources = of_nodes["source_matchers"].as_array().expect("matchers");
    assert!(sources.contains(&json!(r#"alertname=~"Node.+""#)), "{of_nodes:#}");
    let targets = of_nodes["target_matchers"].as_array().expect("matchers");
    assert!(targets.contains(&json!(r#"alertname!="AnnotatedTargetDown""#)), "{of_nodes:#}");
    let away = rules.iter().find(|rule| rule["source_matchers"][0] == r#"alertname="NodeNotReady""#);
    let away = away.expect("what a node that is away takes with it");
    assert_eq!(away["target_matchers"][0], r#"alertname="AnnotatedTargetDown""#, "{away:#}");
    for alert in alerts().filter(|alert| rule_name(alert).starts_with("Node")) {
        let expression = alert["expr"].as_str().expect("an expression");
        let by_node = ["by (node", "node_device:"].iter().any(|part| expression.contains(part));
        assert!(by_node, "{} is told of no node", rule_name(&alert));
    }
}

/// Of every job nothing is stored then. It is told before they are, and before they would be told the one is.
#[test]
fn that_nothing_is_stored_is_told_once_and_not_of_every_job() {
    let config: Value =
        yaml::parse(&file(&whole_stack("kind"), "alertmanager-config", "alertmanager.yml")).expect("YAML");
    let rules = config["inhibit_rules"].as_array().expect("rules");
    let source = json!([r#"alertname="PrometheusNotIngesting""#]);
    let rule = rules.iter().find(|rule| rule["source_matchers"] == source).expect("a rule for it");
    assert_eq!(rule["target_matchers"], json!([r#"alertname="JobWithoutTargets""#]), "{rule:#}");
    let minutes = |name: &str| {
        let alert = alerts().find(|alert| rule_name(alert) == name).expect("an alert");
        alert["for"].as_str().and_then(|waits| waits.strip_suffix('m')?.parse::<u32>().ok()).expect("minutes")
    };
    // A sample counts for five minutes, in `absent` by Prometheus' look back, in the other by the range.
    assert!(minutes("PrometheusNotIngesting") < minutes("JobWithoutTargets"));
}

/// promtool runs them (`dev/test-rules`); here is counted that none is missing.
#[test]
fn every_alert_is_tested_to_fire_and_to_be_silent() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for entry in std::fs::read_dir("tests/rules").expect("tests of the rules") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        let file: Value = yaml::parse(&text).expect("YAML");
        for test in file["tests"].as_array().expect("tests") {
            for case in test["alert_rule_test"].as_array().into_iter().flatten() {
                let name = case["alertname"].as_str().expect("a name").to_owned();
                let expected = case["exp_alerts"].as_array().expect("what is expected");
                if expected.is_empty() {
                    silent.insert(name)
                } else {
                    fires.insert(name)
                };
            }
        }
    }
    let all: BTreeSet<String> = alerts().map(|alert| rule_name(&alert).to_owned()).collect();
    assert_eq!(fires, all, "alerts that are tested to fire");
    assert_eq!(silent, all, "alerts that are tested to be silent");
}
