//! YAML in and out, as kubectl reads and writes it.
//!
//! The one place that knows the YAML library. Octal numbers such as `defaultMode: 0644` are read as
//! kubectl reads them (420); a duplicate key is an error, since the last one silently winning is how
//! half of a manifest gets lost.

use serde::{Serialize, de::DeserializeOwned};

/// A text that is not the YAML that was asked for: says where and why, with the line marked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    place: Option<(u64, u64)>,
}

impl Error {
    /// Line and column of the mistake, both from 1, where they are known.
    pub fn place(&self) -> Option<(u64, u64)> {
        self.place
    }
}

impl From<serde_yaml::Error> for Error {
    fn from(error: serde_yaml::Error) -> Self {
        let place = error.location().map(|place| (place.line(), place.column()));
        Self { message: error.to_string(), place }
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
    serde_yaml::to_string(value).map_err(|error| Error { message: error.to_string(), place: None })
}
