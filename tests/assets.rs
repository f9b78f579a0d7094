//! What is compiled in holds together: manifests, configurations and dashboards.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use kube::core::DynamicObject;
use promql_parser::{
    label::Matchers,
    parser::{self, Expr},
};
use rstest::rstest;
use scalekit::{
    catalog::{self, Alerting, Component, DemoOptions, Options, Profile, SecretText},
    platform::{self, Platform},
    yaml,
};
use serde_json::Value;

const PLATFORMS: [&str; 4] = ["kind", "microk8s", "k3s", "generic"];

fn platform(name: &str) -> Platform {
    platform::assume(name.parse().expect("a platform"), &[], &[])
}

fn options() -> Options {
    Options::new("secret", "0.1.0")
}

fn stack(platform_name: &str) -> Vec<DynamicObject> {
    catalog::stack(&options(), &platform(platform_name))
}

/// The stack with all that can be asked for.
fn whole_stack(platform_name: &str) -> Vec<DynamicObject> {
    let receiver = || Some(SecretText::new("https://receiver.example"));
    let alerting = Alerting::Receivers { slack: receiver(), webhook: receiver() };
    catalog::stack(&Options { alerting: Some(alerting), ..options() }, &platform(platform_name))
}

fn demos() -> Vec<DynamicObject> {
    let options = DemoOptions {
        namespace: "demo".to_owned(),
        image: "scalekit.local/scalekit:0.1.0".to_owned(),
        pull_policy: "Never".to_owned(),
        version: "0.1.0".to_owned(),
    };
    catalog::demos().into_iter().flat_map(|name| catalog::demo(name, &options).expect("it is listed")).collect()
}

fn everything() -> Vec<DynamicObject> {
    whole_stack("kind").into_iter().chain(demos()).collect()
}

fn kind(object: &DynamicObject) -> &str {
    &object.types.as_ref().expect("a type").kind
}

fn title(object: &DynamicObject) -> String {
    format!("{} {}", kind(object), object.metadata.name.as_deref().expect("a name"))
}

fn pods(objects: &[DynamicObject]) -> Vec<(String, &Value)> {
    objects.iter().filter_map(|object| Some((title(object), object.data.pointer("/spec/template/spec")?))).collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["containers"].as_array().into_iter().flatten()
}

fn file(objects: &[DynamicObject], config_map: &str, key: &str) -> String {
    let found = objects
        .iter()
        .find(|object| kind(object) == "ConfigMap" && object.metadata.name.as_deref() == Some(config_map))
        .unwrap_or_else(|| panic!("ConfigMap {config_map}"));
    found.data["data"][key].as_str().unwrap_or_else(|| panic!("{key} in {config_map}")).to_owned()
}

fn prometheus_config(platform_name: &str) -> Value {
    yaml::parse(&file(&whole_stack(platform_name), "prometheus-config", "prometheus.yml")).expect("YAML")
}

fn rules() -> Vec<Value> {
    let stack = stack("kind");
    let files = ["alerts.rules.yml", "recorded.rules.yml"].map(|name| file(&stack, "prometheus-config", name));
    let groups = files.iter().flat_map(|text| {
        let rules: Value = yaml::parse(text).expect("YAML");
        rules["groups"].as_array().expect("groups").clone()
    });
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn alerts() -> impl Iterator<Item = Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string())
}

fn dashboards() -> BTreeMap<String, Value> {
    let objects = stack("kind");
    let map = objects.iter().find(|object| title(object) == "ConfigMap grafana-dashboards").expect("dashboards");
    let files = map.data["data"].as_object().expect("files");
    files
        .iter()
        .map(|(name, text)| (name.clone(), serde_json::from_str(text.as_str().expect("text")).expect("JSON")))
        .collect()
}

#[test]
fn every_object_survives_yaml() {
    for object in everything() {
        let text = yaml::to_string(&object).expect("YAML");
        let read: DynamicObject = yaml::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", title(&object)));
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&object).unwrap(), "{}", title(&object));
    }
}

#[test]
fn no_object_is_there_twice() {
    let mut seen = BTreeSet::new();
    for object in everything() {
        assert!(seen.insert((object.metadata.namespace.clone(), title(&object))), "{} is there twice", title(&object));
    }
}

#[test]
fn every_object_says_what_it_is_and_whose() {
    for (objects, applyset) in [
        (stack("kind"), catalog::applyset_id(catalog::INVENTORY, "monitoring", "ConfigMap", "")),
        (demos(), catalog::applyset_id(&catalog::demo_inventory("watcherbot"), "demo", "ConfigMap", "")),
    ] {
        for object in objects {
            let labels = object.metadata.labels.clone().unwrap_or_default();
            for key in [catalog::NAME, catalog::COMPONENT] {
                assert!(labels.contains_key(key), "{} has no {key}", title(&object));
            }
            for (key, value) in [
                (catalog::PART_OF, "scalekit"),
                (catalog::MANAGED_BY, "scalekit"),
                (catalog::VERSION, "0.1.0"),
                (catalog::APPLYSET_PART_OF, &applyset),
            ] {
                assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key} of {}", title(&object));
            }
            if let Some(pod) = object.data.pointer("/spec/template/metadata/labels") {
                assert_eq!(pod[catalog::PART_OF], "scalekit", "pods of {}", title(&object));
                assert!(pod.get(catalog::VERSION).is_none(), "a release alone restarts {}", title(&object));
                let selector = &object.data["spec"]["selector"]["matchLabels"];
                for (key, value) in selector.as_object().expect("a selector") {
                    assert_eq!(&pod[key], value, "{} selects its own pods", title(&object));
                }
            }
        }
    }
}

#[test]
fn the_stack_stays_within_its_budget() {
    let objects = stack("kind");
    let pods = pods(&objects);
    assert!(objects.len() <= 45, "{} objects", objects.len());
    assert!(pods.len() <= 6, "{} pods on one node", pods.len());
    let images: BTreeSet<_> =
        pods.iter().flat_map(|(_, pod)| containers(pod)).map(|c| c["image"].to_string()).collect();
    assert_eq!(images.len(), 5, "{images:?}");
    let requested: u64 = pods.iter().flat_map(|(_, pod)| containers(pod)).map(requested_mebibytes).sum();
    assert!(requested <= 300, "{requested} MiB requested");
    let dashboards = objects.iter().filter(|object| title(object).starts_with("ConfigMap grafana-dashboards"));
    assert!(dashboards.count() <= 2);
    for object in objects.iter().filter(|object| kind(object) == "ConfigMap") {
        let bytes = object.data.to_string().len();
        assert!(bytes < 900 << 10, "{} has {bytes} bytes, and the API server takes no more than 1 MiB", title(object));
    }
}

/// The smallest profile, Alertmanager among it, is for machines where each mebibyte counts.
#[test]
fn every_profile_is_larger_than_the_one_before_and_the_smallest_is_small() {
    let receiver = Alerting::Receivers { slack: None, webhook: Some(SecretText::new("https://receiver.example")) };
    let requested = |profile| {
        let options = Options { alerting: Some(receiver.clone()), ..options().sized(profile) };
        let objects = catalog::stack(&options, &platform("kind"));
        pods(&objects).iter().flat_map(|(_, pod)| containers(pod)).map(requested_mebibytes).sum::<u64>()
    };
    let [edge, laptop, team] = Profile::ALL.map(requested);
    assert!(edge <= 300, "{edge} MiB requested");
    assert!(edge < laptop && laptop < team, "{edge} {laptop} {team}");
}

#[test]
fn the_manifests_are_those_of_the_default_profile() {
    for component in Component::ALL {
        let folder = format!("assets/{component}");
        let texts = std::fs::read_dir(folder)
            .expect("a folder")
            .filter_map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).ok());
        let objects: Vec<DynamicObject> = texts.flat_map(|text| yaml::parse_all(&text).expect("manifests")).collect();
        let expected = Profile::default().resources(component);
        for (owner, pod) in pods(&objects) {
            for container in containers(pod) {
                for (which, [cpu, memory]) in [("requests", expected.requests), ("limits", expected.limits)] {
                    assert_eq!(
                        container["resources"][which],
                        serde_json::json!({"cpu": cpu, "memory": memory}),
                        "{owner}"
                    );
                }
            }
        }
    }
}

fn requested_mebibytes(container: &Value) -> u64 {
    let quantity = container["resources"]["requests"]["memory"].as_str().expect("a memory request");
    let number = |unit: &str| quantity.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    number("Mi").or(number("Gi").map(|gibibytes| gibibytes << 10)).expect("a request in Mi or Gi")
}

#[test]
fn nothing_is_put_where_it_is_not_ours() {
    for object in stack("kind") {
        let namespace = object.metadata.namespace.as_deref();
        assert!(matches!(namespace, None | Some("monitoring" | "monitoring-nodes")), "{}", title(&object));
    }
}

/// What the API server would write differently would look like drift for ever.
#[test]
fn every_field_is_written_as_the_server_keeps_it() {
    for object in everything() {
        assert!(object.metadata.creation_timestamp.is_none());
        // The schema of a definition is not data: it says what may be empty.
        if kind(&object) != "CustomResourceDefinition" {
            let fields = object.data.as_object().expect("fields");
            fields.iter().for_each(|(key, field)| canonical(field, &format!("{}.{key}", title(&object))));
        }
    }
}

fn canonical(value: &Value, path: &str) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::String(text) => assert!(!text.is_empty(), "{path} is empty"),
        Value::Array(items) => {
            // The core API group is the one name that is empty.
            let core_group = path.ends_with("apiGroups") && items == &[Value::from("")];
            assert!(!items.is_empty(), "{path} is empty");
            if !core_group {
                items.iter().enumerate().for_each(|(index, item)| canonical(item, &format!("{path}[{index}]")));
            }
        }
        Value::Object(fields) => {
            let selects_all = path.ends_with("podSelector") || path.ends_with("namespaceSelector");
            assert!(!fields.is_empty() || selects_all, "{path} is empty");
            if fields.contains_key("containerPort") || (fields.contains_key("port") && path.contains("ports")) {
                assert!(fields.contains_key("protocol"), "{path} leaves the protocol to the server");
            }
            for (key, field) in fields {
                if matches!(key.as_str(), "cpu" | "memory" | "storage" | "sizeLimit") {
                    assert_canonical_quantity(field.as_str().unwrap_or_default(), &format!("{path}.{key}"));
                }
                assert_ne!(key, "stringData", "{path}");
                canonical(field, &format!("{path}.{key}"));
            }
        }
        Value::Bool(_) | Value::Number(_) => {}
    }
}

fn assert_canonical_quantity(text: &str, path: &str) {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("{path}: {text} is no whole number"));
    match &text[digits.len()..] {
        "" => {}
        "m" => assert!(!number.is_multiple_of(1000), "{path}: {text} is written without m"),
        "Mi" | "Gi" => assert!(!number.is_multiple_of(1024), "{path}: {text} is written with the next larger unit"),
        unit => panic!("{path}: {unit} in {text}"),
    }
}

#[test]
fn every_pod_gives_up_what_it_does_not_need() {
    let objects = everything();
    for (owner, pod) in pods(&objects) {
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{owner}");
        assert!(security["runAsUser"].as_u64().expect("a user") > 10_000, "{owner}");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{owner}");
        let needs_token = ["prometheus", "kube-state-metrics", "scaler"].iter().any(|name| owner.ends_with(name));
        assert_eq!(pod["automountServiceAccountToken"], needs_token, "{owner}");
        for container in containers(pod) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{owner}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{owner}");
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{owner}");
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container[probe]["httpGet"]["path"].is_string(), "{probe} of {owner}");
            }
            for which in ["requests", "limits"] {
                assert!(container["resources"][which]["cpu"].is_string(), "{which} of {owner}");
                assert!(container["resources"][which]["memory"].is_string(), "{which} of {owner}");
            }
            let variables = container["env"].as_array().into_iter().flatten();
            assert!(variables.clone().all(|variable| variable.get("valueFrom").is_none()), "a secret of {owner}");
        }
        let on_the_host = ["hostNetwork", "hostPID", "hostIPC"].iter().any(|key| pod[key] == true)
            || pod["volumes"].as_array().into_iter().flatten().any(|volume| volume.get("hostPath").is_some());
        assert_eq!(on_the_host, owner.ends_with("node-exporter"), "{owner}");
    }
}

#[test]
fn rights_are_no_wider_than_needed() {
    for object in everything().iter().filter(|object| kind(object) == "ClusterRole") {
        for rule in object.data["rules"].as_array().expect("rules") {
            let text = rule.to_string();
            for never in ["*", "\"secrets\"", "\"configmaps\"", "nodes/proxy", "pods/exec", "escalate", "bind"] {
                assert!(!text.contains(never), "{}: {text}", title(object));
            }
        }
    }
}

#[test]
fn kube_state_metrics_asks_for_what_it_may_read() {
    let objects = stack("kind");
    let role = objects.iter().find(|o| title(o) == "ClusterRole scalekit-kube-state-metrics").expect("a role");
    let rules = role.data["rules"].as_array().expect("rules");
    let allowed: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule["resources"].as_array().expect("resources"))
        .filter_map(Value::as_str)
        .collect();
    let pods = pods(&objects);
    let (_, pod) = pods.iter().find(|(owner, _)| owner == "Deployment kube-state-metrics").expect("a pod");
    let arguments = pod["containers"][0]["args"].as_array().expect("arguments");
    let asked = arguments.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix("--resources="));
    assert_eq!(asked.expect("--resources").split(',').collect::<BTreeSet<_>>(), allowed);
}

#[test]
fn the_manifests_name_the_default_images() {
    let text: String = Component::ALL
        .iter()
        .flat_map(|component| std::fs::read_dir(format!("assets/{component}")).expect("a folder"))
        .filter_map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).ok())
        .collect();
    for component in Component::ALL {
        assert!(text.contains(&format!("image: {}\n", component.default_image())), "{component}");
    }
}

#[test]
fn the_datasource_is_the_one_that_the_dashboards_name() {
    let text = file(&stack("kind"), "grafana-provisioning", "datasources.yaml");
    let datasources: Value = yaml::parse(&text).expect("YAML");
    assert_eq!(datasources["datasources"][0]["uid"], "prometheus");
    assert_eq!(datasources["datasources"][0]["url"], "http://prometheus.monitoring.svc:9090");
}

// --- Prometheus ----------------------------------------------------------------------------------

fn jobs(config: &Value) -> &Vec<Value> {
    config["scrape_configs"].as_array().expect("jobs")
}

/// The allow-list of each job that has one: names are matched by it as a whole.
fn allow_lists() -> BTreeMap<String, AllowList> {
    jobs(&prometheus_config("kind"))
        .iter()
        .filter_map(|job| {
            let rules = job["metric_relabel_configs"].as_array()?;
            let keep = rules
                .iter()
                .find(|rule| rule["action"] == "keep" && rule["source_labels"] == serde_json::json!(["__name__"]))?;
            Some((job["job_name"].as_str()?.to_owned(), AllowList::new(keep["regex"].as_str()?)))
        })
        .collect()
}

#[rstest]
fn every_job_is_bounded(#[values("kind", "microk8s", "k3s", "generic")] platform_name: &str) {
    let config = prometheus_config(platform_name);
    for key in ["sample_limit", "body_size_limit", "label_limit", "keep_dropped_targets"] {
        assert!(!config["global"][key].is_null(), "{key}");
    }
    let lists = allow_lists();
    for job in jobs(&config) {
        let name = job["job_name"].as_str().expect("a name");
        let own_limit = job["sample_limit"].is_u64() && job["target_limit"].is_u64();
        assert!(lists.contains_key(name) || own_limit, "{name} has neither an allow-list nor limits");
        let interval = job.get("scrape_interval").unwrap_or(&config["global"]["scrape_interval"]);
        assert!(interval.is_string(), "{name}");
    }
    assert_eq!(jobs(&config).len(), 14);
}

/// One process of MicroK8s answers for the API server and the kubelet with the union of their series.
#[test]
fn no_metric_of_the_control_plane_is_kept_by_two_jobs() {
    let lists = allow_lists();
    let one_process = ["apiserver", "kubelet", "cadvisor", "kubelet-probes"];
    let candidates = [
        "apiserver_request_total",
        "apiserver_request_duration_seconds_bucket",
        "aggregator_unavailable_apiservice",
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "kubelet_running_pods",
        "kubelet_volume_stats_used_bytes",
        "kubernetes_build_info",
        "machine_memory_bytes",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "storage_operation_duration_seconds_count",
    ];
    for metric in candidates {
        let keepers: Vec<_> = one_process.iter().filter(|job| lists[**job].matches(metric)).collect();
        assert_eq!(keepers.len(), 1, "{metric} is kept by {keepers:?}");
    }
}

#[test]
fn discovery_is_by_endpointslice_node_and_pod_alone() {
    for job in jobs(&prometheus_config("kind")) {
        for discovery in job["kubernetes_sd_configs"].as_array().into_iter().flatten() {
            let role = discovery["role"].as_str().expect("a role");
            assert!(matches!(role, "endpointslice" | "node" | "pod"), "{} uses {role}", job["job_name"]);
        }
    }
}

#[test]
fn every_job_is_expected_or_optional() {
    for name in PLATFORMS {
        let config = prometheus_config(name);
        let configured: BTreeSet<_> = jobs(&config).iter().filter_map(|job| job["job_name"].as_str()).collect();
        let expected = catalog::expected_jobs(&options(), &platform(name));
        let optional = catalog::optional_jobs();
        assert!(expected.iter().chain(&optional).all(|job| configured.contains(job.as_str())), "{name}");
        assert!(expected.iter().all(|job| !optional.contains(job)), "{name}");
    }
    assert_eq!(catalog::expected_jobs(&options(), &platform("kind")).len(), 11);
    assert_eq!(
        catalog::expected_jobs(&options(), &platform("microk8s")),
        catalog::expected_jobs(&options(), &platform("kind"))
    );
}

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
        for key in ["summary", "description"] {
            assert!(alert["annotations"][key].is_string(), "{key} of {name}");
        }
        let severity = alert["labels"]["severity"].as_str().expect("a severity");
        assert!(matches!(severity, "critical" | "warning"), "severity of {name}");
        assert!(names.insert(name), "{} is there twice", rule_name(&alert));
    }
    let orphans: Vec<_> = sections.into_iter().filter(|section| !names.contains(*section)).collect();
    assert!(orphans.is_empty(), "runbooks of no alert: {orphans:?}");
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

// --- Dashboards ----------------------------------------------------------------------------------

const DASHBOARDS: [&str; 7] = [
    "scalekit-application",
    "scalekit-autoscaling",
    "scalekit-nodes",
    "scalekit-overview",
    "scalekit-prometheus",
    "scalekit-scaler",
    "scalekit-workloads",
];

/// The panels that show something: a row is but a heading.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row")
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
        let all = dashboard["panels"].as_array().expect("panels");
        let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), all.len(), "panel ids of {name}");
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
        for panel in dashboard["panels"].as_array().expect("panels") {
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

/// Metrics that no allow-list names: Prometheus makes them itself, at each scrape and for each rule.
const MADE_BY_PROMETHEUS: [&str; 5] =
    ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "ALERTS"];

/// What each job keeps, and the rules: read once, for there are hundreds of expressions.
static KEPT: LazyLock<(BTreeMap<String, AllowList>, Vec<Value>)> = LazyLock::new(|| (allow_lists(), rules()));

fn check_expression(expression: &str, place: &str) {
    let text = expression.replace("$__rate_interval", "1m").replace("$__interval", "1m").replace("$__range", "1h");
    let parsed = parser::parse(&text).unwrap_or_else(|error| panic!("{place}: {text}: {error}"));
    let mut metrics = Vec::new();
    collect_metrics(&parsed, &mut metrics);
    for metric in metrics {
        let kept = KEPT.0.values().any(|list| list.matches(&metric))
            || MADE_BY_PROMETHEUS.contains(&metric.as_str())
            || KEPT.1.iter().any(|rule| rule["record"] == metric.as_str());
        assert!(kept, "{place} reads {metric}, which no job keeps");
    }
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
struct AllowList(Matchers);

impl AllowList {
    fn new(regex: &str) -> Self {
        let selector = format!("{{__name__=~{}}}", Value::from(regex));
        match parser::parse(&selector) {
            Ok(Expr::VectorSelector(selector)) => Self(selector.matchers),
            other => panic!("{regex}: {other:?}"),
        }
    }

    fn matches(&self, name: &str) -> bool {
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
