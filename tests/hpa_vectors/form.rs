//! The form of a vector, as `README.md` describes it.

use std::collections::BTreeMap;

use scalekit::autoscaling::decision::policy::{ScalingPolicy, SelectPolicy};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub struct Vector {
    pub id: String,
    pub kind: Option<String>,
    pub stage: Option<String>,
    pub metric_type: Option<String>,
    pub resource: Option<String>,
    pub container: Option<String>,
    #[serde(default)]
    pub current_replicas: i32,
    pub status_replicas: Option<i32>,
    pub desired_replicas: Option<i32>,
    pub min: Option<i32>,
    pub max: Option<i32>,
    #[serde(default)]
    pub pods: Vec<Pod>,
    #[serde(default)]
    pub extra_metrics: Vec<Pod>,
    #[serde(default)]
    pub metric_values: Vec<i64>,
    pub target: Option<Target>,
    pub tolerance: Option<f64>,
    pub tolerance_up: Option<f64>,
    pub tolerance_down: Option<f64>,
    #[serde(default)]
    pub pod_level_resources_gate: bool,
    #[serde(default)]
    pub usage: i64,
    pub behavior: Option<Behavior>,
    pub rules: Option<Rules>,
    pub direction: Option<String>,
    #[serde(default)]
    pub prev_replicas: i32,
    #[serde(default)]
    pub new_replicas: i32,
    #[serde(default)]
    pub events: Vec<Event>,
    #[serde(default)]
    pub scale_up_events: Vec<Event>,
    #[serde(default)]
    pub scale_down_events: Vec<Event>,
    pub recommendations: Option<Vec<Recommendation>>,
    #[serde(default)]
    pub scale_up_stabilization_window_s: i64,
    #[serde(default)]
    pub scale_down_stabilization_window_s: i64,
    pub downscale_stabilization_window_s: Option<i64>,
    #[serde(default)]
    pub metrics: Vec<Metric>,
    #[serde(default)]
    pub gates: BTreeMap<String, bool>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
    pub expect: Expect,
}

#[derive(Deserialize)]
pub struct Pod {
    pub name: String,
    pub phase: Option<String>,
    pub ready: Option<bool>,
    pub start_age_s: Option<i64>,
    pub ready_transition_age_s: Option<i64>,
    #[serde(default)]
    pub deletion: bool,
    pub request_milli: Option<i64>,
    pub container_requests_milli: Option<BTreeMap<String, Option<i64>>>,
    pub metric: Option<i64>,
    pub metric_age_s: Option<i64>,
    pub metric_window_s: Option<i64>,
    pub pod_level_request_milli: Option<i64>,
    pub containers: Option<Vec<Container>>,
    #[serde(default)]
    pub init_containers: Vec<Container>,
}

#[derive(Deserialize)]
pub struct Container {
    pub name: String,
    pub request_milli: Option<i64>,
    pub restart_policy: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(tag = "type", content = "value")]
pub enum Target {
    Utilization(i32),
    AverageValue(i64),
    Value(i64),
}

#[derive(Deserialize)]
pub struct Behavior {
    pub scale_up: Option<Rules>,
    pub scale_down: Option<Rules>,
}

#[derive(Clone, Deserialize)]
pub struct Rules {
    pub stabilization_window_s: Option<i32>,
    pub select_policy: Option<SelectPolicy>,
    pub policies: Option<Vec<ScalingPolicy>>,
    pub tolerance: Option<f64>,
}

#[derive(Deserialize)]
pub struct Event {
    pub change: i32,
    pub age_s: i64,
    #[serde(default)]
    pub outdated: bool,
}

#[derive(Deserialize)]
pub struct Recommendation {
    pub replicas: i32,
    pub age_s: i64,
}

#[derive(Deserialize)]
pub struct Metric {
    pub metric_type: String,
    pub resource: Option<String>,
    pub container: Option<String>,
    pub target: Option<Target>,
    pub pod_metrics: Option<BTreeMap<String, i64>>,
    pub metric_values: Option<Vec<i64>>,
    pub fetch_error: Option<String>,
    pub metric_age_s: Option<i64>,
    pub metric_window_s: Option<i64>,
}

#[derive(Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
}

/// What is asserted; a key that is not there is not asserted, which is not the same as `null`.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Expect(pub BTreeMap<String, Value>);
