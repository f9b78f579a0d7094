//! Where the stack is, when it is not where it was looked for. Asked only then.

use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::ListParams};

use super::CommandError;
use crate::{
    catalog::{self, Component},
    cluster::{self, Cluster},
    object::ObjectRef,
};

/// What installs an Alertmanager: without a receiver there is none.
const NAME_A_RECEIVER: &str =
    "name a receiver: `scalekit up --slack-webhook-file FILE`, or `alerting` in scalekit.yaml; then `scalekit status`";

/// The namespaces that hold a stack, by the labels of the scaler's Service. Who may not look everywhere sees none.
///
/// # Errors
///
/// When the cluster gives no answer.
pub(super) async fn stacks(cluster: &Cluster) -> Result<Vec<String>, cluster::Error> {
    let services: Api<Service> = Api::all(cluster.client().clone());
    let selector = format!("{}={},{}={}", catalog::NAME, Component::Scaler.name(), catalog::PART_OF, catalog::SCALEKIT);
    match cluster::answered(services.list_metadata(&ListParams::default().labels(&selector))).await {
        Ok(found) => Ok(found.items.into_iter().filter_map(|service| service.metadata.namespace).collect()),
        Err(cluster::Error::Forbidden { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The namespace of the stack where it is not in `asked`; `None` where it is, and where nothing is known of another.
pub(super) async fn elsewhere(cluster: &Cluster, asked: &str) -> Option<String> {
    let found = stacks(cluster).await.unwrap_or_default();
    if found.iter().any(|namespace| namespace == asked) { None } else { found.into_iter().next() }
}

/// The Prometheus that the scaler asks, where it is none of ours. Who may not look is told nothing.
pub(super) async fn prometheus_of_others(cluster: &Cluster, namespace: &str) -> Option<String> {
    let scaler = ObjectRef::new("apps/v1", "Deployment", Some(namespace), Component::Scaler.name());
    let found = cluster.get(&scaler).await.ok()??;
    let url = catalog::prometheus_of_scaler(std::slice::from_ref(&found))?.to_owned();
    (url != catalog::prometheus_url(namespace)).then_some(url)
}

/// Why no pod of a component is ready in `namespace`: it is there and not ready, the stack is in another namespace, or it is
/// not installed. `command` is what was to be done with it: `open grafana`.
pub(super) async fn without_a_pod(
    cluster: &Cluster,
    namespace: &str,
    component: Component,
    command: &str,
) -> CommandError {
    let services: Api<Service> = Api::namespaced(cluster.client().clone(), namespace);
    // Who may not see the Service may see the pods, and there is none that is ready: that much is known.
    if !matches!(cluster::answered(services.get_metadata_opt(component.name())).await, Ok(None)) {
        return CommandError::NotReady { component, namespace: namespace.to_owned() };
    }
    if let Some(installed) = elsewhere(cluster, namespace).await {
        let fix = format!("`scalekit {command} -n {installed}`");
        return CommandError::Elsewhere { asked: namespace.to_owned(), installed: Some(installed), fix };
    }
    let fix = match (prometheus_of_others(cluster, namespace).await, component) {
        (Some(url), _) => format!(
            "the scaler alone is installed, on top of {url}: look there, or install the whole stack by `scalekit up` without \
             --prometheus-url"
        ),
        (None, Component::Alertmanager) => NAME_A_RECEIVER.to_owned(),
        (None, _) => "`scalekit up`, then `scalekit status`".to_owned(),
    };
    CommandError::NotInstalled { what: format!("{component} in namespace {namespace}"), fix }
}
