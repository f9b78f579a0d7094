//! `scalekit open`: a port-forward, and the address to look at.

use std::{io, net::SocketAddr};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{CommandError, targets, up::unusable, whereabouts::without_a_pod};
use crate::{
    catalog::{self, Component},
    cluster::{self, Cluster, PodTunnel},
};

/// What can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Dashboards.
    Grafana,
    /// Queries.
    Prometheus,
    /// Alerts that fire.
    Alertmanager,
}

impl Service {
    fn component(self) -> Component {
        match self {
            Self::Grafana => Component::Grafana,
            Self::Prometheus => Component::Prometheus,
            Self::Alertmanager => Component::Alertmanager,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Grafana => 3000,
            Self::Prometheus => 9090,
            Self::Alertmanager => 9093,
        }
    }
}

/// A port-forward that listens.
pub struct Opening<F> {
    /// Where to look.
    pub url: String,
    /// User and password, where there is a login.
    pub credentials: Option<(String, String)>,
    /// Serves until it is dropped.
    pub serve: F,
}

/// Opens a port-forward to a ready pod of the service.
///
/// # Errors
///
/// [`CommandError::NotInstalled`], [`CommandError::Elsewhere`] or [`CommandError::NotReady`] when there is no ready pod;
/// [`CommandError::Io`] when the port is taken.
pub async fn open(
    service: Service,
    namespace: &str,
    port: u16,
    cluster: &Cluster,
) -> Result<Opening<impl Future<Output = io::Result<()>> + use<>>, CommandError> {
    let failed = |source| unusable(cluster, source);
    let component = service.component();
    let selector = format!("{}={component}", catalog::NAME);
    let Some(pod) = targets::ready_pod(cluster, namespace, &selector).await.map_err(failed)? else {
        return Err(without_a_pod(cluster, namespace, component, &format!("open {component}")).await);
    };
    let credentials = match service {
        Service::Grafana => Some(("admin".to_owned(), grafana_password(cluster, namespace).await.map_err(failed)?)),
        Service::Prometheus | Service::Alertmanager => None,
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let tunnel = PodTunnel::new(cluster, namespace, &pod, service.port());
    let (local, serve) = cluster::listen(tunnel, address)
        .await
        .map_err(|source| CommandError::Io { what: format!("cannot listen on {address}"), source })?;
    let path = match service {
        Service::Grafana => "/d/scalekit-overview",
        Service::Prometheus | Service::Alertmanager => "/",
    };
    Ok(Opening { url: format!("http://{local}{path}"), credentials, serve })
}

async fn grafana_password(cluster: &Cluster, namespace: &str) -> Result<String, cluster::Error> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client().clone(), namespace);
    let secret = secrets.get(catalog::ADMIN_SECRET).await?;
    let bytes = secret.data.and_then(|mut data| data.remove(catalog::PASSWORD_KEY)).map(|bytes| bytes.0);
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| cluster::Error::Unreadable {
        cause: format!("Secret {} holds no password", catalog::ADMIN_SECRET),
    })
}
