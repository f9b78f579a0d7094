//! What the user asked for, in numbers: parsed, defaulted, without a way to be inconsistent.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{caution::PendingPods, schedule::Schedule};

/// Everything that a decision depends on and that does not change from tick to tick.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Fewest and most replicas.
    pub bounds: Bounds,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// The metrics; the largest proposal wins.
    pub metrics: Vec<Metric>,
    /// Rates and windows. `None` is the HPA's path without `behavior`, which differs from the one
    /// with default rules: from 1 replica it allows 4, the default rules allow 5.
    pub behavior: Option<Behavior>,
    /// How long no metric may have been positive before the count falls to 0. `None`: not at all.
    pub cooldown: Option<SignedDuration>,
    /// What counts for a metric that has been missing for long.
    pub fallback: Option<Fallback>,
    /// When other bounds hold.
    pub schedules: Vec<Schedule>,
    /// When no more replicas are ordered because those that were ordered do not start.
    pub pending_pods: Option<PendingPods>,
    /// By how many replicas a decision may change the count at most, within the bounds.
    pub largest_step: Option<i32>,
    /// How far the ratio may be from 1 without a change, as a fraction, where a rule sets none.
    pub tolerance: f64,
    /// The scale-down window where `behavior` sets none.
    pub downscale_stabilization: SignedDuration,
    /// How long after its start a pod's CPU samples are looked at with care.
    pub cpu_initialization_period: SignedDuration,
    /// How long after its start a pod that turned unready counts as never having been ready.
    pub initial_readiness_delay: SignedDuration,
    /// What wakes a target that has no replicas.
    pub from_zero: FromZero,
    /// Whether the tolerances of `behavior` count (KEP-4951).
    pub configurable_tolerance: bool,
    /// Whether requests of a pod as a whole count (KEP-2837).
    pub pod_level_resources: bool,
}

impl Policy {
    /// A policy with the cluster's defaults of the HPA: tolerance 10 %, scale-down window 5 minutes,
    /// CPU initialization 5 minutes, initial readiness delay 30 seconds.
    pub fn new(bounds: Bounds, metrics: Vec<Metric>) -> Self {
        Self {
            bounds,
            mode: Mode::Auto,
            metrics,
            behavior: None,
            cooldown: None,
            fallback: None,
            schedules: Vec::new(),
            pending_pods: None,
            largest_step: None,
            tolerance: 0.1,
            downscale_stabilization: SignedDuration::from_mins(5),
            cpu_initialization_period: SignedDuration::from_mins(5),
            initial_readiness_delay: SignedDuration::from_secs(30),
            from_zero: FromZero::IfMinimumIsZero,
            configurable_tolerance: true,
            pod_level_resources: true,
        }
    }

    /// The tolerances that hold: the rule's where it sets one, else the policy's.
    pub fn tolerances(&self) -> Tolerances {
        let of = |rules: Option<&Rules>| {
            rules.filter(|_| self.configurable_tolerance).and_then(|rules| rules.tolerance).unwrap_or(self.tolerance)
        };
        let behavior = self.behavior.as_ref();
        Tolerances { up: of(behavior.map(|b| &b.scale_up)), down: of(behavior.map(|b| &b.scale_down)) }
    }

    /// Whether 0 replicas may be what is wanted; else they mean «off».
    pub(super) fn may_sleep(&self) -> bool {
        self.bounds.min() == 0 || self.schedules.iter().any(|schedule| schedule.min == Some(0))
    }

    /// Whether a metric is there that has a value without any pod.
    pub fn has_metric_without_pods(&self) -> bool {
        self.metrics.iter().any(|metric| metric.source.lives_without_pods())
    }
}

/// Fewest and most replicas; `0 ≤ min ≤ max` always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    min: i32,
    max: i32,
}

impl Bounds {
    /// Bounds from what was asked for; where the two contradict each other, `max` wins.
    pub fn new(min: i32, max: i32) -> Self {
        let max = max.max(0);
        Self { min: min.clamp(0, max), max }
    }

    /// Fewest replicas.
    pub fn min(self) -> i32 {
        self.min
    }

    /// Most replicas.
    pub fn max(self) -> i32 {
        self.max
    }
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// They are.
    #[default]
    Auto,
    /// They are made and reported, and nothing is written.
    Recommend,
    /// None is made.
    Paused,
}

/// What wakes a target that has no replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum FromZero {
    /// Nothing: the HPA without its gate `HPAScaleToZero`.
    Never,
    /// Its metrics, if the autoscaler itself put it to sleep, as the condition `ScaledToZero` tells:
    /// the HPA with its gate (KEP-2021).
    IfScaledToZero,
    /// Its metrics, if the minimum is 0, at least by some schedule. With a minimum of 1 or more, 0 replicas mean
    /// «off». It wakes in one step, unless `behavior` sets rates of its own.
    #[default]
    IfMinimumIsZero,
}

/// One metric and what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// What the user calls it.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// What it should be. `None` is an error of this metric, not of the others.
    pub target: Option<Target>,
    /// What it means when there is nothing to read.
    pub on_absent: OnAbsent,
    /// At 0 replicas it counts only above this, in milli-units.
    pub activation: i64,
}

impl Metric {
    /// A metric whose every value above 0 wakes a target.
    pub fn new(name: impl Into<String>, source: Source, target: Target, on_absent: OnAbsent) -> Self {
        Self { name: name.into(), source, target: Some(target), on_absent, activation: 0 }
    }
}

/// What counts for a metric that has been missing for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// For how long.
    pub after: SignedDuration,
    /// How many replicas it then calls for.
    pub replicas: i32,
    /// Whether that may be fewer than there are.
    pub below_current: bool,
}

/// Where a metric comes from, which decides how it becomes a replica count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// A resource of the target's pods, summed over their containers.
    Resource {
        /// `cpu`, `memory`, …
        resource: String,
    },
    /// A resource of one container of the target's pods.
    ContainerResource {
        /// `cpu`, `memory`, …
        resource: String,
        /// Name of the container.
        container: String,
    },
    /// A value for each of the target's pods.
    Pods,
    /// A value of some object.
    Object,
    /// A value from outside; several series are summed.
    External,
    /// The answer to a PromQL query; reckoned as `External`.
    Prometheus,
    /// Something that this version does not know.
    Unknown(String),
}

impl Source {
    /// Whether it has a value for each of the target's pods.
    pub fn is_per_pod(&self) -> bool {
        matches!(self, Self::Resource { .. } | Self::ContainerResource { .. } | Self::Pods)
    }

    fn lives_without_pods(&self) -> bool {
        matches!(self, Self::Object | Self::External | Self::Prometheus)
    }
}

/// What a metric should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Target {
    /// Per cent of what the pods request.
    Utilization(i32),
    /// Per replica, in milli-units.
    AverageValue(i64),
    /// In all, in milli-units.
    Value(i64),
}

/// What it means when a metric has nothing to read (which is not the same as a failure to read it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum OnAbsent {
    /// Nothing is known: the count does not fall.
    #[default]
    Hold,
    /// It is 0.
    Zero,
    /// It is a failure: the count does not fall, and it is reported as an error.
    Error,
}

/// How fast the count may change, in each direction. The HPA's `behavior`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behavior {
    /// Upwards.
    pub scale_up: Rules,
    /// Downwards.
    pub scale_down: Rules,
}

/// The rules of one direction; what is unset is filled by [`Rules::defaulted`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// How far back recommendations are looked at, in seconds.
    pub stabilization_window_s: Option<i32>,
    /// Which policy counts.
    pub select_policy: Option<SelectPolicy>,
    /// The policies.
    pub policies: Option<Vec<ScalingPolicy>>,
    /// How far the ratio may be from 1 in this direction, as a fraction.
    pub tolerance: Option<f64>,
}

/// Which way the count goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the largest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: no change in this direction.
    Disabled,
}

/// How much may change in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// Pods, or per cent.
    pub value: i32,
    /// The period, in seconds.
    pub period_s: i32,
}

/// What a policy counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Replicas.
    Pods,
    /// Per cent of the replicas at the start of the period.
    Percent,
}

impl Rules {
    /// These rules with what is unset filled in (`autoscaling/v2` defaults): up 4 pods and 100 % in 15 s
    /// with window 0, down 100 % in 15 s with the window left unset; the most generous policy counts.
    #[must_use]
    pub fn defaulted(&self, direction: Direction) -> Self {
        let hundred_percent = ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_s: 15 };
        let (window, policies) = match direction {
            Direction::Up => {
                (Some(0), vec![ScalingPolicy { kind: PolicyKind::Pods, value: 4, period_s: 15 }, hundred_percent])
            }
            Direction::Down => (None, vec![hundred_percent]),
        };
        Self {
            stabilization_window_s: self.stabilization_window_s.or(window),
            select_policy: self.select_policy.or(Some(SelectPolicy::Max)),
            policies: Some(self.policies.clone().unwrap_or(policies)),
            tolerance: self.tolerance,
        }
    }
}

/// How far a ratio may be from 1, in each direction, without a change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerances {
    /// Above 1.
    pub up: f64,
    /// Below 1.
    pub down: f64,
}

impl Tolerances {
    /// Whether a ratio calls for no change. Both edges are inside; NaN and infinity are outside.
    pub fn hold(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}
