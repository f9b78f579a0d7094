//! A decision in words, as it is handed to whoever asks.

use std::fmt::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A decision in words. Its JSON form is documented in `docs/explain.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// When it was first made like this.
    pub from: Timestamp,
    /// When it was last made like this.
    pub to: Timestamp,
    /// What was ordered before.
    pub current_replicas: i32,
    /// What was decided on.
    pub desired_replicas: i32,
    /// The minimum that held.
    pub min_replicas: i32,
    /// The maximum that held.
    pub max_replicas: i32,
    /// What the metrics said; empty where the decision did not look at them.
    pub metrics: Vec<ExplainedMetric>,
    /// How it came about, in order.
    pub steps: Vec<String>,
    /// The same in fields; absent where nothing was decided, and from a scaler that does not tell it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<serde_json::Value>,
    /// What would make it another one.
    pub would_change: Vec<String>,
    /// Why what was decided could not be ordered, or why nothing could be decided; absent where neither is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// It was not remembered, but made again from what Prometheus kept.
    #[serde(default)]
    pub recomputed: bool,
    /// What was then taken for true because no history has it, in words; empty where nothing had to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
}

/// One metric of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedMetric {
    /// What the user calls it.
    pub name: String,
    /// Its value in all, a decimal number; absent when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many replicas it called for; absent when it called for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_replicas: Option<i32>,
}

impl Explanation {
    /// As text, a step a line.
    pub fn text(&self) -> String {
        let mut text =
            if self.from == self.to { format!("{}\n", self.from) } else { format!("{} to {}\n", self.from, self.to) };
        // Writing to a string does not fail.
        for (number, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "{}. {step}", number + 1);
        }
        for change in &self.would_change {
            let _ = writeln!(text, "→ {change}");
        }
        if self.recomputed {
            text.push_str(
                "recomputed from what Prometheus kept, with the Autoscaler as it is now; nobody remembers that decision\n",
            );
        }
        for assumption in &self.assumed {
            let _ = writeln!(text, "assumed: {assumption}");
        }
        text
    }
}
