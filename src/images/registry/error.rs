//! What a registry did not do, in its own words as far as it had any.

use std::{io, time::Duration};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use super::credentials::CredentialsError;

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer at all.
    #[error("{host} does not answer: {why}")]
    Unreachable {
        /// The registry, or who gives its tokens.
        host: String,
        /// Why.
        why: String,
    },
    /// It answered no.
    #[error("{host} refuses {what}: {status}{}", said.as_ref().map(|said| format!(", {said}")).unwrap_or_default())]
    Refused {
        /// The registry, or who gives its tokens.
        host: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: StatusCode,
        /// Its own words.
        said: Option<String>,
        /// How long it wants to be left alone, where it says so.
        pause: Option<Duration>,
    },
    /// An answer that the protocol does not have.
    #[error("{host} answers {what} with something else: {why}")]
    Strange {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// What came is not what was asked for.
    #[error("what {host} sent for {what} has the digest {actual}: damaged on its way, or changed")]
    Digest {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// The digest of what came.
        actual: String,
    },
    /// What came cannot be kept.
    #[error("cannot keep what {host} sent")]
    Keep {
        /// The registry.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Who we are cannot be said.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// This machine cannot speak HTTP.
    #[error("cannot speak HTTPS: {why}")]
    Client {
        /// Why.
        why: String,
    },
}

impl RegistryError {
    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || (status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED)
            }
            _ => false,
        }
    }

    /// How long the registry wants to be left alone.
    pub(super) fn pause(&self) -> Option<Duration> {
        match self {
            Self::Refused { pause, .. } => *pause,
            _ => None,
        }
    }

    /// Whether it is about who asks, or about getting there at all.
    pub fn is_about_access(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Credentials(_) => true,
            Self::Refused { status, .. } => matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            Self::Strange { .. } | Self::Digest { .. } | Self::Keep { .. } | Self::Client { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { host, status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(format!(
                    "`docker login {host}` (or `podman login --compat-auth-file ~/.docker/config.json`) stores who you are"
                )),
                StatusCode::NOT_FOUND => {
                    Some("is the name right, and the tag? Some registries say so too when they want a login".to_owned())
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    Some(format!("wait, or raise the limit with an account: `docker login {host}`"))
                }
                _ => None,
            },
            Self::Unreachable { .. } => {
                Some("is there a way to it from this machine? HTTPS_PROXY and NO_PROXY are heeded".to_owned())
            }
            Self::Digest { .. } => {
                Some("try again; if it stays so, a proxy in between changes what it passes on".to_owned())
            }
            Self::Strange { .. } | Self::Keep { .. } | Self::Credentials(_) | Self::Client { .. } => None,
        }
    }
}

/// The first of the errors that a registry lists (distribution spec, «Error codes»), or that its token server tells.
pub(super) fn said(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = &body["errors"][0];
    let text = |value: &serde_json::Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match (text(&first["code"]), text(&first["message"])) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message).or_else(|| text(&body["details"])).or_else(|| text(&body["error"])),
    }
}

/// `Retry-After` in seconds; the form with a date is passed over.
pub(super) fn pause(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::spec(
        r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        Some("MANIFEST_UNKNOWN: manifest unknown")
    )]
    #[case::code_alone(r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED"))]
    #[case::token_server(r#"{"details":"incorrect username or password"}"#, Some("incorrect username or password"))]
    #[case::page("<html>", None)]
    #[case::empty("", None)]
    fn the_registrys_own_words(#[case] body: &str, #[case] expected: Option<&str>) {
        assert_eq!(said(body.as_bytes()).as_deref(), expected);
    }
}
