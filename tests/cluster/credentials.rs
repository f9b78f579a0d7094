//! A server that wants to know who asks and says who it is, by a Secret that the scaler may read only once its user lets it.

use serde_json::{Value, json};

use crate::{
    autoscalers::{apply, is, listed, until, until_replicas},
    guarded::{self, AUTHORITY, CLIENT, CLIENT_KEY, the_scaler_may_read},
    tanks::{NAMESPACE, autoscaler, metric, tank},
    world::World,
};

/// As docs/autoscaler.md has it.
const WAY_OUT: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: scaler-to-server, namespace: monitoring}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: scaler}}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
    ports: [{port: 9090}]
";

pub async fn a_secret_is_read_by_a_role_that_its_owner_binds(world: &World) {
    world.apply(&guarded::prometheus("server", NAMESPACE, "global: {}"));
    world.apply(&secret().to_string());
    world.apply(&WAY_OUT.replace("NAMESPACE", NAMESPACE));
    world.kubectl(["rollout", "status", "-n", NAMESPACE, "deployment/server", "--timeout=240s"]);
    let without = |field: &str| {
        let mut auth = auth();
        auth.as_object_mut().unwrap().remove(field);
        auth
    };
    let with = |path: &str, key: &str| {
        let mut auth = auth();
        *auth.pointer_mut(path).unwrap() = json!(key);
        auth
    };
    let objects = [
        ("allowed", auth()),
        ("refused", with("/basic/password/key", "retired")),
        ("keyless", with("/basic/password/key", "token")),
        ("doubtful", with("/ca/key", "retired.crt")),
        ("unknown", without("clientCertificate")),
    ];
    let objects = objects.map(|(name, auth)| [tank(name, 1), autoscaler(name, &asks_with(auth))]);
    apply(world, &objects.concat());
    let credulous = world.apply_fails(&autoscaler("credulous", &asks_with(without("ca"))).to_string());
    assert!(credulous.contains("an https server needs auth.ca"), "{credulous}");
    if world.rbac() {
        let says = "spec.metrics[0].prometheus.auth.ca: Secret scalekit-test-autoscalers/server cannot be read";
        let role = "bind a Role in namespace scalekit-test-autoscalers with get of secrets, resourceNames [server]";
        let told = [says, role].map(|says| is("allowed", "ScalingActive", "CredentialsUnavailable", says));
        until(world, &told).await;
        until_replicas(world, &[("tanks", "allowed", 1)]).await;
    }
    apply(world, &the_scaler_may_read(NAMESPACE, &["server"]));
    until_replicas(world, &[("tanks", "allowed", 3)]).await;
    let no_key = "auth.basic.password: Secret scalekit-test-autoscalers/server has no key token";
    let unauthorized = "see what spec.metrics[0].prometheus.auth gives it";
    let not_believed = "a certificate that spec.metrics[0].prometheus.auth.ca has signed";
    let not_shown = "see spec.metrics[0].prometheus.auth.clientCertificate";
    until(
        world,
        &[
            is("allowed", "ScalingActive", "ValidMetricFound", ""),
            is("refused", "ScalingActive", "PrometheusUnauthorized", unauthorized),
            is("keyless", "ScalingActive", "CredentialsUnavailable", no_key),
            is("doubtful", "ScalingActive", "PrometheusUnreachable", "invalid peer certificate: UnknownIssuer"),
            is("doubtful", "ScalingActive", "PrometheusUnreachable", not_believed),
            is("unknown", "ScalingActive", "PrometheusUnreachable", "CertificateRequired"),
            is("unknown", "ScalingActive", "PrometheusUnreachable", not_shown),
        ],
    )
    .await;
    until_replicas(world, &["refused", "keyless", "doubtful", "unknown"].map(|name| ("tanks", name, 1))).await;
    // Nobody who may only read Autoscalers learns what else the Secret holds.
    let told = listed(world).as_object().unwrap().values().map(|one| one["status"].to_string()).collect::<String>();
    assert!(!["sesame", "retired", "BEGIN"].iter().any(|secret| told.contains(secret)), "{told}");
    let all = "autoscalers,tanks,deployments,services,configmaps/server,secrets/server,roles,rolebindings";
    for kind in all.split(',') {
        let (kind, name) = kind.split_once('/').unwrap_or((kind, "--all"));
        world.kubectl(["delete", kind, "-n", NAMESPACE, name]);
    }
    world.kubectl(["delete", "networkpolicy", "-n", "monitoring", "scaler-to-server"]);
}

/// Some keys more than who asks needs.
fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "server", "namespace": NAMESPACE},
        "stringData": {
            "username": "ali", "password": "open sesame", "retired": "close sesame",
            "ca.crt": AUTHORITY, "retired.crt": include_str!("../cli/other-authority.pem"),
            "tls.crt": CLIENT, "tls.key": CLIENT_KEY,
        },
    })
}

/// All that this server wants to see.
fn auth() -> Value {
    let key = |key: &str| json!({"name": "server", "key": key});
    json!({
        "ca": key("ca.crt"),
        "clientCertificate": {"certificate": key("tls.crt"), "privateKey": key("tls.key")},
        "basic": {"username": key("username"), "password": key("password")},
    })
}

/// Asks that server, with this.
fn asks_with(auth: Value) -> Value {
    let mut metric = metric("vector(25)");
    metric["prometheus"]["serverAddress"] = json!("https://server.scalekit-test-autoscalers.svc:9090");
    metric["prometheus"]["auth"] = auth;
    json!({"interval": "1s", "metrics": [metric]})
}
