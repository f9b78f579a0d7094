//! A server that wants to know who asks, by a Secret that the scaler may read only once its user lets it.

use serde_json::{Value, json};

use crate::{
    autoscalers::{apply, is, listed, until, until_replicas},
    guarded,
    tanks::{NAMESPACE, autoscaler, metric, tank},
    world::World,
};

/// One key more than who asks needs.
const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: server, namespace: NAMESPACE}
stringData: {username: ali, password: open sesame, retired: close sesame}
";

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

/// As docs/autoscaler.md has it.
const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: scaler-secrets, namespace: NAMESPACE}
rules:
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [server]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: scaler-secrets, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: scaler-secrets}
subjects:
- {kind: ServiceAccount, name: scaler, namespace: monitoring}
"#;

pub async fn a_secret_is_read_by_a_role_that_its_owner_binds(world: &World) {
    let of_ours = |manifest: &str| manifest.replace("NAMESPACE", NAMESPACE);
    world.apply(&guarded::prometheus("server", NAMESPACE, "global: {}"));
    world.apply(&of_ours(SECRET));
    world.apply(&of_ours(WAY_OUT));
    world.kubectl(["rollout", "status", "-n", NAMESPACE, "deployment/server", "--timeout=90s"]);
    let objects = [("allowed", "password"), ("refused", "retired"), ("keyless", "token")];
    let objects = objects.map(|(name, password)| [tank(name, 1), autoscaler(name, &asks_with(password))]);
    apply(world, &objects.concat());
    if world.rbac() {
        let says =
            "spec.metrics[0].prometheus.auth.basic.username: Secret scalekit-test-autoscalers/server cannot be read";
        let role = "bind a Role in namespace scalekit-test-autoscalers with get of secrets, resourceNames [server]";
        let told = [says, role].map(|says| is("allowed", "ScalingActive", "CredentialsUnavailable", says));
        until(world, &told).await;
        until_replicas(world, &[("tanks", "allowed", 1)]).await;
    }
    world.apply(&of_ours(ROLE));
    until_replicas(world, &[("tanks", "allowed", 3)]).await;
    let no_key = "auth.basic.password: Secret scalekit-test-autoscalers/server has no key token";
    let unauthorized = "see what spec.metrics[0].prometheus.auth gives it";
    until(
        world,
        &[
            is("allowed", "ScalingActive", "ValidMetricFound", ""),
            is("refused", "ScalingActive", "PrometheusUnauthorized", unauthorized),
            is("keyless", "ScalingActive", "CredentialsUnavailable", no_key),
        ],
    )
    .await;
    // Nobody who may only read Autoscalers learns what else the Secret holds.
    let told = listed(world)["keyless"]["status"].to_string();
    assert!(!told.contains("sesame") && !told.contains("retired"), "{told}");
    let all = "autoscalers,tanks,deployments,services,configmaps/server,secrets/server,roles,rolebindings";
    for kind in all.split(',') {
        let (kind, name) = kind.split_once('/').unwrap_or((kind, "--all"));
        world.kubectl(["delete", kind, "-n", NAMESPACE, name]);
    }
    world.kubectl(["delete", "networkpolicy", "-n", "monitoring", "scaler-to-server"]);
}

/// Asks that server with the user's name and what lies under this key.
fn asks_with(password: &str) -> Value {
    let key = |key: &str| json!({"name": "server", "key": key});
    let mut metric = metric("vector(25)");
    metric["prometheus"]["serverAddress"] = json!("http://server.scalekit-test-autoscalers.svc:9090");
    metric["prometheus"]["auth"] = json!({"basic": {"username": key("username"), "password": key(password)}});
    json!({"interval": "1s", "metrics": [metric]})
}
