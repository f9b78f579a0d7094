//! One look at one Autoscaler: gather, decide, act, tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::{
    Clock, Key,
    access::Credentials,
    act::decide_and_act,
    clock::Ahead,
    crowd::Crowd,
    doubt::{Doubts, ShortHistories},
    event::Recorder,
    history::History,
    leader::Fence,
    observe::{Readings, observation, readings},
    outages::Outages,
    phase::pace,
    pods::Owners,
    rivals::{Hpas, backs_off},
    servers::Servers,
    status,
    target::{Kinds, ReadScale, Target, TargetError},
    telemetry::Telemetry,
    tell::{tell, tell_invalid, tell_no_target, tell_paused, tell_rival},
    throttle::Throttle,
};
use crate::{
    autoscaling::{
        api::Autoscaler,
        decision::{Action, Memory, Mode, Policy},
        policy::interval,
    },
    metrics::MetricsApis,
};

/// From so many objects on, scales that need no change are read at every fourth look.
const MANY: usize = 1000;

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
    /// Which of them do not answer.
    pub outages: Outages,
    /// How many Autoscalers there are.
    pub objects: AtomicUsize,
    /// Who wants fewer replicas.
    pub crowd: Crowd,
    /// Which servers have too few samples for what they are asked.
    pub short_histories: ShortHistories,
    /// By how many replicas a decision may change a count at most.
    pub largest_step: Option<i32>,
    /// Whether the API server wants to be spared.
    pub throttle: Throttle,
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
    /// How long a scale that needs no change counts. To read each at every look costs the API server more than a core
    /// with ten thousand of them; with up to a thousand it is not worth noticing a change by hand later.
    fn trust(&self, interval: Duration) -> SignedDuration {
        let looks = if self.objects.load(Ordering::Relaxed) > MANY { 3.5 } else { 0.0 };
        SignedDuration::try_from(interval.mul_f64(looks)).unwrap_or_default()
    }

    /// How old what an object's status says of its readings becomes before it is written anew for them alone. Less than a look
    /// of 15 s with up to two hundred objects.
    pub fn pace(&self, key: &Key) -> SignedDuration {
        pace(key, self.objects.load(Ordering::Relaxed))
    }

    /// An object is gone.
    pub fn forget(&self, key: &Key) {
        self.telemetry.forget(key);
        self.history.forget(key);
        self.crowd.forget(key);
    }
}

/// A scale that needs not be read again for a while: nothing was to be changed. A write is refused all the same if
/// somebody wrote since it was read; then it is read anew, and who has ordered another count is found.
#[derive(Clone, Debug)]
pub struct Settled {
    scale: ReadScale,
    until: Timestamp,
}

/// The count as it was left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// The count.
    pub at: i32,
    /// Nothing of ours can have been written since. Else another count is somebody else's only if the target says so.
    pub certain: bool,
}

/// What is kept of an Autoscaler from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// UID of the target that the memory is of.
    pub target_uid: Option<String>,
    /// What the decision remembers.
    pub memory: Memory,
    /// The count as it was last left: another one was written by somebody else.
    pub left: Option<Left>,
    /// The scale as it was last read, while it counts.
    pub settled: Option<Settled>,
    /// The clock that the memory's times are of.
    pub ahead: Ahead,
    /// The failure that was last told, so that it is told once and not at every look.
    pub told: Option<String>,
}

impl Kept {
    /// What an earlier controller kept in the status.
    pub fn restored(object: &Autoscaler, clock: Clock) -> Self {
        let Some(status) = &object.status else { return Self::default() };
        let ahead = Ahead::noticed(clock);
        let (target_uid, memory) = status::restore(status, ahead.of(clock.now()));
        // The status that was to tell of the last write may not have been written.
        let left = status.memory.as_ref().and_then(|memory| memory.left_at).map(|at| Left { at, certain: false });
        Self { target_uid, memory, left, settled: None, ahead, told: None }
    }

    /// Nothing is decided at this look. Returns the time by the clock on the wall.
    pub fn rest(&mut self, clock: Clock) -> Timestamp {
        let now = self.ahead.now(clock, &mut self.memory);
        self.memory.rest(now);
        now
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
        Err(invalid) => {
            context.crowd.forget(key);
            (tell_invalid(context, key, object, kept, &invalid).await, None)
        }
        Ok((policy, _)) if policy.mode == Mode::Paused => {
            context.crowd.forget(key);
            (tell_paused(context, key, object, kept).await, None)
        }
        Ok((mut policy, interval)) => {
            if let Some((reason, message)) = rival(context, key, object, policy.mode, elder) {
                context.crowd.forget(key);
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
    let mut kept = kept;
    let (steady, now) = (context.clock.now(), kept.ahead.now(context.clock, &mut kept.memory));
    let (target, scale, until) = match read_target(context, key, object, kept.settled.take(), interval, steady).await {
        Ok(read) => read,
        Err(error) => {
            // What it wanted before an API server did not answer, it wants still.
            if error.is_missing() {
                context.crowd.forget(key);
            }
            return (tell_no_target(context, key, object, kept, &error, now).await, wake);
        }
    };
    if kept.target_uid.as_deref() != Some(scale.uid()) {
        if kept.target_uid.is_some() {
            kept.memory = status::forget_target(kept.memory);
        }
        kept.target_uid = Some(scale.uid().to_owned());
        kept.left = None;
    }
    let yields_to = note_writers(&mut kept, policy.mode, &target, &scale, now).await;
    let passed = (&context.fence, &*context.telemetry);
    let about = (&object.spec, policy);
    let seen = observation(context, key, about, (&target, &scale), readings, interval).await;
    let doubts =
        Doubts { context, key, spec: &object.spec, mode: policy.mode, interval, now: steady, ahead: kept.ahead };
    let memory = &kept.memory;
    let settled = Settled { scale: scale.clone(), until };
    let acted = decide_and_act(policy, &target, scale, seen, memory, yields_to, &doubts, passed, now).await;
    let decision = &acted.decision;
    let stays = decision.action() == Action::Hold && decision.current_replicas == decision.status_replicas;
    kept.settled = Some(settled).filter(|settled| stays && settled.scale.spec_replicas() == decision.current_replicas);
    let at = if matches!(acted.result, Ok(true)) { decision.desired_replicas } else { decision.current_replicas };
    // What failed may have been written all the same.
    kept.left = Some(Left { at, certain: acted.result.is_ok() });
    (tell(context, key, object, kept, policy, acted).await, wake)
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
    let changed = kept.left.filter(|left| mode == Mode::Auto && left.at != scale.spec_replicas());
    let wrote = match changed {
        Some(left) => target.foreign_writer(left.certain).await.map(|who| (who, left.at, scale.spec_replicas())),
        None => None,
    };
    backs_off(&mut kept.memory, mode, wrote, now)
}

async fn read_target(
    context: &Context,
    key: &Key,
    object: &Autoscaler,
    settled: Option<Settled>,
    interval: Duration,
    now: Timestamp,
) -> Result<(Target, ReadScale, Timestamp), TargetError> {
    let reference = &object.spec.scale_target_ref;
    let kind = context.kinds.scalable(&context.client, reference).await?;
    let target = Target::new(&context.client, &key.namespace, &reference.name, kind);
    if let Some(Settled { scale, until }) = settled.filter(|settled| settled.until > now) {
        return Ok((target, scale, until));
    }
    let until = now.saturating_add(context.trust(interval)).unwrap_or(now);
    match target.scale().await {
        Ok(scale) => Ok((target, scale, until)),
        // It may be its kind that is not there.
        Err(error) if error.is_not_found() => match context.kinds.again(&context.client, reference).await {
            Ok(()) | Err(TargetError::Api(_)) => Err(error.into()),
            Err(gone) => Err(gone),
        },
        Err(error) => Err(error.into()),
    }
}
