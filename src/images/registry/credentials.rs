//! Who we are to a registry: what `docker login` has left in Docker's configuration.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process, time};

/// The longest that a credential helper may take: some ask a person.
const HELPER_LIMIT: Duration = Duration::from_secs(60);
/// The user name by which a helper says that its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Why Docker's configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read, or is not what Docker writes. Its content is not repeated: it holds passwords.
    #[error("cannot use {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The program that keeps the password does not give it.
    #[error("`{program} get` does not give the password for {host}: {why}")]
    Helper {
        /// The program.
        program: String,
        /// The registry.
        host: String,
        /// Why.
        why: String,
    },
}

/// What a registry is told about who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password, or an access token in its place.
        password: String,
    },
    /// An OAuth2 refresh token, as `docker login` stores it for some registries.
    IdentityToken(String),
}

/// Without what is secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// Docker's configuration, as far as it says who we are.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    known: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl Credentials {
    /// Reads `config.json` in Docker's folder; without the file nobody is known.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::File`].
    pub fn read(folder: &Path) -> Result<Self, CredentialsError> {
        let path = folder.join("config.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CredentialsError::File { path, why: error.to_string() }),
        };
        Self::parse(&text).map_err(|why| CredentialsError::File { path, why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: DockerConfig = serde_json::from_str(text)
            .map_err(|error| format!("it is not Docker's configuration (line {})", error.line()))?;
        let mut known = BTreeMap::new();
        for (server, auth) in config.auths {
            // An empty entry says that a helper has the password.
            if let Some(credential) = auth.credential().map_err(|why| format!("{server}: {why}"))? {
                known.insert(host_of(&server), credential);
            }
        }
        let helpers = config.cred_helpers.into_iter().map(|(server, helper)| (host_of(&server), helper)).collect();
        Ok(Self { known, helpers, store: config.creds_store.filter(|store| !store.is_empty()) })
    }

    /// Who we are to a registry, by the host in its references; `None` where nobody in particular.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::Helper`].
    pub async fn of(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        if let Some(credential) = self.known.get(host) {
            return Ok(Some(credential.clone()));
        }
        let Some(helper) = self.helpers.get(host).or(self.store.as_ref()) else { return Ok(None) };
        ask(&format!("docker-credential-{helper}"), host).await
    }
}

impl DockerAuth {
    fn credential(self) -> Result<Option<Credential>, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(self.identitytoken)));
        }
        if !self.auth.is_empty() {
            let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (user, password) = decoded
                .as_deref()
                .and_then(|text| text.trim_end_matches('\0').split_once(':'))
                .ok_or("`auth` is not base64 of USER:PASSWORD")?;
            return Ok(Some(Credential::Basic { user: user.to_owned(), password: password.to_owned() }));
        }
        let Self { username: user, password, .. } = self;
        Ok((!user.is_empty()).then_some(Credential::Basic { user, password }))
    }
}

/// The host of a key such as `https://index.docker.io/v1/`, as references name it.
fn host_of(server: &str) -> String {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

/// Asks a helper (docs.docker.com/reference/cli/docker/login/#credential-helper-protocol): the server's name on its
/// standard input, JSON on its standard output.
async fn ask(program: &str, host: &str) -> Result<Option<Credential>, CredentialsError> {
    let failed = |why: String| CredentialsError::Helper { program: program.to_owned(), host: host.to_owned(), why };
    let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    let mut child = process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not listen says why by how it ends.
        let _ended = stdin.write_all(server.as_bytes()).await;
    }
    let output = time::timeout(HELPER_LIMIT, child.wait_with_output())
        .await
        .map_err(|_| failed(format!("it did not end within {} s", HELPER_LIMIT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // The protocol's way to say that it knows nobody.
        return if said.contains("credentials not found") { Ok(None) } else { Err(failed(output.status.to_string())) };
    }
    let Helped { username, secret } =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer is not the protocol's".to_owned()))?;
    Ok(Some(if username == TOKEN_USER {
        Credential::IdentityToken(secret)
    } else {
        Credential::Basic { user: username, password: secret }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    #[tokio::test]
    async fn what_docker_login_left_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let auth = STANDARD.encode("me:pass:word");
        let text = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}, "reg.example:5000": {{"username": "u", "password": "p"}},
                "azure.example": {{"auth": "", "identitytoken": "tok"}}, "empty.example": {{}}}}, "HttpHeaders": {{}}}}"#
        );
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let credentials = Credentials::read(folder.path()).unwrap();
        assert_eq!(credentials.of("docker.io").await.unwrap(), Some(basic("me", "pass:word")));
        assert_eq!(credentials.of("reg.example:5000").await.unwrap(), Some(basic("u", "p")));
        assert_eq!(credentials.of("azure.example").await.unwrap(), Some(Credential::IdentityToken("tok".to_owned())));
        assert_eq!(credentials.of("empty.example").await.unwrap(), None);
        assert_eq!(credentials.of("quay.io").await.unwrap(), None);
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("pass") && !shown.contains("tok"), "{shown}");
    }

    #[test]
    fn without_the_file_nobody_is_known_and_a_broken_one_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Credentials::read(folder.path()).unwrap().known.is_empty());
        for broken in ["{\"auths\": {\"a\": hunter2", r#"{"auths": {"a": {"auth": "hunter2!"}}}"#] {
            std::fs::write(folder.path().join("config.json"), broken).unwrap();
            let error = Credentials::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_host() {
        let found = super::super::super::fake::Fake::new(
            "helper",
            r#"read server; case "$server" in reg.example) echo '{"Username":"<token>","Secret":"s"}';; https://index.docker.io/v1/) echo '{"Username":"u","Secret":"p"}';; *) echo "credentials not found in native keychain"; exit 1;; esac"#,
        );
        let program = found.program().display().to_string();
        assert_eq!(ask(&program, "reg.example").await.unwrap(), Some(Credential::IdentityToken("s".to_owned())));
        assert_eq!(ask(&program, "docker.io").await.unwrap(), Some(basic("u", "p")));
        assert_eq!(ask(&program, "other.example").await.unwrap(), None);
        let error = ask("/nowhere/docker-credential-x", "reg.example").await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/docker-credential-x"), "{error}");
    }
}
