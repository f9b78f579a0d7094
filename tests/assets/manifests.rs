//! Every object: complete, labelled, in its place, and written as the API server keeps it.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use scalekit::{
    catalog::{self, Component},
    yaml,
};
use serde_json::Value;

use crate::built::{PLATFORMS, containers, demos, everything, file, kind, pods, stack, title, whole_stack};

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

/// A webhook that does not answer would keep everybody from writing, or let everything through.
#[test]
fn no_write_of_anybody_depends_on_a_webhook_of_ours() {
    for object in everything() {
        assert!(!kind(&object).contains("Webhook"), "{}", title(&object));
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
fn nothing_is_put_where_it_is_not_ours() {
    for object in PLATFORMS.into_iter().flat_map(whole_stack) {
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

/// What the cluster enforces of a pod's rights. node-exporter alone needs more than the strictest level, and is alone.
#[test]
fn each_namespace_says_what_its_pods_may() {
    let objects = everything();
    let level = |name: &str, mode: &str| {
        let is_it = |object: &&DynamicObject| title(object) == format!("Namespace {name}");
        let labels = objects.iter().find(is_it).and_then(|object| object.metadata.labels.clone()).expect("labels");
        labels.get(&format!("pod-security.kubernetes.io/{mode}")).cloned()
    };
    for (name, expected) in [("monitoring", "restricted"), ("monitoring-nodes", "privileged"), ("demo", "restricted")] {
        for mode in ["enforce", "audit", "warn"] {
            assert_eq!(level(name, mode).as_deref(), Some(expected), "{mode} of {name}");
        }
    }
    let inside = |object: &&DynamicObject| object.metadata.namespace.as_deref() == Some("monitoring-nodes");
    let pods: Vec<_> =
        objects.iter().filter(inside).filter(|object| object.data.pointer("/spec/template").is_some()).collect();
    assert_eq!(pods.iter().map(|object| title(object)).collect::<Vec<_>>(), ["DaemonSet node-exporter"]);
}

/// Nobody gets in without a password, nobody changes a dashboard that the next run would overwrite, and Grafana 13 does not
/// compress its answers, which costs it memory until it is killed.
#[test]
fn grafana_is_closed_and_its_dashboards_are_read_only() {
    let objects = stack("kind");
    let pods = pods(&objects);
    let (_, pod) = pods.iter().find(|(owner, _)| owner == "Deployment grafana").expect("Grafana");
    let container = containers(pod).find(|container| container["name"] == "grafana").expect("its container");
    let variable = |name: &str| {
        let all = container["env"].as_array().expect("variables");
        all.iter().find(|variable| variable["name"] == name).and_then(|variable| variable["value"].as_str())
    };
    for (name, value) in [
        ("GF_AUTH_ANONYMOUS_ENABLED", "false"),
        ("GF_SERVER_ENABLE_GZIP", "false"),
        ("GF_USERS_ALLOW_SIGN_UP", "false"),
        ("GF_SECURITY_ADMIN_PASSWORD__FILE", "/etc/grafana/admin/password"),
    ] {
        assert_eq!(variable(name), Some(value), "{name}");
    }
    assert_eq!(variable("GF_SECURITY_ADMIN_PASSWORD"), None, "it is in a file");
    let provided: Value = yaml::parse(&file(&objects, "grafana-provisioning", "dashboards.yaml")).expect("YAML");
    for provider in provided["providers"].as_array().expect("providers") {
        assert_eq!(provider["allowUiUpdates"], false, "{provider}");
    }
    let datasources: Value = yaml::parse(&file(&objects, "grafana-provisioning", "datasources.yaml")).expect("YAML");
    assert_eq!(datasources["datasources"][0]["editable"], false);
}
