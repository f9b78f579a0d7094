//! Single requests and answers, before they mean anything: URLs, headers, and bodies of bounded length.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderName;
use reqwest::{Client, Response, Url};

use super::{
    Reference,
    error::{self, RegistryError},
};
use crate::causes::causes;

/// What is read of an answer that says no.
pub(super) const LONGEST_REFUSAL: usize = 64 * 1024;
/// By which a registry tells the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

pub(super) fn base() -> reqwest::ClientBuilder {
    // Registries send blobs from elsewhere, but never from a place that everybody on the way can read and change.
    let safe = reqwest::redirect::Policy::custom(|attempt| {
        let down = attempt.url().scheme() == "http" && attempt.previous().iter().any(|url| url.scheme() == "https");
        if down || attempt.previous().len() > 10 { attempt.stop() } else { attempt.follow() }
    });
    Client::builder()
        .user_agent(concat!("scalekit/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .redirect(safe)
}

pub(super) fn url(reference: &Reference, rest: &str) -> Result<Url, RegistryError> {
    let text = format!("{}://{}/v2/{}/{rest}", reference.scheme(), reference.api_host(), reference.path);
    Url::parse(&text).map_err(|error| strange(reference.api_host(), &text, &error.to_string()))
}

pub(super) fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The digest that the registry tells, if it is one of the kind that can be checked.
pub(super) fn told(response: &Response) -> Option<String> {
    let digest = header(response, &HeaderName::from_static(CONTENT_DIGEST))?;
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digest)
}

/// The answer, if it is a yes.
pub(super) async fn checked(response: Response, host: &str, what: &str) -> Result<Response, RegistryError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let pause = error::pause(response.headers());
    let body = whole(response, LONGEST_REFUSAL).await.ok().flatten().unwrap_or_default();
    Err(RegistryError::Refused {
        host: host.to_owned(),
        what: what.to_owned(),
        status,
        said: error::said(&body),
        pause,
    })
}

/// The body, if it is not longer than this.
pub(super) async fn whole(mut response: Response, longest: usize) -> Result<Option<Bytes>, String> {
    let mut body = BytesMut::new();
    while let Some(part) = response.chunk().await.map_err(|error| causes(&error.without_url()))? {
        body.extend_from_slice(&part);
        if body.len() > longest {
            return Ok(None);
        }
    }
    Ok(Some(body.freeze()))
}

pub(super) fn strange(host: &str, what: &str, why: &str) -> RegistryError {
    RegistryError::Strange { host: host.to_owned(), what: what.to_owned(), why: why.to_owned() }
}

pub(super) fn client(error: &reqwest::Error) -> RegistryError {
    RegistryError::Client { why: causes(error) }
}
