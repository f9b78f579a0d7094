//! What must not leave the cluster in a bundle, and how it is taken out. Pure.
//!
//! Three nets: a Secret shows its keys and lengths only; what looks like a credential in an environment variable or a
//! URL is hidden; and every value of a Secret of ours that could be read is hidden wherever else it occurs, as it is
//! and in base64.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// What stands in the place of what is hidden.
pub const HIDDEN: &str = "[hidden]";

/// Shorter values are words of every text; they are hidden in the Secret itself alone.
const SHORTEST: usize = 6;

/// Parts of the names of environment variables whose values are hidden.
const CREDENTIAL_NAMES: [&str; 9] =
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "API_KEY", "CREDENTIAL", "PRIVATE", "WEBHOOK"];

/// Values that are secret, the longest first: one may be a part of another.
#[derive(Clone, Default)]
pub struct SecretValues(Vec<String>);

impl SecretValues {
    /// The values of these Secrets: each as a whole, line by line, and what stands behind a key in a line.
    pub fn of(secrets: &[DynamicObject]) -> Self {
        let mut values = BTreeSet::new();
        for secret in secrets {
            for encoded in secret.data["data"].as_object().into_iter().flat_map(|data| data.values()) {
                let Some(bytes) = encoded.as_str().and_then(|text| STANDARD.decode(text).ok()) else { continue };
                let Ok(text) = String::from_utf8(bytes) else { continue };
                for part in [text.as_str()].into_iter().chain(text.lines()) {
                    let behind = part.split_once(": ").map_or("", |(_, behind)| behind);
                    for value in [part, behind] {
                        let value = value.trim().trim_matches(['"', '\'']);
                        // A line that is but a key of YAML is no secret.
                        if value.len() >= SHORTEST && !value.ends_with(':') {
                            values.insert(value.to_owned());
                            values.insert(STANDARD.encode(value).trim_end_matches('=').to_owned());
                        }
                    }
                }
                values.insert(encoded.as_str().unwrap_or_default().to_owned());
            }
        }
        let mut values: Vec<String> = values.into_iter().filter(|value| value.len() >= SHORTEST).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// The text without them, and without credentials in URLs.
    pub fn hide(&self, text: &str) -> String {
        let hidden = self.0.iter().fold(text.to_owned(), |text, value| text.replace(value, HIDDEN));
        without_user(&hidden)
    }
}

/// Hides what an object must not show, and what nobody reads (managed fields, the last applied manifest).
pub fn redact(object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    if object.types.as_ref().is_some_and(|types| types.kind == "Secret") {
        for key in ["data", "stringData"] {
            if let Some(values) = object.data.get_mut(key).and_then(Value::as_object_mut) {
                values.values_mut().for_each(|value| *value = json!(length(value)));
            }
        }
        return;
    }
    for pod in ["/spec", "/spec/template/spec"] {
        for containers in ["containers", "initContainers", "ephemeralContainers"] {
            let Some(Value::Array(containers)) = object.data.pointer_mut(&format!("{pod}/{containers}")) else {
                continue;
            };
            let environments = containers.iter_mut().filter_map(|container| container.get_mut("env")?.as_array_mut());
            for variable in environments.flatten() {
                let name = variable["name"].as_str().unwrap_or_default().to_uppercase();
                if variable.get("value").is_some() && CREDENTIAL_NAMES.iter().any(|part| name.contains(part)) {
                    variable["value"] = json!(HIDDEN);
                }
            }
        }
    }
}

fn length(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    format!("{HIDDEN} {} bytes", STANDARD.decode(text).map_or(text.len(), |bytes| bytes.len()))
}

/// `https://user:password@host` without who and with what.
fn without_user(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let authority = part.find(|c: char| c.is_whitespace() || "/?#\"'<>,;`".contains(c)).unwrap_or(part.len());
        match part[..authority].rfind('@') {
            Some(at) => {
                shown.push_str(HIDDEN);
                shown.push_str(&part[at..]);
            }
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn secret() -> DynamicObject {
        let config = "global:\n  slack_api_url: 'https://hooks.example/T0/B0/abcdef'\n  short: abc\n";
        object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "managedFields": [],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2-hunter2"}},
            "data": {"password": STANDARD.encode("hunter2-hunter2"), "config": STANDARD.encode(config)}}))
    }

    #[test]
    fn a_secret_shows_its_keys_and_lengths() {
        let mut secret = secret();
        redact(&mut secret);
        assert_eq!(secret.data["data"]["password"], "[hidden] 15 bytes");
        assert!(secret.data.get("stringData").is_none(), "nothing is added");
        let text = serde_json::to_string(&secret).unwrap();
        assert!(text.contains("config") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn its_values_are_hidden_wherever_they_occur() {
        let values = SecretValues::of(&[secret()]);
        let encoded = STANDARD.encode("hunter2-hunter2");
        for text in [
            "level=error msg=\"login with hunter2-hunter2 failed\"".to_owned(),
            format!("data: {encoded}"),
            "POST https://hooks.example/T0/B0/abcdef: 404".to_owned(),
        ] {
            let hidden = values.hide(&text);
            assert!(hidden.contains(HIDDEN), "{hidden}");
            assert!(!hidden.contains("hunter2") && !hidden.contains("B0") && !hidden.contains(&encoded), "{hidden}");
        }
        assert_eq!(values.hide("abc, global: yes"), "abc, global: yes", "short words stay");
    }

    #[test]
    fn environment_variables_that_look_like_credentials_are_hidden() {
        let env = json!([{"name": "DB_PASSWORD", "value": "x1"}, {"name": "MODE", "value": "fast"},
            {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        let mut deployment = object(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "env": env}]}}}}));
        redact(&mut deployment);
        let env = &deployment.data["spec"]["template"]["spec"]["containers"][0]["env"];
        assert_eq!((&env[0]["value"], &env[1]["value"]), (&json!(HIDDEN), &json!("fast")));
        assert_eq!(env[2]["valueFrom"]["secretKeyRef"]["name"], "s");
    }

    #[rstest]
    #[case::user("GET http://me:pw@host:1/x?y=a@b", "GET http://[hidden]@host:1/x?y=a@b")]
    #[case::none("see https://host/a@b and mail me@host", "see https://host/a@b and mail me@host")]
    #[case::two("a://u@b, c://d:e@f", "a://[hidden]@b, c://[hidden]@f")]
    #[case::at_in_the_password("http://u:p@w@host/", "http://[hidden]@host/")]
    #[case::end("://", "://")]
    fn urls_lose_who_and_with_what(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(without_user(text), expected);
    }
}
