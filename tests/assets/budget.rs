//! What the stack may take: objects, images, pods, memory, and the limits of each scrape.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::built::{containers, kind, pods, stack, title};

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

fn requested_mebibytes(container: &Value) -> u64 {
    let quantity = container["resources"]["requests"]["memory"].as_str().expect("a memory request");
    quantity.strip_suffix("Mi").and_then(|number| number.parse().ok()).expect("a request in Mi")
}
