//! What a server wants to see before it answers, and whom to believe.

use reqwest::{
    Certificate, ClientBuilder, Identity,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};

/// Credentials and authorities for one server. Nothing of it is ever printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Certificate authorities, in PEM. Where there is none, no certificate is believed.
    pub authorities: Option<Vec<u8>>,
    /// A bearer token.
    pub bearer_token: Option<String>,
    /// User and password.
    pub basic: Option<(String, String)>,
    /// A client certificate and its private key, in PEM.
    pub identity: Option<Vec<u8>>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// Puts all of it into a client.
    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let authorities = match &self.authorities {
            Some(pem) => {
                Certificate::from_pem_bundle(pem).map_err(|_| "the certificate authority is no PEM".to_owned())?
            }
            None => Vec::new(),
        };
        if self.authorities.is_some() && authorities.is_empty() {
            return Err("the certificate authority holds no certificate".to_owned());
        }
        // The image holds no CA bundle, and reqwest refuses to be built without one unless told.
        let mut builder = builder.tls_certs_only(authorities).default_headers(self.header_map()?);
        if let Some(pem) = &self.identity {
            let identity =
                Identity::from_pem(pem).map_err(|_| "the client certificate or its key is no PEM".to_owned())?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    fn header_map(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let secret = |text: &str, what: &str| {
            let mut value =
                HeaderValue::from_str(text.trim()).map_err(|_| format!("{what} cannot stand in a header"))?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        if let Some(token) = &self.bearer_token {
            headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", token.trim()), "the bearer token")?);
        }
        for (name, value) in &self.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header"))?;
            headers.insert(header, secret(value, &format!("the value of {name}"))?);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn what_stands_in_a_header_is_what_was_given() {
        let access = Access {
            bearer_token: Some("abc\n".to_owned()),
            headers: vec![("X-Scope-OrgID".to_owned(), "tenant".to_owned())],
            ..Access::default()
        };
        let headers = access.header_map().expect("headers");
        assert_eq!(
            (&headers["authorization"], &headers["x-scope-orgid"]),
            (&"Bearer abc".parse().expect("a value"), &"tenant".parse().expect("a value"))
        );
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(format!("{access:?}"), "Access { .. }");
    }

    #[rstest]
    #[case::no_pem(Access { authorities: Some(b"x".to_vec()), ..Access::default() }, "the certificate authority holds no certificate")]
    #[case::no_key(Access { identity: Some(b"x".to_vec()), ..Access::default() }, "the client certificate or its key is no PEM")]
    #[case::two_lines(Access { bearer_token: Some("a\nb".to_owned()), ..Access::default() }, "the bearer token cannot stand in a header")]
    fn what_cannot_be_used_is_named(#[case] access: Access, #[case] expected: &str) {
        assert_eq!(access.apply(reqwest::Client::builder()).err().as_deref(), Some(expected));
    }
}
