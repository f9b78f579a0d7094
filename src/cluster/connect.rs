//! From a kubeconfig to a client.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::time::timeout;

use super::{
    Cluster, Error,
    http2::{Clients, clients},
};

/// Where to connect. All of it optional, as with kubectl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The kubeconfig; else the environment's, else the usual places.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; else its current one.
    pub context: Option<String>,
}

/// Kubeconfigs that distributions write where kubectl does not look, tried last; and how somebody gets to read each.
const DISTRIBUTIONS: [(&str, &str); 2] = [
    (
        "/var/snap/microk8s/current/credentials/client.config",
        "MicroK8s shows it to its group: `sudo usermod -aG microk8s $USER`, and log in again; or run this with sudo",
    ),
    ("/etc/rancher/k3s/k3s.yaml", "k3s shows it to root: run this with sudo, or `export KUBECONFIG=` a copy of it"),
];

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig anywhere.
    #[error("no kubeconfig was found in {}", looked_in.join(", "))]
    NoKubeconfig {
        /// Where was looked.
        looked_in: Vec<String>,
    },
    /// The kubeconfig cannot be read or is not one.
    #[error("the kubeconfig {} cannot be used: {reason}", path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kubeconfig is there, and who runs this may not read it.
    #[error("the kubeconfig {} may not be read by this user", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
    },
    /// The context is not in the kubeconfig.
    #[error("there is no context `{context}` in {}", path.display())]
    UnknownContext {
        /// The context asked for.
        context: String,
        /// The kubeconfig.
        path: PathBuf,
        /// Contexts that there are.
        known: Vec<String>,
    },
    /// The API server was asked and gave no usable answer.
    #[error("cannot use the cluster at {server}")]
    Server {
        /// URL of the API server.
        server: String,
        /// Why.
        source: Error,
    },
    /// Inside a pod whose ServiceAccount cannot be used.
    #[error("the pod's ServiceAccount cannot be used: {reason}")]
    ServiceAccount {
        /// Why.
        reason: String,
    },
}

impl ConnectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoKubeconfig { .. } => Some(
                "give one with --kubeconfig FILE; on MicroK8s: `microk8s config > ~/.kube/config`, on kind: `kind export kubeconfig`"
                    .to_owned(),
            ),
            Self::Kubeconfig { .. } => Some("`kubectl config view` shows what kubectl reads".to_owned()),
            Self::Unreadable { path } => {
                let known = DISTRIBUTIONS.iter().find(|(place, _)| Path::new(place) == path);
                Some(known.map_or("run this as somebody who may, or give another with --kubeconfig FILE", |(_, way)| way).to_owned())
            }
            Self::UnknownContext { known, .. } if known.is_empty() => Some("the kubeconfig holds no context at all".to_owned()),
            Self::UnknownContext { known, .. } => Some(format!("there are: {}", known.join(", "))),
            Self::Server { source, .. } => source.access_hint().map(str::to_owned),
            Self::ServiceAccount { .. } => None,
        }
    }
}

/// How long the first answer may take: what cannot be used is named within five seconds. Later requests may take longer: a
/// webhook alone has ten seconds.
const FIRST_ANSWER: Duration = Duration::from_secs(4);

/// Reads the kubeconfig, makes a client, and waits for a first answer: a server that takes the connection and
/// says nothing would hold up every run for good.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect(connection: &Connection) -> Result<Cluster, ConnectError> {
    let (kubeconfig, path) = read(&kubeconfigs(connection)?)?;
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let context = connection.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| match error {
        KubeconfigError::LoadContext(context) => ConnectError::UnknownContext { context, path: path.clone(), known },
        other => ConnectError::Kubeconfig { path: path.clone(), reason: other.to_string() },
    })?;
    // kube's own policy retries a 503 for minutes without a word; waiting is decided where it can be reported.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(4));
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let namespace = config.default_namespace.clone();
    let unusable = |source| ConnectError::Server { server: server.clone(), source };
    let Clients { requests: client, upgrades, made } = clients(config).map_err(|error| unusable(Error::from(error)))?;
    let version = match timeout(FIRST_ANSWER, client.apiserver_version()).await {
        Ok(Ok(version)) => Some(version.git_version),
        Ok(Err(error)) => match Error::from(error) {
            // Who may not ask for the version may still ask for other things.
            Error::Forbidden { .. } => None,
            source => return Err(unusable(source)),
        },
        Err(_) => {
            let cause = format!("no answer within {} s", FIRST_ANSWER.as_secs());
            return Err(unusable(Error::Unreachable { cause }));
        }
    };
    Ok(Cluster::new(client, &server, &context, &namespace).with_version(version).with_upgrades(upgrades).counted(made))
}

/// Connects from inside a pod, else by kubeconfig: how the in-cluster programs start.
///
/// # Errors
///
/// [`ConnectError::ServiceAccount`] inside a pod; else as [`connect`].
pub async fn connect_in_cluster(connection: &Connection) -> Result<Cluster, ConnectError> {
    if connection.kubeconfig.is_some() || env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return connect(connection).await;
    }
    let mut config = Config::incluster().map_err(|error| ConnectError::ServiceAccount { reason: error.to_string() })?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let server = config.cluster_url.to_string();
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config)
        .map_err(|error| ConnectError::Server { server: server.clone(), source: Error::from(error) })?;
    Ok(Cluster::new(client, &server, "in-cluster", &namespace))
}

/// Reads kubeconfigs into one, as kubectl does: of two entries of the same name the first counts, and so does the first
/// current context. Files that an entry names lie beside the file that holds it. The path is for messages.
fn read(paths: &[PathBuf]) -> Result<(Kubeconfig, PathBuf), ConnectError> {
    let mut merged = Kubeconfig::default();
    for path in paths {
        let unusable = |error| unusable(path, &error);
        merged = merged.merge(Kubeconfig::read_from(path).map_err(unusable)?).map_err(unusable)?;
    }
    let all: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Ok((merged, PathBuf::from(all.join(":"))))
}

fn unusable(path: &Path, error: &KubeconfigError) -> ConnectError {
    let path = path.to_owned();
    match error {
        KubeconfigError::ReadConfig(error, _) if error.kind() == io::ErrorKind::PermissionDenied => {
            ConnectError::Unreadable { path }
        }
        error => ConnectError::Kubeconfig { path, reason: error.to_string() },
    }
}

/// The files to read: the one that was named; else those of `KUBECONFIG` that are there, and then no others, as what it
/// leaves out may be another cluster; else the first of the usual places.
fn kubeconfigs(connection: &Connection) -> Result<Vec<PathBuf>, ConnectError> {
    if let Some(path) = &connection.kubeconfig {
        return Ok(vec![path.clone()]);
    }
    let list = env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> = env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
    let (there, places) = if named.is_empty() {
        let home = env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
        let usual = home.into_iter().chain(DISTRIBUTIONS.iter().map(|(path, _)| PathBuf::from(path)));
        let usual: Vec<PathBuf> = usual.collect();
        (usual.iter().find(|path| is_there(path)).cloned().into_iter().collect::<Vec<_>>(), usual)
    } else {
        (named.iter().filter(|path| is_there(path)).cloned().collect(), named)
    };
    if there.is_empty() {
        return Err(ConnectError::NoKubeconfig {
            looked_in: places.iter().map(|path| path.display().to_string()).collect(),
        });
    }
    Ok(there)
}

/// In a folder that may not be entered a file is taken to be there: that it may not be read is what is said then.
fn is_there(path: &Path) -> bool {
    !matches!(path.try_exists(), Ok(false))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_k3s("/etc/rancher/k3s/k3s.yaml", "k3s shows it to root: run this with sudo")]
    #[case::of_microk8s("/var/snap/microk8s/current/credentials/client.config", "usermod -aG microk8s")]
    #[case::of_somebody_else("/home/other/config", "give another with --kubeconfig FILE")]
    fn who_may_not_read_a_kubeconfig_is_told_how_to_get_to(#[case] path: &str, #[case] hint: &str) {
        let denied = KubeconfigError::ReadConfig(io::ErrorKind::PermissionDenied.into(), path.into());
        let error = unusable(Path::new(path), &denied);
        assert_eq!(error.to_string(), format!("the kubeconfig {path} may not be read by this user"));
        assert!(error.hint().is_some_and(|told| told.contains(hint)), "{error:?}");
        let gone = KubeconfigError::ReadConfig(io::ErrorKind::NotFound.into(), path.into());
        assert!(matches!(unusable(Path::new(path), &gone), ConnectError::Kubeconfig { .. }));
    }
}
