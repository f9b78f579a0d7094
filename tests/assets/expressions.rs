//! PromQL in rules and dashboards: does it parse, and does any job keep what it reads?

use std::{collections::BTreeMap, sync::LazyLock};

use promql_parser::{
    label::Matchers,
    parser::{self, Expr},
};
use rstest::rstest;
use serde_json::Value;

use crate::{
    built::{open_prometheus_config, rules},
    scraping::allow_lists_of,
};

/// Metrics that no allow-list names: Prometheus makes them itself, at each scrape and for each rule.
const MADE_BY_PROMETHEUS: [&str; 5] =
    ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "ALERTS"];

/// What each job keeps where all can be had, and the rules: read once, for there are hundreds of expressions.
static KEPT: LazyLock<(BTreeMap<String, AllowList>, Vec<Value>)> =
    LazyLock::new(|| (allow_lists_of(&open_prometheus_config()), rules()));

pub fn check_expression(expression: &str, place: &str) {
    for metric in metrics(expression).unwrap_or_else(|error| panic!("{place}: {expression}: {error}")) {
        let kept = KEPT.0.values().any(|list| list.matches(&metric))
            || MADE_BY_PROMETHEUS.contains(&metric.as_str())
            || KEPT.1.iter().any(|rule| rule["record"] == metric.as_str());
        assert!(kept, "{place} reads {metric}, which no job keeps");
    }
}

/// What an expression reads, by name.
pub fn metrics_of(expression: &str) -> Vec<String> {
    metrics(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// The metrics of an expression with Grafana's own variables in it.
fn metrics(expression: &str) -> Result<Vec<String>, String> {
    let text = expression.replace("$__rate_interval", "1m").replace("$__interval", "1m").replace("$__range", "1h");
    let mut metrics = Vec::new();
    collect_metrics(&parser::parse(&text)?, &mut metrics);
    Ok(metrics)
}

fn collect_metrics(expression: &Expr, metrics: &mut Vec<String>) {
    match expression {
        Expr::Aggregate(aggregate) => collect_metrics(&aggregate.expr, metrics),
        Expr::Unary(unary) => collect_metrics(&unary.expr, metrics),
        Expr::Binary(binary) => {
            collect_metrics(&binary.lhs, metrics);
            collect_metrics(&binary.rhs, metrics);
        }
        Expr::Paren(paren) => collect_metrics(&paren.expr, metrics),
        Expr::Subquery(subquery) => collect_metrics(&subquery.expr, metrics),
        Expr::VectorSelector(selector) => metrics.extend(selector.name.clone()),
        Expr::MatrixSelector(selector) => metrics.extend(selector.vs.name.clone()),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| collect_metrics(argument, metrics)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => panic!("an expression of a kind that Prometheus does not have"),
    }
}

/// An allow-list, read as PromQL reads a matcher of names, which is how Prometheus' relabeling reads
/// it too: as an RE2 expression that has to match the whole name.
pub struct AllowList(Matchers);

impl AllowList {
    pub fn new(regex: &str) -> Self {
        let selector = format!("{{__name__=~{}}}", Value::from(regex));
        match parser::parse(&selector) {
            Ok(Expr::VectorSelector(selector)) => Self(selector.matchers),
            other => panic!("{regex}: {other:?}"),
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.matchers.iter().all(|matcher| matcher.is_match(name))
    }
}

#[rstest]
#[case("a_(b|c(_d)?)_total|x_.+", "a_c_total", true)]
#[case("a_(b|c(_d)?)_total|x_.+", "x_anything", true)]
#[case("a_(b|c(_d)?)_total|x_.+", "a_b_total_more", false)]
fn allow_lists_match_whole_names(#[case] list: &str, #[case] name: &str, #[case] expected: bool) {
    assert_eq!(AllowList::new(list).matches(name), expected);
}
