//! The scaler alone, on top of a Prometheus that is there already.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::edit;

/// A Prometheus, or what speaks as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalPrometheus {
    /// Its address, as the scaler reaches it.
    pub url: String,
    /// The Secret with what it wants to see, in the scaler's namespace.
    pub secret: Option<String>,
}

/// Where the Secret is mounted.
const MOUNTED: &str = "/etc/scalekit/prometheus";

impl ExternalPrometheus {
    fn port(&self) -> u16 {
        let authority = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        let named = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        named.unwrap_or(if self.url.starts_with("https://") { 443 } else { 80 })
    }
}

/// Whether an object of what all components share is of use to the scaler alone.
pub(super) fn is_shared(object: &DynamicObject) -> bool {
    let nodes = Some("monitoring-nodes");
    object.metadata.namespace.as_deref() != nodes && object.metadata.name.as_deref() != nodes
}

/// Changes the scaler's objects so that it asks that server.
pub(super) fn adapt(object: &mut DynamicObject, external: &ExternalPrometheus) {
    match edit::kind(object) {
        "Deployment" => {
            edit::set_argument(object, "--prometheus-url", &external.url);
            if let (Some(secret), Some(template)) = (&external.secret, edit::pod_template(object)) {
                mount(template, secret);
                edit::add_argument(object, &format!("--prometheus-credentials={MOUNTED}"));
            }
        }
        "NetworkPolicy" => open(object, external.port()),
        _ => {}
    }
}

fn mount(template: &mut Value, secret: &str) {
    template["spec"]["volumes"] =
        json!([{"name": "prometheus", "secret": {"secretName": secret, "defaultMode": 0o444}}]);
    for container in edit::items(template, "/spec/containers") {
        container["volumeMounts"] = json!([{"name": "prometheus", "mountPath": MOUNTED, "readOnly": true}]);
    }
}

/// Where that server is, no label says; and who scrapes the scaler neither.
fn open(policy: &mut DynamicObject, port: u16) {
    for rule in edit::items(&mut policy.data, "/spec/egress") {
        let to_ours =
            rule.pointer("/to/0/podSelector/matchLabels/app.kubernetes.io~1name") == Some(&json!("prometheus"));
        if to_ours {
            *rule = json!({"ports": [{"port": port, "protocol": "TCP"}]});
        }
    }
    for rule in edit::items(&mut policy.data, "/spec/ingress") {
        if let Some(rule) = rule.as_object_mut() {
            rule.remove("from");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        catalog::{Options, stack, test_options},
        platform,
    };

    fn alone(secret: Option<&str>) -> Vec<DynamicObject> {
        let external =
            ExternalPrometheus { url: "https://thanos.example:9091/x".to_owned(), secret: secret.map(str::to_owned) };
        let options = Options { external: Some(external), ..test_options() };
        stack(&options, &platform::assume("kind".parse().unwrap(), &[], &[]))
    }

    fn find<'a>(objects: &'a [DynamicObject], kind: &str) -> &'a DynamicObject {
        objects.iter().find(|object| edit::kind(object) == kind && edit::name(object) == "scaler").unwrap()
    }

    #[test]
    fn nothing_but_the_scaler_is_left() {
        let objects = alone(None);
        for object in &objects {
            let text = serde_json::to_string(object).unwrap();
            assert!(!text.contains("grafana") && !text.contains("monitoring-nodes"), "{text}");
        }
        let kinds: Vec<&str> = objects.iter().map(edit::kind).collect();
        assert!(!kinds.contains(&"StatefulSet") && !kinds.contains(&"PersistentVolumeClaim"), "{kinds:?}");
        assert!(kinds.contains(&"CustomResourceDefinition") && kinds.contains(&"Namespace"), "{kinds:?}");
    }

    #[test]
    fn it_asks_that_server_and_is_let_out_to_it() {
        let objects = alone(Some("prom"));
        let pod = &find(&objects, "Deployment").data["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        assert!(arguments.contains(&json!("--prometheus-url=https://thanos.example:9091/x")), "{arguments:?}");
        assert!(arguments.contains(&json!("--prometheus-credentials=/etc/scalekit/prometheus")), "{arguments:?}");
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "prom");
        let policy = &find(&objects, "NetworkPolicy").data["spec"];
        assert_eq!(policy["egress"][1], json!({"ports": [{"port": 9091, "protocol": "TCP"}]}));
        assert_eq!(policy["ingress"][0].get("from"), None);
    }

    #[rstest]
    #[case("http://prometheus", 80)]
    #[case("https://thanos.example/api", 443)]
    #[case("http://vm.example:8428/select/0/prometheus", 8428)]
    fn the_port_is_the_urls(#[case] url: &str, #[case] port: u16) {
        assert_eq!(ExternalPrometheus { url: url.to_owned(), secret: None }.port(), port);
    }
}
