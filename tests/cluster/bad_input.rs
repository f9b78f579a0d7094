//! Input that cannot be right: a clear error, the right exit code, and nothing written.

use std::time::Duration;

use crate::world::World;

/// What is promised.
const SOON: Duration = Duration::from_secs(5);

/// A machine that does much else may hold one run up; it does not hold up each of these.
const TRIES: usize = 3;

pub async fn an_unreachable_server_is_named_within_seconds(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    // A port of this machine on which nothing listens.
    let unreachable = "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:9'}}]\n\
                       users: [{name: x, user: {token: x}}]\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n";
    std::fs::write(&kubeconfig, unreachable).unwrap();
    let mut took = Vec::new();
    while took.iter().all(|took| *took >= SOON) {
        assert!(took.len() < TRIES, "{took:?}");
        let ran = World::run(world.bare().arg("--kubeconfig").arg(&kubeconfig).arg("up"));
        took.push(ran.exits(4).says("https://127.0.0.1:9").says("hint:").took);
    }
}

pub async fn an_unknown_context_is_answered_with_the_known_ones(world: &World) {
    world.scalekit(["--context", "nowhere", "up"]).exits(2).says("no context `nowhere`").says("there are: ");
}

pub async fn an_unknown_flag_value_is_refused(world: &World) {
    world.scalekit(["up", "--scrape-interval", "soon"]).exits(2).says("`soon` is not a duration");
    world.scalekit(["up", "--image", "grafna=x"]).exits(2).says("grafna");
    world.scalekit(["up", "--platform", "openstack"]).exits(2).says("openstack");
    world.scalekit(["upp"]).exits(2).says("up");
}

pub async fn a_broken_settings_file_says_where(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scalekit.yaml");
    std::fs::write(&file, "namespace: monitoring\nstorage:\n  sise: 5Gi\n").unwrap();
    let ran = World::run(world.bare().arg("--kubeconfig").arg(world.kubeconfig()).arg("--config").arg(&file).arg("up"));
    ran.exits(2).says("scalekit.yaml").says("sise").says("3");
}

/// All of it again on this cluster, in one go, so that its audit log can be asked.
pub async fn nothing_was_written_by_any_of_these(world: &World) {
    let mark = world.audit_mark();
    an_unknown_context_is_answered_with_the_known_ones(world).await;
    an_unknown_flag_value_is_refused(world).await;
    a_broken_settings_file_says_where(world).await;
    // A run that gets as far as the cluster, for the log to hold something.
    world.scalekit(["status"]).exits(6);
    world.asked_and_wrote_nothing(mark);
}
