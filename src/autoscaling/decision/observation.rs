//! What was seen at one tick. A value, an absence and an error are three different things here.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// What was seen at one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// `spec.replicas` of the target's scale: what was ordered.
    pub spec_replicas: i32,
    /// `status.replicas` of the target's scale: what is there.
    pub status_replicas: i32,
    /// The target's pods.
    pub pods: Pods,
    /// One reading for each metric of the policy, in its order. A missing one counts as failed.
    pub readings: Vec<Reading>,
    /// Why these readings are not enough for a scale-down, though they are what was read.
    pub distrust: Option<Distrust>,
}

/// Why a scale-down must not be carried out although the metrics call for it: each with a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Too many that are fed by one source want fewer replicas at once.
    ManyScaleDowns(String),
    /// A source has fewer samples than a query looks back on.
    ShortHistory(String),
}

impl Distrust {
    /// In one word.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::ManyScaleDowns(_) => "ManyScaleDowns",
            Self::ShortHistory(_) => "ShortHistory",
        }
    }

    /// In a sentence.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::ManyScaleDowns(message) | Self::ShortHistory(message) => message,
        }
    }
}

/// The target's pods, as its selector lists them.
#[derive(Clone, Debug, PartialEq)]
pub enum Pods {
    /// These, failed and deleted ones too.
    Listed(Vec<Pod>),
    /// They could not be listed, for this reason; metrics that need them fail.
    Unknown(String),
}

/// One pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Phase.
    pub phase: Phase,
    /// Its `Ready` condition, if it has one.
    pub ready: Option<ReadyCondition>,
    /// When the kubelet took it on.
    pub started: Option<Timestamp>,
    /// When it was ordered.
    pub created: Option<Timestamp>,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Requests of the pod as a whole ([`whole`](super::pods::whole)), by resource, in milli-units; empty where it says none.
    pub requests: BTreeMap<String, i64>,
    /// Containers, and init containers that keep running.
    pub containers: Vec<Container>,
}

/// What a container requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Requests by resource, in milli-units.
    pub requests: BTreeMap<String, i64>,
}

/// The phase of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have been started.
    Pending,
    /// Bound and started.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// A pod's `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyCondition {
    /// `None` is «Unknown», which is neither ready nor unready.
    pub status: Option<bool>,
    /// When it last changed.
    pub since: Timestamp,
}

impl Pod {
    /// Running and ready.
    pub(super) fn serves(&self) -> bool {
        self.phase == Phase::Running && self.ready.is_some_and(|ready| ready.status == Some(true))
    }
}

/// What was read of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A sample for each pod, by its name.
    PerPod(BTreeMap<String, Sample>),
    /// One value for each series, in milli-units.
    Series(Vec<i64>),
    /// The same, of which some are missing: enough for a scale-up, and an error for anything else.
    Partial {
        /// Those that are there, in milli-units.
        series: Vec<i64>,
        /// What is missing, in a sentence.
        message: String,
    },
    /// The source answered, and there is nothing.
    Absent,
    /// The source answered, and what there is is older than this, which is the oldest that counts.
    Stale(SignedDuration),
    /// The source did not answer, or not with something usable.
    Failed(String),
    /// The same, with a word for what was wrong.
    Unusable {
        /// In one word.
        reason: &'static str,
        /// In a sentence.
        message: String,
    },
}

/// A pod's sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The value, in milli-units.
    pub value: i64,
    /// When it was taken.
    pub at: Timestamp,
    /// The time that it covers.
    pub window: SignedDuration,
}
