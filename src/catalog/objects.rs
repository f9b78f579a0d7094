//! Objects that are made here and not read from a manifest.

use kube::core::{DynamicObject, ObjectMeta, TypeMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::labels;
use crate::yaml;

/// An object of the namespace `monitoring`, still without content.
pub(super) fn object(api_version: &str, kind: &str, name: &str) -> DynamicObject {
    DynamicObject {
        types: Some(TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }),
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("monitoring".to_owned()),
            ..ObjectMeta::default()
        },
        data: json!({}),
    }
}

/// A ConfigMap of text files.
pub(super) fn config_map<K: Into<String>>(name: &str, files: impl IntoIterator<Item = (K, String)>) -> DynamicObject {
    let mut map = object("v1", "ConfigMap", name);
    let data: Map<String, Value> = files.into_iter().map(|(key, text)| (key.into(), Value::String(text))).collect();
    map.data = json!({"data": data});
    map
}

/// A Secret of text files.
pub(super) fn secret<'a, K: Into<String>>(name: &str, files: impl IntoIterator<Item = (K, &'a str)>) -> DynamicObject {
    let mut secret = object("v1", "Secret", name);
    let data: Map<String, Value> =
        files.into_iter().map(|(key, text)| (key.into(), json!(labels::base64(text.as_bytes())))).collect();
    secret.data = json!({"type": "Opaque", "data": data});
    secret
}

/// SHA-256 of the JSON of a value. Maps of `serde_json` are sorted, so that equal content has one digest.
#[expect(clippy::missing_panics_doc, reason = "what is hashed here has text keys, and so a text form")]
pub fn content_digest<T: Serialize + ?Sized>(value: &T) -> [u8; 32] {
    Sha256::digest(serde_json::to_vec(value).expect("JSON has a text form")).into()
}

/// The YAML of a configuration that came from YAML.
pub(super) fn yaml_text<T: Serialize>(value: &T) -> String {
    yaml::to_string(value).expect("a value with text keys alone always has a YAML form")
}
