//! What the API server says to a change before it is made.

use serde::Serialize;

/// How an object was checked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "checked", rename_all = "kebab-case")]
pub enum Checked {
    /// The API server would take it as it is.
    Accepted {
        /// The namespace in which it was tried, where its own is not there yet. Schema and defaults are checked so;
        /// quotas and pod security levels of its own namespace are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        tried_in: Option<&'static str>,
    },
    /// The API server would refuse it.
    Refused {
        /// In the API server's words.
        why: String,
    },
    /// Somebody else manages fields of it.
    Conflict {
        /// Field and the API server's sentence about its owner. `fields` in JSON are those that differ.
        #[serde(rename = "conflicts")]
        fields: Vec<(String, String)>,
    },
    /// It could not be tried.
    NotTried {
        /// Why.
        why: String,
    },
}
