//! The files that the settings name. They are read only by the commands that need what is in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::SettingsError;
use crate::{
    additions::{self, Additions, File, Mistake},
    catalog::{Alerting, SecretText},
    yaml,
};

/// `alerting:` of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileAlerting {
    /// File that holds the URL of a Slack incoming webhook.
    pub slack_webhook_file: Option<PathBuf>,
    /// File that holds the URL of a webhook that takes Alertmanager's JSON.
    pub webhook_url_file: Option<PathBuf>,
    /// A complete configuration of Alertmanager.
    pub config_file: Option<PathBuf>,
}

impl FileAlerting {
    pub(super) const KEYS: [&str; 3] = ["slackWebhookFile", "webhookUrlFile", "configFile"];

    /// Paths in a settings file are meant from where it lies.
    pub(super) fn seen_from(self, folder: &Path) -> Self {
        let seen = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        Self {
            slack_webhook_file: seen(self.slack_webhook_file),
            webhook_url_file: seen(self.webhook_url_file),
            config_file: seen(self.config_file),
        }
    }
}

/// Files to read, each with the key or flag that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedFiles {
    slack_webhook: Option<Named>,
    webhook_url: Option<Named>,
    alertmanager_config: Option<Named>,
    rules: Option<Named>,
    scrape_configs: Option<Named>,
}

/// What a flag or the settings file says of one folder.
#[derive(Clone, Debug, Default)]
pub(super) struct FlagOrKey {
    pub flag: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    origin: &'static str,
    path: PathBuf,
}

impl NamedFiles {
    pub(super) fn new(
        slack_webhook_flag: Option<PathBuf>,
        alerting: FileAlerting,
        rules: FlagOrKey,
        scrape_configs: FlagOrKey,
    ) -> Self {
        let named = |origin, path: Option<PathBuf>| path.map(|path| Named { origin, path });
        let FileAlerting { slack_webhook_file, webhook_url_file, config_file } = alerting;
        Self {
            slack_webhook: named("--slack-webhook-file", slack_webhook_flag)
                .or(named("alerting.slackWebhookFile", slack_webhook_file)),
            webhook_url: named("alerting.webhookUrlFile", webhook_url_file),
            alertmanager_config: named("alerting.configFile", config_file),
            rules: named("--rules", rules.flag).or(named("rules", rules.key)),
            scrape_configs: named("--scrape-configs", scrape_configs.flag)
                .or(named("scrapeConfigs", scrape_configs.key)),
        }
    }

    /// Reads who is told of alerts; `None` where nobody is.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or does not hold what it should. What is in it is never said: it is secret.
    pub fn alerting(&self) -> Result<Option<Alerting>, SettingsError> {
        let url = |named: &Option<Named>| named.as_ref().map(read_url).transpose();
        let (slack, webhook) = (url(&self.slack_webhook)?, url(&self.webhook_url)?);
        let receiver = self.slack_webhook.as_ref().or(self.webhook_url.as_ref());
        match (&self.alertmanager_config, receiver) {
            (None, None) => Ok(None),
            (None, Some(_)) => Ok(Some(Alerting::Receivers { slack, webhook })),
            (Some(config), None) => Ok(Some(Alerting::Config(read_config(config)?))),
            (Some(config), Some(receiver)) => Err(SettingsError::Value {
                origin: config.origin.to_owned(),
                reason: format!("a whole configuration names its receivers itself: leave out {}", receiver.origin),
            }),
        }
    }
}

impl NamedFiles {
    /// Reads what is added to Prometheus, and checks it; `taken` are the jobs that there are already.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read; [`SettingsError::Additions`] with every mistake in its files.
    pub fn additions(&self, taken: impl FnOnce() -> Vec<String>) -> Result<Additions, SettingsError> {
        if self.rules.is_none() && self.scrape_configs.is_none() {
            return Ok(Additions::default());
        }
        let taken = &taken();
        let folder = |named: &Option<Named>| named.as_ref().map(Named::folder).transpose();
        let additions = Additions {
            rules: folder(&self.rules)?.unwrap_or_default(),
            scrapes: folder(&self.scrape_configs)?.unwrap_or_default(),
        };
        let placed = |named: &Option<Named>, mistakes: Vec<Mistake>| {
            let folder = named.as_ref().map(|named| named.path.clone()).unwrap_or_default();
            let with_folder =
                move |mistake: Mistake| Mistake { file: folder.join(&mistake.file).display().to_string(), ..mistake };
            mistakes.into_iter().map(with_folder)
        };
        let mistakes: Vec<Mistake> = placed(&self.rules, additions::check(&additions.rules, &[], taken))
            .chain(placed(&self.scrape_configs, additions::check(&[], &additions.scrapes, taken)))
            .collect();
        if mistakes.is_empty() { Ok(additions) } else { Err(SettingsError::Additions { mistakes }) }
    }
}

/// What one object of the API server holds, with room for what is ours.
const LARGEST_FOLDER: usize = 700 << 10;

impl Named {
    /// The `.yml` and `.yaml` files that lie directly in the folder, sorted.
    fn folder(&self) -> Result<Vec<File>, SettingsError> {
        let failed = |path: &Path, error: std::io::Error| SettingsError::Unreadable {
            path: path.to_owned(),
            reason: format!("{error} ({})", self.origin),
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| failed(&self.path, error))? {
            let path = entry.map_err(|error| failed(&self.path, error))?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut files: Vec<File> = Vec::new();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            let file = File { name, text };
            let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if !file.stem().bytes().all(is_key) || file.stem().len() > 200 {
                return Err(self.refused(format!("`{}`: letters, digits, `-`, `_` and `.` make a name", file.name)));
            }
            if files.iter().any(|other| other.stem() == file.stem()) {
                return Err(self.refused(format!("two files are called `{}`", file.stem())));
            }
            files.push(file);
        }
        let size: usize = files.iter().map(|file| file.text.len()).sum();
        if files.is_empty() {
            return Err(self.refused("there is no .yml or .yaml file in it"));
        }
        if size > LARGEST_FOLDER {
            let (size, most) = (size >> 10, LARGEST_FOLDER >> 10);
            return Err(self.refused(format!("{size} KiB are more than fits into one object: {most} KiB at most")));
        }
        Ok(files)
    }

    fn read(&self) -> Result<String, SettingsError> {
        fs::read_to_string(&self.path).map_err(|error| SettingsError::Unreadable {
            path: self.path.clone(),
            reason: format!("{error} ({})", self.origin),
        })
    }

    fn refused(&self, reason: impl std::fmt::Display) -> SettingsError {
        SettingsError::Value { origin: self.origin.to_owned(), reason: format!("{}: {reason}", self.path.display()) }
    }
}

fn read_url(named: &Named) -> Result<SecretText, SettingsError> {
    let text = named.read()?;
    let url = text.trim();
    let host = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    match host {
        None => Err(named.refused("it holds no URL that starts with https:// or http://")),
        Some(host) if host.is_empty() || host.starts_with('/') => Err(named.refused("its URL names no host")),
        Some(_) if url.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(named.refused("it holds more than one URL: a line is all that should be in it"))
        }
        Some(_) => Ok(SecretText::new(url)),
    }
}

/// What would keep Alertmanager from starting and can be seen here: no YAML, no receiver where it looks for one.
fn read_config(named: &Named) -> Result<SecretText, SettingsError> {
    let text = named.read()?;
    // The message of the YAML library shows the lines around the mistake, and any of them may hold a password.
    let config: Value = yaml::parse(&text).map_err(|error| {
        named.refused(match error.place() {
            Some((line, column)) => format!("line {line}, column {column}: it is no YAML"),
            None => "it is no YAML".to_owned(),
        })
    })?;
    let Some(wanted) = config.pointer("/route/receiver").and_then(Value::as_str) else {
        return Err(named.refused("route.receiver is missing"));
    };
    let receivers = config["receivers"].as_array().into_iter().flatten();
    if !receivers.into_iter().any(|receiver| receiver["name"] == wanted) {
        return Err(named.refused(format!("route.receiver is `{wanted}`, and no receiver has that name")));
    }
    Ok(SecretText::new(text))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn alerting(slack: Option<&str>, config: Option<&str>) -> Result<Option<Alerting>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("slack", slack), ("config.yml", config)] {
            if let Some(text) = text {
                fs::write(folder.path().join(name), text).unwrap();
            }
        }
        let file = FileAlerting {
            slack_webhook_file: slack.map(|_| "slack".into()),
            webhook_url_file: None,
            config_file: config.map(|_| "config.yml".into()),
        };
        let none = FlagOrKey::default;
        NamedFiles::new(None, file.seen_from(folder.path()), none(), none())
            .alerting()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_is_read_without_the_end_of_its_line() {
        let expected = Alerting::Receivers { slack: Some(SecretText::new("https://h/x")), webhook: None };
        assert_eq!(alerting(Some("https://h/x\n"), None), Ok(Some(expected)));
        assert_eq!(alerting(None, None), Ok(None));
    }

    #[rstest]
    #[case::empty("\n", "holds no URL")]
    #[case::no_scheme("hunter.example/hook", "holds no URL")]
    #[case::no_host("https:///hunter", "no host")]
    #[case::two("https://a/hunter\nhttps://b/hunter\n", "more than one")]
    fn what_is_no_url_is_refused_and_not_shown(#[case] text: &str, #[case] why: &str) {
        let error = alerting(Some(text), None).unwrap_err();
        assert!(error.starts_with("alerting.slackWebhookFile: ") && error.contains(why), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    }

    #[rstest]
    #[case::no_yaml("route: {receiver: a\nglobal: {smtp_auth_password: hunter}\n", "no YAML")]
    #[case::no_route("receivers: [{name: a}]\n", "route.receiver is missing")]
    #[case::no_such_receiver("route: {receiver: b}\nreceivers: [{name: a}]\n", "`b`")]
    fn a_configuration_that_cannot_start_is_refused_and_not_shown(#[case] text: &str, #[case] why: &str) {
        let error = alerting(None, Some(text)).unwrap_err();
        assert!(error.contains("config.yml") && error.contains(why), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    }

    #[test]
    fn a_whole_configuration_stands_alone() {
        let config = "route: {receiver: a}\nreceivers: [{name: a}]\n";
        assert_eq!(alerting(None, Some(config)), Ok(Some(Alerting::Config(SecretText::new(config)))));
        assert!(alerting(Some("https://h"), Some(config)).unwrap_err().contains("leave out alerting.slackWebhookFile"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_what_names_it() {
        let files = NamedFiles::new(
            Some("/nowhere/slack".into()),
            FileAlerting::default(),
            FlagOrKey::default(),
            FlagOrKey::default(),
        );
        let error = files.alerting().unwrap_err().to_string();
        assert!(error.contains("/nowhere/slack") && error.contains("--slack-webhook-file"), "{error}");
    }

    fn additions(files: &[(&str, &str)]) -> Result<Additions, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let rules = FlagOrKey { flag: Some(folder.path().to_owned()), key: Some("/nowhere".into()) };
        NamedFiles::new(None, FileAlerting::default(), rules, FlagOrKey::default()).additions(Vec::new)
    }

    const RULE: &str = "groups: [{name: a, rules: [{record: x, expr: up}]}]\n";

    #[test]
    fn the_yaml_files_of_a_folder_are_taken_and_no_others() {
        let found = additions(&[("b.yaml", RULE), ("a.yml", RULE), ("README.md", "no"), (".hidden", "no")]).unwrap();
        assert_eq!(found.rules.iter().map(File::stem).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[rstest]
    #[case::none(&[("README.md", "")], "no .yml or .yaml file")]
    #[case::twice(&[("a.yml", RULE), ("a.yaml", RULE)], "two files are called `a`")]
    #[case::name(&[("a b.yml", RULE)], "make a name")]
    fn a_folder_that_cannot_be_used_says_why(#[case] files: &[(&str, &str)], #[case] why: &str) {
        let error = additions(files).unwrap_err().to_string();
        assert!(error.starts_with("--rules: ") && error.contains(why), "{error}");
    }

    #[test]
    fn a_folder_that_is_too_large_for_an_object_is_refused() {
        let error = additions(&[("a.yml", &format!("# {}", "x".repeat(800 << 10)))]).unwrap_err().to_string();
        assert!(error.contains("700 KiB at most"), "{error}");
    }

    #[test]
    fn a_mistake_is_named_with_the_path_of_its_file() {
        let Err(SettingsError::Additions { mistakes }) = additions(&[("a.yml", "groups: [{name: a, rules: [{}]}]\n")])
        else {
            panic!("it was taken")
        };
        assert!(mistakes[0].to_string().contains("/a.yml:1:"), "{}", mistakes[0]);
    }
}
