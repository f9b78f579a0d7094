//! YAML in and out, as kubectl reads and writes it.
//!
//! The one place that knows the YAML library. Octal numbers such as `defaultMode: 0644` are read as
//! kubectl reads them (420); a duplicate key is an error, since the last one silently winning is how
//! half of a manifest gets lost.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// A text that is not the YAML that was asked for: says where and why, with the line marked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    cause: String,
    place: Option<(u64, u64)>,
}

impl Error {
    /// What is wrong, without the lines around it: for texts that may hold secrets, and where the place is said apart.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Line and column of the mistake, both from 1, where they are known.
    pub fn place(&self) -> Option<(u64, u64)> {
        self.place
    }
}

impl From<serde_yaml::Error> for Error {
    fn from(error: serde_yaml::Error) -> Self {
        let place = error.location().map(|place| (place.line(), place.column()));
        let bare = plainly(&error.without_snippet().to_string());
        let first = bare.lines().next().unwrap_or_default();
        // The place is known apart.
        let cause = first.split(" at line ").next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Self { message: plainly(error.to_string().trim_start_matches("error: ")), cause, place }
    }
}

/// The library's words for whoever writes a file, not for whoever programs it.
fn plainly(text: &str) -> String {
    [
        (", set DuplicateKeyPolicy in Options if acceptable", ""),
        ("duplicate mapping key: ", "this key is there already: "),
        ("expected mapping start", "expected keys and values here"),
        ("expected sequence start", "expected a list here"),
        ("expected string scalar", "expected a single value here"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (library, plain)| text.replace(library, plain))
}

/// A value and where it stands in the text, from line 1 and column 1.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_yaml::Spanned::deserialize(deserializer)?;
        let place = spanned.referenced;
        Ok(Self { value: spanned.value, line: place.line(), column: place.column() })
    }
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Placed<T> {}

impl<T: Ord> PartialOrd for Placed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Placed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! { legacy_octal_numbers: true }
}

/// Parses one document.
///
/// # Errors
///
/// When the text is not YAML, or not of the type asked for.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_yaml::from_str_with_options(text, options()).map_err(Error::from)
}

/// Parses every document of a multi-document text; empty documents are skipped.
///
/// # Errors
///
/// As [`parse`], at the first document that is wrong.
pub fn parse_all<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    serde_yaml::from_multiple_with_options(text, options()).map_err(Error::from)
}

/// Writes one document.
///
/// # Errors
///
/// When the value has no YAML form, such as a map with keys that are not text.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_yaml::to_string(value).map_err(|error| {
        let message = error.to_string();
        Error { cause: message.clone(), message, place: None }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keys_and_values_know_their_place() {
        let map: BTreeMap<Placed<String>, Placed<serde_json::Value>> = parse("a: 1\nb:\n  c:\n  - x\n").unwrap();
        let places: Vec<_> = map
            .iter()
            .map(|(key, value)| (key.value.as_str(), (key.line, key.column), (value.line, value.column)))
            .collect();
        assert_eq!(places, [("a", (1, 1), (1, 4)), ("b", (2, 1), (3, 3))]);
    }
}
