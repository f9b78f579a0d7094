//! Telling a registry who asks: a token of the server that it names, or user and password.

use std::fmt;

use http::Method;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;

use super::{
    Access, Call, Credential, Registry, RegistryError,
    challenge::Challenge,
    content::Content,
    request::{LONGEST_REFUSAL, checked, strange, whole},
};
use crate::images::reference::Reference;

/// What goes into the `Authorization` header.
#[derive(Clone)]
pub(super) enum Authorization {
    Bearer(String),
    Basic(String, String),
}

/// Without what is secret.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Basic(..) => "Basic",
        })
    }
}

impl Authorization {
    pub(super) fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Bearer(token) => request.bearer_auth(token),
            Self::Basic(user, password) => request.basic_auth(user, Some(password)),
        }
    }
}

/// The answer of a token server: `token`, or `access_token` as OAuth2 calls it.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// What the challenge asks for; `None` where it asks for a password and there is none.
    pub(super) async fn authorize(
        &self,
        reference: &Reference,
        access: Access,
        challenge: Challenge,
    ) -> Result<Option<Authorization>, RegistryError> {
        let credential = self.credentials.of(&reference.host).await?;
        match (challenge, credential) {
            (Challenge::Basic, Some(Credential::Basic { user, password })) => {
                Ok(Some(Authorization::Basic(user, password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service }, credential) => {
                self.token(reference, access, &realm, service.as_deref(), credential).await.map(Some)
            }
        }
    }

    async fn token(
        &self,
        reference: &Reference,
        access: Access,
        realm: &str,
        service: Option<&str>,
        credential: Option<Credential>,
    ) -> Result<Authorization, RegistryError> {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", reference.path);
        let what = format!("a token for {scope}");
        let refuse = |why: &str| strange(reference.api_host(), &what, why);
        let mut url = Url::parse(realm).map_err(|_| refuse("its token server has no address"))?;
        // A password goes nowhere in the clear, unless the registry itself is on this machine.
        if url.scheme() != "https" && reference.scheme() != "http" {
            return Err(refuse("its token server is not reached by HTTPS"));
        }
        let mut basic = None;
        let call = match credential {
            Some(Credential::IdentityToken(token)) => {
                let mut form = url.clone();
                form.set_query(None);
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "scalekit")
                    .append_pair("service", service.unwrap_or_default())
                    .append_pair("scope", &scope)
                    .append_pair("refresh_token", &token);
                let mut call = Call::new(Method::POST, url.clone())
                    .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                call.content = Some(Content::from(form.query().unwrap_or_default().to_owned()));
                call
            }
            other => {
                if let Some(Credential::Basic { user, password }) = other {
                    basic = Some(Authorization::Basic(user, password));
                }
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", service);
                }
                url.query_pairs_mut().append_pair("scope", &scope);
                Call::new(Method::GET, url.clone())
            }
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let response = checked(self.send(&call, basic.as_ref()).await?, &host, &what).await?;
        let body = whole(response, LONGEST_REFUSAL)
            .await
            .map_err(|why| RegistryError::Unreachable { host: host.clone(), why })?;
        let token: Option<Token> = body.and_then(|body| serde_json::from_slice(&body).ok());
        token
            .and_then(|token| token.token.or(token.access_token))
            .filter(|token| !token.is_empty())
            .map(Authorization::Bearer)
            .ok_or_else(|| strange(&host, &what, "there is no token in it"))
    }
}
