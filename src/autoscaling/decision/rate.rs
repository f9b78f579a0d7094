//! Step five: how fast the count may change, and how far.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    memory::{ScaleEvent, change_within},
    policy::{Bounds, PolicyKind, Rules, ScalingPolicy, SelectPolicy},
};

/// What is left after rates and bounds, and which of them decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limited {
    /// The count.
    pub replicas: i32,
    /// Which limit decided.
    pub reason: LimitReason,
    /// How far the rate alone would let the count go; `None` when it was not looked at.
    pub rate_limit: Option<i32>,
    /// Which rate that is.
    pub rate: Option<Rate>,
}

/// A rate, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Rate {
    /// Twice the count, and 4 at least: without `behavior`.
    Double,
    /// No change in this direction.
    Disabled,
    /// A policy.
    Policy {
        /// Which.
        policy: ScalingPolicy,
        /// By how many replicas the count was changed in this direction within its period.
        used: i64,
    },
}

/// Which limit decided, as the HPA spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum LimitReason {
    /// The rate upwards.
    ScaleUpLimit,
    /// The rate downwards.
    ScaleDownLimit,
    /// The maximum.
    TooManyReplicas,
    /// The minimum.
    TooFewReplicas,
    /// None.
    DesiredWithinRange,
}

impl LimitReason {
    /// As it is written in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScaleUpLimit => "ScaleUpLimit",
            Self::ScaleDownLimit => "ScaleDownLimit",
            Self::TooManyReplicas => "TooManyReplicas",
            Self::TooFewReplicas => "TooFewReplicas",
            Self::DesiredWithinRange => "DesiredWithinRange",
        }
    }

    /// In a sentence.
    pub fn message(self) -> &'static str {
        match self {
            Self::ScaleUpLimit => "the desired replica count is increasing faster than the maximum scale rate",
            Self::ScaleDownLimit => "the desired replica count is decreasing faster than the maximum scale rate",
            Self::TooManyReplicas => "the desired replica count is more than the maximum replica count",
            Self::TooFewReplicas => "the desired replica count is less than the minimum replica count",
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
        }
    }
}

/// Without `behavior`: up to twice the current count, and to 4 at least; down without limit.
pub fn without_behavior(current: i32, desired: i32, bounds: Bounds) -> Limited {
    let limit = current.saturating_mul(2).max(4);
    let (most, reason) = upper(limit, bounds);
    let (replicas, reason) = if desired < bounds.min() {
        (bounds.min(), LimitReason::TooFewReplicas)
    } else if desired > most {
        (most, reason)
    } else {
        (desired, LimitReason::DesiredWithinRange)
    };
    Limited { replicas, reason, rate_limit: Some(limit), rate: Some(Rate::Double) }
}

/// From 0 to what is called for in one step: only the bounds count.
pub fn waking(desired: i32, bounds: Bounds) -> Limited {
    let (replicas, reason) = if desired > bounds.max() {
        (bounds.max(), LimitReason::TooManyReplicas)
    } else if desired < bounds.min() {
        (bounds.min(), LimitReason::TooFewReplicas)
    } else {
        (desired, LimitReason::DesiredWithinRange)
    };
    Limited { replicas, reason, rate_limit: None, rate: None }
}

/// With `behavior`, whose rules are already defaulted. Upwards the minimum is not looked at, downwards
/// the maximum is not.
pub fn with_behavior(
    current: i32,
    desired: i32,
    bounds: Bounds,
    up: &Rules,
    down: &Rules,
    events: Events<'_>,
    now: Timestamp,
) -> Limited {
    if desired > current {
        // A rule that was changed since, or events that went before it, must not turn the direction.
        let (limit, rate) = up_limit(current, up, events, now);
        let limit = limit.max(current);
        let (most, reason) = upper(limit, bounds);
        let (replicas, reason) =
            if desired > most { (most, reason) } else { (desired, LimitReason::DesiredWithinRange) };
        return Limited { replicas, reason, rate_limit: Some(limit), rate: Some(rate) };
    }
    if desired < current {
        let (limit, rate) = down_limit(current, down, events, now);
        let limit = limit.min(current);
        let (fewest, reason) = if bounds.min() < limit {
            (limit, LimitReason::ScaleDownLimit)
        } else {
            (bounds.min(), LimitReason::TooFewReplicas)
        };
        let (replicas, reason) =
            if desired < fewest { (fewest, reason) } else { (desired, LimitReason::DesiredWithinRange) };
        return Limited { replicas, reason, rate_limit: Some(limit), rate: Some(rate) };
    }
    Limited { replicas: desired, reason: LimitReason::DesiredWithinRange, rate_limit: None, rate: None }
}

fn upper(limit: i32, bounds: Bounds) -> (i32, LimitReason) {
    if bounds.max() > limit { (limit, LimitReason::ScaleUpLimit) } else { (bounds.max(), LimitReason::TooManyReplicas) }
}

/// Changes that were carried out, in both directions: both say what the count was when a period began.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// Upwards.
    pub ups: &'a [ScaleEvent],
    /// Downwards.
    pub downs: &'a [ScaleEvent],
}

impl Events<'_> {
    fn count_before(self, current: i32, policy: &ScalingPolicy, now: Timestamp) -> i64 {
        i64::from(current) - change_within(self.ups, policy.period_s, now)
            + change_within(self.downs, policy.period_s, now)
    }
}

/// The most replicas that the rules allow now, whatever the bounds say. A percentage is rounded up, or
/// a small count would never grow.
pub fn scale_up_limit(current: i32, rules: &Rules, events: Events<'_>, now: Timestamp) -> i32 {
    up_limit(current, rules, events, now).0
}

fn up_limit(current: i32, rules: &Rules, events: Events<'_>, now: Timestamp) -> (i32, Rate) {
    let limits = rules.policies.iter().flatten().map(|policy| {
        let start = events.count_before(current, policy, now);
        let limit = match policy.kind {
            PolicyKind::Pods => saturate(start + i64::from(policy.value)),
            PolicyKind::Percent => percent(start, 1.0 + f64::from(policy.value) / 100.0).1,
        };
        (limit, Rate::Policy { policy: *policy, used: change_within(events.ups, policy.period_s, now) })
    });
    let limit = match rules.select_policy {
        Some(SelectPolicy::Disabled) => None,
        Some(SelectPolicy::Min) => limits.min_by_key(|(limit, _)| *limit),
        Some(SelectPolicy::Max) | None => limits.max_by_key(|(limit, _)| *limit),
    };
    limit.unwrap_or((current, Rate::Disabled))
}

/// The fewest replicas that the rules allow now, whatever the bounds say. A percentage is truncated, so
/// what is removed rounds up.
pub fn scale_down_limit(current: i32, rules: &Rules, events: Events<'_>, now: Timestamp) -> i32 {
    down_limit(current, rules, events, now).0
}

fn down_limit(current: i32, rules: &Rules, events: Events<'_>, now: Timestamp) -> (i32, Rate) {
    let limits = rules.policies.iter().flatten().map(|policy| {
        let start = events.count_before(current, policy, now);
        let limit = match policy.kind {
            PolicyKind::Pods => saturate(start - i64::from(policy.value)),
            PolicyKind::Percent => percent(start, 1.0 - f64::from(policy.value) / 100.0).0,
        };
        (limit, Rate::Policy { policy: *policy, used: change_within(events.downs, policy.period_s, now) })
    });
    let limit = match rules.select_policy {
        Some(SelectPolicy::Disabled) => None,
        // The smallest change is the largest count.
        Some(SelectPolicy::Min) => limits.max_by_key(|(limit, _)| *limit),
        Some(SelectPolicy::Max) | None => limits.min_by_key(|(limit, _)| *limit),
    };
    limit.unwrap_or((current, Rate::Disabled))
}

/// `start × factor`, truncated and rounded up.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as in the HPA; `as` saturates")]
fn percent(start: i64, factor: f64) -> (i32, i32) {
    let product = start as f64 * factor;
    (product as i32, product.ceil() as i32)
}

fn saturate(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}
