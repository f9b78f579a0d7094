//! The last step: what holds a change back although it is called for, because it would not help or may be a mistake.
//!
//! The HPA has none of this. Bounds come before it: what is outside of them goes straight to the bound.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    memory::{Memory, age},
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
            policy.pending_pods.and_then(|limit| pending(limit, observation, current, memory.unmade_since, now))
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

/// Notes since when too many pods that were ordered have not been made: a quota or an admission webhook that refuses pods
/// leaves none that could be Pending.
pub fn note_unmade(policy: &Policy, observation: &Observation, memory: &mut Memory, now: Timestamp) {
    let unmade = unmade(observation);
    let too_many = policy.pending_pods.is_some_and(|limit| unmade.is_some_and(|unmade| unmade >= limit.count));
    memory.unmade_since = memory.unmade_since.or(Some(now)).filter(|_| too_many);
}

/// How many pods were ordered and not made. Either the target's own count or its pods suffice to say that one is there: a
/// kind of somebody's own may not count, or have pods that are not listed.
fn unmade(observation: &Observation) -> Option<usize> {
    let Pods::Listed(pods) = &observation.pods else { return None };
    let listed =
        pods.iter().filter(|pod| !pod.deleting && matches!(pod.phase, Phase::Pending | Phase::Running)).count();
    let counted = usize::try_from(observation.status_replicas).unwrap_or(0);
    Some(usize::try_from(observation.spec_replicas).unwrap_or(0).saturating_sub(listed.max(counted)))
}

fn pending(
    limit: PendingPods,
    observation: &Observation,
    current: i32,
    unmade_since: Option<Timestamp>,
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
    let count =
        unmade(observation).filter(|_| unmade_since.is_some_and(|since| age(since, now) > limit.longer_than))?;
    Some(held(format!(
        "{count} pods that were ordered have not been made, {} or more of them for longer than {:#}, as with a ResourceQuota \
         that is used up: more would not be made either",
        limit.count, limit.longer_than
    )))
}
