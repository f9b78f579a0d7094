//! A Prometheus of somebody else's that wants to know who asks: user `ali`, password `open sesame`.

use scalekit::catalog::Component;
use serde_json::json;

/// Behind the Service. It runs as its namespace's own ServiceAccount.
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
        readinessProbe:
          httpGet:
            path: /-/ready
            port: 9090
            httpHeaders: [{name: Authorization, value: Basic YWxpOm9wZW4gc2VzYW1l}]
          periodSeconds: 1
        volumeMounts: [{name: config, mountPath: /etc/theirs}, {name: data, mountPath: /data}]
      volumes: [{name: config, configMap: {name: NAME}}, {name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: NAMESPACE}
spec: {selector: {app: NAME}, ports: [{port: 9090}]}
";

/// The manifests of one with this configuration, all of its name.
pub fn prometheus(name: &str, namespace: &str, config: &str) -> String {
    // bcrypt's hash of the password.
    let web = r#"basic_auth_users: {ali: "$2b$04$P3HEbQm2QYGF1BFgV2I2u.zUK.fvm34E75L0lN2GqWct93BrAs52q"}"#;
    let config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"prometheus.yml": config, "web.yml": web},
    });
    let server = SERVER.replace("NAMESPACE", namespace).replace("NAME", name);
    format!("{config}\n---{}", server.replace("IMAGE", Component::Prometheus.default_image()))
}
