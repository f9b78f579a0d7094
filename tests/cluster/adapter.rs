//! Metrics of the custom and external metrics APIs, read beside the HPA, from one server that the API server asks for both.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    explained::{self, explained},
    https, panels,
    world::World,
};

const NAMESPACE: &str = "scalekit-test-metrics";
const IMAGE: &str = "docker.io/library/busybox:1.35.0";
const APIS: [(&str, &str); 2] = [("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1")];
/// Who scales which Deployment: by totals, and by levels, which are a total by the replicas that bear it.
const WHO: [(&str, &str); 4] = [("hpa", "hpa"), ("own", "as"), ("hpa-level", "hpa"), ("own-level", "as")];
/// A look of each, the API's discovery, and the start of pods.
const SCALED_WITHIN: Duration = Duration::from_secs(240);

/// What the server says: totals, of which each replica is to have 10.
#[derive(Default)]
struct Totals {
    pods: AtomicU32,
    object: AtomicU32,
    external: AtomicU32,
    /// The totals behind the levels.
    object_level: AtomicU32,
    external_level: AtomicU32,
}

/// They follow whatever asks for most to the same counts, by the same values of all metrics.
pub async fn pods_objects_and_external_metrics_are_read_as_the_hpa_reads_them(world: &World) {
    clean_up(world);
    let totals = Arc::new(Totals::default());
    let set = |[pods, object, external]: [u32; 3], [object_level, external_level]: [u32; 2]| {
        totals.pods.store(pods, Ordering::SeqCst);
        totals.object.store(object, Ordering::SeqCst);
        totals.external.store(external, Ordering::SeqCst);
        totals.object_level.store(object_level, Ordering::SeqCst);
        totals.external_level.store(external_level, Ordering::SeqCst);
    };
    let table = [("pods", [25, 5, 5], "object", [25, 5], 3), ("external", [5, 15, 38], "external", [15, 38], 4)];
    let (_, first, _, first_levels, _) = table[0];
    set(first, first_levels);
    let port = serve(world, Arc::clone(&totals));
    world.kubectl(["create", "namespace", NAMESPACE]);
    world.apply(&apis(world, port).to_string());
    for (group, version) in APIS {
        let api = format!("apiservice/{version}.{group}");
        world.kubectl(["wait", "--for=condition=Available", "--timeout=180s", &api]);
    }
    let mut objects: Vec<Value> = WHO.iter().map(|(name, _)| deployment(name)).collect();
    objects.extend(WHO.iter().map(|(name, kind)| scaler(name, kind)));
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());

    for (most, totals, most_by_level, levels, replicas) in table {
        set(totals, levels);
        let began = Instant::now();
        loop {
            let seen: BTreeMap<&str, (i32, Vec<f64>)> =
                WHO.iter().map(|(name, kind)| (*name, read(world, name, kind))).collect();
            let all_there = seen["hpa"].0 == replicas && seen["hpa-level"].0 == replicas;
            if all_there && seen["own"] == seen["hpa"] && seen["own-level"] == seen["hpa-level"] {
                let (totals, levels) = (&seen["own"].1, &seen["own-level"].1);
                println!(
                    "most by {most}: both at {replicas} by {totals:?} per replica; most by the level of {most_by_level}: \
                     both at {replicas} by {levels:?}; {:.1?}",
                    began.elapsed()
                );
                break;
            }
            if began.elapsed() > SCALED_WITHIN {
                let said = world.kubectl(["get", "hpa,as", "-n", NAMESPACE, "-o", "yaml"]);
                panic!("most by {most}: {seen:?} and not {replicas}\n{said}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    panels::answers_of_metrics_apis_are_shown(world, &APIS.map(|(group, _)| group)).await;
    what_was_read_is_known_afterwards(world).await;
    clean_up(world);
}

/// These APIs keep nothing: what the scaler read of them is what it told Prometheus, with the pods that there were.
async fn what_was_read_is_known_afterwards(world: &World) {
    let own = || WHO.iter().filter(|(_, kind)| *kind == "as").map(|(name, _)| *name);
    for name in own() {
        let (replicas, read) = read(world, name, "as");
        let total = if is_level(name) { read.iter().sum() } else { read.iter().sum::<f64>() * f64::from(replicas) };
        let told = format!("sum(scalekit_autoscaler_metric_value{{namespace={NAMESPACE:?},name={name:?}}}) == {total}");
        world.until_samples(&told, 1).await;
        // For a level it has to be known which pods bore it: within 30 s of a change it is not, and a scrape is 15 s old at most.
        for count in ["kube_deployment_status_replicas_ready", "kube_deployment_spec_replicas"] {
            let of_it = format!("{count}{{namespace={NAMESPACE:?},deployment={name:?}}}");
            let steady = format!("min_over_time({of_it}[60s]) == {replicas} and {of_it} offset 60s");
            world.until_samples(&steady, 1).await;
        }
    }
    let at = now();
    let then: Timestamp = at.parse().unwrap();
    let mut remembered = Vec::new();
    for name in own() {
        let began = Instant::now();
        let known = loop {
            let known = explained(world, (NAMESPACE, name), &["--at", &at]).await;
            // Looked at since, so that no later decision can be the one of then.
            if known["to"].as_str().and_then(|to| to.parse::<Timestamp>().ok()).is_some_and(|to| to >= then) {
                break known;
            }
            assert!(began.elapsed() < SCALED_WITHIN, "{known:#}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        remembered.push(known);
    }
    explained::forgets(world);
    for (name, known) in own().zip(remembered) {
        let again = explained(world, (NAMESPACE, name), &["--at", &at]).await;
        assert_eq!((&known["recomputed"], &again["recomputed"]), (&json!(false), &json!(true)), "{again:#}");
        for field in ["currentReplicas", "desiredReplicas", "metrics"] {
            assert_eq!(again[field], known[field], "{name}: {again:#}\n{known:#}");
        }
        let assumed = again["assumed"][0].as_str().unwrap_or_default();
        assert!(assumed.contains("what the scaler told Prometheus"), "{again:#}");
        println!("{name} at {then}: {} as remembered", again["metrics"]);
    }
}

/// How many replicas its target has, all ready, and what it last saw of each metric: per replica, or the level.
fn read(world: &World, name: &str, kind: &str) -> (i32, Vec<f64>) {
    let get = |kind: &str| -> Value {
        serde_json::from_str(&world.kubectl(["get", kind, name, "-n", NAMESPACE, "-o", "json"])).unwrap()
    };
    let replicas = get("deployment")["status"]["readyReplicas"].as_i64().unwrap_or(0);
    let status = get(kind)["status"].take();
    let metrics = status["currentMetrics"].as_array().cloned().unwrap_or_default();
    let field = if is_level(name) { "value" } else { "averageValue" };
    let number = |metric: &Value| {
        let of_hpa = ["pods", "object", "external"].iter().find_map(|source| metric.get(source)?.get("current"));
        let quantity = of_hpa.unwrap_or(metric)[field].as_str()?;
        match quantity.strip_suffix('m') {
            Some(thousandths) => Some(thousandths.parse::<f64>().ok()? / 1000.0),
            None => quantity.parse().ok(),
        }
    };
    (i32::try_from(replicas).unwrap(), metrics.iter().filter_map(number).collect())
}

fn is_level(name: &str) -> bool {
    name.ends_with("-level")
}

fn clean_up(world: &World) {
    // While one of these has no server, no namespace goes.
    for (group, version) in APIS {
        world.kubectl(["delete", "apiservice", &format!("{version}.{group}"), "--ignore-not-found"]);
    }
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
}

fn deployment(name: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers":
                [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]},
        }},
    })
}

/// A level is of the Service, and of the queue, that has the name of its Deployment.
fn metrics(name: &str) -> Value {
    let level = is_level(name);
    let (target, service, queue) = if level {
        (json!({"type": "Value", "value": "10"}), name, name)
    } else {
        (json!({"type": "AverageValue", "averageValue": "10"}), "metrics", "a")
    };
    let object = json!({"type": "Object", "object": {"metric": {"name": "queued"}, "target": target,
        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": service}}});
    let selector = json!({"matchLabels": {"queue": queue}});
    let external = json!({"type": "External", "external":
        {"metric": {"name": "jobs", "selector": selector}, "target": target}});
    if level {
        return json!([object, external]);
    }
    json!([{"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": target}}, object, external])
}

/// Of the Deployment of its name.
fn scaler(name: &str, kind: &str) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "maxReplicas": 5, "metrics": metrics(name),
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    });
    let (api_version, kind) = if kind == "hpa" {
        ("autoscaling/v2", "HorizontalPodAutoscaler")
    } else {
        spec["interval"] = json!("5s");
        ("scalekit.dev/v1alpha1", "Autoscaler")
    };
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// Both APIs, at a port of this machine.
fn apis(world: &World, port: u16) -> Value {
    let service = json!({"name": "metrics", "namespace": NAMESPACE});
    let mut items = https::service(world, NAMESPACE, "metrics", port).to_vec();
    items.extend(APIS.map(|(group, version)| {
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{version}.{group}")},
            "spec": {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true, "service": service}})
    }));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Serves both until the test ends, and gives the port.
fn serve(world: &World, totals: Arc<Totals>) -> u16 {
    let pods = world.pods_by_label(NAMESPACE);
    https::serve(world, "cli/server.pem", "cli/server.key", move |request| {
        let target = request.target.replace("%2A", "*").replace("%3D", "=");
        match answer(&target, &totals, &pods) {
            Some(body) => (200, body.to_string()),
            None => (404, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).to_string()),
        }
    })
}

fn answer(target: &str, totals: &Totals, pods: &impl Fn(&str) -> Vec<String>) -> Option<Value> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.trim_start_matches("/apis/").split('/').collect();
    let of = |total: &AtomicU32| f64::from(total.load(Ordering::SeqCst));
    let by = |total: &AtomicU32, names: &[String]| Some(of(total) / f64::from(u32::try_from(names.len()).ok()?.max(1)));
    match parts[..] {
        [group, version] if APIS.contains(&(group, version)) => {
            Some(json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": format!("{group}/{version}"), "resources": []}))
        }
        ["custom.metrics.k8s.io", _, "namespaces", NAMESPACE, "pods", "*", "rps"] => {
            let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="))?;
            let names = pods(selector);
            let each = by(&totals.pods, &names)?;
            Some(values(names.iter().map(|name| value("Pod", name, "rps", each)).collect()))
        }
        ["custom.metrics.k8s.io", _, "namespaces", NAMESPACE, "services", "metrics", "queued"] => {
            Some(values(vec![value("Service", "metrics", "queued", of(&totals.object))]))
        }
        ["custom.metrics.k8s.io", _, "namespaces", NAMESPACE, "services", name, "queued"] if is_level(name) => {
            let level = by(&totals.object_level, &pods(&format!("app={name}")))?;
            Some(values(vec![value("Service", name, "queued", level)]))
        }
        // Two series, which make the total together.
        ["external.metrics.k8s.io", version, "namespaces", NAMESPACE, "jobs"] => {
            let queue = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=queue="))?;
            let total = if is_level(queue) {
                by(&totals.external_level, &pods(&format!("app={queue}")))?
            } else {
                of(&totals.external)
            };
            let half = quantity(total / 2.0);
            let item =
                json!({"metricName": "jobs", "metricLabels": {"queue": queue}, "timestamp": now(), "value": half});
            Some(json!({"kind": "ExternalMetricValueList", "apiVersion": format!("external.metrics.k8s.io/{version}"),
                "metadata": {}, "items": [item, item]}))
        }
        _ => None,
    }
}

fn values(items: Vec<Value>) -> Value {
    json!({"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": items})
}

fn value(kind: &str, name: &str, metric: &str, value: f64) -> Value {
    json!({"describedObject": {"apiVersion": "v1", "kind": kind, "namespace": NAMESPACE, "name": name},
        "metric": {"name": metric}, "timestamp": now(), "windowSeconds": 30, "value": quantity(value)})
}

fn quantity(value: f64) -> String {
    format!("{:.0}m", value * 1000.0)
}

#[expect(clippy::disallowed_methods, reason = "an adapter says when it has measured")]
fn now() -> String {
    format!("{:.0}", Timestamp::now())
}
