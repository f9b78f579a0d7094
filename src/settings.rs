//! From flags, environment and file to the settings of one run: resolved once, here.
//!
//! A flag wins over the environment (clap has already put that into the flag), that over the file, that over
//! the default.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::Deserialize;

use crate::{
    catalog::{self, Component},
    cluster::Connection,
    platform::PlatformKind,
    yaml,
};

/// The settings file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "scalekit.yaml";

/// Why the settings cannot be used. Nothing has been done yet.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not what it should be.
    #[error("{} is not a settings file:\n{reason}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A value cannot be used.
    #[error("{origin}: {reason}")]
    Value {
        /// Flag or key that holds it.
        origin: String,
        /// Why.
        reason: String,
    },
}

impl SettingsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } | Self::Value { .. } => None,
            Self::Invalid { .. } => Some(format!("known keys: {}", FileSettings::KEYS.join(", "))),
        }
    }
}

/// What can stand in `scalekit.yaml`. Every key is optional; an unknown one is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileSettings {
    /// Namespace of the stack.
    pub namespace: Option<String>,
    /// Images by component.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Registry in place of the default images' own.
    pub registry: Option<String>,
    /// Seconds between scrapes, as a duration: `15s`.
    pub scrape_interval: Option<String>,
    /// How long samples are kept.
    #[serde(default)]
    pub retention: FileRetention,
    /// The volumes.
    #[serde(default)]
    pub storage: FileStorage,
    /// Platform, where it is not to be detected.
    pub platform: Option<String>,
    /// Socket of a containerd on this host that runs the cluster's pods.
    pub containerd_socket: Option<PathBuf>,
    /// Longest time for one run.
    pub timeout: Option<String>,
}

impl FileSettings {
    const KEYS: [&str; 9] = [
        "namespace",
        "images",
        "registry",
        "scrapeInterval",
        "retention",
        "storage",
        "platform",
        "containerdSocket",
        "timeout",
    ];
}

/// `retention:` of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRetention {
    /// By age: `7d`.
    pub time: Option<String>,
    /// By size: `4GB`.
    pub size: Option<String>,
}

/// `storage:` of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileStorage {
    /// `StorageClass`.
    pub class: Option<String>,
    /// Size of Prometheus' volume.
    pub prometheus: Option<String>,
    /// Size of Grafana's volume.
    pub grafana: Option<String>,
}

/// What flags and environment say about the stack, before the file is looked at.
#[derive(Clone, Debug, Default)]
pub struct StackFlags {
    /// `--namespace`
    pub namespace: Option<String>,
    /// `--image COMPONENT=REF`
    pub images: Vec<(Component, String)>,
    /// `--registry`
    pub registry: Option<String>,
    /// `--scrape-interval`
    pub scrape_interval: Option<Duration>,
    /// `--storage-class`
    pub storage_class: Option<String>,
    /// `--platform`
    pub platform: Option<PlatformKind>,
    /// `--containerd-socket`
    pub containerd_socket: Option<PathBuf>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--force-conflicts`
    pub force_conflicts: bool,
}

/// Settings of everything that deals with the stack.
#[derive(Clone, Debug)]
pub struct StackSettings {
    /// Where the cluster is.
    pub connection: Connection,
    /// What to install; the password is still empty, and our own image only there when it was named.
    pub options: catalog::Options,
    /// Platform, where it is not to be detected.
    pub platform: Option<PlatformKind>,
    /// Socket of a containerd on this host.
    pub containerd_socket: Option<PathBuf>,
    /// Longest time for one run.
    pub timeout: Duration,
    /// Whether fields of other managers are taken over.
    pub force_conflicts: bool,
}

/// Reads the settings file: the one named, which must be there, else [`DEFAULT_FILE`] if it is there.
///
/// # Errors
///
/// [`SettingsError::Unreadable`], [`SettingsError::Invalid`].
pub fn read_file(named: Option<&Path>) -> Result<FileSettings, SettingsError> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(FileSettings::default()),
    };
    let text = fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<FileSettings, SettingsError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(FileSettings::default());
    }
    yaml::parse(text).map_err(|error| SettingsError::Invalid { path: path.to_owned(), reason: error.to_string() })
}

/// Resolves the settings of the stack.
///
/// # Errors
///
/// [`SettingsError::Value`] with the key or flag that holds a value that cannot be used.
pub fn resolve(connection: Connection, flags: StackFlags, file: FileSettings) -> Result<StackSettings, SettingsError> {
    let StackFlags {
        namespace,
        images,
        registry,
        scrape_interval,
        storage_class,
        platform,
        containerd_socket,
        timeout,
        force_conflicts,
    } = flags;
    let mut options = catalog::Options::new(String::new(), env!("CARGO_PKG_VERSION"));
    if let Some(namespace) = namespace.or(file.namespace) {
        options.namespace = checked("namespace", namespace, |name| {
            is_label(name).then_some(()).ok_or("a namespace is lower-case letters, digits and `-`, at most 57 of them")
        })?;
    }
    for (name, reference) in file.images {
        let component = Component::from_str(&name)
            .map_err(|error| SettingsError::Value { origin: format!("images.{name}"), reason: error.to_string() })?;
        options.images.insert(component, reference);
    }
    options.images.extend(images);
    options.registry = registry.or(file.registry);
    let interval = match (scrape_interval, file.scrape_interval) {
        (Some(interval), _) => Some(interval),
        (None, Some(text)) => Some(
            parse_duration(&text)
                .map_err(|reason| SettingsError::Value { origin: "scrapeInterval".to_owned(), reason })?,
        ),
        (None, None) => None,
    };
    if let Some(interval) = interval {
        options.scrape_interval_seconds = whole_seconds(interval)?;
    }
    options.retention.time = file.retention.time.unwrap_or(options.retention.time);
    options.retention.size = file.retention.size.unwrap_or(options.retention.size);
    options.storage.class = storage_class.or(file.storage.class);
    options.storage.prometheus = file.storage.prometheus.unwrap_or(options.storage.prometheus);
    options.storage.grafana = file.storage.grafana.unwrap_or(options.storage.grafana);
    let platform = match (platform, file.platform) {
        (Some(platform), _) => Some(platform),
        (None, Some(text)) => Some(
            PlatformKind::from_str(&text)
                .map_err(|error| SettingsError::Value { origin: "platform".to_owned(), reason: error.to_string() })?,
        ),
        (None, None) => None,
    };
    let timeout = match (timeout, file.timeout) {
        (Some(timeout), _) => timeout,
        (None, Some(text)) => {
            parse_duration(&text).map_err(|reason| SettingsError::Value { origin: "timeout".to_owned(), reason })?
        }
        (None, None) => DEFAULT_TIMEOUT,
    };
    Ok(StackSettings {
        connection,
        options,
        platform,
        containerd_socket: containerd_socket.or(file.containerd_socket),
        timeout,
        force_conflicts,
    })
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

fn checked(
    origin: &str,
    value: String,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<String, SettingsError> {
    match check(&value) {
        Ok(()) => Ok(value),
        Err(reason) => Err(SettingsError::Value { origin: format!("{origin} `{value}`"), reason: reason.to_owned() }),
    }
}

/// An RFC 1123 label that leaves room for `-nodes`.
fn is_label(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 57
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn whole_seconds(interval: Duration) -> Result<u32, SettingsError> {
    u32::try_from(interval.as_secs())
        .ok()
        .filter(|seconds| (1..=300).contains(seconds) && interval.subsec_nanos() == 0)
        .ok_or_else(|| SettingsError::Value {
            origin: "scrape interval".to_owned(),
            reason: "between 1s and 5m, in whole seconds".to_owned(),
        })
}

/// Parses a duration as Go and Kubernetes write it: `15s`, `5m`, `1h30m`.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("`{text}` is not a duration such as 15s, 5m or 1h30m"))
}

/// Parses `COMPONENT=REF`.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_image(text: &str) -> Result<(Component, String), String> {
    let (component, reference) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not COMPONENT=REF, as in grafana=registry/grafana:13.2.2"))?;
    if reference.is_empty() {
        return Err("the reference after `=` is empty".to_owned());
    }
    Ok((Component::from_str(component).map_err(|error| error.to_string())?, reference.to_owned()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn file(text: &str) -> Result<FileSettings, SettingsError> {
        parse(Path::new("scalekit.yaml"), text)
    }

    fn resolved(flags: StackFlags, text: &str) -> Result<StackSettings, SettingsError> {
        resolve(Connection::default(), flags, file(text)?)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "namespace: from-file\nscrapeInterval: 5s\nimages: {grafana: from-file, prometheus: from-file}\n";
        let flags = StackFlags {
            namespace: Some("from-flag".to_owned()),
            images: vec![(Component::Grafana, "from-flag".to_owned())],
            ..StackFlags::default()
        };
        let settings = resolved(flags, text).unwrap();
        assert_eq!(settings.options.namespace, "from-flag");
        assert_eq!(settings.options.scrape_interval_seconds, 5);
        assert_eq!(settings.options.image(Component::Grafana), "from-flag");
        assert_eq!(settings.options.image(Component::Prometheus), "from-file");
        assert_eq!(settings.timeout, DEFAULT_TIMEOUT);
    }

    #[test]
    fn an_empty_file_is_no_settings() {
        assert_eq!(file("# nothing yet\n").unwrap(), FileSettings::default());
    }

    #[rstest]
    #[case::unknown_key("namespce: x\n", "namespce")]
    #[case::wrong_type("images: [a]\n", "1:")]
    #[case::not_yaml("a: b: c\n", "1:")]
    fn a_broken_file_says_where(#[case] text: &str, #[case] expected: &str) {
        let error = file(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case::namespace("namespace: Monitoring\n", "namespace `Monitoring`")]
    #[case::component("images: {grafna: x}\n", "images.grafna")]
    #[case::interval("scrapeInterval: soon\n", "scrapeInterval")]
    #[case::too_short("scrapeInterval: 500ms\n", "scrape interval")]
    #[case::platform("platform: minikube\n", "platform")]
    fn a_bad_value_names_its_key(#[case] text: &str, #[case] expected: &str) {
        let error = resolved(StackFlags::default(), text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
