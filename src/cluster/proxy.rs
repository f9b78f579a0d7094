//! HTTP to a Service through the API server's proxy.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use kube::client::Body;

use super::{Cluster, Error};

impl Cluster {
    /// Sends a GET to a port of a Service and gives the answer, whatever its status: it may be the program's, or the API
    /// server's own. A NetworkPolicy that lets the API server not through shows as silence: that is borne for `patience`.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] when there is no answer in time.
    pub async fn get_from_service(
        &self,
        namespace: &str,
        service: &str,
        port: u16,
        path: &str,
        patience: Duration,
    ) -> Result<(http::StatusCode, Bytes), Error> {
        let uri = format!("/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy{path}");
        let unreadable = |cause: String| Error::Unreadable { cause };
        let request = http::Request::get(uri).body(Body::empty()).map_err(|error| unreadable(error.to_string()))?;
        let answer = async {
            let response = self.client().send(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| unreadable(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(patience, answer)
            .await
            .unwrap_or_else(|_| Err(Error::Unreachable { cause: format!("no answer within {} s", patience.as_secs()) }))
    }
}
