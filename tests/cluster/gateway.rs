//! A gateway as people put it before a Prometheus that knows nobody: it speaks TLS, and wants a bearer token, the name of a
//! tenant and a key. It is a thread of this process, and asks the stack's Prometheus.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::{
    autoscalers::{apply, is, listed_in, until_in},
    guarded::{AUTHORITY, the_scaler_may_read},
    https::{self, Answer, Request},
    tanks::{autoscaler, metric, tank},
    world::World,
};

/// The certificates in `tests/tls` are for names of this one.
const NAMESPACE: &str = "scalekit-test-gateway";
const TOKEN: &str = "sesame-of-today";
const OLD_TOKEN: &str = "sesame-of-yesterday";
/// Where the gateway has the Prometheus.
const PATH: &str = "/prometheus";
/// 25, of a Prometheus that scrapes anything.
const QUERY: &str = "25 * clamp_max(count(up), 1)";

/// Whoever shows less is refused, and nothing is shown to one whose certificate has expired.
pub async fn a_gateway_is_shown_a_token_and_a_tenant(world: &World) {
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    world.kubectl(["create", "namespace", NAMESPACE]);
    let prometheus = world.prometheus_answers();
    let gateway = https::serve(world, "tls/server.pem", "tls/server.key", move |request| answer(request, &prometheus));
    let shown = Arc::new(AtomicU32::default());
    let counted = Arc::clone(&shown);
    let expired = https::serve(world, "tls/expired.pem", "tls/server.key", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        (500, String::new())
    });
    let mut objects = vec![secret("today", TOKEN), secret("yesterday", OLD_TOKEN)];
    objects.extend(the_scaler_may_read(NAMESPACE, &["today", "yesterday"]));
    objects.push(way_out(world, [gateway, expired]));
    for (name, port) in [("gateway", gateway), ("expired", expired)] {
        let [mut service, slice] = https::service(world, NAMESPACE, name, port);
        // Its name stands for the address of this machine, and nothing has to be set up on the node first.
        service["spec"]["clusterIP"] = json!("None");
        objects.extend([service, slice]);
    }
    apply(world, &objects);

    let tenant = json!({"name": "X-Scope-OrgID", "value": "shop"});
    let key = json!({"name": "X-Key", "valueFrom": {"name": "today", "key": "key"}});
    let all = json!([tenant, key]);
    let asking = [
        ("shown-all", asks("gateway", gateway, "today", &all)),
        ("shown-no-tenant", asks("gateway", gateway, "today", &json!([key]))),
        ("shown-an-old-token", asks("gateway", gateway, "yesterday", &all)),
        ("expired", asks("expired", expired, "today", &all)),
    ];
    let asking = asking.map(|(name, spec)| [tank(name, 1), autoscaler(name, &spec)].map(of_ours));
    apply(world, &asking.concat());
    let unauthorized = "see what spec.metrics[0].prometheus.auth gives it";
    let not_believed = "a certificate that spec.metrics[0].prometheus.auth.ca has signed";
    until_in(
        world,
        NAMESPACE,
        &[
            is("shown-an-old-token", "ScalingActive", "PrometheusUnauthorized", unauthorized),
            is("shown-no-tenant", "ScalingActive", "PrometheusUnauthorized", unauthorized),
            is("expired", "ScalingActive", "PrometheusUnreachable", "certificate expired"),
            is("expired", "ScalingActive", "PrometheusUnreachable", not_believed),
            is("shown-all", "ScalingActive", "ValidMetricFound", ""),
        ],
    )
    .await;
    until_at_3(world, "shown-all", 120);
    assert_eq!(shown.load(Ordering::SeqCst), 0, "it is asked nothing, so nothing is shown to it");
    let listed = listed_in(world, NAMESPACE);
    let told: String = listed.as_object().unwrap().values().map(|one| one["status"].to_string()).collect();
    assert!(!told.contains("sesame"), "{told}");
    // A later step looks what becomes of it: what was read of a Secret counts for a minute.
    apply(world, &[secret("yesterday", TOKEN)]);
}

/// Other steps have run meanwhile, and nobody has told the scaler.
pub async fn a_token_that_was_changed_is_used_within_a_minute(world: &World) {
    until_at_3(world, "shown-an-old-token", 180);
    until_in(world, NAMESPACE, &[is("shown-an-old-token", "ScalingActive", "ValidMetricFound", "")]).await;
    world.kubectl(["delete", "networkpolicy", "-n", "monitoring", "scaler-to-gateway"]);
    world.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// What the Prometheus answers, to who shows all.
fn answer(request: &Request, prometheus: &impl Fn(&str) -> Option<String>) -> Answer {
    let shows = |name: &str, value: &str| request.header(name) == Some(value);
    if !shows("Authorization", &format!("Bearer {TOKEN}")) || !shows("X-Key", "open") {
        return (401, json!({"message": "who are you?"}).to_string());
    }
    if !shows("X-Scope-OrgID", "shop") {
        return (401, json!({"message": "no org id"}).to_string());
    }
    match request.target.strip_prefix(PATH).and_then(prometheus) {
        Some(body) => (200, body),
        None => (502, json!({"message": "no answer from behind"}).to_string()),
    }
}

fn until_at_3(world: &World, name: &str, seconds: u32) {
    let timeout = format!("--timeout={seconds}s");
    world.kubectl(["wait", &format!("tank/{name}"), "-n", NAMESPACE, "--for=jsonpath={.spec.replicas}=3", &timeout]);
}

fn of_ours(mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(NAMESPACE);
    object
}

/// Asks one of the two, with what this Secret holds.
fn asks(host: &str, port: u16, secret: &str, headers: &Value) -> Value {
    let key = |key: &str| json!({"name": secret, "key": key});
    let mut metric = metric(QUERY);
    metric["prometheus"]["serverAddress"] = json!(format!("https://{host}.{NAMESPACE}.svc:{port}{PATH}"));
    metric["prometheus"]["auth"] = json!({"ca": key("ca.crt"), "bearerToken": key("token"), "headers": headers});
    json!({"interval": "1s", "metrics": [metric]})
}

fn secret(name: &str, token: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {"ca.crt": AUTHORITY, "token": token, "key": "open"}})
}

/// To ports of this machine, which is no pod.
fn way_out(world: &World, ports: [u16; 2]) -> Value {
    let machine = json!({"ipBlock": {"cidr": format!("{}/32", world.host().unwrap())}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "scaler-to-gateway", "namespace": "monitoring"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "scaler"}}, "policyTypes": ["Egress"],
            "egress": [{"to": [machine], "ports": ports.map(|port| json!({"port": port}))}],
        },
    })
}
