//! What the `HorizontalPodAutoscaler` does not have: fallback and schedules.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What counts for a metric that has been missing for long.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FallbackSpec {
    /// For how long a metric must have been missing, 1s to 24h, as in Go (3m).
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("after must be a duration between 1s and 24h, such as 3m"))]
    pub after: String,
    /// How many replicas the metric then calls for. The other metrics still count.
    #[x_kube(validation = Rule::new("self >= 0").message("replicas must be 0 or more"))]
    pub replicas: i32,
    /// Whether that may be fewer than there are. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_scale_down: bool,
}

/// When no more replicas are ordered because those that were ordered do not start.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingPodsSpec {
    /// So many pods of the workload must be Pending.
    #[x_kube(validation = Rule::new("self >= 1").message("count must be 1 or more"))]
    pub count: i32,
    /// For longer than this, 1s to 24h, as in Go (2m).
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("longerThan must be a duration between 1s and 24h, such as 2m"))]
    pub longer_than: String,
}

/// When other bounds hold, and which.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.minReplicas) || has(self.maxReplicas)")
        .message("a schedule changes nothing without minReplicas or maxReplicas; set at least one of them"),
    validation = Rule::new("!has(self.minReplicas) || !has(self.maxReplicas) || self.maxReplicas >= self.minReplicas")
        .message("maxReplicas must not be less than minReplicas; raise maxReplicas or lower minReplicas")
        .field_path(".maxReplicas"),
)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// What the schedule is called.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("name must be lower-case letters, digits and -, such as office"))]
    pub name: String,
    /// Whose clock counts, such as Europe/Berlin. Daylight saving is followed.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// When it begins: minute, hour, day of the month, month and day of the week, as in crontab.
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new(r"self.matches('^\\s*\\S+(\\s+\\S+){4}\\s*$')")
        .message("start must be five fields, minute hour day month weekday, such as 0 8 * * 1-5"))]
    pub start: String,
    /// When it ends, likewise.
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new(r"self.matches('^\\s*\\S+(\\s+\\S+){4}\\s*$')")
        .message("end must be five fields, minute hour day month weekday, such as 0 18 * * 1-5"))]
    pub end: String,
    /// Fewest replicas meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("minReplicas must be 0 or more"))]
    pub min_replicas: Option<i32>,
    /// Most replicas meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1").message("maxReplicas must be 1 or more; to stop scaling set mode to Paused"))]
    pub max_replicas: Option<i32>,
}

fn utc() -> String {
    "UTC".to_owned()
}
