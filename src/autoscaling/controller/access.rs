//! What servers want to see: from Secrets beside the Autoscaler, got by name; for the default server from a folder.
//!
//! What was read counts for a minute, so that a Secret that was changed is used soon and the API server is not asked
//! at every tick.

use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::Instant;

use super::{
    source::ServerRef,
    words::{ApiError, in_time},
};
use crate::{
    autoscaling::api::{PrometheusMetric, SecretKey, ServerAuth},
    prometheus::Access,
};

/// How long what was read counts.
const COUNTS: Duration = Duration::from_secs(60);
/// How long it is not tried again what could not be read.
const FAILED: Duration = Duration::from_secs(15);

type Data = Result<Arc<BTreeMap<String, Vec<u8>>>, String>;

/// What is known of servers and their credentials.
pub struct Credentials {
    client: Client,
    address: String,
    folder: Option<PathBuf>,
    default: Mutex<Option<(Instant, ServerRef)>>,
    secrets: Mutex<HashMap<(String, String), (Instant, Data)>>,
}

impl Credentials {
    /// Nothing is read yet. `address` is the default server, and what it wants to see lies in `folder`.
    pub fn new(client: Client, address: String, folder: Option<PathBuf>) -> Self {
        Self { client, address, folder, default: Mutex::default(), secrets: Mutex::default() }
    }

    /// The server of a metric.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked, in a sentence, and what to do. Where the metric has a server of its own, it begins with the
    /// field of the metric that it is about.
    pub async fn server(&self, namespace: &str, metric: &PrometheusMetric) -> Result<ServerRef, String> {
        match (&metric.server_address, &metric.auth) {
            (None, _) => self.default_server(),
            (Some(address), None) => Ok(ServerRef { address: address.clone(), access: None }),
            (Some(address), Some(auth)) => {
                let access = self.access(namespace, auth).await?;
                Ok(ServerRef { address: address.clone(), access: Some(Arc::new(access)) })
            }
        }
    }

    /// The server of metrics that name none.
    ///
    /// # Errors
    ///
    /// What of the folder cannot be used.
    pub fn default_server(&self) -> Result<ServerRef, String> {
        let mut known = self.default.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, server)) = known.as_ref().filter(|(read, _)| read.elapsed() < COUNTS) {
            return Ok(server.clone());
        }
        let access = self.folder.as_deref().map(from_folder).transpose()?.map(Arc::new);
        let server = ServerRef { address: self.address.clone(), access };
        *known = Some((Instant::now(), server.clone()));
        Ok(server)
    }

    async fn access(&self, namespace: &str, auth: &ServerAuth) -> Result<Access, String> {
        let ServerAuth { ca, bearer_token, basic, client_certificate, headers } = auth;
        let mut access = Access::default();
        if let Some(key) = ca {
            access.authorities = Some(self.key(namespace, "auth.ca", key).await?);
        }
        if let Some(key) = bearer_token {
            access.bearer_token = Some(self.text(namespace, "auth.bearerToken", key).await?);
        }
        if let Some(basic) = basic {
            let username = self.text(namespace, "auth.basic.username", &basic.username).await?;
            let password = self.text(namespace, "auth.basic.password", &basic.password).await?;
            access.basic = Some((username, password));
        }
        if let Some(certificate) = client_certificate {
            let field = "auth.clientCertificate";
            let mut pem = self.key(namespace, &format!("{field}.certificate"), &certificate.certificate).await?;
            pem.push(b'\n');
            pem.extend(self.key(namespace, &format!("{field}.privateKey"), &certificate.private_key).await?);
            access.identity = Some(pem);
        }
        for (place, header) in headers.iter().enumerate() {
            let value = match (&header.value, &header.value_from) {
                (Some(value), _) => value.clone(),
                (None, Some(key)) => self.text(namespace, &format!("auth.headers[{place}].valueFrom"), key).await?,
                (None, None) => continue,
            };
            access.headers.push((header.name.clone(), value));
        }
        Ok(access)
    }

    async fn text(&self, namespace: &str, field: &str, key: &SecretKey) -> Result<String, String> {
        let what = format!("{field}: key {} of Secret {namespace}/{}", key.key, key.name);
        text(self.key(namespace, field, key).await?, &what)
    }

    /// What a field refers to; the error begins with the field.
    async fn key(&self, namespace: &str, field: &str, key: &SecretKey) -> Result<Vec<u8>, String> {
        let data = self.secret(namespace, &key.name).await.map_err(|error| format!("{field}: {error}"))?;
        // Who may read a status may not be one who may read the Secret: its other keys are none of his business.
        data.get(&key.key).cloned().ok_or_else(|| {
            let SecretKey { name, key } = key;
            format!(
                "{field}: Secret {namespace}/{name} has no key {key}; `kubectl describe secret {name} -n {namespace}` lists \
                 those that it has"
            )
        })
    }

    async fn secret(&self, namespace: &str, name: &str) -> Data {
        let place = (namespace.to_owned(), name.to_owned());
        let known = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        let counts = |(read, data): &(Instant, Data)| read.elapsed() < if data.is_ok() { COUNTS } else { FAILED };
        if let Some((_, data)) = known.filter(counts) {
            return data;
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data = match in_time(secrets.get(name)).await {
            Ok(secret) => {
                let data = secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0));
                Ok(Arc::new(data.collect()))
            }
            Err(error) => {
                Err(format!("Secret {namespace}/{name} cannot be read: {}", with_remedy(error, namespace, name)))
            }
        };
        let mut known = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody asks for any more must not stay in memory.
        known.retain(|_, (read, _)| read.elapsed() < COUNTS);
        known.insert(place, (Instant::now(), data.clone()));
        data
    }
}

/// What the API server said, and what to do about it.
fn with_remedy(error: ApiError, namespace: &str, name: &str) -> String {
    if error.is_not_found() {
        return format!("{error}; make it there, or write the name of one that is");
    }
    let right = || {
        format!(
            "if it is there, bind a Role in namespace {namespace} with get of secrets, resourceNames [{name}], to that \
             account: see «Credentials» in docs/autoscaler.md"
        )
    };
    error.with_right(right).to_string()
}

/// What a mounted Secret holds: `ca.crt`, `token`, `username` and `password`, `tls.crt` and `tls.key`, `headers`.
fn from_folder(folder: &Path) -> Result<Access, String> {
    let read = |name: &str| match std::fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", folder.join(name).display())),
    };
    let read_text = |name: &str| read(name)?.map(|bytes| text(bytes, name)).transpose();
    let basic = match (read_text("username")?, read_text("password")?) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => return Err(format!("{} must hold both username and password", folder.display())),
    };
    let identity = match (read("tls.crt")?, read("tls.key")?) {
        (Some(certificate), Some(key)) => Some([certificate, b"\n".to_vec(), key].concat()),
        (None, None) => None,
        _ => return Err(format!("{} must hold both tls.crt and tls.key", folder.display())),
    };
    let access = Access {
        authorities: read("ca.crt")?,
        bearer_token: read_text("token")?,
        basic,
        identity,
        headers: read_text("headers")?.map_or_else(|| Ok(Vec::new()), |text| headers(&text))?,
    };
    if access == Access::default() {
        return Err(format!(
            "{} holds none of ca.crt, token, username and password, tls.crt and tls.key, headers",
            folder.display()
        ));
    }
    Ok(access)
}

/// What is each request's own to say: another value would break it.
const OF_THE_REQUEST: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "accept-encoding"];

/// Headers, each on a line of its own as `Name: value`. An error names the line and nothing of it: it may be a secret.
fn headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let header = |(place, line): (usize, &str)| {
        let wrong = |what: &str| Err(format!("line {} of headers {what}", place + 1));
        let Some((name, value)) = line.split_once(':') else {
            return wrong("has no colon; write one header on each line, as `Name: value`");
        };
        let (name, value) = (name.trim(), value.trim());
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return wrong("begins with what is no name of a header; write letters, digits and - before the colon");
        }
        if OF_THE_REQUEST.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return wrong("names a header that each request sets for itself; leave it out");
        }
        if value.is_empty() || HeaderValue::from_str(value).is_err() {
            return wrong("has no value that can stand in a header; write printable characters after the colon");
        }
        Ok((name.to_owned(), value.to_owned()))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut headers = Vec::<(String, String)>::new();
    for (place, line) in lines {
        let (name, value) = header((place, line))?;
        if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            return Err(format!("line {} of headers names a header for the second time", place + 1));
        }
        headers.push((name, value));
    }
    Ok(headers)
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String, String> {
    let text = String::from_utf8(bytes).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    text.map_err(|_| format!("{what} is no text"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    #[test]
    fn a_mounted_secret_is_read_as_it_is_written() {
        let folder = folder(&[("token", "abc\n"), ("username", "u"), ("password", "p w\n"), ("ca.crt", "pem")]);
        let access = from_folder(folder.path()).expect("access");
        assert_eq!(access.bearer_token.as_deref(), Some("abc"));
        assert_eq!(access.basic, Some(("u".to_owned(), "p w".to_owned())));
        assert_eq!((access.authorities, access.identity), (Some(b"pem".to_vec()), None));
    }

    #[test]
    fn headers_are_read_line_by_line() {
        let folder = folder(&[("headers", "X-Scope-OrgID: shop|office\r\n\n  X-Query-Tags:a:b \n")]);
        let access = from_folder(folder.path()).expect("access");
        let expected = [("X-Scope-OrgID", "shop|office"), ("X-Query-Tags", "a:b")];
        assert_eq!(access.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// It may be a token.
    #[rstest]
    #[case::no_colon("A: b\nhush", "line 2 of headers has no colon")]
    #[case::a_name_with_a_space("\nmy hush: b", "line 2 of headers begins with what is no name of a header")]
    #[case::no_name(": hush", "line 1 of headers begins with what is no name of a header")]
    #[case::of_the_request("host: hush", "line 1 of headers names a header that each request sets")]
    #[case::twice("A: b\na: hush", "line 2 of headers names a header for the second time")]
    #[case::no_value("A:", "line 1 of headers has no value")]
    #[case::a_value_with_a_control_character("A: hush\u{7}", "line 1 of headers has no value")]
    fn a_header_that_cannot_be_one_is_named_by_its_line_and_not_shown(#[case] text: &str, #[case] expected: &str) {
        let error = from_folder(folder(&[("headers", text)]).path()).expect_err("no header");
        assert!(error.starts_with(expected) && !error.contains("hush"), "{error}");
    }

    #[rstest]
    #[case::nothing(&[], "holds none of")]
    #[case::half_a_pair(&[("username", "u")], "both username and password")]
    #[case::half_an_identity(&[("tls.crt", "u")], "both tls.crt and tls.key")]
    fn what_is_not_enough_is_named(#[case] files: &[(&str, &str)], #[case] expected: &str) {
        let error = from_folder(folder(files).path()).expect_err("not enough");
        assert!(error.contains(expected), "{error}");
    }
}
