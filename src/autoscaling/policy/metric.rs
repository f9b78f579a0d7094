//! From a metric as users write it to one that is decided on.

use super::{InvalidSpec, invalid, max_age, milli_of};
use crate::autoscaling::{
    api::{
        MetricSpec, MetricTarget, MetricTargetType, MetricType, OnAbsentSpec, PrometheusMetric, PrometheusTarget,
        QuantityText, TargetType,
    },
    decision::policy::{Metric, OnAbsent, Source, Target},
};

/// All metrics, in their order, each with a name of its own.
pub(super) fn metrics_of(metrics: &[MetricSpec]) -> Result<Vec<Metric>, InvalidSpec> {
    let mut all: Vec<Metric> = Vec::with_capacity(metrics.len());
    for (place, metric) in metrics.iter().enumerate() {
        let mut metric = metric_of(place, metric)?;
        // Those of `autoscaling/v2` have no name of their own: two may well be of the same resource.
        let given = metric.name.clone();
        for number in place + 1.. {
            if all.iter().all(|other| other.name != metric.name) {
                break;
            }
            metric.name = format!("{given}-{number}");
        }
        all.push(metric);
    }
    Ok(all)
}

fn metric_of(place: usize, metric: &MetricSpec) -> Result<Metric, InvalidSpec> {
    let field = |name: &str| format!("spec.metrics[{place}].{name}");
    let unset = |name: &str| invalid(field(name), "it is not set");
    // As the HPA: what has no value is an error, and holds the count.
    let hpas = |name: String, source: Source, target: &MetricTarget, path: &str| {
        let target = target_of(target, &field(&format!("{path}.target")), &source)?;
        Ok(Metric::new(name, source, target, OnAbsent::Error))
    };
    match metric.kind {
        MetricType::Prometheus => {
            let prometheus = metric.prometheus.as_ref().ok_or_else(|| unset("prometheus"))?;
            prometheus_of(place, prometheus, |name| field(&format!("prometheus{name}")))
        }
        MetricType::Resource => {
            let it = metric.resource.as_ref().ok_or_else(|| unset("resource"))?;
            hpas(it.name.clone(), Source::Resource { resource: it.name.clone() }, &it.target, "resource")
        }
        MetricType::ContainerResource => {
            let it = metric.container_resource.as_ref().ok_or_else(|| unset("containerResource"))?;
            let source = Source::ContainerResource { resource: it.name.clone(), container: it.container.clone() };
            hpas(format!("{}/{}", it.container, it.name), source, &it.target, "containerResource")
        }
        MetricType::Pods => {
            let it = metric.pods.as_ref().ok_or_else(|| unset("pods"))?;
            hpas(it.metric.name.clone(), Source::Pods, &it.target, "pods")
        }
        MetricType::Object => {
            let it = metric.object.as_ref().ok_or_else(|| unset("object"))?;
            hpas(it.metric.name.clone(), Source::Object, &it.target, "object")
        }
        MetricType::External => {
            let it = metric.external.as_ref().ok_or_else(|| unset("external"))?;
            hpas(it.metric.name.clone(), Source::External, &it.target, "external")
        }
    }
}

fn prometheus_of(
    place: usize,
    prometheus: &PrometheusMetric,
    field: impl Fn(&str) -> String,
) -> Result<Metric, InvalidSpec> {
    max_age(place, prometheus)?;
    let activation = prometheus.activation.as_ref().map(|text| milli_of(text, &field(".activation"))).transpose()?;
    let PrometheusTarget { kind, average_value, value } = &prometheus.target;
    let target = field(".target");
    let target = match (kind, average_value, value) {
        (_, Some(_), Some(_)) => return Err(invalid(target, "both value and averageValue are set; leave one out")),
        (TargetType::AverageValue, average, _) => {
            Target::AverageValue(positive(average.as_ref(), &format!("{target}.averageValue"))?)
        }
        (TargetType::Value, _, value) => Target::Value(positive(value.as_ref(), &format!("{target}.value"))?),
    };
    Ok(Metric {
        activation: activation.unwrap_or(0),
        name: prometheus.name.clone(),
        source: Source::Prometheus,
        target: Some(target),
        on_absent: match prometheus.on_absent {
            OnAbsentSpec::Hold => OnAbsent::Hold,
            OnAbsentSpec::Zero => OnAbsent::Zero,
            OnAbsentSpec::Error => OnAbsent::Error,
        },
    })
}

fn target_of(target: &MetricTarget, field: &str, source: &Source) -> Result<Target, InvalidSpec> {
    let target = match target.kind {
        MetricTargetType::Utilization => {
            let field = format!("{field}.averageUtilization");
            let percent = target.average_utilization.ok_or_else(|| invalid(&field, "it is not set"))?;
            if percent <= 0 {
                return Err(invalid(field, "it must be greater than 0"));
            }
            Target::Utilization(percent)
        }
        MetricTargetType::AverageValue => {
            Target::AverageValue(positive(target.average_value.as_ref(), &format!("{field}.averageValue"))?)
        }
        MetricTargetType::Value => Target::Value(positive(target.value.as_ref(), &format!("{field}.value"))?),
    };
    let fits = match (source, target) {
        (Source::Resource { .. } | Source::ContainerResource { .. }, Target::Value(_)) => {
            Err("a resource is measured per pod: write Utilization or AverageValue")
        }
        (Source::Pods, Target::Value(_) | Target::Utilization(_)) => {
            Err("a metric of type Pods has a value per pod: write AverageValue")
        }
        (Source::Object | Source::External, Target::Utilization(_)) => {
            Err("only a resource has a utilization: write Value or AverageValue")
        }
        _ => Ok(target),
    };
    fits.map_err(|problem| invalid(format!("{field}.type"), problem))
}

fn positive(quantity: Option<&QuantityText>, field: &str) -> Result<i64, InvalidSpec> {
    let text = quantity.ok_or_else(|| invalid(field, "it is not set"))?;
    let milli = milli_of(text, field)?;
    if milli > 0 { Ok(milli) } else { Err(invalid(field, "it must be greater than 0")) }
}
