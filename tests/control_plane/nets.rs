//! What holds a change back although the metrics call for it: what most begin to want at once, a step that is too large, and
//! a scaler that does not remember.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    prometheus::{Says, Servers},
    scaler::{Scaler, asks, begin, make, objects, orders, until_ordered, until_told},
    tanks::tank,
    world::World,
};

/// As many as it takes for a share to say something, and two more.
const CROWD: usize = 12;
/// How long a scale-down waits: all of them are looked at several times meanwhile.
const WINDOW_S: u64 = 8;

/// Of one server most begin at once to want fewer, of another one does: the former are held, the latter goes. A scaler that
/// is told that it is all right lets them go, but for the one of which it remembers nothing.
pub async fn what_most_want_at_once_is_held_and_no_step_is_larger_than_allowed(world: &World) {
    begin(world).await;
    let servers = Servers::start().await;
    let of_nobody = servers.url("of-nobody");
    let window = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": WINDOW_S}}});
    let names: Vec<String> = (0..CROWD).map(|place| format!("one-of-many-{place}")).collect();
    for (name, server) in names.iter().map(|name| (&**name, "of-many")).chain([("of-one", "of-one")]) {
        make(world, [tank(name, 1), asks(name, Some(&servers.url(server)), &window)]).await;
    }
    let only_says = asks("only-says", Some(&servers.url("of-another")), &json!({"mode": "Recommend"}));
    make(world, [tank("only-says", 1), only_says]).await;
    for server in ["of-many", "of-one", "of-another"] {
        servers.say(server, Says::values(&["45"]));
    }
    let scaler = Scaler::start(world, &["--prometheus-url", &of_nobody, "--largest-step", "2"]).await;
    // From 1 to 5 in two steps.
    let many = |count: i64| -> Vec<(&str, i64)> { names.iter().map(|name| (&**name, count)).collect() };
    until_ordered(world, &many(5)).await;
    until_ordered(world, &[("of-one", 5)]).await;
    for name in names.iter().map(|name| &**name).chain(["of-one"]) {
        assert_eq!(orders(world, name).await, (3, 5), "{name}");
    }
    until_told(world, &[("only-says", "ScalingLimited", "StepLimit", "call for 5; the scaler changes a count by 2")])
        .await;

    // The server loses what it had.
    for server in ["of-many", "of-one"] {
        servers.say(server, Says::values(&["5"]));
    }
    let says = format!("{}: more than 50 % of the Autoscalers that it feeds", servers.url("of-many"));
    let held: Vec<_> = names.iter().map(|name| (&**name, "ScalingLimited", "ManyScaleDowns", &*says)).collect();
    until_told(world, &held).await;
    for name in &names {
        assert_eq!(orders(world, name).await, (3, 5), "{name}");
    }
    until_ordered(world, &[("of-one", 1)]).await;
    assert_eq!(orders(world, "of-one").await, (5, 1), "in two steps");

    // Their windows are over, and that is remembered of all but one.
    scaler.stop().await;
    let (forgotten, remembered) = many(1).split_first().map(|(first, rest)| (first.0, rest.to_vec())).unwrap();
    let nothing = Patch::Merge(json!({"status": null}));
    objects(world, "Autoscaler").patch_status(forgotten, &PatchParams::default(), &nothing).await.unwrap();
    let began = Instant::now();
    let scaler = Scaler::start(world, &["--prometheus-url", &of_nobody, "--most-down-share", "1"]).await;
    until_ordered(world, &remembered).await;
    let took = began.elapsed();
    until_ordered(world, &[(forgotten, 1)]).await;
    println!(
        "  down after {:.1} s, and what was not remembered after {:.1} s",
        took.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    assert!(began.elapsed() >= Duration::from_secs(WINDOW_S), "for a window nobody knows what was called for before");
    scaler.end(world).await;
}
