//! The map in `src/lib.rs` is kept: arrows point one way, pure modules are pure, only `report` prints, only
//! `install` and `autoscaling::controller` write to the cluster.

#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/table.rs"]
mod table;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;

use self::{
    source::{Mention, Sources, files_under, mentions},
    table::{TABLE, is_type, is_within, judge, rule_for},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names that stand for a crate: the dependencies and the standard library.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .chain(["std", "core", "alloc", "scalekit"].map(str::to_owned))
        .collect()
}

fn sources() -> Vec<Sources> {
    ["src/lib.rs", "src/main.rs"].iter().map(|file| Sources::of_crate(&root().join(file), &crates())).collect()
}

/// One line per broken rule: where, what, and which rule.
fn violations(file: &Path, module: &[String], mentions: &[(usize, Mention)]) -> Vec<String> {
    let module = module.join("::");
    mentions
        .iter()
        .filter_map(|(line, mention)| {
            let (what, rule) = judge(&module, mention)?;
            Some(format!("{}:{line}: {what}: {rule}", file.display()))
        })
        .collect()
}

#[test]
fn every_module_uses_only_what_it_may() {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|sources| &sources.modules)
        .flat_map(|module| {
            let file = module.file.strip_prefix(root()).expect("a file of this package");
            violations(file, &module.path, &module.mentions)
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_file_is_looked_at() {
    let sources = sources();
    let seen: BTreeSet<PathBuf> = sources
        .iter()
        .flat_map(|sources| sources.modules.iter().map(|module| module.file.clone()).chain(sources.test_files.clone()))
        .collect();
    let unseen: Vec<PathBuf> =
        files_under(&root().join("src")).into_iter().filter(|file| !seen.contains(file)).collect();
    assert!(unseen.is_empty(), "in no module: {unseen:?}");
}

#[test]
fn what_a_module_may_use_stands_below_it() {
    for (place, rule) in TABLE.iter().enumerate() {
        for used in rule.modules().filter(|used| !is_type(used)) {
            let below = TABLE.iter().position(|other| other.module == used);
            let below = below.unwrap_or_else(|| panic!("{used}, which {} may use, is not in the table", rule.module));
            assert!(below > place, "{} stands below {used}, which it may use", rule.module);
            assert!(!rule.pure || TABLE[below].pure, "{} is pure and may use {used}, which is not", rule.module);
        }
    }
}

/// The picture in the documentation of the crate.
fn diagram() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    text.lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(str::trim_end)
        .skip_while(|line| !line.contains("```text"))
        .skip(1)
        .take_while(|line| !line.contains("```"))
        .map(str::to_owned)
        .collect()
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .map(|word| word.trim_matches(':').to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// A module that is renamed would silently lie among the scaler's code again.
#[test]
fn what_lies_apart_in_the_binary_are_modules_that_there_are() {
    let layout = fs::read_to_string(root().join("layout.ld")).expect("layout.ld");
    let named: Vec<&str> = layout.split("8scalekit").skip(1).filter_map(|rest| rest.split('*').next()).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        let module = name.trim_start_matches(|c: char| c.is_ascii_digit());
        assert_eq!(name, format!("{}{module}", module.len()), "in layout.ld");
        assert!(rule_for(module).is_some(), "layout.ld names {module}, which is no module");
    }
}

#[test]
fn the_diagram_names_every_module_and_tells_the_pure_ones_apart() {
    let diagram = diagram();
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(modules.len() > 10, "{modules:?}");
    let named = words(&diagram.join("\n"));
    for module in &modules {
        assert!(rule_for(module).is_some(), "{module} is not in the table");
        assert!(named.iter().any(|word| is_within(word, module)), "{module} is not in the diagram of src/lib.rs");
    }

    let first = diagram.iter().find(|line| line.contains("catalog")).expect("the pure modules begin with catalog");
    let column = first.split("catalog").next().unwrap_or_default().chars().count();
    let rest = |line: &String| line.chars().skip(column).collect::<String>();
    let drawn_pure: BTreeSet<String> =
        diagram.iter().filter(|line| !line.contains('→')).flat_map(|line| words(&rest(line))).collect();
    let pure: BTreeSet<String> = TABLE
        .iter()
        .filter(|rule| rule.pure && modules.contains(rule.module))
        .map(|rule| rule.module.to_owned())
        .filter(|module| module != "autoscaling")
        .chain(["autoscaling::decision".to_owned()])
        .collect();
    assert_eq!(drawn_pure, pure, "the pure column of the diagram in src/lib.rs and the table differ");
}

#[rstest]
#[case::a_runtime_in_a_pure_module("plan", "use tokio::time::sleep;", &["1: tokio::time::sleep"])]
#[case::in_a_group("plan", "use std::{\n    fmt,\n    fs::read,\n};", &["3: std::fs::read"])]
#[case::under_another_name("plan", "use std::fs as disk;\nfn f() { disk::read(\"x\"); }", &["1: std::fs", "2: std::fs::read"])]
#[case::as_a_glob("catalog", "use std::net::*;", &["1: std::net"])]
#[case::as_a_full_path("health", "fn f() { let _ = std::env::var(\"HOME\"); }", &["1: std::env::var"])]
#[case::as_a_type("object", "struct A { c: kube::Client }", &["1: kube::Client"])]
#[case::in_a_macro("readiness", "fn f() -> String { format!(\"{:?}\", std::env::var(\"HOME\")) }", &["1: std::env::var"])]
#[case::in_a_function("plan", "fn f() {\n    use reqwest::get;\n}", &["2: reqwest::get"])]
#[case::the_clock("autoscaling::decision", "use jiff::Timestamp;\nfn f() -> Timestamp { Timestamp::now() }", &["2: jiff::Timestamp::now"])]
#[case::another_clock("autoscaling::decision", "use std::time::{Duration, Instant};", &["1: std::time::Instant"])]
#[case::a_duration_since_then("autoscaling::decision", "fn f(at: X) { at.elapsed(); }", &["1: .elapsed()"])]
#[case::json_in_the_decision("autoscaling::decision::rate", "use serde_json::Value;", &["1: serde_json::Value"])]
#[case::a_client_in_a_pure_module("catalog", "use kube::{Client, core::DynamicObject};", &["1: kube::Client"])]
#[case::against_the_arrow("install", "use crate::commands::up;", &["1: crate::commands::up"])]
#[case::against_the_arrow_by_super("cluster::read", "use super::super::install::Installer;", &["1: crate::install::Installer"])]
#[case::a_pure_module_that_knows_a_shell("plan::drift", "fn f() { crate::cluster::connect(); }", &["1: crate::cluster::connect"])]
#[case::printing("install", "fn f() {\n    println!(\"x\");\n}", &["2: println!"])]
#[case::printing_inside_a_macro("install", "fn f() { tokio::select! { _ = x => eprintln!(\"y\") } }", &["1: eprintln!"])]
#[case::stdout_by_hand("cli", "fn f() { std::io::stdout(); }", &["1: std::io::stdout"])]
#[case::a_write("commands", "async fn f() { api.patch(\"x\", &a, &b).await; }", &["1: .patch(…)"])]
#[case::a_write_inside_a_macro("commands", "async fn f() { tokio::join!(api.delete(\"x\", &a)); }", &["1: .delete(…)"])]
#[case::what_a_write_needs("prometheus", "use kube::api::PatchParams;", &["1: kube::api::PatchParams"])]
#[case::a_review_is_no_write_but_a_patch_is("preflight", "fn f() { a.create(&b, &c); a.patch(d, &b, &c); }", &["1: .patch(…)"])]
#[case::a_module_that_nobody_knows("gadgets", "use std::fmt;", &["1: gadgets"])]
fn a_violation_is_found(#[case] module: &str, #[case] text: &str, #[case] expected: &[&str]) {
    let found = check(module, text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("sample.rs:{expected}: ")), "{found}");
    }
}

#[rstest]
#[case::tests("plan", "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { println!(\"x\"); }\n}")]
#[case::a_test_use("plan", "#[cfg(test)]\nuse std::fs;")]
#[case::text_that_is_replaced("plan", "fn f(x: &str) -> String { x.replace('a', \"b\") }")]
#[case::a_variable_with_the_name_of_a_crate("plan", "fn f(bytes: u8) -> u8 { bytes }")]
#[case::a_duration("autoscaling::decision", "use std::time::Duration;")]
#[case::types_of_kube("catalog", "use kube::core::{DynamicObject, ObjectMeta};")]
#[case::its_own_parts("plan::teardown", "use super::{drift, edges::in_order};\nuse crate::object::ObjectRef;")]
#[case::the_writer("install::apply", "fn f() { api.patch(a, &b, &c); }")]
#[case::the_printer("report", "fn f() { println!(\"x\"); anstream::eprintln!(\"y\"); }")]
#[case::a_doc_comment("plan", "/// Not `std::fs::read`.\nfn f() {}")]
fn what_is_allowed_is_not_complained_about(#[case] module: &str, #[case] text: &str) {
    assert_eq!(check(module, text), Vec::<String>::new());
}

fn check(module: &str, text: &str) -> Vec<String> {
    let file = syn::parse_file(text).expect("Rust");
    let path: Vec<String> = module.split("::").map(str::to_owned).collect();
    violations(Path::new("sample.rs"), &path, &mentions(&file, &path, &crates()))
}
