//! Objects that are made here and not read from a manifest.

use std::collections::BTreeMap;

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

/// SHA-256 of content, part by part. No two contents give it the same bytes: everything goes in with its type and length, so
/// that a text, of which dashboards are hundreds of kilobytes, goes in as it is.
#[derive(Default)]
pub struct ContentDigest(Sha256);

impl ContentDigest {
    /// A text more.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.put(b't', text.as_bytes());
        self
    }

    /// A value more. Maps of `serde_json` are sorted, so that equal values have one digest.
    #[must_use]
    pub fn with(mut self, value: &Value) -> Self {
        self.put_value(value);
        self
    }

    /// Labels or annotations more.
    #[must_use]
    pub fn with_texts(mut self, texts: &BTreeMap<String, String>) -> Self {
        self.begin(b'm', texts.len());
        texts.iter().fold(self, |digest, (key, text)| digest.with_text(key).with_text(text))
    }

    /// The digest of all of them.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.begin(kind, bytes.len());
        self.0.update(bytes);
    }

    fn begin(&mut self, kind: u8, length: usize) {
        let mut header = [kind; 9];
        header[1..].copy_from_slice(&(length as u64).to_le_bytes());
        self.0.update(header);
    }

    fn put_value(&mut self, value: &Value) {
        match value {
            Value::Null => self.begin(b'n', 0),
            Value::Bool(value) => self.begin(b'b', usize::from(*value)),
            Value::Number(number) => self.put(b'd', number.to_string().as_bytes()),
            Value::String(text) => self.put(b's', text.as_bytes()),
            Value::Array(items) => {
                self.begin(b'a', items.len());
                for item in items {
                    self.put_value(item);
                }
            }
            Value::Object(fields) => {
                self.begin(b'o', fields.len());
                for (key, value) in fields {
                    self.put(b'k', key.as_bytes());
                    self.put_value(value);
                }
            }
        }
    }
}

/// The YAML of a configuration that came from YAML.
pub(super) fn yaml_text<T: Serialize>(value: &T) -> String {
    yaml::to_string(value).expect("a value with text keys alone always has a YAML form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_alone_has_the_same_digest() {
        let digest = |value: Value| ContentDigest::default().with(&value).finish();
        assert_eq!(digest(json!({"a": 1, "b": [2]})), digest(serde_json::from_str(r#"{"b": [2], "a": 1}"#).unwrap()));
        let different = [
            json!(null),
            json!(false),
            json!(true),
            json!(1),
            json!("1"),
            json!(""),
            json!([]),
            json!({}),
            json!([[]]),
            json!(["ab"]),
            json!(["a", "b"]),
            json!(["a", ["b"]]),
            json!([["a"], "b"]),
            json!({"a": "b"}),
            json!({"ab": ""}),
            json!({"a": {"b": "c"}, "d": "e"}),
            json!({"a": {"b": "c", "d": "e"}}),
        ];
        let digests: std::collections::BTreeSet<_> = different.iter().cloned().map(digest).collect();
        assert_eq!(digests.len(), different.len());
        let texts =
            |texts: &[&str]| texts.iter().fold(ContentDigest::default(), |it, text| it.with_text(text)).finish();
        assert_ne!(texts(&["ab", "c"]), texts(&["a", "bc"]));
    }
}
