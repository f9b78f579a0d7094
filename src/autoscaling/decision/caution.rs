//! The last step: what holds a change back although it is called for, because it would not help or may be a mistake.
//!
//! The HPA has none of this. Bounds come before it: what is outside of them goes straight to the bound.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    memory::age,
    observation::{Observation, Phase, Pods},
    policy::{Bounds, Policy},
};

/// How many pods may be Pending, and for how long, before no more are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PendingPods {
    /// So many.
    pub count: usize,
    /// For longer than this.
    pub longer_than: SignedDuration,
}

/// What held a change back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// In one word: `PodsPending`, `ManyScaleDowns`, `ShortHistory` or `StepLimit`.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
    /// The count that is left of the change.
    pub replicas: i32,
}

/// What becomes of a change from `current` to `desired`, which is within `bounds`; `None` where nothing holds it back.
pub fn caution(
    policy: &Policy,
    observation: &Observation,
    bounds: Bounds,
    (current, desired): (i32, i32),
    now: Timestamp,
) -> Option<Held> {
    if desired > current
        && let Some(held) = policy.pending_pods.and_then(|limit| pending(limit, observation, current, now))
    {
        return Some(held);
    }
    if desired < current
        && let Some(why) = &observation.distrust
    {
        return Some(Held { reason: why.reason(), message: why.message().to_owned(), replicas: current });
    }
    let step = policy.largest_step.map(|step| step.max(1))?;
    let replicas = desired.clamp(current.saturating_sub(step), current.saturating_add(step));
    // Waking up may be from outside of the bounds.
    let replicas = replicas.clamp(bounds.min(), bounds.max());
    (replicas != desired).then(|| Held {
        reason: "StepLimit",
        message: format!("the metrics call for {desired}; the scaler changes a count by {step} at once at most"),
        replicas,
    })
}

fn pending(limit: PendingPods, observation: &Observation, current: i32, now: Timestamp) -> Option<Held> {
    let Pods::Listed(pods) = &observation.pods else { return None };
    let waits = pods.iter().filter(|pod| {
        let since = pod.created.map_or(SignedDuration::ZERO, |created| age(created, now));
        pod.phase == Phase::Pending && !pod.deleting && since > limit.longer_than
    });
    let count = waits.count();
    (count >= limit.count).then(|| Held {
        reason: "PodsPending",
        message: format!(
            "{count} pods have been Pending for longer than {:#}: more would only wait beside them",
            limit.longer_than
        ),
        replicas: current,
    })
}
