//! What is kept from tick to tick, and how it is kept.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    policy::{Behavior, Direction, Rules},
    rivalry::Rivalry,
};

/// What is kept from tick to tick, for one target.
///
/// Times are those of the caller's clock. A time in the future (after a restart on another machine)
/// counts as now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Past recommendations. `None`: this target has never been looked at, which is not «no entry»:
    /// the first look stores the current count, so that the first scale-down waits for a window.
    pub recommendations: Option<Vec<Recommendation>>,
    /// Past scale-ups.
    pub scale_ups: Vec<ScaleEvent>,
    /// Past scale-downs.
    pub scale_downs: Vec<ScaleEvent>,
    /// Conditions, in the order in which they were first set.
    pub conditions: Vec<Condition>,
    /// When the count was last changed.
    pub last_scale: Option<Timestamp>,
    /// How long no metric has been positive; `None` while one is, or while nobody asks.
    pub idle: Option<Idle>,
    /// Somebody else who wrote the count.
    pub rivalry: Option<Rivalry>,
    /// Metrics that could not be read, and since when; empty where the policy has no fallback.
    pub missing: Vec<Missing>,
    /// That as many pods that were ordered have not been made as hold the count; not kept over a restart.
    pub unmade: Option<Unmade>,
}

/// Pods that were ordered and are not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmade {
    /// Since when none was.
    pub since: Timestamp,
    /// How many there were at the last look.
    pub there: usize,
}

/// How long no metric has been positive. It runs only while the metrics are read at every look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Since then.
    Since(Timestamp),
    /// For so long; now it is not known.
    For(SignedDuration),
}

impl Idle {
    /// For how long, so far.
    pub fn lasted(self, now: Timestamp) -> SignedDuration {
        match self {
            Self::Since(at) => age(at, now),
            Self::For(elapsed) => elapsed,
        }
    }
}

/// A metric that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub metric: String,
    /// Since when.
    pub since: Timestamp,
}

/// A count that was proposed, before stabilization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The count.
    pub replicas: i32,
    /// When.
    pub at: Timestamp,
}

/// A change of the count that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// By how much, without sign.
    pub change: i32,
    /// When.
    pub at: Timestamp,
    /// No policy of its direction looks back this far: the place may be reused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outdated: bool,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The target's count can be read and written.
    AbleToScale,
    /// The metrics give a count.
    ScalingActive,
    /// A bound or a rate held the count back.
    ScalingLimited,
    /// The autoscaler itself put the target to sleep.
    ScaledToZero,
    /// Somebody else writes the target's count.
    Conflict,
}

impl ConditionType {
    /// As it is written in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AbleToScale => "AbleToScale",
            Self::ScalingActive => "ScalingActive",
            Self::ScalingLimited => "ScalingLimited",
            Self::ScaledToZero => "ScaledToZero",
            Self::Conflict => "Conflict",
        }
    }
}

/// A condition of the autoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// Why, in one word, as the HPA spells it.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When `status` last changed.
    pub last_transition: Timestamp,
}

impl Memory {
    /// The condition of a type, if it was ever set.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Sets a condition in its place, or behind the others.
    pub fn set(&mut self, kind: ConditionType, status: bool, reason: &str, message: impl Into<String>, now: Timestamp) {
        let (reason, message) = (reason.to_owned(), message.into());
        match self.conditions.iter_mut().find(|condition| condition.kind == kind) {
            Some(condition) => {
                if condition.status != status {
                    condition.last_transition = now;
                }
                (condition.status, condition.reason, condition.message) = (status, reason, message);
            }
            None => self.conditions.push(Condition { kind, status, reason, message, last_transition: now }),
        }
    }

    /// Moves what windows, rates and waits are reckoned from by a step of the clock that `now` is read from. What was told
    /// about the past stays.
    pub fn shift(&mut self, by: SignedDuration) {
        let shift = |at: &mut Timestamp| *at = at.saturating_add(by).unwrap_or(*at);
        self.recommendations.iter_mut().flatten().for_each(|entry| shift(&mut entry.at));
        self.scale_ups.iter_mut().chain(&mut self.scale_downs).for_each(|event| shift(&mut event.at));
        self.missing.iter_mut().for_each(|missing| shift(&mut missing.since));
        self.unmade.iter_mut().for_each(|unmade| shift(&mut unmade.since));
        if let Some(Idle::Since(at)) = &mut self.idle {
            shift(at);
        }
        if let Some(rivalry) = &mut self.rivalry {
            shift(&mut rivalry.at);
            shift(&mut rivalry.until);
        }
    }

    /// The metrics are not read at this look: whether one was positive is not known, so that time does not count. Nor are
    /// the pods.
    pub fn rest(&mut self, now: Timestamp) {
        self.unmade = None;
        self.idle = self.idle.map(|idle| Idle::For(idle.lasted(now)));
    }

    pub(super) fn remove(&mut self, kind: ConditionType) {
        self.conditions.retain(|condition| condition.kind != kind);
    }

    /// Records a change that was carried out, if `behavior` will ever look at it.
    ///
    /// Entries older than the longest period of this direction's policies are marked outdated, and the
    /// last of them gives its place to the new one.
    pub fn store_event(&mut self, behavior: Option<&Behavior>, from: i32, to: i32, now: Timestamp) {
        let Some(behavior) = behavior else { return };
        let (rules, events, direction) = if to > from {
            (&behavior.scale_up, &mut self.scale_ups, Direction::Up)
        } else {
            (&behavior.scale_down, &mut self.scale_downs, Direction::Down)
        };
        let longest = longest_period(&rules.defaulted(direction));
        for event in events.iter_mut() {
            event.outdated |= age(event.at, now) > longest;
        }
        let change = i32::try_from(from.abs_diff(to)).unwrap_or(i32::MAX);
        replace_last(events, ScaleEvent { change, at: now, outdated: false }, |event| event.outdated);
    }
}

fn longest_period(rules: &Rules) -> SignedDuration {
    let policies = rules.policies.iter().flatten();
    SignedDuration::from_secs(policies.map(|policy| i64::from(policy.period_s)).max().unwrap_or(0))
}

/// How much `events` changed the count within a period, without sign. An event exactly one period old is out.
pub fn change_within(events: &[ScaleEvent], period_s: i32, now: Timestamp) -> i64 {
    let period = SignedDuration::from_secs(i64::from(period_s));
    let recent = events.iter().filter(|event| age(event.at, now) < period);
    recent.map(|event| i64::from(event.change)).sum()
}

/// How long ago; never negative.
pub(super) fn age(at: Timestamp, now: Timestamp) -> SignedDuration {
    now.duration_since(at).max(SignedDuration::ZERO)
}

/// Puts `entry` in the place of the last one that may go, or behind all.
pub(super) fn replace_last<T>(entries: &mut Vec<T>, entry: T, may_go: impl Fn(&T) -> bool) {
    match entries.iter().rposition(may_go) {
        Some(place) => entries[place] = entry,
        None => entries.push(entry),
    }
}
