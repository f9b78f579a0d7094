//! Looking around the cluster. What cannot be looked at is part of the answer: nothing here fails.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{Namespace, Node, Pod, Secret, Service},
        discovery::v1::EndpointSlice,
        storage::v1::CSINode,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Resource,
    api::{DynamicObject, ListParams},
    client::Body,
};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    catalog::{is_ours, nodes_namespace},
    cluster::{CONCURRENCY, Cluster, answered},
    health::{Clock, Environment, Listener, Looked, NODE_EXPORTER_PORT, PROVISIONERS},
    object::ObjectRef,
    plan,
};

/// A cluster's DNS by the label that kubeadm, kind, MicroK8s, k3s and the managed clouds give it.
const DNS: &str = "k8s-app=kube-dns";

/// What the Prometheus Operator is known by, whoever installed it.
const OPERATOR: &str = "prometheuses.monitoring.coreos.com";

/// How long a node may take to answer a connection. A firewall that drops it answers never.
const CONNECT: Duration = Duration::from_millis(700);

/// Everything around the stack in `namespace`.
pub async fn environment(cluster: &Cluster, namespace: &str) -> Environment {
    let client = cluster.client();
    let all = ListParams::default();
    let labelled = ListParams::default().labels(DNS);
    let (clock, heartbeats, services, slices, provisioners, api_services, others, operator) = futures::join!(
        clock(cluster),
        list::<Lease>(Api::namespaced(client.clone(), "kube-node-lease"), &all),
        list::<Service>(Api::all(client.clone()), &labelled),
        list::<EndpointSlice>(Api::all(client.clone()), &labelled),
        provisioners(cluster),
        api_services(cluster),
        list::<Pod>(Api::all(client.clone()), &all),
        operator(cluster),
    );
    let others = others.map(|pods| pods.into_iter().filter(|pod| !is_of_stack(pod, namespace)).collect());
    let dns = services.and_then(|services| Ok((services, slices?)));
    Environment { clock, heartbeats, dns, provisioners, api_services, others, operator }
}

/// Whether a pod is of the stack in `namespace`. Those of another installation are not.
fn is_of_stack(pod: &Pod, namespace: &str) -> bool {
    let place = pod.metadata.namespace.as_deref();
    is_ours(pod) && (place == Some(namespace) || place == Some(nodes_namespace(namespace).as_str()))
}

/// Every aggregated API, or why they cannot be seen.
pub async fn api_services(cluster: &Cluster) -> Looked<Vec<APIService>> {
    list(Api::all(cluster.client().clone()), &ListParams::default()).await
}

/// What listens on node-exporter's port of each node, by a connection from here.
pub(super) async fn listeners(nodes: &[Node]) -> Vec<(String, Listener)> {
    let addresses = nodes.iter().filter_map(|node| {
        let addresses = node.status.as_ref()?.addresses.as_ref()?;
        let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
        Some((node.metadata.name.clone()?, internal.address.clone()))
    });
    stream::iter(addresses.collect::<Vec<_>>())
        .map(|(node, address)| async move {
            let listener = match timeout(CONNECT, TcpStream::connect((address.as_str(), NODE_EXPORTER_PORT))).await {
                Ok(Ok(_)) => Listener::Something,
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Listener::Nobody,
                Ok(Err(_)) | Err(_) => Listener::Unknown,
            };
            (node, listener)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await
}

/// The Secrets of others that these objects need and that are not there. One that may not be looked at is taken to be there; so is
/// one of a namespace that is still to be made, in which it can only come later.
pub(super) async fn absent_secrets(cluster: &Cluster, desired: &[DynamicObject]) -> Vec<ObjectRef> {
    let looked = plan::secrets_of_others(desired).into_iter().map(|secret| async move {
        let namespace = secret.namespace.as_deref().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(cluster.client().clone(), namespace);
        let namespaces: Api<Namespace> = Api::all(cluster.client().clone());
        let (found, place) = futures::join!(
            answered(secrets.get_metadata_opt(&secret.name)),
            answered(namespaces.get_metadata_opt(namespace))
        );
        (matches!(found, Ok(None)) && !matches!(place, Ok(None))).then_some(secret)
    });
    futures::future::join_all(looked).await.into_iter().flatten().collect()
}

async fn list<K>(api: Api<K>, params: &ListParams) -> Looked<Vec<K>>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    answered(api.list(params)).await.map(|list| list.items).map_err(|error| error.to_string())
}

/// The API server's time, by the header that every answer over HTTP carries.
async fn clock(cluster: &Cluster) -> Looked<Clock> {
    let request = http::Request::get("/version").body(Body::empty()).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let answer = answered(cluster.client().send(request)).await.map_err(|error| error.to_string())?;
    let (took, here) = (began.elapsed(), now());
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.ok_or_else(|| "its answers have no date".to_owned())?;
    let server = rfc2822::parse(date).map_err(|error| error.to_string())?.timestamp();
    Ok(Clock { server, here, took })
}

async fn provisioners(cluster: &Cluster) -> Looked<(Vec<Deployment>, Vec<CSINode>)> {
    let deployments: Api<Deployment> = Api::all(cluster.client().clone());
    let named = PROVISIONERS.map(|(_, name)| {
        let deployments = deployments.clone();
        async move {
            let params = ListParams::default().fields(&format!("metadata.name={name}"));
            list(deployments, &params).await
        }
    });
    let drivers = async { list::<CSINode>(Api::all(cluster.client().clone()), &ListParams::default()).await };
    let (found, drivers) = futures::join!(futures::future::try_join_all(named), drivers);
    Ok((found?.into_iter().flatten().collect(), drivers?))
}

async fn operator(cluster: &Cluster) -> Looked<bool> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().clone());
    let found = answered(definitions.get_metadata_opt(OPERATOR)).await.map_err(|error| error.to_string())?;
    Ok(found.is_some())
}

#[expect(clippy::disallowed_methods, reason = "the edge: the rules take the time from here")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::catalog::MANAGED_BY;

    #[rstest]
    #[case::of_the_stack("scalekit", "nope", true)]
    #[case::of_its_nodes("scalekit", "nope-nodes", true)]
    #[case::of_another_installation("scalekit", "monitoring-nodes", false)]
    #[case::somebody_elses_in_our_namespace("Helm", "nope", false)]
    fn pods_of_another_installation_are_others(#[case] by: &str, #[case] namespace: &str, #[case] ours: bool) {
        let pod = json!({"metadata": {"name": "p", "namespace": namespace, "labels": {(MANAGED_BY): by}}});
        assert_eq!(is_of_stack(&serde_json::from_value(pod).unwrap(), "nope"), ours);
    }
}
