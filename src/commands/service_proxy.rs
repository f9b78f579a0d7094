//! A Service through the API server's proxy: for those who may read, and may not open a port-forward.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use kube::Client;

use crate::{
    cluster::{Cluster, Error},
    prometheus::Transport,
};

/// A way to one port of one Service. It takes `get` on `services/proxy` of just that name; where NetworkPolicies are
/// enforced, the API server may not get there.
pub(super) struct ServiceProxy {
    client: Client,
    path: String,
}

impl ServiceProxy {
    /// A way to a Service, named with its port: `prometheus:9090`. Nothing is asked yet.
    pub(super) fn new(cluster: &Cluster, namespace: &str, service: &str) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/services/{service}/proxy");
        Self { client: cluster.client().clone(), path }
    }
}

impl Transport for ServiceProxy {
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        async move {
            let request = http::Request::get(format!("{}{path_and_query}", self.path))
                .body(Vec::new())
                .map_err(|error| error.to_string())?;
            let text = self.client.request_text(request).await.map_err(|error| Error::from(error).to_string())?;
            Ok((http::StatusCode::OK, text.into()))
        }
        .boxed()
    }
}
