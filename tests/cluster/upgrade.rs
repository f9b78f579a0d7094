//! From an earlier build to this one, with pods and samples.

use std::{
    env,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use crate::{grafana, nodes::until, removal::claims, world::World};

/// The variable that names the earlier build.
pub const OLD: &str = "OLD_SCALEKIT";

pub async fn an_older_build_is_brought_up_to_date_with_its_samples_and_its_password(world: &World) {
    let old = PathBuf::from(env::var_os(OLD).unwrap());
    let old = |arguments: &[&str]| {
        let mut command = Command::new(&old);
        command.env("HOME", world.state()).env("PATH", world.path()).arg("--kubeconfig").arg(world.kubeconfig());
        World::run(command.arg("--config").arg(world.settings()).args(arguments))
    };
    old(&["up"]).exits(0);
    old(&["demo", "up", "watcherbot"]).exits(0);
    world.until_replicas("demo", "watcherbot", 1, Duration::from_secs(180)).await;
    // At the time of a sample, to which none comes later.
    let scraped = "timestamp(prometheus_tsdb_head_samples_appended_total)";
    let at = until("Prometheus is scraped", async || Some(world.query(scraped).await.first()?.value)).await;
    let of_then = format!("prometheus_tsdb_head_samples_appended_total @ {at}");
    let before = world.query(&of_then).await;
    let (password, claims_before) = (grafana::password(world), claims(world));
    assert_eq!(claims_before.len(), 2, "{claims_before:?}");

    let ran = world.scalekit(["plan"]).exits(10);
    println!("{}", ran.stdout);
    let began = Instant::now();
    let ran = world.scalekit(["up"]).exits(0);
    println!("{}{:.1} s", ran.stderr, began.elapsed().as_secs_f64());

    assert_eq!(claims(world), claims_before, "a claim that was made anew is another volume");
    assert_eq!(grafana::password(world), password);
    let again = world.query(&of_then).await;
    let values =
        |samples: &[scalekit::prometheus::Sample]| samples.iter().map(|sample| sample.value).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&before), "samples of before");
    world.until_healthy(&[]).await;
    let mark = world.audit_mark();
    world.scalekit(["up"]).exits(0).says("nothing to change");
    world.asked_and_wrote_nothing(mark);
    // The Autoscaler of before is the new scaler's.
    world.scalekit(["demo", "load", "watcherbot", "--tasks", "25"]).exits(0);
    world.until_replicas("demo", "watcherbot", 3, Duration::from_secs(300)).await;
    world.scalekit(["demo", "down", "watcherbot"]).exits(0);
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
    crate::removal::nothing_is_left(world).await;
}
