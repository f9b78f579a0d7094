//! How many replicas, and why: a pure function from what is wanted, seen and remembered.
//!
//! The arithmetic, the names and the reasons are the Kubernetes HPA's (v1.37, with what v1.38 mended), in milli-unit integers.
//! Each step has a file of its own, in this order:
//!
//! ```text
//! schedule → pods → replicas → metrics → gaps → stabilization → rate → caution → record
//! ```
//!
//! Nothing here reads a clock, does I/O, or fails: every input has a decision. Sources: the HPA's
//! documentation, KEP-853 (behavior), KEP-2021 (zero), KEP-4951 (tolerance).

pub mod caution;
pub mod cron;
pub mod gaps;
pub mod memory;
pub mod metrics;
pub mod observation;
pub mod pods;
pub mod policy;
pub mod rate;
pub mod record;
pub mod replicas;
pub mod rivalry;
pub mod schedule;
pub mod stabilization;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

pub use self::{
    memory::{Condition, Memory},
    observation::{Observation, Reading},
    policy::{Bounds, Mode, Policy},
    record::{Action, Decision, Path},
};
use self::{
    memory::{ConditionType, Recommendation},
    metrics::Combined,
    policy::{Direction, FromZero},
    rate::Events,
};

/// Decides on the replica count of one target.
///
/// The result's memory is what to keep if nothing is written; after a write, [`settle`] says what to keep.
pub fn decide(policy: &Policy, observation: &Observation, memory: &Memory, now: Timestamp) -> Decision {
    let current = observation.spec_replicas.max(0);
    let observation = Observation { spec_replicas: current, ..observation.clone() };
    let mut memory = memory.clone();
    memory.set(
        ConditionType::AbleToScale,
        true,
        "SucceededGetScale",
        "the autoscaler was able to get the target's current scale",
        now,
    );
    // A first look, or one after a restart that lost the memory, must not scale down at once.
    memory.recommendations.get_or_insert_with(|| vec![Recommendation { replicas: current, at: now }]);

    let (bounds, schedules) = schedule::bounds(policy.bounds, &policy.schedules, now);
    let mut decision = Decision {
        at: now,
        mode: policy.mode,
        current_replicas: current,
        status_replicas: observation.status_replicas,
        bounds,
        schedules,
        path: Path::Metrics,
        metrics: Vec::new(),
        failure: None,
        stabilized: None,
        limited: None,
        cooling_down: None,
        held: None,
        yields_to: None,
        desired_replicas: current,
        reason: String::new(),
        memory,
    };
    if policy.mode == Mode::Paused {
        decision.path = Path::Paused;
        let message = "the autoscaler is paused; set spec.mode to Auto to go on";
        decision.memory.set(ConditionType::ScalingActive, false, "Paused", message, now);
    } else if current == 0 && !wakes(policy, &decision.memory) {
        decision.path = Path::Disabled;
        let message = "scaling is disabled since the replica count of the target is zero";
        decision.memory.set(ConditionType::ScalingActive, false, "ScalingDisabled", message, now);
        if policy.from_zero == FromZero::Never {
            decision.memory.remove(ConditionType::ScaledToZero);
        }
    } else if current > bounds.max() {
        decision.path = Path::AboveMaximum;
        decision.desired_replicas = bounds.max();
        "Current number of replicas above Spec.MaxReplicas".clone_into(&mut decision.reason);
    } else if current < bounds.min() && (current != 0 || policy.from_zero == FromZero::IfMinimumIsZero) {
        decision.path = Path::BelowMinimum;
        decision.desired_replicas = bounds.min();
        "Current number of replicas below Spec.MinReplicas".clone_into(&mut decision.reason);
    } else {
        decide_by_metrics(policy, &observation, &mut decision, now);
        return decision;
    }
    decision.memory.rest(now);
    decision
}

/// Whether the metrics are asked about a target without replicas.
fn wakes(policy: &Policy, memory: &Memory) -> bool {
    match policy.from_zero {
        FromZero::Never => false,
        FromZero::IfMinimumIsZero => policy.may_sleep(),
        FromZero::IfScaledToZero => {
            memory.condition(ConditionType::ScaledToZero).is_some_and(|condition| condition.status)
                && (policy.bounds.min() > 0 || policy.has_metric_without_pods())
        }
    }
}

fn decide_by_metrics(policy: &Policy, observation: &Observation, decision: &mut Decision, now: Timestamp) {
    let current = observation.spec_replicas;
    caution::note_unmade(policy, observation, &mut decision.memory, now);
    decision.metrics = metrics::evaluate(policy, observation, now);
    gaps::fall_back(policy, current, &mut decision.memory, &mut decision.metrics, now);
    gaps::note_activity(policy, &mut decision.memory, &decision.metrics, now);
    decision.failure = decision.metrics.iter().find_map(metrics::MetricResult::failure).cloned();
    let bounds = decision.bounds;
    let (proposed, by) = match metrics::combine(&decision.metrics, current) {
        Combined::Nothing(failure) => {
            decision.path = Path::NoData;
            let message = format!("the autoscaler was unable to compute the replica count: {}", failure.message);
            decision.memory.set(ConditionType::ScalingActive, false, failure.reason, message, now);
            decision.failure = Some(failure);
            return;
        }
        Combined::Proposed { replicas, by, .. } => {
            let (reason, message) = found(policy, &decision.metrics[by]);
            decision.memory.set(ConditionType::ScalingActive, true, reason, message, now);
            (replicas, decision.metrics[by].name.clone())
        }
    };
    if proposed > current {
        decision.reason = format!("{by} above target");
    } else if proposed < current {
        "All metrics below target".clone_into(&mut decision.reason);
    }

    let memory = &mut decision.memory;
    let recommendations = memory.recommendations.get_or_insert_default();
    let (stabilized, limited) = match &policy.behavior {
        None => {
            let stabilized =
                stabilization::without_behavior(recommendations, proposed, policy.downscale_stabilization, now);
            (stabilized, rate::without_behavior(current, stabilized.replicas, bounds))
        }
        Some(behavior) => {
            let (up, down) =
                (behavior.scale_up.defaulted(Direction::Up), behavior.scale_down.defaulted(Direction::Down));
            let window = |seconds: Option<i32>, unset| seconds.map_or(unset, |s| SignedDuration::from_secs(s.into()));
            let stabilized = stabilization::with_behavior(
                recommendations,
                proposed,
                current,
                window(up.stabilization_window_s, SignedDuration::ZERO),
                window(down.stabilization_window_s, policy.downscale_stabilization),
                now,
            );
            let events = Events { ups: &memory.scale_ups, downs: &memory.scale_downs };
            let limited = rate::with_behavior(current, stabilized.replicas, bounds, &up, &down, events, now);
            (stabilized, limited)
        }
    };
    let limited = if current == 0 && wakes_at_once(policy) {
        // What was called for a while ago does not wake what is asleep.
        rate::waking(if proposed == 0 { 0 } else { stabilized.replicas }, bounds)
    } else {
        limited
    };
    let (reason, message) = if stabilized.held_back() {
        let which = if stabilized.reason == "ScaleUpStabilized" { ("lower", "lowest") } else { ("higher", "highest") };
        let message = format!(
            "recent recommendations were {} than current one, applying the {} recent recommendation",
            which.0, which.1
        );
        (stabilized.reason, message)
    } else {
        ("ReadyForNewScale", "recommended size matches current size".to_owned())
    };
    memory.set(ConditionType::AbleToScale, true, reason, message, now);
    // On waking up, the rates with `behavior` do not look at the minimum.
    decision.desired_replicas = if current == 0 { limited.replicas.max(bounds.min()) } else { limited.replicas };
    (decision.stabilized, decision.limited) = (Some(stabilized), Some(limited));
    let cooling_down = cool_down(policy, decision, now);
    decision.held =
        caution::caution(policy, observation, &decision.memory, bounds, (current, decision.desired_replicas), now);
    let (is_limited, reason, message) = match (&decision.held, cooling_down) {
        (Some(held), _) => {
            decision.desired_replicas = held.replicas;
            (true, held.reason, held.message.clone())
        }
        (None, Some(message)) => (true, "CoolingDown", message),
        (None, None) => {
            let reason = limited.reason;
            (limited.replicas != stabilized.replicas, reason.as_str(), reason.message().to_owned())
        }
    };
    decision.memory.set(ConditionType::ScalingLimited, is_limited, reason, message, now);
    if decision.action() == Action::Hold {
        decision.reason.clear();
    }
}

/// Why the metrics give a count: by themselves, or by what stands in for one of them.
fn found(policy: &Policy, by: &metrics::MetricResult) -> (&'static str, String) {
    match (&by.stands_in_for, policy.fallback) {
        (Some(failure), Some(fallback)) => (
            "Fallback",
            format!(
                "metric {} has been missing for {:#} or longer and counts as {} replicas: {}",
                by.name, fallback.after, fallback.replicas, failure.message
            ),
        ),
        _ => (
            "ValidMetricFound",
            format!("the autoscaler was able to calculate a replica count from metric {}", by.name),
        ),
    }
}

/// Whether no rates hold on the way up from 0: where `behavior` sets some, they do.
fn wakes_at_once(policy: &Policy) -> bool {
    let rates = policy.behavior.as_ref().map(|behavior| &behavior.scale_up);
    policy.from_zero == FromZero::IfMinimumIsZero
        && rates.is_none_or(|up| up.policies.is_none() && up.select_policy != Some(policy::SelectPolicy::Disabled))
}

/// The last step down, from 1 to 0, waits until no metric has been positive for the whole cooldown. Says so if it does.
fn cool_down(policy: &Policy, decision: &mut Decision, now: Timestamp) -> Option<String> {
    let goes_to_sleep = decision.desired_replicas == 0 && decision.current_replicas > 0;
    let cooldown = policy.cooldown.filter(|_| goes_to_sleep)?;
    let elapsed = decision.memory.idle.map_or(SignedDuration::ZERO, |idle| idle.lasted(now));
    if elapsed >= cooldown {
        return None;
    }
    decision.desired_replicas = 1;
    decision.cooling_down = Some(cooldown.saturating_sub(elapsed));
    Some(format!("the target goes to zero when no metric has been positive for {cooldown:#}"))
}

/// What to keep after `decision` was written.
pub fn settle(policy: &Policy, decision: &Decision, now: Timestamp) -> Memory {
    let (from, to) = (decision.current_replicas, decision.desired_replicas);
    let mut memory = decision.memory.clone();
    if from == to {
        return memory;
    }
    let message = format!("the autoscaler was able to update the target scale to {to}");
    memory.set(ConditionType::AbleToScale, true, "SucceededRescale", message, now);
    memory.store_event(policy.behavior.as_ref(), from, to, now);
    memory.last_scale = Some(now);
    if policy.from_zero == FromZero::Never {
        memory.remove(ConditionType::ScaledToZero);
    } else if to == 0 && decision.bounds.min() == 0 && policy.has_metric_without_pods() {
        let message = "the autoscaler scaled the target to zero";
        memory.set(ConditionType::ScaledToZero, true, "ScaledToZero", message, now);
    } else {
        let message = "the autoscaler did not scale the target to zero";
        memory.set(ConditionType::ScaledToZero, false, "NotScaledToZero", message, now);
    }
    memory
}

/// What to keep after the target's count could not be read.
pub fn unreadable(memory: &Memory, message: &str, now: Timestamp) -> Memory {
    let mut memory = memory.clone();
    memory.rest(now);
    let message = format!("the autoscaler was unable to get the target's current scale: {message}");
    memory.set(ConditionType::AbleToScale, false, "FailedGetScale", message, now);
    memory
}

/// What to keep after `decision` could not be written.
pub fn unwritable(decision: &Decision, message: &str, now: Timestamp) -> Memory {
    let mut memory = decision.memory.clone();
    let message = format!("the autoscaler was unable to update the target scale: {message}");
    memory.set(ConditionType::AbleToScale, false, "FailedUpdateScale", message, now);
    memory
}
