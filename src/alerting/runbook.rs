//! What each alert means and what mends it: the page of runbooks of this very version, for whoever has no other at hand.

/// The page, of which an alert's section is the part below its name as a heading of the third level.
const PAGE: &str = include_str!("../../docs/runbooks.md");

/// The section of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runbook {
    /// Name of the alert.
    pub alert: &'static str,
    section: &'static str,
}

impl Runbook {
    /// All of them, in the order of the page.
    pub fn all() -> impl Iterator<Item = Self> {
        PAGE.split("\n### ").skip(1).filter_map(|part| {
            let (alert, rest) = part.split_once('\n')?;
            let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
            Some(Self { alert, section: section.trim() })
        })
    }

    /// That of an alert, whatever case its name is written in.
    pub fn of(alert: &str) -> Option<Self> {
        Self::all().find(|runbook| runbook.alert.eq_ignore_ascii_case(alert))
    }

    /// Its first sentence.
    pub fn meaning(&self) -> String {
        let first = self.section.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let end = first.find(". ").map_or(first.len(), |at| at + 1);
        unlinked(&first[..end])
    }

    /// All of it as text, whose references to other sections are their names.
    pub fn text(&self) -> String {
        unlinked(self.section)
    }
}

/// Markdown without the targets of its links, which lead nowhere on a terminal.
fn unlinked(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, name, after)) = next_link(rest) {
        text.push_str(before);
        text.push_str(name);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// What stands before the next link, its name, and what stands after it.
fn next_link(text: &str) -> Option<(&str, &str, &str)> {
    let middle = text.find("](")?;
    let start = text[..middle].rfind('[')?;
    let end = middle + text[middle..].find(')')?;
    Some((&text[..start], &text[start + 1..middle], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_section_ends_where_the_next_one_begins() {
        let runbook = Runbook::of("targetoverlimit").unwrap();
        assert_eq!(runbook.alert, "TargetOverLimit");
        assert!(runbook.meaning().starts_with("A page had more samples"), "{}", runbook.meaning());
        assert!(runbook.text().ends_with("Take it out in the application."), "the next one is of another group");
        assert!(Runbook::all().count() > 40);
        assert_eq!(Runbook::of("Prometheus"), None, "a group of alerts");
    }

    #[rstest]
    #[case::none("as it is [1] (2)", "as it is [1] (2)")]
    #[case::of_the_page("see [A](#a), [B](#b).", "see A, B.")]
    #[case::of_another("[`alerting`](alerting.md) names", "`alerting` names")]
    fn links_are_their_names(#[case] markdown: &str, #[case] expected: &str) {
        assert_eq!(unlinked(markdown), expected);
        assert!(Runbook::all().all(|runbook| !runbook.text().contains("](")));
    }
}
