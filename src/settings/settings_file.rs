//! `scalekit.yaml`: what can stand in it, and how it is read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};

use super::{FileAlerting, SettingsError};
use crate::yaml::{self, Placed};

/// The settings file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "scalekit.yaml";

/// A key that the settings file does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key, with the one that it stands under: `storage.sise`.
    pub key: String,
    /// The keys there are in its place.
    pub known: &'static [&'static str],
}

impl UnknownKey {
    pub(super) fn hint(&self) -> String {
        let (under, key) = self.key.rsplit_once('.').map_or(("", self.key.as_str()), |(under, key)| (under, key));
        let dot = if under.is_empty() { "" } else { "." };
        match nearest(key, self.known.iter().copied()) {
            Some(known) => format!("did you mean `{under}{dot}{known}`?"),
            _ if under.is_empty() => format!("known keys: {}", self.known.join(", ")),
            _ => format!("known keys of {under}: {}", self.known.join(", ")),
        }
    }
}

/// Words that are at least so much alike are taken for a slip of the hand; clap takes a suggestion from 0.7 on too.
const ALIKE: f64 = 0.7;

/// The one of these names that a word was most likely to be, in whatever case it is written; none where none is like it.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .map(|known| (strsim::jaro_winkler(&word, &known.to_lowercase()), known))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .map(|(_, known)| known)
}

/// What can stand in `scalekit.yaml`. Every key is optional; an unknown one is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileSettings {
    /// The file that was read; none where there is none.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// Line and column of its values, by their keys: `storage.class`.
    #[serde(skip)]
    pub(super) places: BTreeMap<String, (u64, u64)>,
    /// Namespace of the stack.
    pub namespace: Option<String>,
    /// Size of the stack.
    pub profile: Option<String>,
    /// Images by component.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Registry in place of the default images' own.
    pub registry: Option<String>,
    /// A Prometheus that is there already.
    pub prometheus_url: Option<String>,
    /// The Secret with what that server wants to see.
    pub prometheus_secret: Option<String>,
    /// Seconds between scrapes, as a duration: `15s`.
    pub scrape_interval: Option<String>,
    /// How long samples are kept.
    #[serde(default)]
    pub retention: FileRetention,
    /// The volumes.
    #[serde(default)]
    pub storage: FileStorage,
    /// Folder of rule files.
    pub rules: Option<PathBuf>,
    /// Folder of scrape configurations.
    pub scrape_configs: Option<PathBuf>,
    /// Metrics that are not kept.
    #[serde(default)]
    pub drop_metrics: Vec<String>,
    /// Where the runbooks are.
    #[serde(default)]
    pub runbooks: FileRunbooks,
    /// Who is told of alerts.
    #[serde(default)]
    pub alerting: FileAlerting,
    /// What holds for all Autoscalers.
    #[serde(default)]
    pub autoscaling: FileAutoscaling,
    /// Platform, where it is not to be detected.
    pub platform: Option<String>,
    /// Socket of a containerd on this host that runs the cluster's pods.
    pub containerd_socket: Option<PathBuf>,
    /// Longest time for one run.
    pub timeout: Option<String>,
}

impl FileSettings {
    const KEYS: [&str; 18] = [
        "namespace",
        "profile",
        "images",
        "registry",
        "prometheusUrl",
        "prometheusSecret",
        "scrapeInterval",
        "retention",
        "storage",
        "rules",
        "scrapeConfigs",
        "dropMetrics",
        "runbooks",
        "alerting",
        "autoscaling",
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

impl FileRetention {
    const KEYS: [&str; 2] = ["time", "size"];
}

/// `runbooks:` of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileRunbooks {
    /// Address of the page.
    pub base_url: Option<String>,
}

impl FileRunbooks {
    const KEYS: [&str; 1] = ["baseUrl"];
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

impl FileStorage {
    const KEYS: [&str; 3] = ["class", "prometheus", "grafana"];
}

/// `autoscaling:` of the file. Both are numbers, kept as they are written for one parser with the scaler's own flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileAutoscaling {
    /// Largest share of the Autoscalers of one source that may begin to want fewer replicas at once.
    pub most_down_share: Option<String>,
    /// Most replicas by which one decision changes a count.
    pub largest_step: Option<String>,
}

impl FileAutoscaling {
    const KEYS: [&str; 2] = ["mostDownShare", "largestStep"];
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
    let mut settings = parse(path, &text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    settings.alerting = settings.alerting.seen_from(folder);
    for path in settings.rules.iter_mut().chain(&mut settings.scrape_configs) {
        *path = folder.join(&path);
    }
    Ok(settings)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<FileSettings, SettingsError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(FileSettings::default());
    }
    let parsed: Result<FileSettings, _> = yaml::parse(text);
    let with_places =
        |settings| FileSettings { path: Some(path.to_owned()), places: places(text).unwrap_or_default(), ..settings };
    parsed.map(with_places).map_err(|error| {
        let unknown = unknown_keys(text);
        let mut reason = error.to_string().replace("<input>", &path.display().to_string());
        // The hint says it better, and once.
        for key in &unknown {
            reason = reason.replace(&format!(", expected one of {}", key.known.join(", ")), "");
        }
        SettingsError::Invalid { path: path.to_owned(), reason, unknown }
    })
}

/// The places of values, by their keys.
type Values = BTreeMap<String, Placed<IgnoredAny>>;

/// What stands below a key and is checked for itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Below {
    images: Values,
    retention: Values,
    storage: Values,
    runbooks: Values,
    autoscaling: Values,
}

/// Where the values of a file stand.
fn places(text: &str) -> Result<BTreeMap<String, (u64, u64)>, yaml::Error> {
    let top: Values = yaml::parse(text)?;
    let Below { images, retention, storage, runbooks, autoscaling } = yaml::parse(text)?;
    let below = [
        ("images.", images),
        ("retention.", retention),
        ("storage.", storage),
        ("runbooks.", runbooks),
        ("autoscaling.", autoscaling),
    ];
    let all = below.into_iter().chain([("", top)]);
    Ok(all
        .flat_map(|(under, values)| values.into_iter().map(move |(key, value)| (format!("{under}{key}"), value)))
        .map(|(key, value)| (key, (value.line, value.column)))
        .collect())
}

/// The keys of a file that are none; nothing where the file is no YAML.
fn unknown_keys(text: &str) -> Vec<UnknownKey> {
    let Ok(serde_json::Value::Object(file)) = yaml::parse(text) else { return Vec::new() };
    let mut unknown = Vec::new();
    for (key, value) in &file {
        let under: Option<&'static [&'static str]> = match key.as_str() {
            "retention" => Some(&FileRetention::KEYS),
            "storage" => Some(&FileStorage::KEYS),
            "runbooks" => Some(&FileRunbooks::KEYS),
            "alerting" => Some(&FileAlerting::KEYS),
            "autoscaling" => Some(&FileAutoscaling::KEYS),
            _ => None,
        };
        if !FileSettings::KEYS.contains(&key.as_str()) {
            unknown.push(UnknownKey { key: key.clone(), known: &FileSettings::KEYS });
        }
        if let (Some(known), Some(inner)) = (under, value.as_object()) {
            let strange = inner.keys().filter(|inner| !known.contains(&inner.as_str()));
            unknown.extend(strange.map(|inner| UnknownKey { key: format!("{key}.{inner}"), known }));
        }
    }
    unknown
}
