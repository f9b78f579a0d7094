//! From flags, environment and file to the settings of one run: resolved once, here.
//!
//! A flag wins over the environment (clap has already put that into the flag), that over the file, that over
//! the default.

mod asked;
mod files;
mod references;
mod settings_file;
#[cfg(test)]
mod tests;
mod values;

use std::{path::PathBuf, str::FromStr, time::Duration};

use crate::{
    additions::Mistake,
    catalog::{self, Component, Profile},
    cluster::Connection,
    platform::PlatformKind,
};

pub use asked::{At, Named};
use files::FlagOrKey;
pub use files::{FileAlerting, NamedFiles};
pub use settings_file::{
    DEFAULT_FILE, FileAutoscaling, FileRetention, FileRunbooks, FileSettings, FileStorage, UnknownKey, nearest,
    read_file,
};
pub use values::{
    parse_duration, parse_image, parse_namespace, parse_platform_of_images, parse_registry, parse_share, parse_step,
};

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
        /// Keys that are none, each with the one that was meant, as far as that can be guessed.
        unknown: Vec<UnknownKey>,
    },
    /// Files that are added to Prometheus have mistakes.
    #[error("the files for Prometheus cannot be used; nothing was written")]
    Additions {
        /// Each with its place.
        mistakes: Vec<Mistake>,
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
            Self::Unreadable { .. } | Self::Value { .. } | Self::Additions { .. } => None,
            Self::Invalid { unknown, .. } => unknown.first().map(UnknownKey::hint),
        }
    }
}

/// What flags and environment say about the stack, before the file is looked at.
#[derive(Clone, Debug, Default)]
pub struct StackFlags {
    /// `--namespace`
    pub namespace: Option<String>,
    /// `--profile`
    pub profile: Option<Profile>,
    /// `--image COMPONENT=REF`
    pub images: Vec<(Component, String)>,
    /// `--registry`
    pub registry: Option<String>,
    /// `--prometheus-url`
    pub prometheus_url: Option<String>,
    /// `--prometheus-secret`
    pub prometheus_secret: Option<String>,
    /// `--scrape-interval`
    pub scrape_interval: Option<Duration>,
    /// `--storage-class`
    pub storage_class: Option<String>,
    /// `--rules`
    pub rules: Option<PathBuf>,
    /// `--scrape-configs`
    pub scrape_configs: Option<PathBuf>,
    /// `--slack-webhook-file`
    pub slack_webhook_file: Option<PathBuf>,
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
    /// Files that are still to be read: [`StackSettings::with_files`].
    pub files: NamedFiles,
    /// Platform, where it is not to be detected.
    pub platform: Option<PlatformKind>,
    /// Socket of a containerd on this host.
    pub containerd_socket: Option<PathBuf>,
    /// Longest time for one run.
    pub timeout: Duration,
    /// Whether fields of other managers are taken over.
    pub force_conflicts: bool,
}

impl StackSettings {
    /// The same with what is in the files that they name. Who has nothing to do with the content of the stack (`down`,
    /// `open`) does without: such a file may lie on another machine.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or what is in it cannot be used.
    pub fn with_files(mut self) -> Result<Self, SettingsError> {
        self.options.alerting = self.files.alerting()?;
        self.options.additions = self.files.additions(|| catalog::jobs(&self.options))?;
        Ok(self)
    }
}

/// Resolves the settings of the stack.
///
/// # Errors
///
/// [`SettingsError::Value`] with the key or flag that holds a value that cannot be used.
pub fn resolve(connection: Connection, flags: StackFlags, file: FileSettings) -> Result<StackSettings, SettingsError> {
    let StackFlags {
        namespace,
        profile,
        images,
        registry,
        prometheus_url,
        prometheus_secret,
        scrape_interval,
        storage_class,
        rules,
        scrape_configs,
        slack_webhook_file,
        platform,
        containerd_socket,
        timeout,
        force_conflicts,
    } = flags;
    let (path, places) = (file.path, file.places);
    // A value that no flag gave is the file's, which may be one that nobody named.
    let key = |key: &str| {
        let place = places.get(key).map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        path.as_ref().map_or_else(|| key.to_owned(), |path| format!("{}{place}: {key}", path.display()))
    };
    let given = |by_flag: bool, flag: &str, of_file: &str| if by_flag { flag.to_owned() } else { key(of_file) };
    let mut options = catalog::Options::new(String::new(), env!("CARGO_PKG_VERSION"));
    let sized = |text: &str| Profile::from_str(text).map_err(|error| error.to_string());
    if let Some(profile) = profile.or(checked_if(&key("profile"), file.profile, sized)?) {
        options = options.sized(profile);
    }
    let origin = given(namespace.is_some(), "--namespace", "namespace");
    if let Some(namespace) = namespace.or(file.namespace) {
        options.namespace = checked(&origin, &namespace, values::stack_namespace)?;
    }
    for (name, reference) in file.images {
        let origin = key(&format!("images.{name}"));
        let component = checked(&origin, &name, |name| Component::from_str(name).map_err(|error| error.to_string()))?;
        options.images.insert(component, checked(&origin, &reference, references::image)?);
    }
    options.images.extend(images);
    let origin = given(registry.is_some(), "--registry", "registry");
    options.registry = checked_if(&origin, registry.or(file.registry), references::registry)?;
    let origin = given(prometheus_url.is_some(), "--prometheus-url", "prometheusUrl");
    let url = checked_if(&origin, prometheus_url.or(file.prometheus_url), values::server_url)?;
    let origin = given(prometheus_secret.is_some(), "--prometheus-secret", "prometheusSecret");
    let secret = prometheus_secret.or(file.prometheus_secret);
    options.external = match (url, checked_if(&origin, secret, values::object_name)?) {
        (Some(url), secret) => Some(catalog::ExternalPrometheus { url, secret }),
        (None, None) => None,
        (None, Some(_)) => {
            let reason =
                "it is for a Prometheus of your own: give its URL too (prometheusUrl, --prometheus-url)".to_owned();
            return Err(SettingsError::Value { origin, reason });
        }
    };
    let interval = checked_if(&key("scrapeInterval"), file.scrape_interval, parse_duration)?;
    let origin = given(scrape_interval.is_some(), "--scrape-interval", "scrapeInterval");
    if let Some(interval) = scrape_interval.or(interval) {
        let seconds = whole_seconds(interval).map_err(|reason| SettingsError::Value { origin, reason })?;
        options.scrape_interval_seconds = seconds;
    }
    let FileStorage { class, prometheus, grafana } = file.storage;
    let storage = &mut options.storage;
    let origin = given(storage_class.is_some(), "--storage-class", "storage.class");
    storage.class = checked_if(&origin, storage_class.or(class), values::storage_class)?;
    let volume = checked_if(&key("storage.prometheus"), prometheus, values::storage_size)?;
    let FileRetention { time, size } = file.retention;
    let kept = &mut options.retention;
    set(&mut kept.time, checked_if(&key("retention.time"), time, values::retention_time)?);
    let size = checked_if(&key("retention.size"), size, values::retention_size)?;
    set(&mut kept.size, size.or_else(|| volume.as_deref().and_then(catalog::retention::size_for)));
    set(&mut storage.prometheus, volume);
    if let Some(reason) = catalog::retention::misfit(&kept.size, &storage.prometheus) {
        return Err(SettingsError::Value { origin: key("retention.size"), reason });
    }
    set(&mut storage.grafana, checked_if(&key("storage.grafana"), grafana, values::storage_size)?);
    for metric in file.drop_metrics {
        options.drop_metrics.push(checked(&key("dropMetrics"), &metric, values::metric_name)?);
    }
    if let Some(page) = checked_if(&key("runbooks.baseUrl"), file.runbooks.base_url, values::page)? {
        options.runbooks = Some(page);
    }
    let FileAutoscaling { most_down_share, largest_step } = file.autoscaling;
    options.most_down_share = checked_if(&key("autoscaling.mostDownShare"), most_down_share, parse_share)?;
    options.largest_step = checked_if(&key("autoscaling.largestStep"), largest_step, parse_step)?;
    let named = |text: &str| PlatformKind::from_str(text).map_err(|error| error.to_string());
    let platform = platform.or(checked_if(&key("platform"), file.platform, named)?);
    let timeout = timeout.or(checked_if(&key("timeout"), file.timeout, parse_duration)?).unwrap_or(DEFAULT_TIMEOUT);
    Ok(StackSettings {
        connection,
        options,
        files: NamedFiles::new(
            slack_webhook_file,
            file.alerting,
            FlagOrKey { flag: rules, key: file.rules },
            FlagOrKey { flag: scrape_configs, key: file.scrape_configs },
        ),
        platform,
        containerd_socket: containerd_socket.or(file.containerd_socket),
        timeout,
        force_conflicts,
    })
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Puts a value in the place of the default, where there is one.
fn set(place: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Checks a value, and names its key or flag when it is none.
fn checked<T>(origin: &str, value: &str, check: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
    check(value).map_err(|reason| SettingsError::Value { origin: origin.to_owned(), reason })
}

/// As [`checked`], where there is a value.
fn checked_if<T>(
    origin: &str,
    value: Option<String>,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, SettingsError> {
    value.map(|value| checked(origin, &value, check)).transpose()
}

/// A minute at most: rates look back five, and an alert on `up` one and a half.
fn whole_seconds(interval: Duration) -> Result<u32, String> {
    let whole = u32::try_from(interval.as_secs()).ok().filter(|_| interval.subsec_nanos() == 0);
    whole
        .filter(|seconds| (1..=60).contains(seconds))
        .ok_or_else(|| "between 1s and 1m, in whole seconds: rules and dashboards look back five minutes".to_owned())
}
