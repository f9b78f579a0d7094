//! The scaler beside an API server that stumbles, definitions that go and come back, and others who write.

use kube::api::{ListParams, Patch, PatchParams};
use scalekit::autoscaling::api;
use serde_json::json;

use crate::{
    prometheus::{Says, Servers},
    proxy::Plan,
    scaler::{
        Scaler, asks, begin, define, define_autoscalers, make, objects, orders, undefine, until, until_ordered,
        until_told,
    },
    seed,
    tanks::{definitions, tank},
    world::World,
};

/// So many that some of their writes are carried out and nobody hears of it.
const MANY: usize = 30;

/// Requests get 429 or 500, and some of those were carried out all the same.
pub async fn a_fifth_of_all_requests_fails_and_every_count_follows(world: &World) {
    begin(world).await;
    let servers = Servers::start().await;
    let names: Vec<String> = (0..MANY).map(|place| format!("tank-{place}")).collect();
    let url = servers.url("load");
    for name in &names {
        make(world, [tank(name, 1), asks(name, Some(&url), &json!({}))]).await;
    }
    servers.say("load", Says::values(&["25"]));
    world.proxy.follow(Plan { faults: Some((20, seed())), ..Plan::default() });
    // All of them want fewer at once in the end, and rightly so.
    let arguments = ["--prometheus-url", &url, "--most-down-share", "1"];
    let scaler = Scaler::start_by(world, &world.through_the_proxy(), &arguments).await;
    for (load, count) in [("25", 3), ("45", 5), ("15", 2)] {
        servers.say("load", Says::values(&[load]));
        let all: Vec<_> = names.iter().map(|name| (&**name, count)).collect();
        until_ordered(world, &all).await;
    }
    // What it wrote itself and heard nothing of is not somebody else's.
    for one in objects(world, "Autoscaler").list(&ListParams::default()).await.unwrap() {
        let conditions = one.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let accuses = conditions.iter().any(|one| one["type"] == "Conflict" && one["status"] == "True");
        assert!(!accuses, "{:#}", one.data["status"]);
    }
    world.proxy.follow(Plan::default());
    scaler.end(world).await;
}

/// First of what is scaled, then of Autoscalers themselves. The scaler is the same all the while.
pub async fn definitions_go_and_come_back_and_scaling_goes_on_without_a_restart(world: &World) {
    begin(world).await;
    let servers = Servers::start().await;
    let url = servers.url("load");
    let scaled = || asks("tank", Some(&url), &json!({}));
    servers.say("load", Says::values(&["25"]));
    make(world, [scaled()]).await;
    let scaler = Scaler::start(world, &["--prometheus-url", &url]).await;
    until_told(world, &[("tank", "AbleToScale", "FailedGetScale", "make it, or write the name of one")]).await;
    make(world, [tank("tank", 1)]).await;
    until_ordered(world, &[("tank", 3)]).await;

    undefine(world, "tanks.scalekit-test.dev").await;
    until_told(world, &[("tank", "AbleToScale", "FailedGetScale", "is gone")]).await;
    let [of_tanks, _] = definitions();
    let mut without = of_tanks.clone();
    without["spec"]["versions"][0]["subresources"].as_object_mut().unwrap().remove("scale");
    define(world, &without).await;
    make(world, [tank("tank", 1)]).await;
    until_told(world, &[("tank", "AbleToScale", "FailedGetScale", "scale subresource")]).await;
    define(world, &of_tanks).await;
    until_ordered(world, &[("tank", 3)]).await;
    // It is another one of the same name, and was ordered once.
    assert_eq!(orders(world, "tank").await, (2, 3));

    undefine(world, "autoscalers.scalekit.dev").await;
    assert_eq!(orders(world, "tank").await, (2, 3), "nobody orders anything when it goes");
    servers.say("load", Says::values(&["45"]));
    define_autoscalers(world).await;
    make(world, [scaled()]).await;
    until_ordered(world, &[("tank", 5)]).await;
    scaler.end(world).await;
}

/// What it left itself is not taken for somebody else's, whatever is called for meanwhile.
pub async fn who_wrote_a_count_while_no_scaler_ran_is_named_and_left_alone(world: &World) {
    begin(world).await;
    let servers = Servers::start().await;
    let url = servers.url("load");
    servers.say("load", Says::values(&["25"]));
    for name in ["somebodys", "its-own"] {
        make(world, [tank(name, 1), asks(name, Some(&url), &json!({}))]).await;
    }
    let scaler = Scaler::start(world, &["--prometheus-url", &url]).await;
    for name in ["somebodys", "its-own"] {
        until("it is remembered where it was left", async || {
            let object = objects(world, "Autoscaler").get(name).await.map_err(|error| error.to_string())?;
            let status = &object.data["status"];
            if status["memory"]["leftAt"] == 3 { Ok(()) } else { Err(format!("{name}: {status:#}")) }
        })
        .await;
    }
    scaler.stop().await;
    let by = PatchParams { field_manager: Some("night-shift".to_owned()), ..PatchParams::default() };
    let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
    objects(world, "Tank").patch("somebodys", &by, &two).await.unwrap();
    servers.say("load", Says::values(&["45"]));
    let scaler = Scaler::start(world, &["--prometheus-url", &url]).await;
    until_told(world, &[("somebodys", "Conflict", "ForeignWriter", "night-shift")]).await;
    until_ordered(world, &[("its-own", 5)]).await;
    assert_eq!(orders(world, "somebodys").await, (3, 2), "it is left alone");
    scaler.end(world).await;
}

/// Objects that break a rule, or that cannot be read at all: a definition that was there before was no hindrance to them.
pub async fn what_a_laxer_definition_let_in_is_told_and_stops_nobody(world: &World) {
    begin(world).await;
    let servers = Servers::start().await;
    let url = servers.url("load");
    servers.say("load", Says::values(&["25"]));
    let mut lax = serde_json::to_value(api::crd()).unwrap();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything;
    define(world, &lax).await;
    let changes = [
        ("contradicts-itself", json!({"minReplicas": 6})),
        ("is-unreadable", json!({"maxReplicas": "many"})),
        ("is-right", json!({})),
    ];
    for (name, changes) in &changes {
        make(world, [tank(name, 1), asks(name, Some(&url), changes)]).await;
    }
    define_autoscalers(world).await;
    let scaler = Scaler::start(world, &["--prometheus-url", &url]).await;
    until_ordered(world, &[("is-right", 3)]).await;
    until_told(world, &[("contradicts-itself", "ScalingActive", "InvalidSpec", "maxReplicas")]).await;
    for name in ["contradicts-itself", "is-unreadable"] {
        assert_eq!(orders(world, name).await, (1, 1), "{name}");
    }
    // Mended, it is looked at like any other.
    let mended = Patch::Merge(json!({"spec": {"minReplicas": 1, "maxReplicas": 5}}));
    for name in ["contradicts-itself", "is-unreadable"] {
        objects(world, "Autoscaler").patch(name, &PatchParams::default(), &mended).await.unwrap();
        until_ordered(world, &[(name, 3)]).await;
    }
    scaler.end(world).await;
}
