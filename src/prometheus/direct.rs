//! HTTP straight to a server that this process can reach, as the scaler does inside the cluster.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::{Access, LONGEST_ANSWER, Transport};
use crate::causes::causes;

/// Beyond this nothing is read. The list of targets may be longer than an answer to a query.
const LONGEST_BODY: usize = 16 * LONGEST_ANSWER;

/// A server under a base URL such as `http://prometheus.monitoring.svc:9090`.
pub struct Direct {
    client: reqwest::Client,
    base: String,
    basic: Option<(String, String)>,
}

impl Direct {
    /// A transport to `base`, which shows it what `access` holds.
    ///
    /// # Errors
    ///
    /// When `base` is not an http(s) URL, or `access` cannot be used.
    pub fn new(base: &str, access: &Access) -> Result<Self, String> {
        let url = reqwest::Url::parse(base).map_err(|error| format!("`{base}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{base}` is neither http nor https"));
        }
        let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy();
        // A redirect could lead to whom the credentials are none of their business.
        let builder = builder.redirect(reqwest::redirect::Policy::none());
        let client = access.apply(builder)?.build().map_err(|error| causes(&error))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), basic: access.basic.clone() })
    }
}

impl Transport for Direct {
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        async move {
            let request = self.client.get(format!("{}{path_and_query}", self.base));
            let request = match &self.basic {
                Some((user, password)) => request.basic_auth(user, Some(password)),
                None => request,
            };
            let mut response = request.send().await.map_err(|error| causes(&error.without_url()))?;
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
