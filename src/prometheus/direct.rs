//! HTTP straight to a server that this process can reach, as the scaler does inside the cluster.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::{LONGEST_ANSWER, Transport};

/// Beyond this nothing is read. The list of targets may be longer than an answer to a query.
const LONGEST_BODY: usize = 16 * LONGEST_ANSWER;

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
            let mut response = self
                .client
                .get(format!("{}{path_and_query}", self.base))
                .send()
                .await
                .map_err(|error| causes(&error.without_url()))?;
            let status = response.status();
            // What nobody will read is not fetched: a wrong address may lead to anything.
            let mut body = BytesMut::new();
            while body.len() <= LONGEST_BODY
                && let Some(part) = response.chunk().await.map_err(|error| causes(&error.without_url()))?
            {
                body.extend_from_slice(&part);
            }
            Ok((status, body.freeze()))
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
