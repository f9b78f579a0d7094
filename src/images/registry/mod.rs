//! A client of registries: manifests and blobs, there and back (OCI distribution spec 1.1).
//!
//! Every digest is of bytes that were seen, or stands in the registry's own answer to a question for just that. What
//! passes (no answer, 429, 5xx) is asked again a few times, as long after as the registry says; a download goes on
//! where it broke off. Who we are is told to the registry that asks, or to the token server that it names, and to
//! nobody that those redirect to (CVE-2020-15157).

mod challenge;
mod content;
mod credentials;
mod error;
#[cfg(test)]
pub(super) mod fake;
mod request;
#[cfg(test)]
mod tests;
mod token;

use std::{
    collections::HashMap,
    io::Write,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, Method, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE},
};
use reqwest::{Client, Response, Url};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

pub use self::{
    content::{Content, ContentReader},
    credentials::{Credential, Credentials, CredentialsError},
    error::RegistryError,
};
use self::{
    request::{base, checked, client, header, strange, told, url, whole},
    token::Authorization,
};
use super::{digest::sha256, reference::Reference};
use crate::{causes::causes, hex};

/// The media types that a manifest may have; the first two are images of several platforms.
pub const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The size up to which registries take manifests (distribution spec).
const LONGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// What is to be done in a repository; a token is for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Access {
    Pull,
    Push,
}

/// How often something that passes is tried, and how long after.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries in all.
    pub attempts: u32,
    /// Before the second; doubled from there on.
    pub first: Duration,
    /// The longest, whatever the registry asks for.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 4, first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}

/// A manifest as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes, which the digest is of.
    pub bytes: Bytes,
    /// Its media type.
    pub media_type: String,
    /// SHA-256, with `sha256:` before it.
    pub digest: String,
}

/// Registries, with what is known about who we are to them.
pub struct Registry {
    plain: Client,
    secure: OnceLock<Result<Client, String>>,
    credentials: Credentials,
    tokens: Mutex<HashMap<(String, Access), Authorization>>,
    patience: Patience,
}

/// One request, that can be sent again.
struct Call {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, String)>,
    content: Option<Content>,
}

impl Call {
    fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), content: None }
    }

    fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Registry {
    /// Speaks to registries as who these say.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub fn new(credentials: Credentials, patience: Patience) -> Result<Self, RegistryError> {
        // No authorities: plain HTTP must work on a machine that has none.
        let plain = base().no_proxy().tls_certs_only(std::iter::empty()).build().map_err(|error| client(&error))?;
        Ok(Self { plain, secure: OnceLock::new(), credentials, tokens: Mutex::default(), patience })
    }

    /// The digest that a reference leads to now. For an image of several platforms it is the one of all of them.
    ///
    /// # Errors
    ///
    /// The registry's answer, if that is no digest.
    pub async fn digest(&self, reference: &Reference) -> Result<String, RegistryError> {
        let what = reference.to_string();
        let call = Self::manifest_call(Method::HEAD, reference)?;
        match self.ask(reference, Access::Pull, &what, &call).await {
            Ok(response) => match told(&response) {
                Some(digest) => Ok(digest),
                None => Ok(self.manifest(reference).await?.digest),
            },
            // An answer to HEAD has no words in it, and some registries do not know HEAD.
            Err(RegistryError::Refused { said: None, .. }) => Ok(self.manifest(reference).await?.digest),
            Err(error) => Err(error),
        }
    }

    /// The manifest that a reference leads to.
    ///
    /// # Errors
    ///
    /// The registry's answer; [`RegistryError::Digest`] when the manifest is not the one that was asked for.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, RegistryError> {
        let what = reference.to_string();
        let call = Self::manifest_call(Method::GET, reference)?;
        let response = self.ask(reference, Access::Pull, &what, &call).await?;
        let expected = reference.digest.clone().or_else(|| told(&response));
        let media_type = header(&response, &CONTENT_TYPE)
            .map(|value| value.split(';').next().unwrap_or_default().trim().to_owned())
            .unwrap_or_default();
        let host = reference.api_host().to_owned();
        let bytes = whole(response, LONGEST_MANIFEST)
            .await
            .map_err(|why| RegistryError::Unreachable { host: host.clone(), why })?
            .ok_or_else(|| strange(&host, &what, "a manifest of more than 4 MiB"))?;
        let digest = format!("sha256:{}", sha256(&bytes));
        if expected.is_some_and(|expected| expected != digest) {
            return Err(RegistryError::Digest { host, what, actual: digest });
        }
        Ok(Manifest { bytes, media_type, digest })
    }

    /// Writes a blob, and checks that it is the one. `progress` is told of bytes as they come.
    ///
    /// # Errors
    ///
    /// The registry's answer; [`RegistryError::Digest`]. What has been written until then is of no use.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &str,
        size: u64,
        sink: &mut (dyn Write + Send),
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), RegistryError> {
        let host = || reference.api_host().to_owned();
        let what = format!("{digest} of {}", reference.name());
        let url = url(reference, &format!("blobs/{digest}"))?;
        let (mut received, mut hash, mut attempt) = (0_u64, Sha256::new(), 1);
        loop {
            let mut call = Call::new(Method::GET, url.clone());
            if received > 0 {
                call = call.header(RANGE, format!("bytes={received}-"));
            }
            let mut response = self.ask(reference, Access::Pull, &what, &call).await?;
            // A registry that knows no ranges begins anew.
            let mut known = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { received };
            let before = received;
            let broken = loop {
                let mut part = match response.chunk().await {
                    Ok(Some(part)) => part,
                    Ok(None) => break format!("the connection ended after {received} of {size} bytes"),
                    Err(error) => break causes(&error.without_url()),
                };
                let old = usize::try_from(known).unwrap_or(usize::MAX).min(part.len());
                known -= old as u64;
                let new = part.split_off(old);
                received += new.len() as u64;
                if received > size {
                    return Err(strange(&host(), &what, &format!("more than {size} bytes")));
                }
                sink.write_all(&new).map_err(|source| RegistryError::Keep { host: host(), source })?;
                hash.update(&new);
                progress(new.len() as u64);
            };
            if received == size {
                break;
            }
            attempt = if received > before { 1 } else { attempt + 1 };
            if attempt > self.patience.attempts {
                return Err(RegistryError::Unreachable { host: host(), why: broken });
            }
            sleep(self.patience.after(attempt)).await;
        }
        let actual = format!("sha256:{}", hex::encode(&hash.finalize()));
        if actual == digest { Ok(()) } else { Err(RegistryError::Digest { host: host(), what, actual }) }
    }

    /// Puts a blob into a repository, unless it is there.
    ///
    /// # Errors
    ///
    /// The registry's answer.
    pub async fn put_blob(
        &self,
        reference: &Reference,
        digest: &str,
        content: &Content,
    ) -> Result<bool, RegistryError> {
        let what = format!("{digest} for {}", reference.name());
        let there = Call::new(Method::HEAD, url(reference, &format!("blobs/{digest}"))?);
        match self.ask(reference, Access::Push, &what, &there).await {
            Ok(_) => return Ok(false),
            Err(RegistryError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
            Err(error) => return Err(error),
        }
        let mut attempt = 1;
        loop {
            match self.put_blob_once(reference, digest, content, &what).await {
                Err(error) if error.is_passing() && attempt < self.patience.attempts => {
                    attempt += 1;
                    sleep(error.pause().unwrap_or(self.patience.after(attempt)).min(self.patience.longest)).await;
                }
                done => return done.map(|()| true),
            }
        }
    }

    /// An upload that broke off is of no use: it begins with a place of its own each time.
    async fn put_blob_once(
        &self,
        reference: &Reference,
        digest: &str,
        content: &Content,
        what: &str,
    ) -> Result<(), RegistryError> {
        let begin = Call::new(Method::POST, url(reference, "blobs/uploads/")?).header(CONTENT_LENGTH, "0");
        let response = self.ask(reference, Access::Push, what, &begin).await?;
        let host = reference.api_host();
        let mut place = header(&response, &LOCATION)
            .and_then(|place| response.url().join(&place).ok())
            .ok_or_else(|| strange(host, what, "it names no place for the upload"))?;
        place.query_pairs_mut().append_pair("digest", digest);
        let mut call = Call::new(Method::PUT, place)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, content.size().to_string());
        call.content = Some(content.clone());
        self.once(reference, Access::Push, what, &call).await.map(drop)
    }

    /// Puts a manifest under the reference's tag, else under its digest.
    ///
    /// # Errors
    ///
    /// The registry's answer.
    pub async fn put_manifest(&self, reference: &Reference, manifest: &Manifest) -> Result<(), RegistryError> {
        let which = reference.tag.as_deref().unwrap_or(&manifest.digest);
        let mut call = Call::new(Method::PUT, url(reference, &format!("manifests/{which}"))?)
            .header(CONTENT_TYPE, manifest.media_type.clone());
        call.content = Some(Content::from(manifest.bytes.clone()));
        self.ask(reference, Access::Push, &reference.to_string(), &call).await.map(drop)
    }

    fn manifest_call(method: Method, reference: &Reference) -> Result<Call, RegistryError> {
        let url = url(reference, &format!("manifests/{}", reference.which()))?;
        Ok(Call::new(method, url).header(ACCEPT, MANIFEST_TYPES.join(", ")))
    }

    /// Asks until there is an answer that will not pass.
    async fn ask(
        &self,
        reference: &Reference,
        access: Access,
        what: &str,
        call: &Call,
    ) -> Result<Response, RegistryError> {
        let mut attempt = 1;
        loop {
            match self.once(reference, access, what, call).await {
                Err(error) if error.is_passing() && attempt < self.patience.attempts => {
                    attempt += 1;
                    sleep(error.pause().unwrap_or(self.patience.after(attempt)).min(self.patience.longest)).await;
                }
                answered => return answered,
            }
        }
    }

    /// Asks once; where it wants to know who asks, once more.
    async fn once(
        &self,
        reference: &Reference,
        access: Access,
        what: &str,
        call: &Call,
    ) -> Result<Response, RegistryError> {
        let host = call.url.host_str().unwrap_or_default();
        let home = url(reference, "")?;
        let at_home = call.url.origin() == home.origin();
        let key = (reference.name(), access);
        let known = || self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let mut authorization = if at_home { known() } else { None };
        let mut told = !at_home;
        loop {
            let response = self.send(call, authorization.as_ref()).await?;
            if response.status() == StatusCode::UNAUTHORIZED && !told {
                told = true;
                let challenges = response.headers().get_all(WWW_AUTHENTICATE);
                let challenge = challenges.iter().filter_map(|header| header.to_str().ok()).find_map(challenge::parse);
                if let Some(challenge) = challenge
                    && let Some(new) = self.authorize(reference, access, challenge).await?
                {
                    self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), new.clone());
                    authorization = Some(new);
                    continue;
                }
            }
            return checked(response, host, what).await;
        }
    }

    async fn send(&self, call: &Call, authorization: Option<&Authorization>) -> Result<Response, RegistryError> {
        let client = self.client(call.url.scheme())?;
        let mut request = client.request(call.method.clone(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(content) = &call.content {
            request = request.body(content.body());
        }
        if let Some(authorization) = authorization {
            request = authorization.put_on(request);
        }
        let host = call.url.host_str().unwrap_or_default().to_owned();
        let unreachable =
            |error: reqwest::Error| RegistryError::Unreachable { host, why: causes(&error.without_url()) };
        request.send().await.map_err(unreachable)
    }

    fn client(&self, scheme: &str) -> Result<&Client, RegistryError> {
        if scheme == "http" {
            return Ok(&self.plain);
        }
        // Reads the machine's authorities: not before they are needed.
        let secure = self.secure.get_or_init(|| base().build().map_err(|error| causes(&error)));
        secure.as_ref().map_err(|why| RegistryError::Client { why: why.clone() })
    }
}

impl Patience {
    /// How long to wait before this try.
    fn after(&self, attempt: u32) -> Duration {
        (self.first * 2_u32.pow(attempt.saturating_sub(2).min(16))).min(self.longest)
    }
}
