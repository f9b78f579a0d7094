//! What the API server says to a change before it is made.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::{
    Change,
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
        /// The tools that applied it for us, where it is taken over from them first: their fields are no conflict.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        taken_over_from: Vec<String>,
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
    /// What is to be done with it is nothing that can be tried.
    #[serde(rename = "not-tried")]
    Untried {
        /// Why not. `why` in JSON is that of the change itself.
        untried: &'static str,
    },
}

impl Checked {
    /// What is to be said of a change that no dry run can try; `None` for all others.
    pub fn untried(change: &Change) -> Option<Self> {
        let untried = match change {
            Change::Recreate { .. } => "what is there has to go before it",
            Change::Delete { .. } => "the API server is not asked about deletions",
            Change::Create | Change::Configure { .. } | Change::Unchanged | Change::Foreign { .. } => return None,
        };
        Some(Self::Untried { untried })
    }
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

/// Whether the API server's sentence about who manages a field (`conflict with "helm" using apps/v1`) is about one of these
/// managers, and not about what it wrote by a subresource.
pub fn is_held_by(owner: &str, managers: &[String]) -> bool {
    let named = |manager: &String| {
        let rest = owner.strip_prefix("conflict with \"")?.strip_prefix(manager)?.strip_prefix('"')?;
        Some(!rest.starts_with(" with subresource"))
    };
    managers.iter().filter_map(named).any(|whole| whole)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::Planned;

    #[rstest]
    #[case::anew(
        Change::Recreate { uid: "u".to_owned(), why: "roleRef differs".to_owned() },
        json!({"checked": "not-tried", "untried": "what is there has to go before it"})
    )]
    #[case::deleted(
        Change::Delete { uid: "u".to_owned() },
        json!({"checked": "not-tried", "untried": "the API server is not asked about deletions"})
    )]
    #[case::created(Change::Create, Value::Null)]
    #[case::nothing_to_do(Change::Unchanged, Value::Null)]
    fn what_cannot_be_tried_says_so(#[case] change: Change, #[case] expected: Value) {
        let said = Checked::untried(&change);
        assert_eq!(serde_json::to_value(&said).unwrap(), expected);
        // Both stand in one JSON object, each with keys of its own.
        let planned = Planned { object: ObjectRef::new("v1", "Service", Some("n"), "x"), change };
        let keys = |value: Value| value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
        let (planned, said): (Vec<String>, Vec<String>) =
            (keys(serde_json::to_value(planned).unwrap()), keys(serde_json::to_value(said).unwrap()));
        assert!(planned.iter().all(|key| !said.contains(key)), "{planned:?}, {said:?}");
    }

    #[rstest]
    #[case::by_an_update("conflict with \"helm\" using apps/v1 at 2026-01-01T00:00:00Z", true)]
    #[case::by_apply("conflict with \"helm\"", true)]
    #[case::another("conflict with \"helm-operator\" using apps/v1", false)]
    #[case::by_a_subresource("conflict with \"kubectl\" with subresource \"scale\" using apps/v1", false)]
    fn a_conflict_is_with_whom_it_names(#[case] owner: &str, #[case] expected: bool) {
        assert_eq!(is_held_by(owner, &["kubectl".to_owned(), "helm".to_owned()]), expected);
    }
}
