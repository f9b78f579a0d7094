//! An API server that is away while `up` waits for pods of a real kubelet.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStderr, Command},
    time::timeout,
};

use crate::{
    api_server,
    nodes::{WITHIN, until},
    world::World,
};

const AWAY: Duration = Duration::from_secs(20);

/// What is rolled out meanwhile.
const WORKLOAD: &str = "kube-state-metrics";

/// A condition without which its new pod is not ready, and which nobody but this test fulfils.
const GATE: &str = "scalekit-test/open";

/// In the middle of a rollout: what the wait has seen last is half of it, and the rest is told by watches that have to begin
/// anew.
pub async fn an_api_server_that_is_away_while_up_waits_is_waited_for(world: &World) {
    let deployments = world.deployments("monitoring");
    set_gates(&deployments, &json!([{"conditionType": GATE}])).await;
    let mut command = Command::from(world.command());
    command.args(["up", "--events", "ndjson"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut waits = false;
    loop {
        let event = next(&mut lines).await.expect("it waits for the gate");
        waits = waits || event["event"] == "step-started" && event["step"] == "wait";
        let is_it = event["event"] == "in-progress" && event["object"]["name"] == WORKLOAD;
        // Until it has been seen once it is in progress, too.
        if waits && is_it && event["why"].as_str().is_some_and(|why| why.starts_with("0 of 1 ready")) {
            println!("away after: {}", event["why"]);
            break;
        }
    }
    api_server::is_away(world.state(), AWAY).await;
    let back = Instant::now();
    open_gate(world).await;
    let mut waited = Duration::ZERO;
    while let Some(event) = next(&mut lines).await {
        if event["event"] == "step-finished" && event["step"] == "wait" {
            waited = serde_json::from_value(event["took"].clone()).unwrap();
            println!("ready {:.1} s after it was back", back.elapsed().as_secs_f64());
        }
    }
    let ended = timeout(WITHIN, run.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(waited >= AWAY, "{waited:?}");

    set_gates(&deployments, &Value::Null).await;
    world.kubectl(["rollout", "status", "-n", "monitoring", &format!("deployment/{WORKLOAD}"), "--timeout=300s"]);
    world.until_healthy(&[]).await;
    world.scalekit(["plan"]).exits(0);
}

/// The next event. An error would be told in words.
async fn next(lines: &mut Lines<BufReader<ChildStderr>>) -> Option<Value> {
    let line = timeout(WITHIN, lines.next_line()).await.expect("an event, or the end").unwrap()?;
    Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")))
}

/// Changes what its pods are made from, and nothing that we declare of it.
async fn set_gates(deployments: &Api<Deployment>, gates: &Value) {
    let patch = json!({"spec": {"template": {"spec": {"readinessGates": gates}}}});
    until("the gates are set", async || {
        deployments.patch(WORKLOAD, &PatchParams::default(), &Patch::Merge(&patch)).await.ok()
    })
    .await;
}

/// An API server that has only just come back may refuse a request or two.
async fn open_gate(world: &World) {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
    let of_the_workload = ListParams::default().labels(&format!("app.kubernetes.io/name={WORKLOAD}"));
    let open = json!({"status": {"conditions": [{"type": GATE, "status": "True"}]}});
    until("the new pod's gate is opened", async || {
        let listed = pods.list(&of_the_workload).await.ok()?.items;
        let gated = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.readiness_gates.is_some());
        let name = listed.iter().find(gated)?.metadata.name.clone()?;
        pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&open)).await.ok()
    })
    .await;
}
