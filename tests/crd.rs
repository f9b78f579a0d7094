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

/// Its message is all that somebody sees whose manifest is refused: it has to name a field and say what to write in it.
#[test]
fn every_rule_names_a_field_and_says_what_to_write_instead() {
    const INSTEAD: [&str; 14] = [
        " must be ",
        " must not ",
        "such as ",
        "set ",
        "leave ",
        "give ",
        "write ",
        "add ",
        "raise ",
        "name at least ",
        " needs ",
        " need ",
        " belongs to ",
        "made of ",
    ];
    let mut rules = Vec::new();
    rules_of("spec", &schema()["properties"]["spec"], &mut rules);
    assert!(rules.len() >= 70, "{} rules", rules.len());
    for Rule { field, inner, message } in rules {
        let words: Vec<&str> =
            message.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let names = |name: &String| words.contains(&name.as_str());
        assert!(names(&field) || inner.iter().any(names), "it names neither {field} nor any of {inner:?}: {message}");
        assert!(INSTEAD.iter().any(|how| message.contains(how)), "it does not say what to write: {message}");
        assert!(!message.ends_with('.') && !message.contains("invalid"), "{message}");
    }
}

struct Rule {
    /// The field that it is on, or that it blames.
    field: String,
    /// The fields of that, where it has some.
    inner: Vec<String>,
    message: String,
}

fn rules_of(name: &str, schema: &Value, found: &mut Vec<Rule>) {
    let fields = schema["properties"].as_object();
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let blamed = rule["fieldPath"].as_str().and_then(|path| path.rsplit('.').next());
        found.push(Rule {
            field: blamed.unwrap_or(name).to_owned(),
            inner: fields.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            message: rule["message"].as_str().unwrap_or_default().to_owned(),
        });
    }
    for (name, field) in fields.into_iter().flatten() {
        rules_of(name, field, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            rules_of(name, &schema[inner], found);
        }
    }
}
