//! What a Prometheus says that is well and has not been there for long.

use serde_json::json;

use crate::{
    autoscalers::{apply, is, until, until_replicas},
    tanks::{NAMESPACE, autoscaler, metric, tank},
    world::World,
};

/// A query that looks back on a day, of which the stack's Prometheus has minutes: its value may be too low, so it lowers
/// nothing. It may raise something, and one that looks back on a minute is believed.
pub async fn a_history_that_is_shorter_than_a_query_looks_back_lowers_nothing(world: &World) {
    let samples = |range: &str| format!("sum(sum_over_time(up[{range}]))");
    let at_once = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    let objects = [
        ("of-a-day", format!("0 * {}", samples("1d"))),
        ("of-a-minute", format!("0 * {}", samples("1m"))),
        ("of-a-day-and-more", format!("45 + 0 * {}", samples("1d"))),
    ];
    let objects = objects.map(|(name, query)| {
        let spec = json!({"interval": "1s", "behavior": at_once, "metrics": [metric(&query)]});
        [tank(name, 4), autoscaler(name, &spec)]
    });
    apply(world, &objects.concat());
    let says = "too few samples of `up` in the 24h that the query of metric load looks back";
    until(world, &[is("of-a-day", "ScalingLimited", "ShortHistory", says)]).await;
    until_replicas(world, &[("tanks", "of-a-minute", 1), ("tanks", "of-a-day-and-more", 5), ("tanks", "of-a-day", 4)])
        .await;
    world.kubectl(["delete", "autoscalers,tanks", "-n", NAMESPACE, "--all"]);
}
