//! The definition that is installed is the one that the types give, and a plain manifest.

use std::{env, fs, path::PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use scalekit::{autoscaling::api, yaml};
use serde_json::Value;

const HEADER: &str = "\
# Generated from src/autoscaling/api by `UPDATE_CRD=1 cargo test --test crd`.
";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/scaler/crd.yaml")
}

fn schema() -> Value {
    let crd = serde_json::to_value(api::crd()).expect("json");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn the_manifest_is_what_the_types_give() {
    let generated = format!("{HEADER}{}", yaml::to_string(&api::crd()).expect("yaml"));
    if env::var_os("UPDATE_CRD").is_some() {
        fs::create_dir_all(path().parent().expect("a folder")).expect("the folder");
        fs::write(path(), &generated).expect("the manifest");
    }
    let stored = fs::read_to_string(path()).expect("assets/scaler/crd.yaml: run `UPDATE_CRD=1 cargo test --test crd`");
    assert!(stored == generated, "assets/scaler/crd.yaml is out of date: run `UPDATE_CRD=1 cargo test --test crd`");
}

#[test]
fn the_manifest_reads_back_as_what_was_written() {
    let text = yaml::to_string(&api::crd()).expect("yaml");
    assert_eq!(yaml::parse::<CustomResourceDefinition>(&text).expect("a definition"), api::crd());
}

#[test]
fn every_field_of_the_spec_is_explained() {
    fn missing(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            missing(&path, property, found);
            missing(&path, &property["items"], found);
        }
    }
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        missing(part, &schema()["properties"][part], &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn unknown_fields_are_not_preserved() {
    let text = schema().to_string();
    assert!(!text.contains("preserve-unknown-fields"), "strict validation could not refuse an unknown field");
}

#[test]
fn every_rule_says_what_to_write_instead() {
    fn rules(schema: &Value, found: &mut Vec<Value>) {
        match schema {
            Value::Object(object) => {
                found.extend(
                    object.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().cloned(),
                );
                object.values().for_each(|value| rules(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| rules(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    rules(&schema(), &mut found);
    assert!(found.len() >= 15, "{} rules", found.len());
    for rule in found {
        assert!(rule["message"].as_str().is_some_and(|message| message.len() > 20), "{rule}");
    }
}
