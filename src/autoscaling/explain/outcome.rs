//! What came of a decision, where it is not what was decided.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Decision, Frame, LimitReason, Mode, Path, Policy, Run};
use crate::autoscaling::decision::policy::Tolerances;

/// Why the count is not the one that was decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It could not be written.
    Unwritten(String),
    /// None was decided on.
    Blocked(String),
    /// Somebody else, by his name, set the count, and is left alone.
    Yields(String),
}

impl Trouble {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Unwritten(message) | Self::Blocked(message) | Self::Yields(message) => message,
        }
    }

    /// What went wrong, where something did.
    pub(super) fn problem(&self) -> Option<&str> {
        match self {
            Self::Unwritten(message) | Self::Blocked(message) => Some(message),
            Self::Yields(_) => None,
        }
    }
}

impl Run {
    /// A decision that could not be carried out.
    pub fn unwritten(decision: &Decision, policy: &Policy, why: &str, before: Option<&Self>) -> Self {
        let trouble = Trouble::Unwritten(why.to_owned());
        Self { trouble: Some(shared(trouble, before)), ..Self::of(decision, policy, before) }
    }

    /// A look that came to no decision. The count is what it was when there was one.
    pub fn blocked(why: &str, at: Timestamp, before: Option<&Self>) -> Self {
        let seconds = u32::try_from(at.as_second()).unwrap_or(0);
        let current = before.map_or(0, Self::left_at);
        Self {
            frame: before.map_or_else(unknown, |before| before.frame.clone()),
            points: Box::default(),
            failure: None,
            held: None,
            trouble: Some(shared(Trouble::Blocked(why.to_owned()), before)),
            chain: None,
            from_s: seconds,
            to_s: seconds,
            current,
            status: current,
            desired: current,
            proposed: current,
            stabilized: current,
            limited: current,
            cooling_down_s: 0,
            path: Path::NoData,
            limit: LimitReason::DesiredWithinRange,
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.trouble.as_deref(), Some(Trouble::Blocked(_)))
    }

    /// The count that was ordered when it was over.
    fn left_at(&self) -> i32 {
        let carried_out = self.trouble.is_none() && self.frame.mode == Mode::Auto;
        if carried_out { self.desired } else { self.current }
    }
}

pub(super) fn shared(trouble: Trouble, before: Option<&Run>) -> Arc<Trouble> {
    match before.and_then(|before| before.trouble.as_ref()) {
        Some(before) if **before == trouble => before.clone(),
        _ => Arc::new(trouble),
    }
}

/// Nothing is known of the policy.
fn unknown() -> Arc<Frame> {
    Arc::new(Frame {
        metrics: Vec::new(),
        tolerances: Tolerances { up: 0.0, down: 0.0 },
        min: 0,
        max: 0,
        schedules: Vec::new(),
        mode: Mode::Auto,
    })
}
