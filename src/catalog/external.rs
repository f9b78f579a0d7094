//! The scaler alone, on top of a Prometheus that is there already.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{Options, edit};

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

/// The address of the Prometheus that the scaler among these objects asks.
pub fn prometheus_of_scaler(objects: &[DynamicObject]) -> Option<&str> {
    let scaler = objects.iter().find(|object| edit::kind(object) == "Deployment" && edit::name(object) == "scaler")?;
    let arguments = scaler.data.pointer("/spec/template/spec/containers/0/args")?.as_array()?;
    arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix("--prometheus-url="))
}

impl Options {
    /// What is set and holds for nothing where the scaler alone is installed, in a clause; `None` where nothing is.
    pub fn unused_in_words(&self) -> Option<String> {
        let unused = self.unused();
        (!unused.is_empty()).then(|| format!("not used, since it is the scaler alone: {}", unused.join(", ")))
    }

    /// The keys of those settings.
    fn unused(&self) -> Vec<&'static str> {
        let usual = Self::new("", "").sized(self.profile);
        let alone = [
            ("alerting", self.alerting.is_some()),
            ("dropMetrics", !self.drop_metrics.is_empty()),
            ("retention", self.retention != usual.retention),
            ("rules", !self.additions.rules.is_empty()),
            ("runbooks", self.runbooks != usual.runbooks),
            ("scrapeConfigs", !self.additions.scrapes.is_empty()),
            ("scrapeInterval", self.scrape_interval_seconds != usual.scrape_interval_seconds),
            ("storage", self.storage != usual.storage),
        ];
        alone.into_iter().filter(|(_, set)| *set && self.external.is_some()).map(|(key, _)| key).collect()
    }
}

/// Whether an object of what all components share is of use to the scaler alone. That nothing is let in or out does the
/// scaler's own policy say of it; said of all pods, it would cut off a Prometheus in the same namespace.
pub(super) fn is_shared(object: &DynamicObject) -> bool {
    let nodes = Some("monitoring-nodes");
    let name = object.metadata.name.as_deref();
    object.metadata.namespace.as_deref() != nodes && name != nodes && name != Some("default-deny")
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
        "NetworkPolicy" => open(object),
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

/// Where that server is, no label says; and who scrapes the scaler neither. Its port is not the address': most network plugins see
/// that of the pods behind a Service.
fn open(policy: &mut DynamicObject) {
    for rule in edit::items(&mut policy.data, "/spec/egress") {
        let to_ours =
            rule.pointer("/to/0/podSelector/matchLabels/app.kubernetes.io~1name") == Some(&json!("prometheus"));
        if to_ours {
            *rule = json!({"ports": [{"protocol": "TCP"}]});
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
    use super::*;
    use crate::{
        catalog::{stack, test_options},
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
            let of_all = object.data.pointer("/spec/podSelector") == Some(&json!({}));
            assert!(!of_all, "what else is in its namespace is not cut off: {text}");
        }
        let kinds: Vec<&str> = objects.iter().map(edit::kind).collect();
        assert!(!kinds.contains(&"StatefulSet") && !kinds.contains(&"PersistentVolumeClaim"), "{kinds:?}");
        assert!(kinds.contains(&"CustomResourceDefinition") && kinds.contains(&"Namespace"), "{kinds:?}");
    }

    #[test]
    fn what_is_set_for_the_rest_of_the_stack_is_named() {
        let mut options = test_options();
        options.drop_metrics.push("x".to_owned());
        options.storage.class = Some("fast".to_owned());
        assert!(options.unused().is_empty(), "the whole stack uses it");
        options.external = Some(ExternalPrometheus { url: "http://p".to_owned(), secret: None });
        assert_eq!(options.unused(), ["dropMetrics", "storage"]);
        let plain = Options { external: options.external, ..test_options() };
        assert!(plain.unused().is_empty());
    }

    #[test]
    fn it_asks_that_server_and_is_let_out_to_it() {
        let objects = alone(Some("prom"));
        let pod = &find(&objects, "Deployment").data["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        assert!(arguments.contains(&json!("--prometheus-url=https://thanos.example:9091/x")), "{arguments:?}");
        assert!(arguments.contains(&json!("--prometheus-credentials=/etc/scalekit/prometheus")), "{arguments:?}");
        assert_eq!(prometheus_of_scaler(&objects), Some("https://thanos.example:9091/x"));
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "prom");
        let policy = &find(&objects, "NetworkPolicy").data["spec"];
        assert_eq!(policy["egress"][1], json!({"ports": [{"protocol": "TCP"}]}), "whatever port its pods have");
        assert_eq!(policy["ingress"][0].get("from"), None);
        assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]), "else it would need a policy for all pods");
    }
}
