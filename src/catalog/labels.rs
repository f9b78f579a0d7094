//! Labels and annotations that say what an object is and whose.

use k8s_openapi::ByteString;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::edit;

/// Name of the application: the component's.
pub const NAME: &str = "app.kubernetes.io/name";
/// What it is in the architecture.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// What it is a part of; always [`SCALEKIT`].
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// What looks after it; always [`SCALEKIT`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Version of scalekit that wrote it.
pub const VERSION: &str = "app.kubernetes.io/version";
/// Membership of an `ApplySet`, by the identifier of its parent (KEP-3659).
pub const APPLYSET_PART_OF: &str = "applyset.kubernetes.io/part-of";
/// On the parent of an `ApplySet`: its identifier (KEP-3659).
pub const APPLYSET_ID: &str = "applyset.kubernetes.io/id";
/// The value of [`PART_OF`] and [`MANAGED_BY`].
pub const SCALEKIT: &str = "scalekit";

/// On an object that is written once and never changed afterwards, such as a random password.
pub const CREATE_ONCE: &str = "scalekit.dev/create-once";
/// On a pod template: the hash of the configuration that its process reads only when it starts.
pub const CONFIG_HASH: &str = "scalekit.dev/config-hash";

/// Field manager of everything that is installed.
pub const FIELD_MANAGER: &str = "scalekit";
/// Field manager of replica counts and of the status of Autoscalers.
pub const AUTOSCALER_FIELD_MANAGER: &str = "scalekit-autoscaler";

/// The identifier of an `ApplySet` by its parent object, as KEP-3659 defines it:
/// `applyset-<base64url(sha256("<name>.<namespace>.<kind>.<group>"))>-v1`, without padding.
pub fn applyset_id(name: &str, namespace: &str, kind: &str, group: &str) -> String {
    let hash = Sha256::digest(format!("{name}.{namespace}.{kind}.{group}"));
    // The URL-safe alphabet differs in two letters and is written without padding.
    let encoded = base64(&hash).replace('+', "-").replace('/', "_");
    format!("applyset-{}-v1", encoded.trim_end_matches('='))
}

/// Standard base64, as the API server writes it.
pub(super) fn base64(bytes: &[u8]) -> String {
    match json!(ByteString(bytes.to_vec())) {
        Value::String(encoded) => encoded,
        _ => unreachable!("a byte string is always written as text"),
    }
}

/// The labels that all objects of one application share.
pub(super) struct Labels<'a> {
    pub name: &'a str,
    pub component: &'a str,
    pub version: &'a str,
    pub applyset: &'a str,
}

impl Labels<'_> {
    /// Puts the labels on the object, and on its pods those that do not change with a release:
    /// a new version alone is no reason to restart anything.
    pub(super) fn put_on(&self, object: &mut DynamicObject) {
        let lasting = [(NAME, self.name), (COMPONENT, self.component), (PART_OF, SCALEKIT), (MANAGED_BY, SCALEKIT)];
        let labels = object.metadata.labels.get_or_insert_default();
        for (key, value) in lasting.into_iter().chain([(VERSION, self.version), (APPLYSET_PART_OF, self.applyset)]) {
            labels.insert(key.to_owned(), value.to_owned());
        }
        if let Some(template) = edit::pod_template(object) {
            for (key, value) in lasting {
                template["metadata"]["labels"][key] = json!(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Kubernetes documentation and of kubectl's own tests.
    #[test]
    fn the_identifier_is_kubectls() {
        assert_eq!(
            applyset_id("my-set", "test", "Secret", ""),
            "applyset-0eFHV8ySqp7XoShsGvyWFQD3s96yqwHmzc4e0HR1dsY-v1"
        );
    }

    #[test]
    fn a_hash_with_both_differing_letters_has_no_slash_or_plus() {
        for n in 0..50 {
            let id = applyset_id(&n.to_string(), "monitoring", "ConfigMap", "");
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
            assert_eq!(id.len(), "applyset--v1".len() + 43);
        }
    }
}
