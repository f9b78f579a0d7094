//! Rule files, by the rules of Prometheus' `rulefmt` package.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser;
use serde::Deserialize;
use serde_json::Value;

use super::{File, Mistake, Mistakes, check_duration};
use crate::yaml::{self, Placed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: Placed<String>,
    interval: Option<Placed<Value>>,
    query_offset: Option<Placed<Value>>,
    limit: Option<Placed<Value>>,
    #[serde(default)]
    labels: BTreeMap<Placed<String>, String>,
    #[serde(default)]
    rules: Vec<Placed<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    record: Option<Placed<String>>,
    alert: Option<Placed<String>>,
    expr: Option<Placed<Value>>,
    #[serde(rename = "for")]
    holds_for: Option<Placed<Value>>,
    keep_firing_for: Option<Placed<Value>>,
    #[serde(default)]
    labels: BTreeMap<Placed<String>, String>,
    #[serde(default)]
    annotations: BTreeMap<Placed<String>, String>,
}

/// The mistakes of one rule file.
pub(super) fn check(file: &File) -> Vec<Mistake> {
    let mut mistakes = Mistakes::of(file);
    if is_empty(&file.text) {
        return mistakes.found;
    }
    let parsed: RuleFile = match yaml::parse(&file.text) {
        Ok(parsed) => parsed,
        Err(error) => {
            mistakes.unreadable(&error);
            return mistakes.found;
        }
    };
    let mut names = BTreeSet::new();
    let mut known = BTreeSet::new();
    for group in &parsed.groups {
        if group.name.value.is_empty() {
            mistakes.add(&group.name, "a group has no name");
        } else if !names.insert(&group.name.value) {
            mistakes.add(&group.name, format!("there are two groups `{}` in this file", group.name.value));
        }
        check_duration("interval", group.interval.as_ref(), &mut mistakes);
        check_duration("query_offset", group.query_offset.as_ref(), &mut mistakes);
        if let Some(limit) = group.limit.as_ref().filter(|limit| !limit.value.is_u64()) {
            mistakes.add(limit, "`limit` is no whole number");
        }
        check_labels(&group.labels, &mut mistakes);
        for rule in &group.rules {
            check_rule(rule, &mut mistakes);
            let same = (&rule.value.record, &rule.value.alert, text_of(rule.value.expr.as_ref()), &rule.value.labels);
            if !known.insert(same) {
                mistakes.add(rule, "this rule is in the file twice");
            }
        }
    }
    mistakes.found
}

fn check_rule(rule: &Placed<Rule>, mistakes: &mut Mistakes<'_>) {
    let Rule { record, alert, expr, holds_for, keep_firing_for, labels, annotations } = &rule.value;
    match (record, alert) {
        (Some(_), Some(alert)) => mistakes.add(alert, "a rule has either `record` or `alert`, not both"),
        (None, None) => mistakes.add(rule, "a rule has either `record` or `alert`, and this one has none"),
        (Some(record), None) => {
            if record.value.is_empty() || record.value.contains(['{', '}']) {
                mistakes.add(record, format!("`{}` is no name of a metric; labels go into `labels`", record.value));
            }
            for (key, place) in [("for", holds_for), ("keep_firing_for", keep_firing_for)] {
                if let Some(place) = place {
                    mistakes.add(place, format!("a recording rule has no `{key}`"));
                }
            }
            if let Some(annotation) = annotations.keys().next() {
                mistakes.add(annotation, "a recording rule has no `annotations`");
            }
        }
        (None, Some(alert)) if alert.value.is_empty() => mistakes.add(alert, "an alert has no name"),
        (None, Some(_)) => {}
    }
    match expr {
        None => mistakes.add(rule, "`expr` is missing"),
        Some(place) => {
            if let Some(why) = text_of(expr.as_ref()).and_then(|text| not_promql(&text)) {
                mistakes.add(place, format!("`expr` is no PromQL: {why}"));
            }
        }
    }
    check_duration("for", holds_for.as_ref(), mistakes);
    check_duration("keep_firing_for", keep_firing_for.as_ref(), mistakes);
    check_labels(labels, mistakes);
    if let Some(name) = annotations.keys().find(|name| name.value.is_empty()) {
        mistakes.add(name, "an annotation has no name");
    }
}

fn check_labels(labels: &BTreeMap<Placed<String>, String>, mistakes: &mut Mistakes<'_>) {
    for name in labels.keys().filter(|name| name.value.is_empty() || name.value == "__name__") {
        mistakes.add(name, format!("`{}` is no name of a label", name.value));
    }
}

/// An expression that is a bare number is YAML's number.
fn text_of(expr: Option<&Placed<Value>>) -> Option<String> {
    expr.map(|expr| match &expr.value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// Why an expression does not parse. A function that is not known here may be one of a newer Prometheus: it decides.
fn not_promql(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("it is empty".to_owned());
    }
    parser::parse(text).err().filter(|why| !why.contains("unknown function"))
}

/// Whether nothing but comments is in it: Prometheus takes an empty file for no groups.
fn is_empty(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let file = File { name: "my.yml".to_owned(), text: text.to_owned() };
        check(&file).iter().map(ToString::to_string).collect()
    }

    const GOOD: &str = "groups:
- name: mine
  interval: 1m
  limit: 10
  labels: {team: a}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: |
      up == 0
        and on (job) max_over_time(up[5m]) > 0
    for: 5m
    keep_firing_for: 10m
    labels: {severity: warning}
    annotations: {summary: '{{ $labels.job }} is down'}
  - alert: Always
    expr: 1
";

    #[test]
    fn what_promtool_takes_is_taken() {
        assert_eq!(mistakes(GOOD), Vec::<String>::new());
        assert_eq!(mistakes("# nothing yet\n"), Vec::<String>::new());
        assert_eq!(mistakes("groups: []\n"), Vec::<String>::new());
        assert_eq!(
            mistakes("groups:\n- name: a\n  rules:\n  - {record: x, expr: function_of_tomorrow(up)}\n"),
            Vec::<String>::new()
        );
    }

    #[rstest]
    #[case::promql("  rules:\n  - record: a\n    expr: sum(up\n", "my.yml:5:11: `expr` is no PromQL")]
    #[case::both("  rules:\n  - record: a\n    alert: b\n    expr: up\n", "my.yml:5:12: a rule has either")]
    #[case::neither("  rules:\n  - expr: up\n", "my.yml:4:5: a rule has either")]
    #[case::no_expression("  rules:\n  - alert: a\n", "my.yml:4:5: `expr` is missing")]
    #[case::duration("  rules:\n  - alert: a\n    expr: up\n    for: 5 minutes\n", "my.yml:6:10: `for` is no duration")]
    #[case::interval("  interval: often\n", "my.yml:3:13: `interval` is no duration")]
    #[case::recorded_for(
        "  rules:\n  - record: a\n    expr: up\n    for: 5m\n",
        "my.yml:6:10: a recording rule has no `for`"
    )]
    #[case::braces("  rules:\n  - record: 'a{b=\"c\"}'\n    expr: up\n", "my.yml:4:13: ")]
    #[case::label(
        "  rules:\n  - record: a\n    expr: up\n    labels: {__name__: b}\n",
        "my.yml:6:14: `__name__` is no name"
    )]
    #[case::unknown_field("  rules:\n  - record: a\n    exprr: up\n", "my.yml:5:5: ")]
    #[case::twice(
        "  rules:\n  - {record: a, expr: up}\n  - {record: a, expr: up}\n",
        "my.yml:5:5: this rule is in the file twice"
    )]
    #[case::group_twice("- name: mine\n", "my.yml:3:9: there are two groups `mine`")]
    #[case::not_yaml("  rules: [\n", "my.yml:")]
    fn a_mistake_has_its_place(#[case] rest: &str, #[case] expected: &str) {
        let found = mistakes(&format!("groups:\n- name: mine\n{rest}"));
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{found:?}");
    }

    #[test]
    fn every_mistake_of_a_file_is_named() {
        let found = mistakes("groups:\n- name: a\n  rules:\n  - {record: x, expr: '('}\n  - {alert: y, expr: ')'}\n");
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
