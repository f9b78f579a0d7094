//! What is built from what is compiled in, for the other tests to look at.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use scalekit::{
    catalog::{self, Alerting, DemoOptions, Options, SecretText},
    platform::{self, Exposure, Part, Platform, Seen},
    yaml,
};
use serde_json::Value;

pub const PLATFORMS: [&str; 4] = ["kind", "microk8s", "k3s", "generic"];

pub fn platform(name: &str) -> Platform {
    platform::assume(name.parse().expect("a platform"), &[], &[])
}

pub fn options() -> Options {
    Options::new("secret", "0.1.0")
}

pub fn stack(platform_name: &str) -> Vec<DynamicObject> {
    catalog::stack(&options(), &platform(platform_name))
}

/// The stack with all that can be asked for.
pub fn whole_stack(platform_name: &str) -> Vec<DynamicObject> {
    let receiver = || Some(SecretText::new("https://receiver.example"));
    let alerting = Alerting::Receivers { slack: receiver(), webhook: receiver() };
    catalog::stack(&Options { alerting: Some(alerting), ..options() }, &platform(platform_name))
}

pub fn demos() -> Vec<DynamicObject> {
    let options = DemoOptions {
        namespace: "demo".to_owned(),
        image: "scalekit.local/scalekit:0.1.0".to_owned(),
        pull_policy: "Never".to_owned(),
        version: "0.1.0".to_owned(),
    };
    catalog::demos().into_iter().flat_map(|name| catalog::demo(name, &options).expect("it is listed")).collect()
}

pub fn everything() -> Vec<DynamicObject> {
    whole_stack("kind").into_iter().chain(demos()).collect()
}

pub fn kind(object: &DynamicObject) -> &str {
    &object.types.as_ref().expect("a type").kind
}

pub fn title(object: &DynamicObject) -> String {
    format!("{} {}", kind(object), object.metadata.name.as_deref().expect("a name"))
}

pub fn pods(objects: &[DynamicObject]) -> Vec<(String, &Value)> {
    objects.iter().filter_map(|object| Some((title(object), object.data.pointer("/spec/template/spec")?))).collect()
}

/// Those that are there to begin with among them.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|key| pod[key].as_array().into_iter().flatten())
}

pub fn file(objects: &[DynamicObject], config_map: &str, key: &str) -> String {
    let found = objects
        .iter()
        .find(|object| kind(object) == "ConfigMap" && object.metadata.name.as_deref() == Some(config_map))
        .unwrap_or_else(|| panic!("ConfigMap {config_map}"));
    found.data["data"][key].as_str().unwrap_or_else(|| panic!("{key} in {config_map}")).to_owned()
}

pub fn prometheus_config(platform_name: &str) -> Value {
    yaml::parse(&file(&whole_stack(platform_name), "prometheus-config", "prometheus.yml")).expect("YAML")
}

/// The configuration of a cluster that lets every part of its control plane be seen, each at a page of its own.
pub fn open_prometheus_config() -> Value {
    let exposed = Part::ALL.into_iter().zip(10_250..).map(|(part, port)| (part, Exposure::Port(port))).collect();
    let open = platform("kind").seen(Seen { exposed: Some(exposed), ..Seen::default() });
    let receiver = || Some(SecretText::new("https://receiver.example"));
    let alerting = Some(Alerting::Receivers { slack: receiver(), webhook: receiver() });
    let stack = catalog::stack(&Options { alerting, ..options() }, &open);
    yaml::parse(&file(&stack, "prometheus-config", "prometheus.yml")).expect("YAML")
}

pub fn rules() -> Vec<Value> {
    let stack = stack("kind");
    let files = ["alerts.rules.yml", "recorded.rules.yml"].map(|name| file(&stack, "prometheus-config", name));
    let groups = files.iter().flat_map(|text| {
        let rules: Value = yaml::parse(text).expect("YAML");
        rules["groups"].as_array().expect("groups").clone()
    });
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

pub fn alerts() -> impl Iterator<Item = Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string())
}

/// The panels of a dashboard, rows and what is in those that are closed among them.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = dashboard["panels"].as_array().expect("panels").iter();
    all.flat_map(|panel| [panel].into_iter().chain(panel["panels"].as_array().into_iter().flatten()))
}

pub fn dashboards() -> BTreeMap<String, Value> {
    let objects = stack("kind");
    let map = objects.iter().find(|object| title(object) == "ConfigMap grafana-dashboards").expect("dashboards");
    let files = map.data["data"].as_object().expect("files");
    files
        .iter()
        .map(|(name, text)| (name.clone(), serde_json::from_str(text.as_str().expect("text")).expect("JSON")))
        .collect()
}
