//! The dashboards: of the schema that Grafana takes, on the grid, and every query on a metric that is kept.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    built::{self, dashboards},
    expressions::check_expression,
};

const DASHBOARDS: [&str; 8] = [
    "scalekit-application",
    "scalekit-autoscaling",
    "scalekit-control-plane",
    "scalekit-nodes",
    "scalekit-overview",
    "scalekit-prometheus",
    "scalekit-scaler",
    "scalekit-workloads",
];

/// The panels that show something: a row is but a heading.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    built::panels(dashboard).filter(|panel| panel["type"] != "row")
}

fn variables(dashboard: &Value) -> &Vec<Value> {
    dashboard["templating"]["list"].as_array().expect("variables")
}

#[test]
fn dashboards_are_classic_and_can_be_told_apart() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for (name, dashboard) in dashboards() {
        let version = dashboard["schemaVersion"].as_u64().expect("a schema version");
        assert!((39..=42).contains(&version), "{name}");
        assert!(dashboard.get("elements").is_none() && dashboard.get("apiVersion").is_none(), "{name} is of schema v2");
        assert!(uids.insert(dashboard["uid"].as_str().expect("a uid").to_owned()), "uid of {name}");
        assert!(titles.insert(dashboard["title"].as_str().expect("a title").to_owned()), "title of {name}");
        assert!(dashboard.get("id").is_none(), "{name} carries the number of some database");
        assert!(dashboard["description"].is_string(), "{name} does not say which question it answers");
        assert_eq!(dashboard["tags"], serde_json::json!(["scalekit"]), "by which the others link to {name}");
        assert_eq!(dashboard["links"][0]["tags"], serde_json::json!(["scalekit"]), "{name} links to no other");
        let ids: Vec<_> = built::panels(&dashboard).map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "panel ids of {name}");
        for panel in panels(&dashboard) {
            assert!(panel["description"].is_string(), "{name}: {} has no description", panel["title"]);
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {} has no unit", panel["title"]);
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"]["uid"], "prometheus", "{name}: {}", panel["title"]);
            }
        }
    }
    assert_eq!(uids.into_iter().collect::<Vec<_>>(), DASHBOARDS);
}

#[test]
fn panels_stand_side_by_side_on_the_grid() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in built::panels(&dashboard) {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place"));
            assert!(x + w <= 24, "{name}: {} is wider than the grid", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} lies on another panel", panel["title"]);
            }
        }
    }
}

/// Links from one dashboard to another, and the variables that they set.
#[test]
fn dashboards_link_to_what_is_there() {
    let dashboards = dashboards();
    let variables_of = |uid: &str| {
        let found = dashboards.values().find(|dashboard| dashboard["uid"] == uid);
        let list = variables(found.unwrap_or_else(|| panic!("there is no dashboard {uid}")));
        list.iter().map(|variable| variable["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let mut links = 0;
    for dashboard in dashboards.values() {
        let text = dashboard.to_string();
        for link in text.split("/d/").skip(1).map(|rest| rest.split('"').next().expect("a part")) {
            let (uid, query) = link.split_once('?').expect("a link takes the time range along");
            assert!(query.contains("${__url_time_range}"), "{link}");
            for parameter in query.split('&').filter_map(|parameter| parameter.strip_prefix("var-")) {
                let name = parameter.split('=').next().expect("a name").to_owned();
                assert!(variables_of(uid).contains(&name), "{uid} has no variable {name}");
            }
            variables_of(uid);
            links += 1;
        }
    }
    assert!(links > 5, "{links}");
}

#[test]
fn dashboards_use_the_variables_that_they_have() {
    for (name, dashboard) in dashboards() {
        let names: Vec<_> = variables(&dashboard).iter().map(|v| v["name"].as_str().expect("a name")).collect();
        let text = dashboard.to_string();
        for own in &names {
            assert!(text.contains(&format!("${own}")), "{name} does not use {own}");
        }
        let expressions = panels(&dashboard).flat_map(|panel| panel["targets"].as_array().expect("targets"));
        for expression in expressions.map(|target| target["expr"].as_str().expect("an expression")) {
            for used in expression.split('$').skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // What is left are the groups of regular expressions, and Grafana's own.
                let own = used.starts_with("__") || used.parse::<u8>().is_ok();
                assert!(own || names.contains(&used.as_str()), "{name}: ${used} in {expression}");
            }
        }
    }
}

#[test]
fn dashboards_read_metrics_that_are_kept() {
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().expect("targets") {
                check_expression(
                    target["expr"].as_str().expect("an expression"),
                    &format!("{name}: {}", panel["title"]),
                );
            }
        }
        for variable in variables(&dashboard) {
            let query = variable["definition"].as_str().expect("a definition");
            assert_eq!(query, variable["query"]["query"].as_str().expect("a query"), "{name}");
            let inner =
                query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(',')).expect("label_values");
            check_expression(inner.0, &format!("{name}: variable {}", variable["name"]));
        }
        for annotation in dashboard["annotations"]["list"].as_array().expect("annotations") {
            if let Some(expression) = annotation["expr"].as_str() {
                check_expression(expression, &format!("{name}: {}", annotation["name"]));
            }
        }
    }
}

/// promtool asks them (`dev/test-rules`): they have to be those that are shown.
#[test]
fn panels_are_tested_as_they_stand() {
    let all = dashboards();
    let targets = all.values().flat_map(panels).flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let shown: BTreeSet<&str> = targets.map(|target| target["expr"].as_str().expect("an expression")).collect();
    let text = std::fs::read_to_string("tests/rules/panels.yaml").expect("tests of panels");
    let file: Value = scalekit::yaml::parse(&text).expect("YAML");
    for test in file["tests"].as_array().expect("tests") {
        for asked in test["promql_expr_test"].as_array().expect("questions") {
            let expression = asked["expr"].as_str().expect("an expression");
            assert!(shown.contains(expression), "{}: no panel asks {expression}", test["name"]);
        }
    }
}
