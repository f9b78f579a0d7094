//! From a registry onto a node.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, LogParams, PostParams},
};
use serde_json::json;
use tokio::process::Command;

use crate::{api_server, in_memory::Registry, nodes::until, world::World};

const NAME: &str = "scalekit-test-pulled";

/// Sent from this machine, where the registry has a name by which the node does not reach it: its runtime is told how.
pub async fn a_kubelet_pulls_what_was_pushed(world: &World) {
    let registry = Registry::start(Ipv4Addr::UNSPECIFIED.into()).await;
    let port = registry.address.port();
    let name = format!("127.0.0.1:{port}");
    let push = Command::from(world.command()).args(["images", "push", &name]).output().await.unwrap();
    let (pushed, words) = (String::from_utf8(push.stdout).unwrap(), String::from_utf8_lossy(&push.stderr).into_owned());
    let (reference, digest) = pushed.trim().split_once("  ").expect(&words);

    let host = format!("http://{}:{port}", world.host().unwrap());
    let told = format!("server = \"{host}\"\n[host.\"{host}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    let folder = format!("/etc/containerd/certs.d/{name}");
    let node = api_server::first_process(world.state());
    let on_the_node = async |script: &str| {
        let mut shell = Command::new("nsenter");
        shell.args(["--target", &node, "--mount", "--", "sh", "-c", script, "sh", &folder, &told]);
        let status = shell.status().await.unwrap();
        assert!(status.success(), "the runtime cannot be told");
    };
    on_the_node("mkdir -p \"$1\" && printf '%s' \"$2\" >\"$1/hosts.toml\"").await;

    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    let pod = json!({"metadata": {"name": NAME}, "spec": {"restartPolicy": "Never", "containers": [
        {"name": "c", "image": reference, "imagePullPolicy": "Always", "args": ["--version"]}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = until("it has run", async || {
        let status = pods.get(NAME).await.ok()?.status?;
        let ended = ["Succeeded", "Failed"].contains(&status.phase.as_deref().unwrap_or_default());
        status.container_statuses.unwrap_or_default().pop().filter(|_| ended)
    })
    .await;
    assert!(status.image_id.ends_with(digest), "{status:#?}");
    let said = until("its log is read", async || pods.logs(NAME, &LogParams::default()).await.ok()).await;
    assert_eq!(said.trim(), concat!("scalekit ", env!("CARGO_PKG_VERSION")), "{status:#?}");
    pods.delete(NAME, &DeleteParams::default().grace_period(0)).await.unwrap();
    world.ctr(["images", "rm", "--sync", reference]);
    on_the_node("rm -r \"$1\"").await;
}
