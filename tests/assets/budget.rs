//! What the stack may take: objects, images, pods, memory, and the limits of each scrape.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use scalekit::{
    catalog::{self, Alerting, Component, Options, Profile, SecretText},
    yaml,
};
use serde_json::Value;

use crate::built::{containers, kind, options, platform, pods, stack, title};

#[test]
fn the_stack_stays_within_its_budget() {
    let objects = stack("kind");
    let pods = pods(&objects);
    assert!(objects.len() <= 45, "{} objects", objects.len());
    assert!(pods.len() <= 6, "{} pods on one node", pods.len());
    let images: BTreeSet<_> =
        pods.iter().flat_map(|(_, pod)| containers(pod)).map(|c| c["image"].to_string()).collect();
    assert_eq!(images.len(), 5, "{images:?}");
    let requested: u64 = pods.iter().flat_map(|(_, pod)| containers(pod)).map(requested_mebibytes).sum();
    assert!(requested <= 300, "{requested} MiB requested");
    let dashboards = objects.iter().filter(|object| title(object).starts_with("ConfigMap grafana-dashboards"));
    assert!(dashboards.count() <= 2);
    for object in objects.iter().filter(|object| kind(object) == "ConfigMap") {
        let bytes = object.data.to_string().len();
        assert!(bytes < 900 << 10, "{} has {bytes} bytes, and the API server takes no more than 1 MiB", title(object));
    }
}

/// The smallest profile, Alertmanager among it, is for machines where each mebibyte counts.
#[test]
fn every_profile_is_larger_than_the_one_before_and_the_smallest_is_small() {
    let receiver = Alerting::Receivers { slack: None, webhook: Some(SecretText::new("https://receiver.example")) };
    let requested = |profile| {
        let options = Options { alerting: Some(receiver.clone()), ..options().sized(profile) };
        let objects = catalog::stack(&options, &platform("kind"));
        pods(&objects).iter().flat_map(|(_, pod)| containers(pod)).map(requested_mebibytes).sum::<u64>()
    };
    let [edge, laptop, team] = Profile::ALL.map(requested);
    assert!(edge <= 300, "{edge} MiB requested");
    assert!(edge < laptop && laptop < team, "{edge} {laptop} {team}");
}

#[test]
fn the_manifests_are_those_of_the_default_profile() {
    for component in Component::ALL {
        let folder = format!("assets/{component}");
        let texts = std::fs::read_dir(folder)
            .expect("a folder")
            .filter_map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).ok());
        let objects: Vec<DynamicObject> = texts.flat_map(|text| yaml::parse_all(&text).expect("manifests")).collect();
        let expected = Profile::default().resources(component);
        for (owner, pod) in pods(&objects) {
            for container in containers(pod) {
                for (which, [cpu, memory]) in [("requests", expected.requests), ("limits", expected.limits)] {
                    assert_eq!(
                        container["resources"][which],
                        serde_json::json!({"cpu": cpu, "memory": memory}),
                        "{owner}"
                    );
                }
            }
        }
    }
}

fn requested_mebibytes(container: &Value) -> u64 {
    let quantity = container["resources"]["requests"]["memory"].as_str().expect("a memory request");
    let number = |unit: &str| quantity.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    number("Mi").or(number("Gi").map(|gibibytes| gibibytes << 10)).expect("a request in Mi or Gi")
}
