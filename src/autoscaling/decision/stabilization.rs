//! Step four: recent proposals hold a change back. What is stored is the raw proposal.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::memory::{Recommendation, age, replace_last};

/// What stabilization made of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stabilized {
    /// The proposal.
    pub proposed: i32,
    /// What is left of it.
    pub replicas: i32,
    /// Which direction was looked at: `ScaleUpStabilized` or `ScaleDownStabilized`.
    pub reason: &'static str,
    /// The lowest recent proposal, this one included.
    pub lowest: i32,
    /// The highest recent proposal, this one included.
    pub highest: i32,
    /// What holds the proposal back, where something does: the last that would have to leave the window.
    pub by: Option<Recommendation>,
    /// The window that it is in.
    pub window: SignedDuration,
}

impl Stabilized {
    /// Whether anything changed.
    pub fn held_back(&self) -> bool {
        self.replicas != self.proposed
    }
}

/// Without `behavior`: the highest proposal of the window, one exactly as old as it included.
pub fn without_behavior(
    recommendations: &mut Vec<Recommendation>,
    proposed: i32,
    window: SignedDuration,
    now: Timestamp,
) -> Stabilized {
    let recent = recommendations.iter().filter(|entry| age(entry.at, now) <= window);
    let highest = recent.clone().map(|entry| entry.replicas).fold(proposed, i32::max);
    let by = last(recent.filter(|entry| highest > proposed && entry.replicas >= highest));
    let entry = Recommendation { replicas: proposed, at: now };
    replace_last(recommendations, entry, |entry| age(entry.at, now) > window);
    let reason = "ScaleDownStabilized";
    Stabilized { proposed, replicas: highest, reason, lowest: proposed, highest, by, window }
}

/// With `behavior`: the current count, moved as little as needed to lie between the lowest proposal of
/// the upward window and the highest of the downward one. An entry exactly as old as a window is out,
/// so a window of 0 looks at nothing.
pub fn with_behavior(
    recommendations: &mut Vec<Recommendation>,
    proposed: i32,
    current: i32,
    up_window: SignedDuration,
    down_window: SignedDuration,
    now: Timestamp,
) -> Stabilized {
    let within = |window| recommendations.iter().filter(move |entry| age(entry.at, now) < window);
    let lowest = within(up_window).map(|entry| entry.replicas).fold(proposed, i32::min);
    let highest = within(down_window).map(|entry| entry.replicas).fold(proposed, i32::max);
    // `lowest ≤ proposed ≤ highest`, so the order of the two does not matter.
    let replicas = current.max(lowest).min(highest);
    let (window, by) = if replicas < proposed {
        (up_window, last(within(up_window).filter(|entry| entry.replicas <= replicas)))
    } else {
        let higher = within(down_window).filter(|entry| replicas > proposed && entry.replicas >= replicas);
        (down_window, last(higher))
    };
    let reason = if proposed >= current { "ScaleUpStabilized" } else { "ScaleDownStabilized" };
    let longest = up_window.max(down_window);
    let entry = Recommendation { replicas: proposed, at: now };
    replace_last(recommendations, entry, |entry| age(entry.at, now) > longest);
    Stabilized { proposed, replicas, reason, lowest, highest, by, window }
}

fn last<'a>(entries: impl Iterator<Item = &'a Recommendation>) -> Option<Recommendation> {
    entries.max_by_key(|entry| entry.at).copied()
}
