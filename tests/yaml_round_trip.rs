//! What `yaml` writes, it reads back as it was, and so does kubectl: a text that looks like something else stays text.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use kube::core::DynamicObject;
use proptest::prelude::*;
use rstest::rstest;
use scalekit::{
    catalog::{self, DemoOptions, Options},
    platform, yaml,
};
use serde_json::{Value, json};

fn there_and_back(value: &Value) -> Value {
    let text = yaml::to_string(value).unwrap();
    yaml::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_manifest_on_every_platform_survives() {
    let demo = DemoOptions {
        namespace: "demo".to_owned(),
        image: "example.org/scalekit:1".to_owned(),
        pull_policy: "Never".to_owned(),
        version: "0.1.0".to_owned(),
    };
    let stacks = ["kind", "microk8s", "k3s", "generic"].into_iter().flat_map(|name| {
        catalog::stack(&Options::new("yes", "0.1.0"), &platform::assume(name.parse().unwrap(), &[], &[]))
    });
    let demos = catalog::demos().into_iter().flat_map(|name| catalog::demo(name, &demo).unwrap());
    let objects: Vec<DynamicObject> = stacks.chain(demos).collect();
    assert!(objects.len() > 100);
    let mut stream = String::new();
    for object in &objects {
        let value = serde_json::to_value(object).unwrap();
        assert_eq!(there_and_back(&value), value, "{:?}", object.metadata.name);
        stream.push_str("---\n");
        stream.push_str(&yaml::to_string(object).unwrap());
    }
    let read: Vec<DynamicObject> = yaml::parse_all(&stream).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&objects).unwrap());
}

/// Texts that YAML 1.1, which kubectl speaks, takes for something else when they stand bare.
#[rstest]
fn a_text_that_looks_like_something_else_is_quoted(
    #[values(
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "Yes",
        "NO",
        "On",
        "true",
        "null",
        "~",
        "0644",
        "0o644",
        "0x1F",
        "1_000",
        "1:30",
        "1e3",
        ".5",
        "-1",
        "+1",
        ".inf",
        ".nan",
        "2026-01-01",
        "",
        " ",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "{",
        "["
    )]
    text: &str,
) {
    let value = json!({"value": text, text: "key", "list": [text]});
    assert_eq!(there_and_back(&value), value);
    let written = yaml::to_string(&json!({"value": text})).unwrap();
    let bare = written.trim_end().strip_prefix("value: ").unwrap_or_default();
    assert!(bare.starts_with(['"', '\'', '|', '>']), "{text:?} stands bare: {written}");
}

#[rstest]
#[case::leading_tab("\tindented\n\tby tabs\n")]
#[case::leading_space("  indented\nless\n")]
#[case::leading_newline("\n\nlate\n")]
#[case::trailing_newlines("early\n\n\n")]
#[case::trailing_space("a \nb \n")]
#[case::no_last_newline("a\nb")]
#[case::windows("a\r\nb\r\n")]
#[case::a_document_marker("a\n---\nb\n")]
#[case::an_end_marker("a\n...\nb\n")]
#[case::control("\u{7}\u{1b}[0m")]
#[case::byte_order_mark("\u{feff}a")]
#[case::line_separator("a\u{2028}b")]
#[case::not_ascii("Grüße, 世界 🦀")]
fn a_text_survives_whatever_its_shape(#[case] text: &str) {
    let value = json!({"data": {"file": text}, "list": [text, {"deep": [text]}]});
    assert_eq!(there_and_back(&value), value);
}

/// The one text that is written so that kubectl refuses it: a block whose first line begins with a tab. Nothing that
/// is shipped may hold one.
#[test]
fn no_manifest_holds_a_text_that_begins_with_a_tab() {
    fn check(value: &Value) {
        match value {
            Value::String(text) => {
                let first = text.trim_start_matches('\n');
                assert!(!(text.contains('\n') && first.starts_with('\t')), "{text}");
            }
            Value::Array(items) => items.iter().for_each(check),
            Value::Object(fields) => fields.values().for_each(check),
            _ => {}
        }
    }
    let objects = catalog::stack(&Options::new("yes", "0.1.0"), &platform::assume("kind".parse().unwrap(), &[], &[]));
    check(&serde_json::to_value(objects).unwrap());
}

/// How kubectl reads a number that is written this way.
#[rstest]
#[case::octal("mode: 0644", json!({"mode": 420}))]
#[case::decimal("mode: 420", json!({"mode": 420}))]
#[case::quoted("mode: '0644'", json!({"mode": "0644"}))]
#[case::yes("quiet: yes", json!({"quiet": true}))]
fn a_bare_value_is_read_as_kubectl_reads_it(#[case] text: &str, #[case] expected: Value) {
    assert_eq!(yaml::parse::<Value>(text).unwrap(), expected);
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    assert!(yaml::parse::<Value>("a: 1\nb: 2\na: 3\n").is_err());
}

/// Texts that are likelier to break something than any text is: what has a meaning in YAML, lines, blanks, tabs.
fn difficult_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\t"),
        Just(" "),
        Just("  "),
        Just("\n"),
        Just("\r\n"),
        Just(":"),
        Just(": "),
        Just(" #"),
        Just("- "),
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("|"),
        Just(">"),
        Just("---"),
        Just("yes"),
        Just("0644"),
        Just("1_000"),
        Just("{{"),
        Just("}}"),
        Just("a"),
        Just("ü"),
    ];
    prop_oneof![prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()), any::<String>()]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        difficult_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(difficult_text(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_survives(text in difficult_text()) {
        let value = json!({"file": text, "list": [text]});
        prop_assert_eq!(there_and_back(&value), value);
    }

    #[test]
    fn any_document_survives(value in document()) {
        let value = json!({"root": value});
        prop_assert_eq!(there_and_back(&value), value);
    }
}
