//! Port-forward to a pod: HTTP requests through it, and a local port for a browser.
//!
//! The API server's port-forward reaches a pod whatever NetworkPolicies say, and needs nothing to listen
//! anywhere.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use k8s_openapi::{ByteString, api::core::v1::Pod};
use kube::Api;
use tokio::{
    io,
    net::{TcpListener, TcpStream},
};

use super::{Cluster, Error};
use crate::prometheus::Transport;

/// Why a request through a port-forward got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The port-forward itself was refused or broke.
    #[error("no port-forward to pod {pod}")]
    Open {
        /// `namespace/name` of the pod.
        pod: String,
        /// Why.
        source: Error,
    },
    /// The program in the pod did not answer as HTTP.
    #[error("pod {pod} does not answer on port {port}: {cause}")]
    Http {
        /// `namespace/name` of the pod.
        pod: String,
        /// The port.
        port: u16,
        /// Why.
        cause: String,
    },
}

/// A way to one port of one pod. Each request opens a port-forward of its own, since one serves a port once.
#[derive(Clone)]
pub struct PodTunnel {
    pods: Api<Pod>,
    namespace: String,
    pod: String,
    port: u16,
}

impl PodTunnel {
    /// A tunnel to `port` of `pod`; nothing is opened yet.
    pub fn new(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Self {
        Self {
            pods: Api::namespaced(cluster.upgrades().clone(), namespace),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            port,
        }
    }

    /// Name of the pod at the far end.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// Sends one request and returns status and body. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// See [`ForwardError`].
    pub async fn request(&self, method: http::Method, path: &str) -> Result<(http::StatusCode, Bytes), ForwardError> {
        self.request_with(method, path, None).await
    }

    /// As [`PodTunnel::request_with`], as a user with a password (RFC 7617).
    ///
    /// # Errors
    ///
    /// See [`ForwardError`].
    pub async fn request_as(
        &self,
        (user, password): (&str, &str),
        method: http::Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(http::StatusCode, Bytes), ForwardError> {
        let pair = serde_json::json!(ByteString(format!("{user}:{password}").into_bytes()));
        let basic = format!("Basic {}", pair.as_str().unwrap_or_default());
        self.exchange(method, path, Some(body), Some(&basic)).await
    }

    /// As [`PodTunnel::request`], with a body of JSON.
    ///
    /// # Errors
    ///
    /// See [`ForwardError`].
    pub async fn request_with(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(http::StatusCode, Bytes), ForwardError> {
        self.exchange(method, path, body, None).await
    }

    async fn exchange(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&serde_json::Value>,
        authorization: Option<&str>,
    ) -> Result<(http::StatusCode, Bytes), ForwardError> {
        let stream = self.open().await?;
        let failed = |cause: String| ForwardError::Http { pod: self.full_name(), port: self.port, cause };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let connection = tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, format!("{}:{}", self.pod, self.port));
        if let Some(authorization) = authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(body.map_or_else(Full::<Bytes>::default, |body| Full::from(body.to_string())))
            .map_err(|error| failed(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        }
        .await
        .map_err(|error| failed(error.to_string()));
        connection.abort();
        answer
    }

    async fn open(&self) -> Result<io::DuplexStream, ForwardError> {
        let failed = |source: Error| ForwardError::Open { pod: self.full_name(), source };
        let mut forwarder =
            self.pods.portforward(&self.pod, &[self.port]).await.map_err(|error| failed(error.into()))?;
        forwarder
            .take_stream(self.port)
            .ok_or_else(|| failed(Error::Unreadable { cause: "the port-forward gave no stream".to_owned() }))
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }
}

impl Transport for PodTunnel {
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        async move {
            self.request(http::Method::GET, path_and_query).await.map_err(|error| match &error {
                ForwardError::Open { source, .. } => format!("{error}: {source}"),
                ForwardError::Http { .. } => error.to_string(),
            })
        }
        .boxed()
    }
}

/// Listens on a local address and forwards each connection to the pod, until the future is dropped.
///
/// Returns the address it listens on and the future that serves; a connection that fails ends alone.
///
/// # Errors
///
/// When the local address cannot be listened on.
pub async fn listen(
    tunnel: PodTunnel,
    address: SocketAddr,
) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let serve = async move {
        loop {
            let (connection, _) = listener.accept().await?;
            tokio::spawn(splice(tunnel.clone(), connection));
        }
    };
    Ok((local, serve))
}

async fn splice(tunnel: PodTunnel, mut connection: TcpStream) {
    match tunnel.open().await {
        Ok(mut stream) => {
            // An end by either side is how every connection ends.
            let _ended = io::copy_bidirectional(&mut connection, &mut stream).await;
        }
        Err(error) => tracing::warn!("{error}"),
    }
}
