//! The parts of the stack, by name and image.

use std::{fmt, str::FromStr};

/// One part of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Stores metrics and answers PromQL.
    Prometheus,
    /// Metrics of every node.
    NodeExporter,
    /// Metrics of Kubernetes' objects.
    KubeStateMetrics,
    /// Dashboards.
    Grafana,
    /// Tells people of alerts; only there when it has somebody to tell.
    Alertmanager,
    /// Our own controller of Autoscalers.
    Scaler,
}

/// A component that was named and does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no component: prometheus, node-exporter, kube-state-metrics, grafana, alertmanager or scaler")]
pub struct UnknownComponent(String);

impl Component {
    /// Every component, in the order in which people name them. Which of them a stack has is for
    /// [`Options::components`](super::Options::components) to say.
    pub const ALL: [Self; 6] =
        [Self::Prometheus, Self::NodeExporter, Self::KubeStateMetrics, Self::Grafana, Self::Alertmanager, Self::Scaler];

    /// The name: `kube-state-metrics`. Also that of its workload, its Service, its folder under
    /// `assets/` and its `app.kubernetes.io/name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::NodeExporter => "node-exporter",
            Self::KubeStateMetrics => "kube-state-metrics",
            Self::Grafana => "grafana",
            Self::Alertmanager => "alertmanager",
            Self::Scaler => "scaler",
        }
    }

    /// What it is in the architecture, as `app.kubernetes.io/component` says it.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Prometheus => "metrics",
            Self::NodeExporter | Self::KubeStateMetrics => "exporter",
            Self::Grafana => "dashboards",
            Self::Alertmanager => "alerts",
            Self::Scaler => "autoscaler",
        }
    }

    /// The kind of its workload, which has its name: `StatefulSet`.
    pub const fn workload(self) -> &'static str {
        match self {
            Self::Prometheus => "StatefulSet",
            Self::NodeExporter => "DaemonSet",
            Self::KubeStateMetrics | Self::Grafana | Self::Alertmanager | Self::Scaler => "Deployment",
        }
    }

    /// The namespace that it runs in, by that of the stack.
    pub fn namespace(self, stack: &str) -> String {
        match self {
            Self::NodeExporter => super::nodes_namespace(stack),
            Self::Prometheus | Self::KubeStateMetrics | Self::Grafana | Self::Alertmanager | Self::Scaler => {
                stack.to_owned()
            }
        }
    }

    /// The image that is used when no other is asked for. Our own is in no registry: it is made from
    /// the running program, and whoever makes it overrides this name with the one that has its digest.
    pub const fn default_image(self) -> &'static str {
        match self {
            Self::Prometheus => "quay.io/prometheus/prometheus:v3.14.0",
            Self::NodeExporter => "quay.io/prometheus/node-exporter:v1.12.1",
            Self::KubeStateMetrics => "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.20.0",
            Self::Grafana => "docker.io/grafana/grafana:13.2.2",
            Self::Alertmanager => "quay.io/prometheus/alertmanager:v0.34.0",
            Self::Scaler => "scalekit.local/scalekit:latest",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Component {
    type Err = UnknownComponent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|component| component.name() == text)
            .ok_or_else(|| UnknownComponent(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_survives_the_round_trip() {
        for component in Component::ALL {
            assert_eq!(component.to_string().parse(), Ok(component));
        }
        assert_eq!("Grafana".parse::<Component>(), Err(UnknownComponent("Grafana".to_owned())));
    }
}
