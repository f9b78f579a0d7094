//! Rule files and scrape configurations that users add to Prometheus, checked before anything is applied.
//!
//! What Prometheus refuses makes it keep its old configuration, all of it, without a word to anybody who does not look.
//! So the mistakes that can be seen in the text are found here, with their place: the structure and the rules of
//! `rulefmt` (as `promtool check rules` has them), `PromQL`, names of jobs. What cannot be seen here (templates, options of
//! a service discovery) Prometheus says itself after the reload.

mod rules;
mod scrape;

use serde_json::Value;

use crate::{
    duration::milliseconds,
    yaml::{self, Placed},
};

pub use scrape::job_names;

/// What users add, checked by [`check`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Additions {
    /// Rule files.
    pub rules: Vec<File>,
    /// Scrape configurations. They may hold passwords.
    pub scrapes: Vec<File>,
}

impl Additions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.scrapes.is_empty()
    }
}

/// One file as it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without the folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Without the text: there may be a password in it.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("File").field(&self.name).finish()
    }
}

impl File {
    /// The name without its `.yml` or `.yaml`.
    pub fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(self.name.as_str(), |(stem, _)| stem)
    }
}

/// A mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Name of the file.
    pub file: String,
    /// Line from 1; where it is 0, the file as a whole is meant.
    pub line: u64,
    /// Column from 1.
    pub column: u64,
    /// What is wrong, one clause.
    pub why: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.why),
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.why),
        }
    }
}

/// Checks rule files and scrape configurations; `taken` are the jobs that there are already.
pub fn check(rules: &[File], scrapes: &[File], taken: &[String]) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = rules.iter().flat_map(rules::check).collect();
    mistakes.extend(scrape::check(scrapes, taken));
    mistakes
}

/// Collects the mistakes of one file.
struct Mistakes<'a> {
    file: &'a str,
    found: Vec<Mistake>,
}

impl<'a> Mistakes<'a> {
    fn of(file: &'a File) -> Self {
        Self { file: &file.name, found: Vec::new() }
    }

    fn add<T>(&mut self, at: &Placed<T>, why: impl Into<String>) {
        self.found.push(Mistake { file: self.file.to_owned(), line: at.line, column: at.column, why: why.into() });
    }

    /// A text that is not of the form asked for. Lines of it are not quoted: there may be a password in them.
    fn unreadable(&mut self, error: &yaml::Error) {
        let (line, column) = error.place().unwrap_or_default();
        self.found.push(Mistake { file: self.file.to_owned(), line, column, why: error.cause().to_owned() });
    }
}

/// A duration as Prometheus writes it, 0 among them, in milliseconds.
fn duration(text: &str) -> Option<u64> {
    match text {
        "" => None,
        "0" => Some(0),
        text => milliseconds(text, u64::MAX).ok(),
    }
}

/// Checks a duration where there is one.
fn check_duration(key: &str, value: Option<&Placed<Value>>, mistakes: &mut Mistakes<'_>) -> Option<u64> {
    let value = value?;
    let read = value.value.as_str().and_then(duration).or((value.value == 0).then_some(0));
    if read.is_none() {
        mistakes.add(value, format!("`{key}` is no duration as Prometheus writes it, such as 30s, 5m or 1h30m"));
    }
    read
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::seconds("30s", Some(30_000))]
    #[case::compound("1h30m", Some(5_400_000))]
    #[case::nothing("0s", Some(0))]
    #[case::zero("0", Some(0))]
    #[case::no_unit("30", None)]
    #[case::wrong_order("30m1h", None)]
    #[case::empty("", None)]
    #[case::words("5 min", None)]
    fn durations(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(duration(text), expected);
    }
}
