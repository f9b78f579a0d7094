//! HTTP straight to a server that this process can reach, as the scaler does inside the cluster.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};

use super::Transport;

/// A server under a base URL such as `http://prometheus.monitoring.svc:9090`.
pub struct Direct {
    client: reqwest::Client,
    base: String,
}

impl Direct {
    /// A transport to `base`.
    ///
    /// # Errors
    ///
    /// When the HTTP client cannot be made, or `base` is not an http(s) URL.
    pub fn new(base: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(base).map_err(|error| format!("`{base}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{base}` is neither http nor https"));
        }
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // The image holds no CA bundle, and reqwest refuses to be built without one unless told.
            .tls_certs_only(std::iter::empty())
            .no_proxy()
            .build()
            .map_err(|error| causes(&error))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }
}

impl Transport for Direct {
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        async move {
            let response = self
                .client
                .get(format!("{}{path_and_query}", self.base))
                .send()
                .await
                .map_err(|error| causes(&error.without_url()))?;
            let status = response.status();
            let body = response.bytes().await.map_err(|error| causes(&error.without_url()))?;
            Ok((status, body))
        }
        .boxed()
    }
}

/// The chain of causes in one clause: reqwest's own text stops at «error sending request».
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
