//! Two values of one field in one clause, so that what differs is seen.

use serde_json::Value;
use similar::{Algorithm, ChangeTag, TextDiff};

use super::shown;

/// Longest value that is told whole, and how much is told of a longer one. Whole files are values too.
const LONGEST: usize = 60;
/// How much of what both begin with is told before the place where they part.
const BEFORE: usize = 20;

/// How two values that differ are told.
pub(super) enum Apart {
    /// Texts of several lines: how many lines only one of them has, counted as `plan` counts them.
    Lines(usize),
    /// Everything else: both, of long ones what stands around the first character that differs.
    Values(String, String),
}

/// Tells two values of one field apart.
pub(super) fn apart(live: &Value, desired: &Value) -> Apart {
    if let (Value::String(live), Value::String(desired)) = (live, desired)
        && (live.contains('\n') || desired.contains('\n'))
    {
        let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(live, desired);
        return Apart::Lines(diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal).count());
    }
    let (one, other) = (told(live), told(desired));
    let long = one.chars().count().max(other.chars().count()) > LONGEST;
    let common = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let from = if long { common.saturating_sub(BEFORE) } else { 0 };
    Apart::Values(excerpt(live, from), excerpt(desired, from))
}

/// The beginning of a value that has no other to be told from.
pub(super) fn beginning(value: &Value) -> String {
    excerpt(value, 0)
}

/// What of a value is compared and cut: a text without its quotes, so that they close around whatever is left of it.
fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => shown(value),
    }
}

fn excerpt(value: &Value, from: usize) -> String {
    let text = told(value);
    let length = text.chars().count();
    if from == 0 && length <= LONGEST {
        return shown(value);
    }
    let part: String = text.chars().skip(from).take(LONGEST).collect();
    let (before, after) = (if from > 0 { "…" } else { "" }, if length > from + LONGEST { "…" } else { "" });
    if value.is_string() { shown(&format!("{before}{part}{after}").into()) } else { format!("{before}{part}{after}") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::{FieldChange, FieldConflict};

    #[rstest]
    #[case::lines(json!("apiVersion: 1\na: 1\nb: 2\n"), json!("apiVersion: 1\na: 3\n"), "f differs in 3 lines (scalekit plan shows them)")]
    #[case::one_line(json!("a: 1\n"), json!("a: 1\nb: 2\n"), "f differs in 1 line (scalekit plan shows it)")]
    #[case::short(json!("a"), json!("b"), "f is \"a\", should be \"b\"")]
    #[case::long(json!(format!("{}old", "x".repeat(90))), json!(format!("{}new{}", "x".repeat(90), "y".repeat(90))),
        &format!("f is \"…{0}old\", should be \"…{0}new{1}…\"", "x".repeat(20), "y".repeat(37)))]
    #[case::from_the_start(json!("z".repeat(70)), json!("a"), &format!("f is \"{}…\", should be \"a\"", "z".repeat(60)))]
    #[case::ends_earlier(json!("ä".repeat(90)), json!("ä".repeat(91)),
        &format!("f is \"…{}\", should be \"…{}\"", "ä".repeat(20), "ä".repeat(21)))]
    #[case::no_text(json!([{"a": "x".repeat(80), "b": 1}]), json!([{"a": "x".repeat(80), "b": 2}]),
        &format!("f is …{0}\",\"b\":1}}], should be …{0}\",\"b\":2}}]", "x".repeat(14)))]
    #[case::escaped(json!(format!("\"{}1", "\t".repeat(60))), json!(format!("\"{}2", "\t".repeat(60))),
        &format!("f is \"…{0}1\", should be \"…{0}2\"", "\\t".repeat(20)))]
    fn two_values_are_shown_where_they_part(#[case] live: Value, #[case] desired: Value, #[case] expected: &str) {
        let change = FieldChange { field: "f".to_owned(), live: Some(live), desired, by: Vec::new() };
        assert_eq!(change.to_string(), expected);
    }

    #[test]
    fn a_long_value_alone_is_cut_within_its_quotes() {
        let of = |live: Option<Value>, desired| FieldChange { field: "f".to_owned(), live, desired, by: Vec::new() };
        let beginning = format!("\"{}…\"", "x".repeat(60));
        let long = json!("x".repeat(61));
        assert_eq!(of(None, long.clone()).to_string(), format!("f is not set, should be {beginning}"));
        let dropped = of(Some(long), Value::Null).to_string();
        assert_eq!(dropped, format!("f is {beginning}, should be (no longer declared)"));
    }

    #[test]
    fn a_conflict_tells_the_two_values_apart_as_drift_does() {
        let conflict = |live, desired| FieldConflict {
            field: ".data".to_owned(),
            owner: "conflict with \"kubectl\"".to_owned(),
            live: Some(live),
            desired: Some(desired),
        };
        let lines = conflict(json!("a: 1\n"), json!("a: 2\n")).to_string();
        assert_eq!(lines, ".data: conflict with \"kubectl\"; 2 lines of it would change");
        let long = |end: &str| json!(format!("{}{end}", "x".repeat(90)));
        let long = conflict(long("old"), long("new")).to_string();
        assert!(long.ends_with("xold\", and would be \"…xxxxxxxxxxxxxxxxxxxxnew\""), "{long}");
    }
}
