//! Sizes of the stack: requests, limits, retention and interval, which only make sense together.

use std::{fmt, str::FromStr};

use super::{Component, Retention, Storage};

/// How large a cluster the stack is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A small board or a machine at the edge: 2 GiB of memory and a few dozen pods.
    Edge,
    /// A laptop, a homelab, CI: what is taken where none is named.
    #[default]
    Laptop,
    /// A cluster that a team works on: some ten nodes, a few hundred pods.
    Team,
}

/// A profile that was named and does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no profile: edge, laptop or team")]
pub struct UnknownProfile(String);

/// What a container asks for, and may have, as the API server writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// CPU and memory that are kept for it.
    pub requests: [&'static str; 2],
    /// CPU and memory that it may have at most.
    pub limits: [&'static str; 2],
}

const fn resources(requests: [&'static str; 2], limits: [&'static str; 2]) -> Resources {
    Resources { requests, limits }
}

impl Profile {
    /// Every profile, the smallest first.
    pub const ALL: [Self; 3] = [Self::Edge, Self::Laptop, Self::Team];

    /// The name: `laptop`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Laptop => "laptop",
            Self::Team => "team",
        }
    }

    /// The next smaller one.
    pub const fn smaller(self) -> Option<Self> {
        match self {
            Self::Edge => None,
            Self::Laptop => Some(Self::Edge),
            Self::Team => Some(Self::Laptop),
        }
    }

    /// Seconds between two scrapes.
    pub const fn scrape_interval_seconds(self) -> u32 {
        match self {
            Self::Edge => 30,
            Self::Laptop | Self::Team => 15,
        }
    }

    /// How long samples are kept.
    pub fn retention(self) -> Retention {
        let (time, size) = match self {
            Self::Edge => ("3d", "1GB"),
            Self::Laptop => ("7d", "4GB"),
            Self::Team => ("15d", "16GB"),
        };
        Retention { time: time.to_owned(), size: size.to_owned() }
    }

    /// The volumes: a fifth of Prometheus' and more is left to the write-ahead log.
    pub fn storage(self) -> Storage {
        let (prometheus, grafana) = match self {
            Self::Edge => ("2Gi", "1Gi"),
            Self::Laptop => ("5Gi", "1Gi"),
            Self::Team => ("20Gi", "2Gi"),
        };
        Storage { class: None, prometheus: prometheus.to_owned(), grafana: grafana.to_owned() }
    }

    /// What each container gets. Grafana's limit is never below 512Mi: less, and the first start of its 13th version dies
    /// of it.
    pub const fn resources(self, component: Component) -> Resources {
        match (self, component) {
            (Self::Edge, Component::Prometheus) => resources(["25m", "96Mi"], ["500m", "320Mi"]),
            (Self::Laptop, Component::Prometheus) => resources(["50m", "128Mi"], ["1", "512Mi"]),
            (Self::Team, Component::Prometheus) => resources(["250m", "1Gi"], ["2", "3Gi"]),
            (Self::Edge, Component::NodeExporter) => resources(["5m", "16Mi"], ["100m", "48Mi"]),
            (Self::Laptop, Component::NodeExporter) => resources(["10m", "24Mi"], ["250m", "64Mi"]),
            (Self::Team, Component::NodeExporter) => resources(["20m", "32Mi"], ["250m", "96Mi"]),
            (Self::Edge, Component::KubeStateMetrics) => resources(["5m", "24Mi"], ["100m", "96Mi"]),
            (Self::Laptop, Component::KubeStateMetrics) => resources(["10m", "32Mi"], ["250m", "128Mi"]),
            (Self::Team, Component::KubeStateMetrics) => resources(["50m", "128Mi"], ["500m", "512Mi"]),
            (Self::Edge, Component::Grafana) => resources(["25m", "96Mi"], ["500m", "512Mi"]),
            (Self::Laptop, Component::Grafana) => resources(["50m", "96Mi"], ["1", "512Mi"]),
            (Self::Team, Component::Grafana) => resources(["100m", "256Mi"], ["2", "1Gi"]),
            (Self::Edge, Component::Alertmanager) => resources(["5m", "24Mi"], ["100m", "64Mi"]),
            (Self::Laptop, Component::Alertmanager) => resources(["10m", "32Mi"], ["200m", "128Mi"]),
            (Self::Team, Component::Alertmanager) => resources(["20m", "64Mi"], ["500m", "256Mi"]),
            (Self::Edge, Component::Scaler) => resources(["25m", "16Mi"], ["500m", "128Mi"]),
            (Self::Laptop, Component::Scaler) => resources(["50m", "16Mi"], ["1", "256Mi"]),
            (Self::Team, Component::Scaler) => resources(["100m", "64Mi"], ["2", "512Mi"]),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|profile| profile.name() == text).ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}
