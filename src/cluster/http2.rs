//! One HTTP/2 connection to the API server for all requests and watches of a run.
//!
//! kube's own client speaks HTTP/1.1: a connection, and a TLS handshake, for each request in flight and each watch.
//! That is most of what a short run costs, on both sides. Here all of them share one connection, where the server
//! speaks HTTP/2; where it does not, ALPN says so and each gets one of its own, as with kube's client.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use rustls::pki_types::ServerName;
use tower::{BoxError, ServiceBuilder, buffer::BufferLayer};
use tower_http::decompression::DecompressionLayer;

use super::{counted::Requests, patience::PatienceLayer};

/// A connection that says nothing for this long is asked whether it lives. Only while something waits for an answer.
const PING: Duration = Duration::from_secs(15);
/// And is given up when it has not answered by then: its requests fail, and are tried again on a new one.
const PONG: Duration = Duration::from_secs(10);

/// Requests that may wait for the one before to be taken.
const BUFFERED: usize = 64;

/// Two clients of one cluster.
pub(super) struct Clients {
    /// For requests and watches.
    pub(super) requests: Client,
    /// For port-forwards, which take a connection over for themselves.
    pub(super) upgrades: Client,
    /// How many requests both have made.
    pub(super) made: Requests,
}

/// The clients for this configuration.
///
/// # Errors
///
/// When certificates, keys or headers of the kubeconfig cannot be used.
pub(super) fn clients(config: Config) -> Result<Clients, kube::Error> {
    let made = Requests::default();
    let requests = if goes_direct(&config) {
        one_connection(&config, &made)?
    } else {
        // Of its services only a buffered one can be cloned, which asking again takes.
        ClientBuilder::try_from(config.clone())?
            .with_layer(&made)
            .with_layer(&BufferLayer::new(BUFFERED))
            .with_layer(&PatienceLayer)
            .build()
    };
    let upgrades = ClientBuilder::try_from(config)?.with_layer(&made).build();
    Ok(Clients { requests, upgrades, made })
}

/// Whether the way to the server and the credentials are of the plain kind. A proxy has to be spoken to, and the
/// credentials of a plugin run out and are fetched anew: kube's own client does both.
fn goes_direct(config: &Config) -> bool {
    let user = &config.auth_info;
    config.proxy_url.is_none()
        && user.exec.is_none()
        && user.auth_provider.is_none()
        && config.cluster_url.scheme() == Some(&http::uri::Scheme::HTTPS)
}

fn one_connection(config: &Config, made: &Requests) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let mut https = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_only();
    // A name that is no name of a server is kube's to complain about, which has words for it.
    if let Some(Ok(name)) = config.tls_server_name.clone().map(ServerName::try_from) {
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let https = https.enable_http1().enable_http2().wrap_connector(connector);
    let http = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .build::<_, Body>(https);
    let service = ServiceBuilder::new()
        .layer(PatienceLayer)
        .layer(made.clone())
        .layer(config.base_uri_layer())
        // The API server compresses what is large: a list of all pods, its page of metrics.
        .layer(DecompressionLayer::new().gzip(!config.disable_compression))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_request(|request: http::Request<Body>| {
            tracing::debug!(target: "kube_client", "{} {}", request.method(), request.uri());
            request
        })
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
