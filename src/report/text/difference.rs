//! Two values of one field, so that what differs is seen.

use std::fmt::Write;

use serde_json::Value;
use similar::{Algorithm, ChangeTag, TextDiff};

use crate::{health::count, plan::shown};

/// Longest line of a value; `-o json` has all of it.
const WIDTH: usize = 120;
/// Most lines that are shown of one field.
const LINES: usize = 12;

/// A value that is short, or the beginning of it and how long it is.
fn shortened(value: &str) -> String {
    let length = value.chars().count();
    if length <= WIDTH {
        return value.to_owned();
    }
    format!("{}… ({length} characters)", value.chars().take(WIDTH).collect::<String>())
}

/// What changes: short values side by side; of texts the lines that differ, below it and by their numbers; of long lines
/// what stands where they part.
pub(super) fn difference(live: Option<&Value>, desired: &Value) -> String {
    let Some(live) = live else { return format!("(not set) → {}", shortened(&shown(desired))) };
    if let (Value::String(live), Value::String(desired)) = (live, desired)
        && (live.contains('\n') || desired.contains('\n'))
    {
        return lines(live, desired);
    }
    let (live, desired) = (shown(live), shown(desired));
    if live.chars().count().max(desired.chars().count()) <= WIDTH {
        return format!("{live} → {desired}");
    }
    where_they_part(&live, &desired)
}

/// The lines of two texts that differ, each with its number in the text that it is of.
fn lines(live: &str, desired: &str) -> String {
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(live, desired);
    let changed: Vec<String> = diff
        .iter_all_changes()
        .filter_map(|change| {
            let (mark, number) = match change.tag() {
                ChangeTag::Delete => ('-', change.old_index()),
                ChangeTag::Insert => ('+', change.new_index()),
                ChangeTag::Equal => return None,
            };
            let line = change.value().trim_end_matches('\n');
            let cut = if line.chars().count() > WIDTH { "…" } else { "" };
            let shown: String = line.chars().take(WIDTH).collect();
            Some(format!("\n      {mark}{:>5} {shown}{cut}", number.map_or(0, |index| index + 1)))
        })
        .collect();
    let mut text = format!("{} differ", count(changed.len(), "line"));
    if changed.len() == 1 {
        text.push('s');
    }
    text.extend(changed.iter().take(LINES).map(String::as_str));
    if changed.len() > LINES {
        let _ = write!(text, "\n      … and {} more", count(changed.len() - LINES, "line"));
    }
    text
}

/// What both have in common at the beginning is left out but for a few characters.
fn where_they_part(live: &str, desired: &str) -> String {
    const BEFORE: usize = 24;
    const SHOWN: usize = 80;
    let common = live.chars().zip(desired.chars()).take_while(|(one, other)| one == other).count();
    let from = common.saturating_sub(BEFORE);
    let excerpt = |text: &str| {
        let length = text.chars().count();
        let shown: String = text.chars().skip(from).take(SHOWN).collect();
        let (before, after) = (if from > 0 { "…" } else { "" }, if length > from + SHOWN { "…" } else { "" });
        format!("{before}{shown}{after}")
    };
    let (old, new) = (live.chars().count(), desired.chars().count());
    format!(
        "{old} characters become {new}, and differ from number {} on\n      - {}\n      + {}",
        common + 1,
        excerpt(live),
        excerpt(desired)
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::short(Some(json!(1)), json!(2), "1 → 2")]
    #[case::new(None, json!("a"), "(not set) → \"a\"")]
    #[case::line(Some(json!("a\nb\nc\n")), json!("a\nx\nc\n"), "2 lines differ\n      -    2 b\n      +    2 x")]
    #[case::added(Some(json!("a\n")), json!("a\nb\n"), "1 line differs\n      +    2 b")]
    fn what_differs_is_shown(#[case] live: Option<Value>, #[case] desired: Value, #[case] shown: &str) {
        assert_eq!(difference(live.as_ref(), &desired), shown);
    }

    #[test]
    fn of_many_lines_the_first_are_shown() {
        let text = "line\n".repeat(40);
        let shown = difference(Some(&json!("")), &json!(text));
        assert_eq!(shown.lines().count(), 1 + LINES + 1, "{shown}");
        assert!(shown.ends_with("… and 28 lines more"), "{shown}");
    }

    #[test]
    fn long_lines_are_shown_from_where_they_part() {
        let of = |word: &str| json!(format!("{}{word}{}", "ä".repeat(500), "b".repeat(500)));
        let shown = difference(Some(&of("old")), &of("newer"));
        assert!(shown.starts_with("1005 characters become 1007, and differ from number 502 on\n"), "{shown}");
        assert!(shown.contains(&format!("- …{}oldbbb", "ä".repeat(24))), "{shown}");
        assert!(shown.contains(&format!("+ …{}newerbbb", "ä".repeat(24))), "{shown}");
    }
}
