//! What users write.
#![expect(clippy::duplicated_attributes, reason = "each printer column has a type and a path of its own")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AutoscalerStatus, ContainerResourceMetric, ExternalMetric, FallbackSpec, ObjectMetric, PendingPodsSpec, PodsMetric,
    PrometheusMetric, QuantityText, ResourceMetric, ScheduleSpec,
};

/// What is to be scaled, on what, and within which bounds.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "scalekit.dev",
    version = "v1alpha1",
    kind = "Autoscaler",
    plural = "autoscalers",
    namespaced,
    status = "AutoscalerStatus",
    shortname = "as",
    category = "all",
    derive = "PartialEq",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.scaleTargetRef.name"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.minReplicas"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.maxReplicas"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.currentReplicas"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredReplicas"),
    printcolumn(name = "Metric", type_ = "string", json_path = ".status.currentMetrics[0].summary"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.lastDecision.reason"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".status.lastDecision.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("self.maxReplicas >= self.minReplicas")
        .message("maxReplicas must not be less than minReplicas; raise maxReplicas or lower minReplicas")
        .field_path(".maxReplicas"),
    validation = Rule::new("!has(self.schedules) || self.schedules.all(s, (has(s.minReplicas) ? s.minReplicas : self.minReplicas) <= (has(s.maxReplicas) ? s.maxReplicas : self.maxReplicas))")
        .message("minReplicas of a schedule must not be more than the maxReplicas that holds meanwhile, which is the spec's where the schedule sets none; set both in the schedule")
        .field_path(".schedules"),
    validation = Rule::new("!has(self.fallback) || self.fallback.replicas <= self.maxReplicas")
        .message("fallback.replicas is more than maxReplicas; write maxReplicas or less")
        .field_path(".fallback.replicas"),
    validation = Rule::new("self.minReplicas > 0 || self.metrics.exists(m, m.type in ['Prometheus', 'Object', 'External'])")
        .message("with minReplicas 0 a metric must have a value when there is no pod: add one of type Prometheus, Object or External, or set minReplicas to 1")
        .field_path(".minReplicas"),
    validation = Rule::new("!has(self.schedules) || self.metrics.exists(m, m.type in ['Prometheus', 'Object', 'External']) || self.schedules.all(s, !has(s.minReplicas) || s.minReplicas > 0)")
        .message("with minReplicas 0 in a schedule a metric must have a value when there is no pod: add one of type Prometheus, Object or External, or set minReplicas of the schedule to 1")
        .field_path(".schedules"),
    validation = Rule::new("self.metrics.all(m, !has(m.prometheus) || self.metrics.exists_one(n, has(n.prometheus) && n.prometheus.name == m.prometheus.name))")
        .message("two metrics have the same name; give each metric a name of its own")
        .field_path(".metrics"),
)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerSpec {
    /// The workload to scale, in the Autoscaler's namespace: anything that has a scale subresource.
    pub scale_target_ref: ScaleTargetRef,

    /// Fewest replicas. With 0 the workload may be put to sleep, and its metrics wake it; with 1 or more,
    /// a workload that somebody set to 0 replicas is off and stays off.
    #[serde(default = "one")]
    #[x_kube(validation = Rule::new("self >= 0").message("minReplicas must be 0 or more"))]
    pub min_replicas: i32,

    /// Most replicas.
    #[x_kube(validation = Rule::new("self >= 1").message("maxReplicas must be 1 or more; to stop scaling set mode to Paused"))]
    pub max_replicas: i32,

    /// How often to look at the metrics and decide: 1s to 5m, written as in Go (15s, 1m30s).
    #[serde(default = "fifteen_seconds")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m))+$') && duration(self) >= duration('1s') && duration(self) <= duration('5m')")
        .message("interval must be a duration between 1s and 5m, such as 15s or 1m30s"))]
    pub interval: String,

    /// Auto decides and scales. Recommend decides and reports, and writes nothing. Paused does nothing.
    #[serde(default)]
    pub mode: ModeSpec,

    /// What to scale on. Each metric proposes a replica count, and the largest wins. A metric that cannot
    /// be read stops scaling down, not scaling up.
    #[schemars(length(max = 10))]
    #[x_kube(validation = Rule::new("self.size() >= 1").message("metrics is empty; name at least one metric to scale on"))]
    pub metrics: Vec<MetricSpec>,

    /// With `minReplicas` 0: how long no metric may have been above 0 before the last replica goes, as in Go (5m).
    /// While a metric cannot be read, the time stands still. Where it is not set, windows and rates alone count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('168h')")
        .message("cooldown must be a duration up to 168h, such as 5m or 1h30m"))]
    pub cooldown: Option<String>,

    /// What counts for a metric that has been missing for long. Where it is not set, the replica count does not
    /// fall while a metric is missing, however long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackSpec>,

    /// When no more replicas are ordered because those that were ordered do not start: so many pods have been Pending
    /// for so long. Where it is not set, the metrics alone decide, as with the HPA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_pods: Option<PendingPodsSpec>,

    /// When other bounds hold, each in a time zone. Of several that hold at once, the later in the list has the
    /// last word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub schedules: Vec<ScheduleSpec>,

    /// How fast the replica count may change, as in the `HorizontalPodAutoscaler`. Where it is not set, the
    /// count may double (or become 4) at each decision, and falls to the highest proposal of 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<BehaviorSpec>,
}

fn one() -> i32 {
    1
}

fn fifteen_seconds() -> String {
    "15s".to_owned()
}

/// The workload to scale.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTargetRef {
    /// Its API version, such as apps/v1.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Its kind, such as Deployment.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ModeSpec {
    #[default]
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Auto,
    #[expect(missing_docs, reason = "as above")]
    Recommend,
    #[expect(missing_docs, reason = "as above")]
    Paused,
}

/// One metric and what it should be.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.prometheus) == (self.type == 'Prometheus') && has(self.resource) == (self.type == 'Resource') && has(self.containerResource) == (self.type == 'ContainerResource') && has(self.pods) == (self.type == 'Pods') && has(self.object) == (self.type == 'Object') && has(self.external) == (self.type == 'External')")
    .message("a metric needs the one field that belongs to its type: prometheus, resource, containerResource, pods, object or external"))]
#[serde(rename_all = "camelCase")]
pub struct MetricSpec {
    /// Where the metric comes from.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// The answer to a PromQL query; for type Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusMetric>,
    /// A resource of the workload's pods; for type Resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceMetric>,
    /// A resource of one container of the workload's pods; for type `ContainerResource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerResourceMetric>,
    /// A value for each of the workload's pods; for type Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsMetric>,
    /// A value of some object; for type Object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectMetric>,
    /// A value from outside of the cluster; for type External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMetric>,
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricType {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Prometheus,
    #[expect(missing_docs, reason = "as above")]
    Resource,
    #[expect(missing_docs, reason = "as above")]
    ContainerResource,
    #[expect(missing_docs, reason = "as above")]
    Pods,
    #[expect(missing_docs, reason = "as above")]
    Object,
    #[expect(missing_docs, reason = "as above")]
    External,
}

/// How fast the replica count may change. Where only one direction is set, the other has its defaults.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviorSpec {
    /// Upwards. Defaults: no window; 4 replicas or 100 % in 15 seconds, whichever is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRulesSpec>,
    /// Downwards. Defaults: a window of 300 seconds; 100 % in 15 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRulesSpec>,
}

/// The rules of one direction.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.tolerance) || (type(self.tolerance) == int ? self.tolerance >= 0 : isQuantity(self.tolerance) && !quantity(self.tolerance).isLessThan(quantity('0')))")
        .message("tolerance must be 0 or more, such as 0.05 for 5 %")
        .field_path(".tolerance"),
)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRulesSpec {
    /// How many seconds back proposals are looked at, so that the count does not flap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 3600").message("stabilizationWindowSeconds must be between 0 and 3600"))]
    pub stabilization_window_seconds: Option<i32>,
    /// Which of the policies counts: the one that allows the largest change (Max, the default), the smallest
    /// (Min), or none (Disabled: no change in this direction).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicySpec>,
    /// How much may change in which time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.size() >= 1")
        .message("policies is empty; leave it out for the defaults, or set selectPolicy to Disabled to forbid changes"))]
    pub policies: Option<Vec<ScalingPolicySpec>>,
    /// How far the metric may be from its target, as a fraction of it, without a change in this direction:
    /// "0.05" is 5 %, "0" none. Default 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<QuantityText>,
}

/// How much may change in a period.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicySpec {
    /// What value counts: replicas (Pods), or per cent of the replicas at the start of the period (Percent).
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// How much may change in a period.
    #[x_kube(validation = Rule::new("self > 0").message("value must be greater than 0; to forbid changes set selectPolicy to Disabled"))]
    pub value: i32,
    /// The period, in seconds.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1800").message("periodSeconds must be between 1 and 1800"))]
    pub period_seconds: i32,
}

/// What a policy counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyType {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Pods,
    #[expect(missing_docs, reason = "as above")]
    Percent,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicySpec {
    #[expect(missing_docs, reason = "a description would turn the enum into alternatives in the schema")]
    Max,
    #[expect(missing_docs, reason = "as above")]
    Min,
    #[expect(missing_docs, reason = "as above")]
    Disabled,
}
