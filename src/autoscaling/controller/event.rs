//! Events: each is an object of its own with a note that is true.
//!
//! Not with kube's `Recorder`: it folds events that differ in their note alone into the first of them, so
//! that «from 4 to 8» would still read «from 2 to 4».

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1 as events},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Resource, api::PostParams};

use super::{
    FIELD_MANAGER,
    telemetry::Telemetry,
    words::{ApiError, in_time},
};
use crate::autoscaling::api::Autoscaler;

/// The API server takes no longer note.
const LONGEST_NOTE: usize = 1024;

/// What is to be said.
pub struct Event<'a> {
    /// Whether somebody should look.
    pub warning: bool,
    /// In one word.
    pub reason: &'a str,
    /// What was done, in one word.
    pub action: &'a str,
    /// In a sentence.
    pub note: String,
}

/// Writes events.
pub struct Recorder {
    client: Client,
    instance: String,
}

impl Recorder {
    /// A recorder that signs as `instance`, the pod's name.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance }
    }

    /// Says something about an Autoscaler. An event that cannot be written is logged and forgotten: it must
    /// not hold up scaling.
    pub async fn record(&self, about: &Autoscaler, event: Event<'_>, telemetry: &Telemetry, now: Timestamp) {
        let namespace = about.metadata.namespace.clone().unwrap_or_default();
        let result = self.create(about, &namespace, &event, now).await;
        telemetry.write("events", &result);
        if let Err(error) = result {
            tracing::warn!(
                autoscaler = about.metadata.name,
                reason = event.reason,
                "the event was not written: {error}"
            );
        }
    }

    async fn create(
        &self,
        about: &Autoscaler,
        namespace: &str,
        event: &Event<'_>,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let name = about.metadata.name.as_deref().unwrap_or_default();
        // As client-go names them: the object, and a number that does not come twice.
        let (prefix, suffix) = (&name[..name.len().min(200)], now.as_nanosecond());
        let target = &about.spec.scale_target_ref;
        let object = events::Event {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}.{suffix:x}{:04x}", fastrand::u16(..))),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(event.reason.to_owned()),
            action: Some(event.action.to_owned()),
            note: Some(cut(&event.note).to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about.object_ref(&())),
            related: Some(ObjectReference {
                api_version: Some(target.api_version.clone()),
                kind: Some(target.kind.clone()),
                name: Some(target.name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..events::Event::default()
        };
        let api: Api<events::Event> = Api::namespaced(self.client.clone(), namespace);
        in_time(api.create(&PostParams::default(), &object)).await.map(drop)
    }
}

fn cut(note: &str) -> &str {
    let mut end = note.len().min(LONGEST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    &note[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = "→".repeat(400);
        assert_eq!(cut(&note).chars().count(), 341);
        assert_eq!(cut("short"), "short");
    }
}
