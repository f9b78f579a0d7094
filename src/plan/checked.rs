//! What the API server says to a change before it is made.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::{
    apart::{Apart, apart},
    field_path::at,
};
use crate::object::ObjectRef;

/// How an object was checked, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
        /// Which. `fields` in JSON are those that differ.
        #[serde(rename = "conflicts")]
        fields: Vec<FieldConflict>,
    },
    /// It could not be tried, or only in another namespace, which refused it for a reason that may be its own.
    NotTried {
        /// Why.
        why: String,
    },
}

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldConflict {
    /// Its path, as the API server spells it: `.spec.replicas`.
    pub field: String,
    /// The API server's sentence about who manages it.
    pub owner: String,
    /// Its value in the cluster, where the path leads to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// The value that would be written, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
}

impl std::fmt::Display for FieldConflict {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, owner, live, desired } = self;
        match (live, desired) {
            (Some(live), Some(desired)) => match apart(live, desired) {
                Apart::Lines(1) => write!(to, "{field}: {owner}; 1 line of it would change"),
                Apart::Lines(lines) => write!(to, "{field}: {owner}; {lines} lines of it would change"),
                Apart::Values(live, desired) => write!(to, "{field}: {owner}; it is {live}, and would be {desired}"),
            },
            _ => write!(to, "{field}: {owner}"),
        }
    }
}

/// The fields that the API server names, each with both values; those of a Secret are nobody's to see.
pub fn conflicts(
    fields: &[(String, String)],
    declared: Option<&DynamicObject>,
    live: Option<&DynamicObject>,
) -> Vec<FieldConflict> {
    let value = |object: Option<&DynamicObject>, field: &str| {
        let object = object.filter(|object| ObjectRef::of(object).kind != "Secret")?;
        at(&serde_json::to_value(object).ok()?, field).cloned()
    };
    fields
        .iter()
        .map(|(field, owner)| FieldConflict {
            field: field.clone(),
            owner: owner.clone(),
            live: value(live, field),
            desired: value(declared, field),
        })
        .collect()
}

/// All of them in one clause.
pub fn in_words(conflicts: &[FieldConflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
