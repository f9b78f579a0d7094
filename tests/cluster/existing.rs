//! The scaler alone, on top of a Prometheus that somebody else runs, and that speaks TLS and wants to know who asks.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    autoscalers::{is, until_in},
    check::on_the_port_of_node_exporter,
    guarded, https, operations,
    world::World,
};

const NAMESPACE: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: theirs}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: theirs-prometheus}
rules:
- {apiGroups: [""], resources: [pods], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: theirs-prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: theirs-prometheus}
subjects: [{kind: ServiceAccount, name: default, namespace: theirs}]
"#;

const CONFIG: &str = "
global: {scrape_interval: 5s}
scrape_configs:
- job_name: watcherbot
  kubernetes_sd_configs: [{role: pod, namespaces: {names: [demo]}}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: http, action: keep}
";

const URL: &str = "https://prometheus.theirs.svc:9090";
/// The certificates in `tests/tls` are for a gateway here, too.
const GATEWAY: &str = "scalekit-test-gateway";
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
const ALONE: [&str; 4] = ["--prometheus-url", URL, "--prometheus-secret", "prometheus-access"];

pub async fn the_scaler_alone_asks_a_prometheus_that_is_there(world: &World) {
    world.apply(NAMESPACE);
    world.apply(&guarded::prometheus("prometheus", "theirs", CONFIG));
    world.kubectl(["rollout", "status", "-n", "theirs", "deployment/prometheus", "--timeout=240s"]);
    // As whoever has a Prometheus has it: it takes the port of ours, which then is not wanted.
    let claims = json!([{"containerPort": 9100, "hostPort": 9100}]);
    world.apply(&on_the_port_of_node_exporter("theirs", "node-exporter", claims).to_string());
    // As docs/settings.md has it: the namespace is needed for the Secret, and handed over.
    world.kubectl(["create", "namespace", "monitoring"]);
    let refused = world.scalekit(["up"].iter().chain(&ALONE)).exits(5).says("namespace/monitoring");
    let hand_over = "label namespace/monitoring app.kubernetes.io/managed-by=scalekit";
    refused.says(&format!("kubectl {hand_over}"));
    world.kubectl(hand_over.split(' '));
    let secret = ["create", "secret", "generic", "prometheus-access", "-n", "monitoring"];
    let files = [("ca.crt", "authority.pem"), ("tls.crt", "client.pem"), ("tls.key", "client.key")];
    let files = files.map(|(key, file)| format!("--from-file={key}={TLS}/{file}"));
    let words = ["--from-literal=username=ali", "--from-literal=password=open sesame"];
    world.kubectl(secret.into_iter().chain(words).chain(files.iter().map(String::as_str)));

    what_cannot_work_is_told(world);
    world.scalekit(["up"].iter().chain(&ALONE)).exits(0).says(&format!("{URL} answers the scaler"));
    let pods = world.pods("monitoring", "").await;
    let named = |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.name.clone().unwrap_or_default();
    assert!(pods.iter().all(|pod| named(pod).starts_with("scaler-")), "the scaler alone");
    world.scalekit(["up"].iter().chain(&ALONE)).exits(0).says("nothing to change");

    world.scalekit(["demo", "up", "watcherbot"]).exits(0).says(&format!("the scaler asks {URL} for its metrics"));
    world.scalekit(["demo", "load", "watcherbot", "--set", "25"]).exits(0);
    let took = world.until_replicas("demo", "watcherbot", 3, Duration::from_secs(240)).await;
    println!("25 tasks → 3 replicas after {:.1} s", took.as_secs_f64());
    world.until_healthy(&ALONE).await;
    world.scalekit(["status"].iter().chain(&ALONE)).exits(0).says(&format!("{URL} answers the scaler"));
    // Without the flag it is not a stack of which nearly all is missing.
    let only = world.scalekit(["status"]).exits(6).says(&format!("the scaler alone is installed, on top of {URL}"));
    assert!(!only.stdout.contains("is not there"), "{}", only.stdout);
    world.scalekit(["open", "grafana"]).exits(6).says(&format!("the scaler alone is installed, on top of {URL}"));
    let bundle = world.settings().with_file_name("alone.tar.gz");
    let bundle = bundle.to_str().unwrap();
    world.scalekit(["support-bundle", bundle]).exits(0);
    let answered = operations::tar(&["-xzOf", bundle, "scalekit-support/prometheus/answered.json"]);
    assert!(answered.contains(URL) && !answered.contains("why"), "{answered}");
    fs::remove_file(bundle).unwrap();
    if world.host().is_some() {
        a_gateway_wants_a_token(world).await;
    }

    world.scalekit(["demo", "down", "watcherbot"]).exits(0);
    // Whoever made the Secret keeps it, and with it the namespace.
    let left = world.scalekit(["down", "--purge-data", "--yes"]).exits(8);
    left.says("secret/prometheus-access -n monitoring");
    world.kubectl(["delete", "namespace", "monitoring", "theirs", "--timeout=240s"]);
    world.kubectl(["delete", "clusterrole,clusterrolebinding", "theirs-prometheus"]);
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0);
}

/// A Secret that is not there before anything is written; a server that is not, by the scaler that cannot reach it.
fn what_cannot_work_is_told(world: &World) {
    let mark = world.audit_mark();
    let misspelled = ["--prometheus-url", URL, "--prometheus-secret", "prometheus-acces"];
    world
        .scalekit(["up"].iter().chain(&misspelled))
        .exits(3)
        .says("secret/prometheus-acces -n monitoring is not there");
    world.asked_and_wrote_nothing(mark);

    let nowhere = ["--prometheus-url", "http://127.0.0.1:9"];
    let ran = world.scalekit(["up"].iter().chain(&nowhere)).exits(6);
    println!("{} ({:.1} s)", ran.stderr, ran.took.as_secs_f64());
    ran.says("Prometheus at http://127.0.0.1:9 gives it no answer").says("PrometheusUnreachable");
    world
        .scalekit(["status"].iter().chain(&nowhere))
        .exits(6)
        .says("gives the scaler no answer: PrometheusUnreachable");
    let told = world.scalekit(["check", "-o", "json"].iter().chain(&nowhere)).exits(3);
    told.says("docs/checks.md#prometheus");
}

/// Another server of all, which calls for five, once it is shown the token of today.
async fn a_gateway_wants_a_token(world: &World) {
    let port = https::serve(world, "tls/server.pem", "tls/server.key", |request| {
        let five = json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "45"]}});
        match request.header("Authorization") {
            Some("Bearer sesame-of-today") => (200, five.to_string()),
            _ => (401, json!({"message": "who are you?"}).to_string()),
        }
    });
    world.kubectl(["create", "namespace", GATEWAY]);
    let [mut service, slice] = https::service(world, GATEWAY, "gateway", port);
    // Its name stands for the address of this machine.
    service["spec"]["clusterIP"] = json!("None");
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [service, slice]}).to_string());
    let url = format!("https://gateway.{GATEWAY}.svc:{port}/prometheus");
    let up_with = |secret: &str, token: &str| {
        let holds = [format!("--from-literal=token={token}"), format!("--from-file=ca.crt={TLS}/authority.pem")];
        let create = ["create", "secret", "generic", secret, "-n", "monitoring"].map(str::to_owned);
        world.kubectl(create.into_iter().chain(holds));
        world.scalekit(["up", "--prometheus-url", &url, "--prometheus-secret", secret])
    };
    let refused = up_with("of-yesterday", "sesame-of-yesterday").exits(6);
    refused.says("PrometheusUnauthorized").says("see the Secret that `scalekit up --prometheus-secret` names");
    let unauthorized = "see the Secret that `scalekit up --prometheus-secret` names";
    until_in(world, "demo", &[is("watcherbot", "ScalingActive", "PrometheusUnauthorized", unauthorized)]).await;
    world.until_replicas("demo", "watcherbot", 3, Duration::from_secs(240)).await;
    up_with("of-today", "sesame-of-today").exits(0);
    let took = world.until_replicas("demo", "watcherbot", 5, Duration::from_secs(240)).await;
    println!("shown a token, 45 tasks → 5 replicas after {:.1} s", took.as_secs_f64());
    world.kubectl(["delete", "secret", "of-yesterday", "of-today", "-n", "monitoring"]);
    world.kubectl(["delete", "namespace", GATEWAY, "--wait=false"]);
}
