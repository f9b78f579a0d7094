//! One look at one Autoscaler: gather, decide, act, tell.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    Clock, FIELD_MANAGER, Key,
    access::Credentials,
    act::{Acted, decide_and_act},
    crowd::Crowd,
    event::{Event, Recorder},
    history::History,
    leader::Fence,
    line,
    observe::{Readings, observation, readings},
    pods::Owners,
    rivals::Hpas,
    servers::Servers,
    status,
    target::{Kinds, ReadScale, Target, TargetError},
    telemetry::Telemetry,
    words::in_time,
};
use crate::{
    autoscaling::{
        api::{Autoscaler, AutoscalerSpec, AutoscalerStatus, MetricSpec, MetricType},
        decision::{
            self, Action, Decision, Memory, Mode, Policy, memory::ConditionType, metrics::Failure, rivalry::Rivalry,
        },
        policy::{InvalidSpec, interval, longest_look_back},
    },
    metrics::{self, MetricsApis},
};

/// What every look needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The Prometheus servers.
    pub servers: Servers,
    /// The server of metrics that name none.
    pub default_server: String,
    /// What servers want to see.
    pub credentials: Credentials,
    /// Kinds of targets.
    pub kinds: Kinds,
    /// The metrics APIs.
    pub metrics: MetricsApis,
    /// Who wants fewer replicas.
    pub crowd: Crowd,
    /// By how many replicas a decision may change a count at most.
    pub largest_step: Option<i32>,
    /// Who owns which ReplicaSet.
    pub owners: Owners,
    /// Events.
    pub recorder: Recorder,
    /// Whether this controller may write.
    pub fence: Fence,
    /// The HPAs of the cluster.
    pub hpas: Hpas,
    /// What was decided lately.
    pub history: History,
    /// Our own metrics.
    pub telemetry: Arc<Telemetry>,
    /// The time.
    pub clock: Clock,
}

impl Context {
    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        self.telemetry.forget(key);
        self.history.forget(key);
        self.crowd.forget(key);
    }
}

/// What is kept of an Autoscaler from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// UID of the target that the memory is of.
    pub target_uid: Option<String>,
    /// What the decision remembers.
    pub memory: Memory,
    /// The count as it was last left: another one was written by somebody else.
    pub left_at: Option<i32>,
    /// The failure that was last told, so that it is told once and not at every look.
    pub told: Option<String>,
}

impl Kept {
    /// What an earlier controller kept in the status.
    pub fn restored(object: &Autoscaler, now: Timestamp) -> Self {
        let Some(status) = &object.status else { return Self::default() };
        let (target_uid, memory) = status::restore(status, now);
        Self { target_uid, memory, left_at: None, told: None }
    }
}

/// Looks at an Autoscaler once. Returns what to keep, and when to look again before the next tick.
///
/// Nothing here fails: what goes wrong is a condition, an event and a line in the log.
pub async fn tick(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    kept: Kept,
    elder: Option<&Key>,
) -> (Kept, Option<Timestamp>) {
    let valid = Policy::try_from(&object.spec).and_then(|policy| Ok((policy, interval(&object.spec)?)));
    match valid {
        Err(invalid) => (tell_invalid(context, key, object, kept, &invalid).await, None),
        Ok((policy, _)) if policy.mode == Mode::Paused => (tell_paused(context, key, object, kept).await, None),
        Ok((mut policy, interval)) => {
            if let Some((reason, message)) = rival(context, key, object, policy.mode, elder) {
                return (tell_rival(context, key, object, kept, reason, &message).await, None);
            }
            policy.largest_step = context.largest_step;
            look(context, key, object, kept, &policy, interval).await
        }
    }
}

async fn look(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    kept: Kept,
    policy: &Policy,
    interval: Duration,
) -> (Kept, Option<Timestamp>) {
    // Metrics first: a slow server must not let the scale that was read grow old.
    let Readings { readings, wake } = readings(context, key, &object.spec, interval).await;
    let now = context.clock.now();
    let (target, scale) = match read_target(context, key, object).await {
        Ok(read) => read,
        Err(error) => return (tell_no_target(context, key, object, kept, &error, now).await, wake),
    };
    let mut kept = kept;
    if kept.target_uid.as_deref() != Some(scale.uid()) {
        if kept.target_uid.is_some() {
            kept.memory = status::forget_target(kept.memory);
        }
        kept.target_uid = Some(scale.uid().to_owned());
        kept.left_at = None;
    }
    let yields_to = note_writers(&mut kept, policy.mode, &target, &scale, now).await;
    let passed = (&context.fence, &*context.telemetry);
    let about = (&object.spec, policy);
    let seen = observation(context, key, about, (&target, &scale), readings, interval).await;
    let fed_by = sources(&object.spec, &context.default_server);
    let distrust = |decision: &Decision| {
        let fewer = decision.stabilized.is_some_and(|stabilized| stabilized.proposed < decision.current_replicas);
        context.crowd.note(key, &fed_by, fewer && policy.mode == Mode::Auto, now)
    };
    let (memory, yields_to) = (&kept.memory, yields_to.as_deref());
    let acted = decide_and_act(policy, &target, scale, seen, memory, yields_to, distrust, passed, now).await;
    let decision = &acted.decision;
    kept.left_at = match acted.result {
        Ok(true) => Some(decision.desired_replicas),
        Ok(false) => Some(decision.current_replicas),
        // It may have been written all the same.
        Err(_) => None,
    };
    (tell(context, key, object, kept, policy, acted).await, wake)
}

/// Where the metrics of a spec come from.
fn sources<'a>(spec: &'a AutoscalerSpec, default_server: &'a str) -> Vec<&'a str> {
    let of = |metric: &'a MetricSpec| match (metric.kind, &metric.prometheus) {
        (_, Some(prometheus)) => prometheus.server_address.as_deref().unwrap_or(default_server),
        (MetricType::Resource | MetricType::ContainerResource, _) => metrics::RESOURCE,
        (MetricType::External, _) => metrics::EXTERNAL,
        _ => metrics::CUSTOM,
    };
    let mut all: Vec<&str> = spec.metrics.iter().map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Who else scales the workload as this Autoscaler would.
fn rival(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mode: Mode,
    elder: Option<&Key>,
) -> Option<(&'static str, String)> {
    if mode != Mode::Auto {
        return None;
    }
    let target = &object.spec.scale_target_ref;
    let workload = format!("{} {}", target.kind, target.name);
    if let Some(elder) = elder {
        let message = format!("Autoscaler {elder} scales {workload} as well and is older; delete one of the two");
        return Some(("AnotherAutoscaler", message));
    }
    let hpa = context.hpas.of(&key.namespace, target)?;
    let message = format!(
        "HorizontalPodAutoscaler {hpa} scales {workload} as well; delete it, or set spec.mode to Recommend to compare \
         the two"
    );
    Some(("HorizontalPodAutoscaler", message))
}

/// Notes whether somebody else wrote the count since it was left, and says whom to leave alone now.
async fn note_writers(
    kept: &mut Kept,
    mode: Mode,
    target: &Target,
    scale: &ReadScale,
    now: Timestamp,
) -> Option<String> {
    let changed = kept.left_at.filter(|left| mode == Mode::Auto && *left != scale.spec_replicas());
    if let Some(left) = changed
        && let Some(who) = target.foreign_writer().await
    {
        let before = kept.memory.rivalry.take();
        kept.memory.rivalry = Some(Rivalry::next(before.as_ref(), who, left, scale.spec_replicas(), now));
    }
    kept.memory.rivalry = kept.memory.rivalry.take().filter(|rivalry| !rivalry.is_forgotten(now));
    if let Some(rivalry) = kept.memory.rivalry.as_ref().filter(|rivalry| mode == Mode::Auto && rivalry.holds(now)) {
        let (who, message) = (rivalry.who.clone(), rivalry.message());
        kept.memory.set(ConditionType::Conflict, true, "ForeignWriter", message, now);
        return Some(who);
    }
    // Where there never was a conflict there is no condition about it.
    if kept.memory.condition(ConditionType::Conflict).is_some() {
        let message = "nobody else writes the replica count";
        kept.memory.set(ConditionType::Conflict, false, "NoConflict", message, now);
    }
    None
}

async fn read_target(context: &Context, key: &Key, object: &Autoscaler) -> Result<(Target, ReadScale), TargetError> {
    let reference = &object.spec.scale_target_ref;
    let kind = context.kinds.resolve(&context.client, reference).await?;
    let target = Target::new(&context.client, &key.namespace, &reference.name, kind);
    let scale = target.scale().await?;
    Ok((target, scale))
}

async fn tell(
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
        Err(error) => tracing::warn!(autoscaler = %key, "{text} failed: {error}"),
    }
    context.telemetry.decision(key, &decision, line::reason(&decision));
    context.history.record(key, &decision, policy);

    let foreign = memory.rivalry.as_ref().filter(|_| decision.yields_to.is_some());
    // Also when the others decided: somebody should know that one metric is gone.
    let failure = match &result {
        Err(error) => Some(("FailedRescale", error.to_string())),
        Ok(_) if foreign.is_some() => foreign.map(|rivalry| ("ForeignWriter", rivalry.message())),
        Ok(_) => decision.failure.as_ref().filter(|f| !f.expected).map(|Failure { reason, message, .. }| {
            (*reason, format!("{message}; the replica count does not fall until it is read again"))
        }),
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
    let look_back = longest_look_back(policy);
    let generation = object.metadata.generation;
    let status = status::after(&decision, &memory, uid, look_back, generation, object.status.as_ref());
    write_status(context, key, object, &status).await;
    kept.memory = memory;
    kept
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

async fn tell_no_target(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mut kept: Kept,
    error: &TargetError,
    now: Timestamp,
) -> Kept {
    let message = error.to_string();
    tracing::warn!(autoscaler = %key, "the target's scale cannot be read: {message}");
    kept.memory = decision::unreadable(&kept.memory, &message, now);
    tell_failure(context, object, &mut kept, Some(("FailedGetScale", message.clone())), now).await;
    tell_status(context, key, object, &kept.memory, "FailedGetScale", &message, now).await;
    kept
}

async fn tell_invalid(context: &Context, key: &Key, object: &Autoscaler, mut kept: Kept, why: &InvalidSpec) -> Kept {
    let (message, now) = (why.to_string(), context.clock.now());
    tracing::warn!(autoscaler = %key, "the spec cannot be decided on: {message}");
    kept.memory.set(ConditionType::ScalingActive, false, "InvalidSpec", &*message, now);
    tell_failure(context, object, &mut kept, Some(("InvalidSpec", message.clone())), now).await;
    tell_status(context, key, object, &kept.memory, "InvalidSpec", &message, now).await;
    kept
}

async fn tell_paused(context: &Context, key: &Key, object: &Autoscaler, mut kept: Kept) -> Kept {
    let now = context.clock.now();
    let message = "the autoscaler is paused; set spec.mode to Auto to go on";
    kept.memory.set(ConditionType::ScalingActive, false, "Paused", message, now);
    tell_status(context, key, object, &kept.memory, "Paused", message, now).await;
    kept
}

async fn tell_rival(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    mut kept: Kept,
    reason: &'static str,
    message: &str,
) -> Kept {
    let now = context.clock.now();
    tracing::warn!(autoscaler = %key, "{message}");
    kept.left_at = None;
    kept.memory.set(ConditionType::Conflict, true, reason, message, now);
    kept.memory.set(ConditionType::ScalingActive, false, reason, message, now);
    tell_failure(context, object, &mut kept, Some((reason, message.to_owned())), now).await;
    tell_status(context, key, object, &kept.memory, reason, message, now).await;
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
    memory: &Memory,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    context.telemetry.conditions(key, memory, false);
    let generation = object.metadata.generation;
    let status = status::without_decision(reason, message, memory, now, generation, object.status.as_ref());
    write_status(context, key, object, &status).await;
}

/// Writes the status, if it is another one. Of the times, seconds are what is stored: they are compared
/// as they are stored.
async fn write_status(context: &Context, key: &Key, object: &Autoscaler, status: &AutoscalerStatus) {
    let same = |before: &AutoscalerStatus| serde_json::to_value(before).ok() == serde_json::to_value(status).ok();
    if object.status.as_ref().is_some_and(same) || !context.fence.may_write() {
        return;
    }
    let api: Api<Autoscaler> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch = Patch::Apply(json!({
        "apiVersion": "scalekit.dev/v1alpha1",
        "kind": "Autoscaler",
        // The UID makes sure that it is not another object of the same name, made since.
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": object.metadata.uid},
        "status": status,
    }));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = in_time(api.patch_status(&key.name, &params, &patch)).await;
    context.telemetry.write("autoscalers/status", &written);
    match written {
        // Deleted meanwhile, perhaps made anew: nothing to say about it.
        Err(error) if error.is_not_found() || error.is_conflict() => {}
        Err(error) => tracing::warn!(autoscaler = %key, "the status was not written: {error}"),
        Ok(_) => {}
    }
}
