//! Act: carry a decision out, and decide anew when the target was changed in between.

use jiff::Timestamp;

use super::{
    doubt::Doubts,
    leader::Fence,
    rivals::backs_off,
    target::{ReadScale, Target},
    telemetry::Telemetry,
    words::ApiError,
};
use crate::autoscaling::decision::{self, Action, Decision, Memory, Observation, Policy, decide};

/// What came of a decision.
pub struct Acted {
    /// The decision, the last one if there were several.
    pub decision: Decision,
    /// What to keep.
    pub memory: Memory,
    /// Whether the count was changed, or why it could not be. `Ok(false)`: there was nothing to change.
    pub result: Result<bool, ApiError>,
}

/// How often to decide anew when the target is changed at the same time.
const ATTEMPTS: usize = 5;

/// Decides and carries it out. On a conflict the scale is read again and the decision made anew, from the same readings.
/// Most conflicts are about something else of the target, its status for one: with the same count the write is tried
/// again. Where the count is another one, somebody has ordered it: he is noted and left alone, as at the beginning of a
/// look. Nothing is written while somebody else is left alone.
/// A scale-down that there are doubts about is not carried out.
#[expect(clippy::too_many_arguments, reason = "each is another thing")]
pub async fn decide_and_act(
    policy: &Policy,
    target: &Target,
    scale: ReadScale,
    observation: Observation,
    memory: &Memory,
    yields_to: Option<String>,
    doubts: &Doubts<'_>,
    (fence, telemetry): (&Fence, &Telemetry),
    now: Timestamp,
) -> Acted {
    let (mut scale, mut observation, mut attempt) = (scale, observation, 1);
    let (mut memory, mut yields_to) = (memory.clone(), yields_to);
    loop {
        observation.distrust = None;
        let mut decision = decide(policy, &observation, &memory, now);
        decision.yields_to.clone_from(&yields_to);
        observation.distrust = doubts.about(&decision).await;
        if observation.distrust.is_some() && decision.action() == Action::ScaleDown {
            decision = decide(policy, &observation, &memory, now);
            decision.yields_to.clone_from(&yields_to);
        }
        if !decision.is_to_be_written() {
            let memory = decision.memory.clone();
            return Acted { decision, memory, result: Ok(false) };
        }
        let written = if fence.may_write() {
            let written = target.order(&scale, decision.desired_replicas).await;
            telemetry.write("scale", &written);
            written
        } else {
            Err(ApiError::NotLeading)
        };
        let error = match written {
            Ok(()) => {
                let memory = decision::settle(policy, &decision, now);
                return Acted { decision, memory, result: Ok(true) };
            }
            Err(error) => error,
        };
        let again = if error.is_conflict() && attempt < ATTEMPTS { target.scale().await.ok() } else { None };
        match again {
            // Another object of the same name: what is remembered is not of it.
            Some(read) if read.uid() == scale.uid() => {
                let (left, found) = (scale.spec_replicas(), read.spec_replicas());
                // Our own: an earlier write whose answer was lost.
                if left != found
                    && let Some(who) = target.foreign_writer(true).await
                {
                    yields_to = backs_off(&mut memory, policy.mode, Some((who, left, found)), now);
                }
                (observation.spec_replicas, observation.status_replicas) =
                    (read.spec_replicas(), read.status_replicas());
                (scale, attempt) = (read, attempt + 1);
            }
            _ => {
                let memory = decision::unwritable(&decision, &error.to_string(), now);
                return Acted { decision, memory, result: Err(error) };
            }
        }
    }
}
