//! HTTP straight to a server that this process can reach, as the scaler does inside the cluster.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::{Access, LONGEST_ANSWER, Transport};
use crate::causes::causes;

/// Beyond this nothing is read. The list of targets may be longer than an answer to a query.
const LONGEST_BODY: usize = 16 * LONGEST_ANSWER;

/// Longer parameters than this are sent in the body. Every HTTP server takes 8000 octets (RFC 9110, 4.1), and proxies on
/// the way add to them; what is shorter stays a GET, since some let nothing else through.
const LONGEST_IN_URL: usize = 4000;

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

impl Direct {
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(http::StatusCode, Bytes), String> {
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
}

impl Transport for Direct {
    fn get<'a>(&'a self, path_and_query: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        self.send(self.client.get(format!("{}{path_and_query}", self.base))).boxed()
    }

    fn ask<'a>(&'a self, path: &'a str, form: &'a str) -> BoxFuture<'a, Result<(http::StatusCode, Bytes), String>> {
        let url = format!("{}{path}", self.base);
        let request = if form.len() <= LONGEST_IN_URL {
            self.client.get(format!("{url}?{form}"))
        } else {
            let form_type = (http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            self.client.post(url).header(form_type.0, form_type.1).body(form.to_owned())
        };
        self.send(request).boxed()
    }
}

#[cfg(test)]
#[path = "tests/tls.rs"]
mod tls;

#[cfg(test)]
mod tests {
    use axum::{Router, body::Bytes as Sent, http::Method, http::Uri, routing::any};

    use super::*;

    /// A wrong address may lead to anything.
    #[tokio::test]
    async fn no_more_is_fetched_than_anybody_reads() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endless = async || {
            let part = Sent::from(vec![b' '; 1 << 16]);
            let parts = futures::stream::repeat_with(move || Ok::<_, std::convert::Infallible>(part.clone()));
            axum::body::Body::from_stream(parts)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(endless))).await });
        let direct = Direct::new(&format!("http://{address}"), &Access::default()).expect("a transport");
        let (_, body) = direct.get("/").await.expect("an answer");
        assert!((LONGEST_BODY..LONGEST_BODY + (1 << 20)).contains(&body.len()), "{}", body.len());
        server.abort();
    }

    #[tokio::test]
    async fn what_is_too_long_for_a_url_is_sent_in_the_body() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let echo = async |method: Method, uri: Uri, body: Sent| format!("{method} {} {}", uri.path(), body.len());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(echo))).await });
        let direct = Direct::new(&format!("http://{address}"), &Access::default()).expect("a transport");
        for (length, expected) in [(100, "GET /api/v1/query 0"), (20_000, "POST /api/v1/query 20000")] {
            let form = format!("query={}", "x".repeat(length - 6));
            let (status, body) = direct.ask("/api/v1/query", &form).await.expect("an answer");
            assert_eq!((status.as_u16(), &*body), (200, expected.as_bytes()));
        }
        server.abort();
    }
}
