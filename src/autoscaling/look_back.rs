//! What a query looks back on, and what to ask a server to know whether it has all of that.
//!
//! `rate(x[5m])` divides by five minutes, whether or not there are samples of five minutes: of a Prometheus that lost its
//! data, or that scrapes a workload for a minute, it is too low. Only ranges of functions for which that is so are looked
//! at, as they stand in the text. A query with a subquery, or with anything that is not understood, is not judged: [`LookBack::of`]
//! has no answer. Nothing here fails or panics on any text.

use crate::duration::milliseconds;

/// By more than a tenth a value that is too low would be beyond the usual tolerance.
const COVERED: (i64, i64) = (9, 10);
/// Within this time there is a sample, if there are any: Prometheus advises against scraping more seldom.
const LONGEST_SCRAPE_INTERVAL_MS: i64 = 120_000;
/// The longest range or offset that is understood.
const LONGEST_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// Functions whose value is the lower the fewer samples there are. An average, a quantile, a trend or the last sample may
/// be any value: that is for the query's author to know.
const LOW_WITH_FEW_SAMPLES: [&str; 8] =
    ["rate", "increase", "delta", "sum_over_time", "count_over_time", "max_over_time", "changes", "resets"];

/// The ranges of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookBack(Vec<Range>);

/// `selector[length] @ … offset …`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    selector: String,
    length_ms: i64,
    /// The `@` modifier as it was written, or nothing.
    at: String,
    offset_ms: i64,
}

impl LookBack {
    /// What a query looks back on. `None` where it has no range of which it matters how far the samples go back, or
    /// where that cannot be told. Of the functions that matter, the range is the first argument.
    pub fn of(query: &str) -> Option<Self> {
        if !query.contains('[') {
            return None;
        }
        let tokens = tokens(query)?;
        let mut ranges: Vec<Range> = Vec::new();
        for place in (0..tokens.len()).filter(|place| tokens[*place].text == "[") {
            let (range, function) = range(query, &tokens, place)?;
            if LOW_WITH_FEW_SAMPLES.contains(&function) && !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        (!ranges.is_empty()).then_some(Self(ranges))
    }

    /// A query whose answer is 0 where all is covered, and else the number of a range that is not, for [`Self::name`].
    ///
    /// A range is covered if there is a sample of any of its series in its older half, and one that is at least nine
    /// tenths of its length old. A range without any sample is not judged: that nothing is there is another matter.
    pub fn question(&self) -> String {
        let mut parts: Vec<String> = Vec::with_capacity(self.0.len() + 1);
        for (place, range) in self.0.iter().enumerate() {
            let half = range.length_ms / 2;
            let (of, by) = COVERED;
            let far = range.length_ms / by * of;
            // No part is shorter than the time from one scrape to the next, or it would depend on the moment.
            let part = |length_ms: i64| length_ms.max(LONGEST_SCRAPE_INTERVAL_MS);
            parts.push(format!(
                "{} * 0 + {} unless ({} and {})",
                range.count(range.length_ms, 0),
                place + 1,
                range.count(part(range.length_ms - half), half),
                range.count(part(range.length_ms / by), far),
            ));
        }
        parts.push("vector(0)".to_owned());
        parts.join(" or ")
    }

    /// The range of this number, in words.
    pub fn name(&self, number: i64) -> Option<String> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.0.get(place).map(|range| format!("`{}` in the {}", range.selector, text(range.length_ms)))
    }

    /// For how many milliseconds a history can be too short: until its longest range has passed. What is not covered then
    /// is so sparse that it never will be, or is not kept for so long.
    pub fn at_most_ms(&self) -> i64 {
        let longest = self.0.iter().map(|range| range.length_ms).max().unwrap_or_default();
        longest.saturating_add(LONGEST_SCRAPE_INTERVAL_MS)
    }
}

impl Range {
    /// How many series have a sample in a part of the range, which ends `back` before the end of the whole.
    fn count(&self, length_ms: i64, back_ms: i64) -> String {
        let Self { selector, at, .. } = self;
        let offset = match self.offset_ms.saturating_add(back_ms) {
            0 => String::new(),
            ahead @ ..0 => format!(" offset -{}", text(ahead.saturating_neg())),
            back => format!(" offset {}", text(back)),
        };
        format!("count(count_over_time({selector}[{}]{at}{offset}))", text(length_ms))
    }
}

/// A duration as PromQL reads it: its two largest units at most are there in practice.
fn text(milliseconds: i64) -> String {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let (mut text, mut rest) = (String::new(), milliseconds.max(1));
    for (unit, length) in units {
        if rest >= length {
            text.push_str(&(rest / length).to_string());
            text.push_str(unit);
            rest %= length;
        }
    }
    text
}

/// The range whose `[` stands at this place, and the function that is given it.
fn range<'a>(query: &str, tokens: &[Token<'a>], place: usize) -> Option<(Range, &'a str)> {
    let at = |place: usize| tokens.get(place).map_or("", |token| token.text);
    let length_ms = duration(at(place + 1)).filter(|_| at(place + 2) == "]")?;
    let last = place.checked_sub(1)?;
    let braces = if at(last) == "}" { tokens[..last].iter().rposition(|token| token.text == "{") } else { None };
    let first = match braces {
        Some(brace) if brace > 0 && is_word(at(brace - 1)) => brace - 1,
        Some(brace) => brace,
        None => last,
    };
    if braces.is_none() && !is_word(at(last)) {
        return None;
    }
    // A range stands nowhere but among the arguments of a function.
    let before = first.checked_sub(1)?;
    if !["(", ","].contains(&at(before)) {
        return None;
    }
    let function = if at(before) == "(" && before > 0 { at(before - 1) } else { "" };
    let selector = query.get(tokens[first].start..tokens[last].end())?.to_owned();
    let (mut next, mut offset_ms, mut modifier) = (place + 3, 0, String::new());
    loop {
        match at(next) {
            word if word.eq_ignore_ascii_case("offset") => {
                let sign = if at(next + 1) == "-" { -1 } else { 1 };
                let signed = usize::from(["-", "+"].contains(&at(next + 1)));
                offset_ms = sign * duration(at(next + 1 + signed))?;
                next += 2 + signed;
            }
            "@" => {
                let end = if ["start", "end"].contains(&at(next + 1)) && (at(next + 2), at(next + 3)) == ("(", ")") {
                    next + 3
                } else {
                    next + 1
                };
                modifier = format!(" {}", query.get(tokens[next].start..tokens.get(end)?.end())?);
                next = end + 1;
            }
            ")" | "," => break,
            _ => return None,
        }
    }
    Some((Range { selector, length_ms, at: modifier, offset_ms }, function))
}

/// `5m`, or seconds without a unit. A subquery has a colon, which is no duration.
fn duration(text: &str) -> Option<i64> {
    let text = if text.bytes().all(|byte| byte.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() };
    milliseconds(&text, LONGEST_MS).ok().and_then(|length| i64::try_from(length).ok()).filter(|length| *length > 0)
}

/// A word, a text in quotes, or one sign.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    start: usize,
}

impl Token<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(of_word)
}

fn of_word(character: char) -> bool {
    character.is_alphanumeric() || ['_', ':', '.'].contains(&character)
}

/// All tokens of a query, without blanks and comments. `None` where a text in quotes does not end.
fn tokens(query: &str) -> Option<Vec<Token<'_>>> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(first) = query.get(start..).and_then(|rest| rest.chars().next()) {
        let rest = &query[start..];
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' | '`' => quoted(rest, first)?,
            word if of_word(word) => rest.find(|character| !of_word(character)).unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        if first != '#' && !first.is_whitespace() {
            found.push(Token { text: &rest[..length], start });
        }
        start += length;
    }
    Some(found)
}

/// How many bytes a text in quotes takes.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((place, character)) = characters.next() {
        if character == '\\' && quote != '`' {
            characters.next();
        } else if character == quote {
            return Some(place + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use promql_parser::parser;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn ranges(query: &str) -> Vec<(String, i64, i64, String)> {
        let all = LookBack::of(query).map_or(Vec::new(), |look_back| look_back.0);
        all.into_iter()
            .map(|Range { selector, length_ms, at, offset_ms }| (selector, length_ms / 1000, offset_ms / 1000, at))
            .collect()
    }

    #[rstest]
    #[case::plain("sum(rate(x[5m]))", &[("x", 300, 0, "")])]
    #[case::seconds("increase(x[300])", &[("x", 300, 0, "")])]
    #[case::labels(
        r#"rate(x{path=~"/a[0-9]{2}]",b="}"} [1h30m]) * 2"#,
        &[(r#"x{path=~"/a[0-9]{2}]",b="}"}"#, 5400, 0, "")]
    )]
    #[case::without_a_name(r#"rate({__name__="x", a='"'}[1m])"#, &[(r#"{__name__="x", a='"'}"#, 60, 0, "")])]
    #[case::raw(r"rate({a=`\`}[1m])", &[(r"{a=`\`}", 60, 0, "")])]
    #[case::a_recorded_name("max_over_time(job:x:sum[10m])", &[("job:x:sum", 600, 0, "")])]
    #[case::in_part("increase(x[1h]) / count_over_time(y[5m])", &[("x", 3600, 0, ""), ("y", 300, 0, "")])]
    #[case::any_value("quantile_over_time(0.9, x[1h]) + avg_over_time(x[1h]) + deriv(x[1h])", &[])]
    #[case::offset("rate(x[5m] offset 1h)", &[("x", 300, 3600, "")])]
    #[case::into_the_future("rate(x[5m] OFFSET -30s)", &[("x", 300, -30, "")])]
    #[case::at("rate(x[5m] @ 1609746000.5 offset 1m)", &[("x", 300, 60, " @ 1609746000.5")])]
    #[case::at_the_end("rate(x[5m] offset 1m @ end ( ))", &[("x", 300, 60, " @ end ( )")])]
    #[case::two("sum(rate(x[5m])) / sum(rate(y[1m]))", &[("x", 300, 0, ""), ("y", 60, 0, "")])]
    #[case::twice("sum(rate(x[5m])) / sum(rate(x[5m]))", &[("x", 300, 0, "")])]
    #[case::the_last_is_the_last("last_over_time(x[1h]) + irate(y[5m]) + rate(z[1m])", &[("z", 60, 0, "")])]
    #[case::comments("rate( # x[1h]\n x[5m])", &[("x", 300, 0, "")])]
    #[case::none("sum(x)", &[])]
    #[case::only_in_a_label(r#"sum(x{a="[5m]"})"#, &[])]
    #[case::subquery("max_over_time(rate(x[5m])[1h:1m])", &[])]
    #[case::subquery_of_the_usual_step("max_over_time(sum(x)[1h:])", &[])]
    #[case::reckoned("rate(x[5m + 1m])", &[])]
    #[case::of_another_server("rate(x[5i])", &[])]
    #[case::too_long("rate(x[99999999999y])", &[])]
    #[case::no_query("rate(x[5m", &[])]
    #[case::no_end(r#"rate(x{a="b}[5m])"#, &[])]
    #[case::no_function("[5m]", &[])]
    fn ranges_are_found_as_they_are_written(#[case] query: &str, #[case] expected: &[(&str, i64, i64, &str)]) {
        let found = ranges(query);
        let found: Vec<_> =
            found.iter().map(|(selector, length, offset, at)| (&**selector, *length, *offset, &**at)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_asked_is_whether_there_are_samples_of_the_older_half_and_of_nine_tenths() {
        let look_back = LookBack::of("sum(rate(x{a=\"b\"}[5m] offset 1m)) / rate(y[1h])").expect("two ranges");
        let expected = "count(count_over_time(x{a=\"b\"}[5m] offset 1m)) * 0 + 1 unless \
            (count(count_over_time(x{a=\"b\"}[2m30s] offset 3m30s)) and count(count_over_time(x{a=\"b\"}[2m] offset 5m30s))) \
            or count(count_over_time(y[1h])) * 0 + 2 unless \
            (count(count_over_time(y[30m] offset 30m)) and count(count_over_time(y[6m] offset 54m))) \
            or vector(0)";
        assert_eq!(look_back.question(), expected);
        assert_eq!(look_back.name(2).as_deref(), Some("`y` in the 1h"));
        assert_eq!(look_back.at_most_ms(), 62 * 60 * 1000);
        assert_eq!((look_back.name(0), look_back.name(3)), (None, None));
    }

    #[rstest]
    #[case::labels(r#"rate(x{path=~"/a[0-9]{2}",b='}'}[1h30m])"#)]
    #[case::at("rate(x[5m] @ 1609746000.5 offset 1m) + increase(x[30s] @ end() offset -10m)")]
    #[case::short("rate(x[25s]) + rate({a=`b`}[500ms])")]
    fn what_is_asked_is_promql(#[case] query: &str) {
        assert!(parser::parse(query).is_ok(), "the query itself");
        let question = LookBack::of(query).expect("ranges").question();
        assert!(parser::parse(&question).is_ok(), "{question}");
    }

    /// promtool runs them (`dev/test-rules`).
    #[test]
    fn what_is_asked_is_what_was_tried_on_a_real_prometheus() {
        for query in ["sum(rate(requests_total[5m]))", "max_over_time(requests_total[1m])"] {
            let question = LookBack::of(query).expect("a range").question();
            assert!(include_str!("../../tests/rules/look_back.yaml").contains(&question), "{question}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in r#"([a-z:\[\]{}()@,+\-#'"` ]|offset|5m|\\|ä|\n){0,40}"#) {
            if let Some(look_back) = LookBack::of(&text) {
                prop_assert!(look_back.question().ends_with("vector(0)"));
            }
        }
    }
}
