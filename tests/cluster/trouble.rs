//! What is shown when something is wrong, and what is scraped because its owner asks for it: a namespace of workloads that
//! break, each in its way, beside two that ask by annotations.

use std::{
    fs,
    time::{Duration, Instant},
};

use scalekit::{
    catalog::Component,
    prometheus::{Sample, TargetHealth},
};
use serde_json::Value;

use crate::{panels, world::World};

const NAMESPACE: &str = "trouble";
/// Everything within this, of which the slowest wait for a scrape, a rule and a second scrape.
const WITHIN: Duration = Duration::from_secs(300);

/// EXPORTER is the image of node-exporter, whose server can speak TLS.
const WORKLOADS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: trouble}
---
apiVersion: v1
kind: Pod
metadata: {name: crashes, namespace: trouble}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: app, image: "docker.io/library/busybox:1.35.0", imagePullPolicy: IfNotPresent, command: ["false"]}
---
apiVersion: v1
kind: Pod
metadata: {name: unpulled, namespace: trouble}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: app, image: "registry.example/nobody/has-this:1"}
---
apiVersion: v1
kind: Pod
metadata: {name: hungry, namespace: trouble}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: docker.io/library/busybox:1.35.0
    imagePullPolicy: IfNotPresent
    # Not before it has been seen once.
    command: [sh, -c, "sleep 20; exec dd if=/dev/zero of=/dev/null bs=200M count=1"]
    resources: {limits: {memory: 32Mi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: unready, namespace: trouble}
spec:
  selector: {matchLabels: {app: unready}}
  template:
    metadata: {labels: {app: unready}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: docker.io/library/busybox:1.35.0
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "while :; do :; done"]
        resources: {limits: {cpu: 20m}}
      - name: probed
        image: docker.io/library/busybox:1.35.0
        imagePullPolicy: IfNotPresent
        command: [sleep, "36000"]
        readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: never-begins, namespace: trouble}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: first, image: "docker.io/library/busybox:of-no-node", imagePullPolicy: Never, command: ["true"]}
  containers:
  - {name: app, image: "docker.io/library/busybox:1.35.0", imagePullPolicy: IfNotPresent, command: [sleep, "36000"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: gives-up, namespace: trouble}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "docker.io/library/busybox:1.35.0", imagePullPolicy: IfNotPresent, command: ["false"]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: of-unready, namespace: trouble}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: unready}
  minReplicas: 1
  maxReplicas: 1
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: asks-itself, namespace: trouble}
spec:
  selector: {matchLabels: {app: asks-itself}}
  template:
    metadata:
      labels: {app: asks-itself}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/scheme: https
        prometheus.io/port: "9443"
        prometheus.io/path: /of/its/own
    spec: EXPORTER
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: asked-for, namespace: trouble}
spec:
  selector: {matchLabels: {app: asked-for}}
  template:
    metadata: {labels: {app: asked-for}}
    spec: EXPORTER
---
apiVersion: v1
kind: Service
metadata:
  name: asked-for
  namespace: trouble
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/scheme: https
    prometheus.io/port: "9443"
    prometheus.io/path: /of/its/own
spec: {selector: {app: asked-for}, ports: [{port: 80, targetPort: 9400}]}
---
apiVersion: scalekit.dev/v1alpha1
kind: Autoscaler
metadata: {name: of-another-name, namespace: trouble}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: asks-itself}
  mode: Recommend
  maxReplicas: 2
  metrics:
  - type: Prometheus
    prometheus: {name: one, query: vector(1), target: {type: AverageValue, averageValue: "1"}}
"#;

/// What both of the pods are that have metrics by https, on a port and a path of their own.
const EXPORTER: &str = r"
      terminationGracePeriodSeconds: 0
      containers:
      - name: exporter
        image: IMAGE
        imagePullPolicy: IfNotPresent
        args:
        - --web.config.file=/tls/web.yml
        - --web.listen-address=:9443
        - --web.telemetry-path=/of/its/own
        - --collector.disable-defaults
        - --collector.loadavg
        volumeMounts: [{name: tls, mountPath: /tls}]
      volumes: [{name: tls, configMap: {name: tls}}]";

/// The panels that have nothing to show, or a zero, while nothing is wrong.
const PANELS: [(&str, &str); 16] = [
    ("scalekit-overview", "Alerts"),
    ("scalekit-overview", "Targets down"),
    ("scalekit-overview", "Crash loops"),
    ("scalekit-overview", "Pods not ready"),
    ("scalekit-overview", "Pods pending"),
    ("scalekit-overview", "Out of memory"),
    ("scalekit-overview", "Alerts that fire or are about to"),
    ("scalekit-overview", "Pods in trouble"),
    ("scalekit-overview", "Restarts"),
    ("scalekit-workloads", "Throttling"),
    ("scalekit-workloads", "Restarts"),
    ("scalekit-workloads", "Replicas missing"),
    ("scalekit-workloads", "Probes that fail"),
    ("scalekit-workloads", "Why containers last ended"),
    ("scalekit-autoscaling", "Replicas within their bounds"),
    ("scalekit-autoscaling", "Pods' CPU"),
];

/// They take their time to break, in which other steps run.
pub async fn workloads_are_made_that_break(world: &World) {
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    world.kubectl(["create", "namespace", NAMESPACE]);
    let files = [
        file("server.pem", include_str!("../cli/server.pem")),
        file("server.key", include_str!("../cli/server.key")),
        file("web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"),
    ];
    let files = files.iter().map(|path| format!("--from-file={path}"));
    let create = ["create", "configmap", "tls", "-n", NAMESPACE].map(str::to_owned);
    world.kubectl(create.into_iter().chain(files));
    let manifest = WORKLOADS.replace("EXPORTER", EXPORTER).replace("IMAGE", Component::NodeExporter.default_image());
    world.apply(&manifest);
}

/// What is annotated is up, in the way that the annotations say; each panel that waits for something to go wrong shows it;
/// and when all of it is gone, so are its targets.
pub async fn what_breaks_is_shown_and_what_is_annotated_is_scraped(world: &World) {
    let annotated = ["annotated-pods", "annotated-services"];
    // Once for the pod that asks itself, once for the one of the Service.
    let own = format!("node_load1{{namespace=\"{NAMESPACE}\", pod!=\"\", node!=\"\"}}");
    let began = Instant::now();
    let targets = loop {
        let up = world.query(&format!("up{{namespace=\"{NAMESPACE}\"}} == 1")).await;
        let (targets, loads) = (of_the_namespace(world).await, world.query(&own).await.len());
        if annotated.iter().all(|job| up.iter().any(|sample| sample.labels["job"] == *job))
            && targets.iter().all(|target| target.health == TargetHealth::Up)
            && loads == 2
        {
            break targets;
        }
        let seen = world.targets().await.into_iter().filter(|one| annotated.contains(&&*one.scrape_pool));
        assert!(began.elapsed() < WITHIN, "{loads} loads, {:#?}", seen.collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    for target in targets {
        let url = &target.scrape_url;
        assert!(url.starts_with("https://") && url.ends_with(":9443/of/its/own"), "{url}");
    }

    // A pod that says that it has metrics, and has none.
    let annotations = ["prometheus.io/scrape=true", "prometheus.io/port=9"];
    let annotate = ["annotate", "pod", "-n", NAMESPACE, "-l", "app=unready"];
    world.kubectl(annotate.into_iter().chain(annotations));

    let dashboards = panels::dashboards(world).await;
    let variables = [("namespace", NAMESPACE), ("workload", ".*"), ("autoscaler", "of-another-name")];
    let variables: Vec<(String, String)> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut silent: Vec<(&str, &str, &Value)> = PANELS
        .into_iter()
        .map(|(uid, title)| {
            let dashboard = dashboards.iter().find(|dashboard| dashboard["uid"] == uid).unwrap();
            let mut panels = dashboard["panels"].as_array().unwrap().iter();
            (uid, title, panels.find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("{title} of {uid}")))
        })
        .collect();
    let began = Instant::now();
    while !silent.is_empty() {
        let mut still = Vec::new();
        for (uid, title, panel) in silent {
            let mut shows = Vec::new();
            for query in panels::queries(panel, &variables) {
                shows.push(world.query(&query).await);
            }
            if !shows_it(title, &shows) {
                still.push((uid, title, panel));
            }
        }
        silent = still;
        let names: Vec<_> = silent.iter().map(|(uid, title, _)| format!("{title} of {uid}")).collect();
        assert!(began.elapsed() < WITHIN, "nothing is shown by {names:#?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("all {} panels show it after {:.0} s", PANELS.len(), began.elapsed().as_secs_f64());

    world.kubectl(["delete", "namespace", NAMESPACE, "--wait=true"]);
    let began = Instant::now();
    while !of_the_namespace(world).await.is_empty() {
        assert!(began.elapsed() < WITHIN, "what is gone is scraped still");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether the answers to a panel's queries tell of the trouble: every line of the Autoscaler's, a row of each pod, or
/// something other than zero.
fn shows_it(title: &str, shows: &[Vec<Sample>]) -> bool {
    let rows = |label: &str, value: &str| {
        shows.iter().flatten().any(|sample| sample.labels.get(label).is_some_and(|has| has == value))
    };
    match title {
        "Replicas within their bounds" | "Pods' CPU" => shows.iter().all(|samples| !samples.is_empty()),
        "Pods in trouble" => {
            let reasons = ["CrashLoopBackOff", "ImagePullBackOff", "not ready"];
            reasons.iter().all(|why| rows("why", why))
                && ["crashes", "unpulled", "hungry"].iter().all(|pod| rows("pod", pod))
        }
        "Why containers last ended" => rows("reason", "Error") && rows("reason", "OOMKilled"),
        _ => shows.iter().flatten().any(|sample| sample.value > 0.0),
    }
}

async fn of_the_namespace(world: &World) -> Vec<scalekit::prometheus::Target> {
    let up = world.query(&format!("up{{namespace=\"{NAMESPACE}\"}}")).await;
    let instances: Vec<_> = up.iter().map(|sample| sample.labels["instance"].clone()).collect();
    let active = world.targets().await;
    active
        .into_iter()
        .filter(|target| instances.iter().any(|instance| target.scrape_url.contains(instance.as_str())))
        .collect()
}
