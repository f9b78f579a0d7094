//! A Prometheus of somebody else's that speaks TLS and wants to know who asks: by a certificate, and as user `ali` with password
//! `open sesame`. The certificates are those of `tests/tls`.

use scalekit::catalog::Component;
use serde_json::{Value, json};

/// Whom to believe that it is that one.
pub const AUTHORITY: &str = include_str!("../tls/authority.pem");
/// What it believes.
pub const CLIENT: &str = include_str!("../tls/client.pem");
pub const CLIENT_KEY: &str = include_str!("../tls/client.key");

/// Behind the Service. It runs as its namespace's own ServiceAccount. A kubelet has no certificate that it could show.
const SERVER: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: prometheus
        image: IMAGE
        imagePullPolicy: IfNotPresent
        args: [--config.file=/etc/theirs/prometheus.yml, --web.config.file=/etc/theirs/web.yml, --storage.tsdb.path=/data]
        readinessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}
        volumeMounts: [{name: config, mountPath: /etc/theirs}, {name: data, mountPath: /data}]
      volumes: [{name: config, configMap: {name: NAME}}, {name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: NAMESPACE}
spec: {selector: {app: NAME}, ports: [{port: 9090}]}
";

/// The manifests of one with this configuration, all of its name, which must be one that its certificate is for.
pub fn prometheus(name: &str, namespace: &str, config: &str) -> String {
    let web = json!({
        "tls_server_config": {
            "cert_file": "server.pem", "key_file": "server.key",
            "client_ca_file": "authority.pem", "client_auth_type": "RequireAndVerifyClientCert",
        },
        // bcrypt's hash of the password.
        "basic_auth_users": {"ali": "$2b$04$P3HEbQm2QYGF1BFgV2I2u.zUK.fvm34E75L0lN2GqWct93BrAs52q"},
    });
    let config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {
            "prometheus.yml": config, "web.yml": web.to_string(), "authority.pem": AUTHORITY,
            "server.pem": include_str!("../tls/server.pem"), "server.key": include_str!("../tls/server.key"),
        },
    });
    let server = SERVER.replace("NAMESPACE", namespace).replace("NAME", name);
    format!("{config}\n---{}", server.replace("IMAGE", Component::Prometheus.default_image()))
}

/// The Role by which the owner of these Secrets lets the scaler read them, and its binding, as docs/autoscaler.md has them.
pub fn the_scaler_may_read(namespace: &str, secrets: &[&str]) -> [Value; 2] {
    let metadata = json!({"name": "scaler-secrets", "namespace": namespace});
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"]});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scaler-secrets"});
    let scaler = json!({"kind": "ServiceAccount", "name": "scaler", "namespace": "monitoring"});
    [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": role, "subjects": [scaler]}),
    ]
}
