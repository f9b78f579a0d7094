//! The scaler alone, on top of a Prometheus that somebody else runs, and that wants to know who asks.

use std::time::Duration;

use scalekit::catalog::Component;

use crate::world::World;

/// IMAGE is Prometheus'. Its page of settings holds the hash of the password `open sesame`.
const PROMETHEUS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: theirs}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: theirs}
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
subjects: [{kind: ServiceAccount, name: prometheus, namespace: theirs}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: prometheus, namespace: theirs}
data:
  prometheus.yml: |
    global: {scrape_interval: 5s}
    scrape_configs:
    - job_name: watcherbot
      kubernetes_sd_configs: [{role: pod, namespaces: {names: [demo]}}]
      relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: http, action: keep}
  web.yml: |
    basic_auth_users: {ali: "$2b$04$P3HEbQm2QYGF1BFgV2I2u.zUK.fvm34E75L0lN2GqWct93BrAs52q"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: prometheus, namespace: theirs}
spec:
  selector: {matchLabels: {app: prometheus}}
  template:
    metadata: {labels: {app: prometheus}}
    spec:
      serviceAccountName: prometheus
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
      volumes: [{name: config, configMap: {name: prometheus}}, {name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: prometheus, namespace: theirs}
spec: {selector: {app: prometheus}, ports: [{port: 9090}]}
"#;

const URL: &str = "http://prometheus.theirs.svc:9090";
const ALONE: [&str; 4] = ["--prometheus-url", URL, "--prometheus-secret", "prometheus-access"];

pub async fn the_scaler_alone_asks_a_prometheus_that_is_there(world: &World) {
    world.apply(&PROMETHEUS.replace("IMAGE", Component::Prometheus.default_image()));
    world.kubectl(["rollout", "status", "-n", "theirs", "deployment/prometheus", "--timeout=90s"]);
    // As docs/settings.md has it.
    world.kubectl(["create", "namespace", "monitoring"]);
    let secret = ["create", "secret", "generic", "prometheus-access", "-n", "monitoring"];
    let wants = ["--from-literal=username=ali", "--from-literal=password=open sesame"];
    world.kubectl(secret.iter().chain(&wants));

    world.scalekit(["up"].iter().chain(&ALONE)).exits(0);
    let pods = world.pods("monitoring", "").await;
    let named = |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.name.clone().unwrap_or_default();
    assert!(pods.iter().all(|pod| named(pod).starts_with("scaler-")), "the scaler alone");
    world.scalekit(["up"].iter().chain(&ALONE)).exits(0).says("nothing to change");

    world.scalekit(["demo", "up", "watcherbot"]).exits(0);
    world.scalekit(["demo", "load", "watcherbot", "--set", "25"]).exits(0);
    let took = world.until_replicas("demo", "watcherbot", 3, Duration::from_secs(90)).await;
    println!("25 tasks → 3 replicas after {:.1} s", took.as_secs_f64());
    world.until_healthy(&ALONE).await;

    world.scalekit(["demo", "down", "watcherbot"]).exits(0);
    // Whoever made the Secret keeps it, and with it the namespace.
    let left = world.scalekit(["down", "--purge-data", "--yes"]).exits(8);
    left.says("secret/prometheus-access -n monitoring");
    world.kubectl(["delete", "namespace", "monitoring", "theirs", "--timeout=60s"]);
    world.kubectl(["delete", "clusterrole,clusterrolebinding", "theirs-prometheus"]);
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0);
}
