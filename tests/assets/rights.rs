//! What pods and roles may do.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::built::{containers, everything, kind, pods, stack, title};

#[test]
fn every_pod_gives_up_what_it_does_not_need() {
    let objects = everything();
    for (owner, pod) in pods(&objects) {
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{owner}");
        assert!(security["runAsUser"].as_u64().expect("a user") > 10_000, "{owner}");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{owner}");
        let needs_token = ["prometheus", "kube-state-metrics", "scaler"].iter().any(|name| owner.ends_with(name));
        assert_eq!(pod["automountServiceAccountToken"], needs_token, "{owner}");
        for container in containers(pod) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{owner}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{owner}");
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{owner}");
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container[probe]["httpGet"]["path"].is_string(), "{probe} of {owner}");
            }
            for which in ["requests", "limits"] {
                assert!(container["resources"][which]["cpu"].is_string(), "{which} of {owner}");
                assert!(container["resources"][which]["memory"].is_string(), "{which} of {owner}");
            }
            let variables = container["env"].as_array().into_iter().flatten();
            assert!(variables.clone().all(|variable| variable.get("valueFrom").is_none()), "a secret of {owner}");
        }
        let on_the_host = ["hostNetwork", "hostPID", "hostIPC"].iter().any(|key| pod[key] == true)
            || pod["volumes"].as_array().into_iter().flatten().any(|volume| volume.get("hostPath").is_some());
        assert_eq!(on_the_host, owner.ends_with("node-exporter"), "{owner}");
    }
}

#[test]
fn rights_are_no_wider_than_needed() {
    for object in everything().iter().filter(|object| kind(object).ends_with("Role")) {
        for rule in object.data["rules"].as_array().expect("rules") {
            let groups: Vec<&str> =
                rule["apiGroups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            // Nobody knows what the resources of these are called; they hold numbers, and the HPA may read them all.
            if groups == ["custom.metrics.k8s.io", "external.metrics.k8s.io"] {
                assert_eq!(rule["verbs"], serde_json::json!(["get", "list"]), "{}", title(object));
                continue;
            }
            let text = rule.to_string();
            for never in ["*", "\"secrets\"", "\"configmaps\"", "nodes/proxy", "pods/exec", "escalate", "bind"] {
                assert!(!text.contains(never), "{}: {text}", title(object));
            }
        }
    }
}

#[test]
fn kube_state_metrics_asks_for_what_it_may_read() {
    let objects = stack("kind");
    let role = objects.iter().find(|o| title(o) == "ClusterRole scalekit-kube-state-metrics").expect("a role");
    let rules = role.data["rules"].as_array().expect("rules");
    let allowed: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule["resources"].as_array().expect("resources"))
        .filter_map(Value::as_str)
        .collect();
    let pods = pods(&objects);
    let (_, pod) = pods.iter().find(|(owner, _)| owner == "Deployment kube-state-metrics").expect("a pod");
    let arguments = pod["containers"][0]["args"].as_array().expect("arguments");
    let asked = arguments.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix("--resources="));
    assert_eq!(asked.expect("--resources").split(',').collect::<BTreeSet<_>>(), allowed);
}
