//! Alertmanager's configuration and the secrets of its receivers.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    assets, edit, labels,
    objects::{self, ContentDigest},
    secret_text::SecretText,
};

/// The Secret that holds the receivers' URLs, or the whole configuration where that was given.
pub const RECEIVERS_SECRET: &str = "alertmanager-receivers";
/// Name of the alert that `scalekit alert test` sends; the configuration has a route for it.
pub const TEST_ALERT: &str = "ScalekitTest";

const CONFIG_MAP: &str = "alertmanager-config";
const CONFIG: &str = "alertmanager.yml";

/// Who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alerting {
    /// Receivers by their URL, each a secret; at least one.
    Receivers {
        /// A Slack incoming webhook.
        slack: Option<SecretText>,
        /// Anything that takes Alertmanager's own JSON.
        webhook: Option<SecretText>,
    },
    /// A complete configuration of Alertmanager, which may hold secrets anywhere.
    Config(SecretText),
}

impl Alerting {
    /// The files of the Secret, by name.
    pub fn secret_files(&self) -> Vec<(&'static str, &SecretText)> {
        match self {
            Self::Receivers { slack, webhook } => {
                let files = [("slack-url", slack), ("webhook-url", webhook)];
                files.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))).collect()
            }
            Self::Config(text) => vec![(CONFIG, text)],
        }
    }
}

/// The ConfigMap and the Secret that the pod mounts. A configuration that was given is in the Secret.
pub(super) fn mounted(alerting: &Alerting) -> Vec<DynamicObject> {
    let files = alerting.secret_files().into_iter().map(|(name, text)| (name, text.reveal()));
    let secret = objects::secret(RECEIVERS_SECRET, files);
    match alerting {
        Alerting::Receivers { slack, webhook } => {
            let config = configuration(slack.is_some(), webhook.is_some());
            vec![objects::config_map(CONFIG_MAP, [(CONFIG, objects::yaml_text(&config))]), secret]
        }
        Alerting::Config(_) => vec![secret],
    }
}

fn configuration(slack: bool, webhook: bool) -> Value {
    let mut config = assets::config("alertmanager", CONFIG);
    for receiver in edit::items(&mut config, "/receivers") {
        if let Some(receiver) = receiver.as_object_mut() {
            receiver.retain(|key, _| match key.as_str() {
                "slack_configs" => slack,
                "webhook_configs" => webhook,
                _ => true,
            });
        }
    }
    config
}

/// Fits the Deployment to what it mounts: Alertmanager reads its configuration when it starts, so another one is
/// another pod. A receiver's URL is read for every message, and needs none.
pub(super) fn adapt(deployment: &mut DynamicObject, alerting: &Alerting, mounted: &[DynamicObject]) {
    let Some(template) = edit::pod_template(deployment) else { return };
    let names: Vec<&str> = mounted.iter().filter_map(|object| object.metadata.name.as_deref()).collect();
    for volume in edit::items(template, "/spec/volumes") {
        if let Some(sources) = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut) {
            sources.retain(|source| {
                let name = source.pointer("/configMap/name").or_else(|| source.pointer("/secret/name"));
                name.and_then(Value::as_str).is_some_and(|name| names.contains(&name))
            });
        }
    }
    let read_at_the_start =
        mounted.iter().filter(|object| edit::kind(object) == "ConfigMap" || matches!(alerting, Alerting::Config(_)));
    let hash = read_at_the_start.fold(ContentDigest::default(), |digest, object| digest.with(&object.data)).finish();
    template["metadata"]["annotations"][labels::CONFIG_HASH] = json!(labels::base64(&hash[..12]));
}
