//! What the controller says, and what it keeps for itself over a restart.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::QuantityText;

/// What the autoscaler saw and decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The replicas that were ordered when the autoscaler last looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_replicas: Option<i32>,
    /// The replicas that the autoscaler last decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// What was read of each metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub current_metrics: Vec<MetricStatus>,
    /// Whether the autoscaler can scale, does scale, and is held back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<ConditionStatus>,
    /// When the replica count was last changed by the autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
    /// The last decision, in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<DecisionStatus>,
    /// What the autoscaler must remember to keep its windows and rates over a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStatus>,
}

/// What was read of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricStatus {
    /// What the metric is called.
    pub name: String,
    /// Its value in all; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<QuantityText>,
    /// Its value for each replica; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<QuantityText>,
    /// How many replicas it calls for; absent when it calls for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_replicas: Option<i32>,
    /// Value and target in a few characters, such as 25/10 per replica.
    pub summary: String,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionStatus {
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited`, `ScaledToZero` or `Conflict`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Time,
}

/// A decision, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// Since when this has been the decision.
    pub time: Time,
    /// What decided, in one word.
    pub reason: String,
    /// The decision with its numbers, as in the log.
    pub message: String,
}

/// What is remembered of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStatus {
    /// The UID of the target. What is remembered of another target of the same name is forgotten.
    pub target_uid: String,
    /// The count that it was left at in mode Auto; another one was written by somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<i32>,
    /// Recent proposals that still matter to a window, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommendations: Vec<RecommendationStatus>,
    /// Recent scale-ups that still matter to a rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scale_ups: Vec<ScaleEventStatus>,
    /// Recent scale-downs that still matter to a rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scale_downs: Vec<ScaleEventStatus>,
    /// For how many seconds no metric has been above 0, in eighths of the cooldown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<i64>,
    /// Somebody else who wrote the replica count, and is left alone for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<RivalStatus>,
    /// Metrics that cannot be read, for the fallback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingStatus>,
}

/// Somebody else who wrote the replica count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RivalStatus {
    /// The field manager that wrote it.
    pub manager: String,
    /// What it was.
    pub from: i32,
    /// What it was set to.
    pub to: i32,
    /// How often it did so.
    pub times: i32,
    /// When it did so last.
    pub time: MicroTime,
    /// Until when it is left alone.
    pub until: MicroTime,
}

/// A metric that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingStatus {
    /// What the metric is called.
    pub metric: String,
    /// Since when.
    pub since: MicroTime,
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecommendationStatus {
    /// The count.
    pub replicas: i32,
    /// When it was last proposed; absent for the one that is proposed still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<MicroTime>,
}

/// A change that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleEventStatus {
    /// By how many replicas.
    pub change: i32,
    /// When.
    pub time: MicroTime,
}
