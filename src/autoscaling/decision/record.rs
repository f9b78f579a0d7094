//! The record of a decision: every step with its numbers, so that it can be explained later.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    caution::Held,
    memory::Memory,
    metrics::{Failure, MetricResult},
    policy::{Bounds, Mode},
    rate::Limited,
    stabilization::Stabilized,
};

/// A decision, step by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// Whether it is to be carried out.
    pub mode: Mode,
    /// What was ordered before.
    pub current_replicas: i32,
    /// What was there.
    pub status_replicas: i32,
    /// The bounds that held.
    pub bounds: Bounds,
    /// The schedules that made them, by name.
    pub schedules: Vec<String>,
    /// Which way the decision took.
    pub path: Path,
    /// Every metric; empty where the path does not look at them.
    pub metrics: Vec<MetricResult>,
    /// The first metric that proposes nothing, even if the others decided.
    pub failure: Option<Failure>,
    /// What stabilization did; `None` where the path does not come to it.
    pub stabilized: Option<Stabilized>,
    /// What rates and bounds did; `None` where the path does not come to them.
    pub limited: Option<Limited>,
    /// How much longer no metric must be positive before the count falls to 0, where that holds it at 1.
    pub cooling_down: Option<SignedDuration>,
    /// What held the change back for safety.
    pub held: Option<Held>,
    /// Somebody else who writes the count, and is left alone for a while: nothing is written.
    pub yields_to: Option<String>,
    /// The count that is right now.
    pub desired_replicas: i32,
    /// Why it should change, in a few words; empty if it should not.
    pub reason: String,
    /// What is to be kept if nothing is written. See [`super::settle`].
    #[serde(skip)]
    pub memory: Memory,
}

/// Which way a decision took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Path {
    /// The autoscaler is paused.
    Paused,
    /// The target has no replicas, which means «off».
    Disabled,
    /// More replicas than the maximum: down to it at once.
    AboveMaximum,
    /// Fewer replicas than the minimum: up to it at once.
    BelowMinimum,
    /// The metrics give no count: what is there is held.
    NoData,
    /// The metrics decided.
    Metrics,
}

/// What is to be done about the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Action {
    /// Nothing.
    Hold,
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
}

impl Decision {
    /// What is to be done about the count, if the mode allows it.
    pub fn action(&self) -> Action {
        match self.desired_replicas.cmp(&self.current_replicas) {
            std::cmp::Ordering::Equal => Action::Hold,
            std::cmp::Ordering::Greater => Action::ScaleUp,
            std::cmp::Ordering::Less => Action::ScaleDown,
        }
    }

    /// Whether the count is to be written.
    pub fn is_to_be_written(&self) -> bool {
        self.mode == Mode::Auto && self.yields_to.is_none() && self.action() != Action::Hold
    }
}
