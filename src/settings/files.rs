//! The files that the settings name. They are read only by the commands that need what is in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::SettingsError;
use crate::{
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
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    origin: &'static str,
    path: PathBuf,
}

impl NamedFiles {
    pub(super) fn new(slack_webhook_flag: Option<PathBuf>, alerting: FileAlerting) -> Self {
        let named = |origin, path: Option<PathBuf>| path.map(|path| Named { origin, path });
        let FileAlerting { slack_webhook_file, webhook_url_file, config_file } = alerting;
        Self {
            slack_webhook: named("--slack-webhook-file", slack_webhook_flag)
                .or(named("alerting.slackWebhookFile", slack_webhook_file)),
            webhook_url: named("alerting.webhookUrlFile", webhook_url_file),
            alertmanager_config: named("alerting.configFile", config_file),
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

impl Named {
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
        NamedFiles::new(None, file.seen_from(folder.path())).alerting().map_err(|error| error.to_string())
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
        let files = NamedFiles::new(Some("/nowhere/slack".into()), FileAlerting::default());
        let error = files.alerting().unwrap_err().to_string();
        assert!(error.contains("/nowhere/slack") && error.contains("--slack-webhook-file"), "{error}");
    }
}
