//! Tell: what was decided, or why nothing could be, as log line, Event, status and metrics.

use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    FIELD_MANAGER, Key,
    act::Acted,
    event::Event,
    line,
    rivals::backs_off,
    status,
    target::TargetError,
    tick::{Context, Kept},
    words::in_time,
};
use crate::autoscaling::{
    api::{Autoscaler, AutoscalerStatus, ModeSpec},
    decision::{self, Action, Decision, Mode, Policy, memory::ConditionType, metrics::Failure},
    policy::{InvalidSpec, longest_look_back},
};

/// Tells of a decision and of what came of it.
pub async fn tell(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mut kept: Kept,
    policy: &Policy,
    acted: Acted,
) -> Kept {
    let Acted { decision, memory, result } = acted;
    let (text, now) = (line::line(&decision), decision.at);
    match &result {
        Ok(_) => tracing::info!(autoscaler = %key, "{text}"),
        Err(error) => tracing::warn!(autoscaler = %key, "{}", line::failed(&text, error)),
    }
    let failed = result.as_ref().err().map(ToString::to_string);
    context.telemetry.scales(key, &object.spec.scale_target_ref);
    context.telemetry.decision(key, &decision, line::reason(&decision));
    context.history.decided(key, &decision, policy, failed.as_deref());

    let foreign = memory.rivalry.as_ref().filter(|_| decision.yields_to.is_some());
    // Also when the others decided: somebody should know that one metric is gone.
    let failure = match &result {
        Err(error) => Some(("FailedRescale", error.to_string())),
        Ok(_) if foreign.is_some() => foreign.map(|rivalry| ("ForeignWriter", rivalry.message())),
        Ok(_) => unread(&decision).or_else(|| held(&decision)),
    };
    tell_failure(context, object, &mut kept, failure, now).await;
    context.telemetry.conditions(key, &memory, true);
    if matches!(result, Ok(true)) {
        context.telemetry.rescaled(key, &decision, line::reason(&decision));
        let note = rescale_note(&decision);
        let action = if decision.action() == Action::ScaleUp { "ScaleUp" } else { "ScaleDown" };
        let event = Event { warning: false, reason: "SuccessfulRescale", action, note };
        context.recorder.record(object, event, &context.telemetry, now).await;
    }
    let uid = kept.target_uid.as_deref().unwrap_or_default();
    let look_back = (longest_look_back(policy), policy.cooldown);
    let generation = object.metadata.generation;
    let status = status::after(
        (&decision, failed.as_deref()),
        &memory,
        uid,
        left_at(object, &kept),
        look_back,
        generation,
        object.status.as_ref(),
    );
    write_status(context, key, object, &status).await;
    kept.memory = memory;
    kept
}

fn unread(decision: &Decision) -> Option<(&'static str, String)> {
    let Failure { reason, message, .. } = decision.failure.as_ref().filter(|failure| !failure.expected)?;
    Some((*reason, format!("{message}; the replica count does not fall until it is read again")))
}

/// A limit that the scaler was given is no news at every step; that something is not believed, or does not start, is.
fn held(decision: &Decision) -> Option<(&'static str, String)> {
    let held = decision.held.as_ref().filter(|held| held.replicas == decision.current_replicas)?;
    Some((held.reason, held.message.clone()))
}

/// `New size: 3 (was 1); reason: active-tasks above target; active_tasks=25`
fn rescale_note(decision: &Decision) -> String {
    let (new, old, reason) = (decision.desired_replicas, decision.current_replicas, &decision.reason);
    let mut note = format!("New size: {new} (was {old}); reason: {reason}");
    for metric in &decision.metrics {
        note.push_str("; ");
        note.push_str(&line::reading(metric));
    }
    note
}

/// Tells that the target cannot be read.
pub async fn tell_no_target(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mut kept: Kept,
    error: &TargetError,
    now: Timestamp,
) -> Kept {
    let message = error.of_target();
    tracing::warn!(autoscaler = %key, "the target's scale cannot be read: {message}");
    kept.memory = decision::unreadable(&kept.memory, &message, now);
    tell_failure(context, object, &mut kept, Some(("FailedGetScale", message.clone())), now).await;
    tell_status(context, key, object, &kept, "FailedGetScale", &message, now).await;
    kept
}

/// Tells that the spec cannot be decided on.
pub async fn tell_invalid(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mut kept: Kept,
    why: &InvalidSpec,
) -> Kept {
    let (message, now) = (why.to_string(), kept.rest(context.clock));
    tracing::warn!(autoscaler = %key, "the spec cannot be decided on: {message}");
    kept.memory.set(ConditionType::ScalingActive, false, "InvalidSpec", &*message, now);
    tell_failure(context, object, &mut kept, Some(("InvalidSpec", message.clone())), now).await;
    tell_status(context, key, object, &kept, "InvalidSpec", &message, now).await;
    kept
}

/// Tells that nothing is decided.
pub async fn tell_paused(context: &Context, key: &Key, object: &Autoscaler, mut kept: Kept) -> Kept {
    let now = kept.rest(context.clock);
    // While it is paused the count is everybody's to set, and nobody's rival.
    (kept.left, kept.settled) = (None, None);
    backs_off(&mut kept.memory, Mode::Paused, None, now);
    let message = "the autoscaler is paused; set spec.mode to Auto to go on";
    kept.memory.set(ConditionType::ScalingActive, false, "Paused", message, now);
    tell_status(context, key, object, &kept, "Paused", message, now).await;
    kept
}

/// Tells that somebody else scales the workload.
pub async fn tell_rival(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mut kept: Kept,
    reason: &'static str,
    message: &str,
) -> Kept {
    let now = kept.rest(context.clock);
    tracing::warn!(autoscaler = %key, "{message}");
    kept.left = None;
    kept.memory.set(ConditionType::Conflict, true, reason, message, now);
    kept.memory.set(ConditionType::ScalingActive, false, reason, message, now);
    tell_failure(context, object, &mut kept, Some((reason, message.to_owned())), now).await;
    tell_status(context, key, object, &kept, reason, message, now).await;
    kept
}

/// Tells a failure once: when it begins, and when it becomes another.
async fn tell_failure(
    context: &Context,
    object: &Autoscaler,
    kept: &mut Kept,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) {
    let Some((reason, note)) = failure else {
        kept.told = None;
        return;
    };
    if kept.told.as_deref() != Some(reason) {
        if !context.fence.may_write() {
            return;
        }
        kept.told = Some(reason.to_owned());
        let event = Event { warning: true, reason, action: "Decide", note };
        context.recorder.record(object, event, &context.telemetry, now).await;
    }
}

async fn tell_status(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    kept: &Kept,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let memory = &kept.memory;
    context.telemetry.conditions(key, memory, false);
    context.history.blocked(key, message, now);
    let generation = object.metadata.generation;
    let (left, before) = (left_at(object, kept), object.status.as_ref());
    let status = status::without_decision(reason, message, memory, left, now, generation, before);
    write_status(context, key, object, &status).await;
}

/// The count that a later controller should find. In another mode than Auto it is everybody's to set.
fn left_at(object: &Autoscaler, kept: &Kept) -> Option<i32> {
    kept.left.filter(|_| object.spec.mode == ModeSpec::Auto).map(|left| left.at)
}

/// Writes the status, if it is another one.
async fn write_status(context: &Context, key: &Key, object: &Autoscaler, status: &AutoscalerStatus) {
    let stored = object.status.as_ref();
    if stored.is_some_and(|stored| status::is_stored_alike(stored, status)) || !context.fence.may_write() {
        return;
    }
    // It is written at a later look: until then it differs.
    let can_wait = |stored| status::can_wait(stored, status, context.pace(key));
    if context.throttle.holds(context.clock.now()) || stored.is_some_and(can_wait) {
        return;
    }
    let api: Api<Autoscaler> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch = Patch::Apply(json!({
        "apiVersion": "scalekit.dev/v1alpha1",
        "kind": "Autoscaler",
        // The UID makes sure that it is not another object of the same name, made since.
        "metadata": {"name": *key.name, "namespace": *key.namespace, "uid": object.metadata.uid},
        "status": status,
    }));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = in_time(api.patch_status(&key.name, &params, &patch)).await;
    context.telemetry.write("autoscalers/status", &written);
    context.throttle.note(&written, context.clock.now());
    match written {
        // Deleted meanwhile, perhaps made anew: nothing to say about it.
        Err(error) if error.is_not_found() || error.is_conflict() => {}
        Err(error) => tracing::warn!(autoscaler = %key, "the status was not written: {error}"),
        Ok(_) => {}
    }
}
