//! The last step: what holds a change back although it is called for, because it would not help or may be a mistake.
//!
//! The HPA has none of this. Bounds come before it: what is outside of them goes straight to the bound.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    memory::{Memory, Unmade, age},
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
    memory: &Memory,
    bounds: Bounds,
    (current, desired): (i32, i32),
    now: Timestamp,
) -> Option<Held> {
    if desired > current
        && let Some(held) =
            policy.pending_pods.and_then(|limit| pending(limit, observation, current, memory.unmade, now))
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

/// Notes since when too many pods that were ordered have not been made: a quota or an admission webhook that refuses
/// pods leaves none that could be Pending. While one comes after the other, as those of a StatefulSet do, none is refused.
pub fn note_unmade(policy: &Policy, observation: &Observation, memory: &mut Memory, now: Timestamp) {
    let is_held = |count: usize| policy.pending_pods.is_some_and(|limit| count >= limit.count);
    memory.unmade = there(observation).filter(|there| is_held(not_made(observation, *there))).map(|there| {
        let before = memory.unmade.filter(|before| there <= before.there);
        Unmade { since: before.map_or(now, |before| before.since), there }
    });
}

/// How many pods there are. Either the target's own count or its pods suffice to say that one is: a kind of somebody's own may
/// not count, or have pods that are not listed.
fn there(observation: &Observation) -> Option<usize> {
    let Pods::Listed(pods) = &observation.pods else { return None };
    let listed =
        pods.iter().filter(|pod| !pod.deleting && matches!(pod.phase, Phase::Pending | Phase::Running)).count();
    Some(listed.max(usize::try_from(observation.status_replicas).unwrap_or(0)))
}

/// How many pods were ordered and not made.
fn not_made(observation: &Observation, there: usize) -> usize {
    usize::try_from(observation.spec_replicas).unwrap_or(0).saturating_sub(there)
}

fn pending(
    limit: PendingPods,
    observation: &Observation,
    current: i32,
    unmade: Option<Unmade>,
    now: Timestamp,
) -> Option<Held> {
    let Pods::Listed(pods) = &observation.pods else { return None };
    let waits = pods.iter().filter(|pod| {
        let since = pod.created.map_or(SignedDuration::ZERO, |created| age(created, now));
        pod.phase == Phase::Pending && !pod.deleting && since > limit.longer_than
    });
    let count = waits.count();
    let held = |message| Held { reason: "PodsPending", message, replicas: current };
    if count >= limit.count {
        return Some(held(format!(
            "{count} pods have been Pending for longer than {:#}: more would only wait beside them",
            limit.longer_than
        )));
    }
    let Unmade { there, .. } = unmade.filter(|unmade| age(unmade.since, now) > limit.longer_than)?;
    let count = not_made(observation, there);
    Some(held(format!(
        "{count} pods that were ordered have not been made, {} or more of them for longer than {:#}, as with a ResourceQuota \
         that is used up: more would not be made either",
        limit.count, limit.longer_than
    )))
}
