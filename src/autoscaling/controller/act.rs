//! Act: carry a decision out, and decide anew when somebody wrote in between.

use jiff::Timestamp;

use super::{
    leader::Fence,
    observe::observation,
    target::{ReadScale, Target},
    telemetry::Telemetry,
    words::ApiError,
};
use crate::autoscaling::decision::{self, Decision, Memory, Policy, Reading, decide};

/// What came of a decision.
pub struct Acted {
    /// The decision, the last one if there were several.
    pub decision: Decision,
    /// What to keep.
    pub memory: Memory,
    /// Whether the count was changed, or why it could not be. `Ok(false)`: there was nothing to change.
    pub result: Result<bool, ApiError>,
}

/// How often to decide anew when others write at the same time.
const ATTEMPTS: usize = 5;

/// Decides and carries it out. On a conflict the scale is read again and the decision made anew, from the
/// same readings: the one that was made was for another count. Nothing is written while somebody else is left alone.
#[expect(clippy::too_many_arguments, reason = "each is another thing")]
pub async fn decide_and_act(
    policy: &Policy,
    target: &Target,
    scale: ReadScale,
    readings: &[Reading],
    memory: &Memory,
    yields_to: Option<&str>,
    (fence, telemetry): (&Fence, &Telemetry),
    now: Timestamp,
) -> Acted {
    let (mut scale, mut attempt) = (scale, 1);
    loop {
        let observation = observation(policy, target, &scale, readings).await;
        let mut decision = decide(policy, &observation, memory, now);
        decision.yields_to = yields_to.map(str::to_owned);
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
            Some(read) if read.uid() == scale.uid() => (scale, attempt) = (read, attempt + 1),
            _ => {
                let memory = decision::unwritable(&decision, &error.to_string(), now);
                return Acted { decision, memory, result: Err(error) };
            }
        }
    }
}
