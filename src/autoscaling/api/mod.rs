//! The `Autoscaler` resource, as users write it and read it.
//!
//! The doc comments of the types are what `kubectl explain autoscaler.spec` prints, and the rules
//! beside them what the API server checks: an object that it accepted can be decided on, but for what
//! no rule can see, such as a query's syntax. Names, defaults and meaning are those of
//! `autoscaling/v2` wherever the HPA has the field.

mod auth;
mod beyond;
mod metrics;
mod prometheus;
mod quantity_text;
mod spec;
mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

pub use auth::{BasicAuth, ClientCertificate, HeaderFrom, SecretKey, ServerAuth};
pub use beyond::{FallbackSpec, PendingPodsSpec, ScheduleSpec};
pub use metrics::{
    ContainerResourceMetric, DescribedObject, ExternalMetric, MetricIdentifier, MetricSelector, MetricTarget,
    MetricTargetType, ObjectMetric, PodsMetric, ResourceMetric, SelectorOperator, SelectorRequirement,
};
pub use prometheus::{OnAbsentSpec, PrometheusMetric, PrometheusTarget, ReduceSpec, TargetType};
pub use quantity_text::QuantityText;
pub use spec::{
    Autoscaler, AutoscalerSpec, BehaviorSpec, MetricSpec, MetricType, ModeSpec, PolicyType, ScaleTargetRef,
    ScalingPolicySpec, ScalingRulesSpec, SelectPolicySpec,
};
pub use status::{
    AutoscalerStatus, ConditionStatus, DecisionStatus, MemoryStatus, MetricStatus, MissingStatus, RecommendationStatus,
    RivalStatus, ScaleEventStatus,
};

/// The definition of the resource, as it is installed.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = Autoscaler::crd();
    for version in &mut crd.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            root.description = Some(
                "An Autoscaler keeps the replica count of a workload at what its metrics call for, \
                 and says why it is what it is."
                    .to_owned(),
            );
            polish(root);
        }
    }
    crd
}

/// An optional field is left out, not null: with `nullable`, a rule would have to check for both. And the
/// lines of a comment are those of the source, which kubectl would print as they are.
fn polish(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    if let Some(description) = &mut schema.description {
        *description = description.replace('\n', " ");
    }
    schema.properties.iter_mut().flatten().for_each(|(_, property)| polish(property));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        polish(items);
    }
}
