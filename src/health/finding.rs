//! One thing that a check has to say.

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing stops.
    Info,
    /// Will hurt some day; nothing stops.
    Warning,
    /// Does not work.
    Error,
}

/// The result of one named check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check, stable, for scripts: `storage-class`.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, one sentence without a full stop.
    pub message: String,
    /// What to do, best as a command that can be pasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// A finding without a hint.
    pub fn new(check: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self { check, severity, message: message.into(), hint: None }
    }

    /// Where the documentation says more about this check.
    pub fn anchor(&self) -> String {
        format!("docs/checks.md#{}", self.check)
    }

    /// The same finding with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
