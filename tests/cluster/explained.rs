//! What `explain` tells.

use serde_json::Value;

use crate::world::World;

/// Of an Autoscaler, once it tells.
pub async fn explained(world: &World, (namespace, name): (&str, &str), more: &[&str]) -> Value {
    let target = format!("as/{name}");
    let of_target = ["explain", &target, "-n", namespace, "-o", "json"];
    serde_json::from_str(&world.until_it_passes(&[&of_target, more].concat()).await.stdout).unwrap()
}

/// A scaler that has just started remembers nothing.
pub fn forgets(world: &World) {
    world.kubectl(["rollout", "restart", "-n", "monitoring", "deployment/scaler"]);
    world.kubectl(["rollout", "status", "-n", "monitoring", "deployment/scaler", "--timeout=300s"]);
}
