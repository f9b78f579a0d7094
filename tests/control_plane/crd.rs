//! What the API server makes of the definition of Autoscalers: which are let in, what is said about the others, and how
//! kubectl shows them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use scalekit::autoscaling::api;
use serde_json::{Value, json};

use crate::world::World;

/// How long what was defined may take to be served and published.
const LIMIT: Duration = Duration::from_secs(180);

const PATH: &str = "/apis/scalekit.dev/v1alpha1/namespaces/default/autoscalers";

/// An Autoscaler, changed at these places of its spec.
fn autoscaler(changes: &[(&str, Value)]) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [prometheus("m", &json!({}))],
    });
    for (field, value) in changes {
        spec[*field] = value.clone();
    }
    json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler", "metadata": {"name": "w", "namespace": "default"},
        "spec": spec})
}

fn prometheus(name: &str, changes: &Value) -> Value {
    let mut metric = json!({"name": name, "query": "up", "target": {"type": "AverageValue", "averageValue": "1"}});
    for (field, value) in changes.as_object().unwrap() {
        metric[field] = value.clone();
    }
    json!({"type": "Prometheus", "prometheus": metric})
}

/// A metric of each type of `autoscaling/v2`, by the name of its field.
fn metric(field: &str, target: &Value, identifier: &Value) -> Value {
    let (kind, own) = match field {
        "resource" => ("Resource", json!({"name": "cpu"})),
        "containerResource" => ("ContainerResource", json!({"name": "cpu", "container": "main"})),
        "pods" => ("Pods", json!({"metric": identifier})),
        "object" => ("Object", json!({"metric": identifier, "describedObject": {"kind": "Service", "name": "web"}})),
        _ => ("External", json!({"metric": identifier})),
    };
    let mut own = own;
    own["target"] = target.clone();
    json!({"type": kind, field: own})
}

const V2: [&str; 5] = ["resource", "containerResource", "pods", "object", "external"];

/// What must be let in.
fn accepted() -> Vec<(&'static str, Value)> {
    let each = json!({"type": "AverageValue", "averageValue": "1"});
    let all: Vec<Value> = V2.iter().map(|field| metric(field, &each, &json!({"name": "m"}))).collect();
    let rules = json!({"stabilizationWindowSeconds": 3600, "selectPolicy": "Min", "tolerance": "0.05",
        "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]});
    let key = json!({"name": "mimir", "key": "ca"});
    vec![
        ("the least that can be written", autoscaler(&[])),
        (
            "numbers for quantities",
            autoscaler(&[(
                "metrics",
                json!([prometheus(
                    "m",
                    &json!({
            "target": {"type": "Value", "value": 10}, "activation": 5})
                )]),
            )]),
        ),
        ("every type of metric", autoscaler(&[("metrics", all.into())])),
        (
            "a utilization",
            autoscaler(&[(
                "metrics",
                json!([metric("resource", &json!({"type": "Utilization", "averageUtilization": 50}), &json!({}))]),
            )]),
        ),
        ("behavior both ways", autoscaler(&[("behavior", json!({"scaleUp": rules, "scaleDown": rules}))])),
        ("to zero", autoscaler(&[("minReplicas", json!(0)), ("cooldown", json!("1h30m"))])),
        (
            "to zero at night",
            autoscaler(&[(
                "schedules",
                json!([{"name": "s", "start": "0 20 * * *", "end": "0 6 * * *", "minReplicas": 0}]),
            )]),
        ),
        (
            "all that the HPA has not",
            autoscaler(&[
                ("interval", json!("1m30s")),
                ("mode", json!("Recommend")),
                ("fallback", json!({"after": "3m", "replicas": 2, "allowScaleDown": true})),
                ("pendingPods", json!({"count": 3, "longerThan": "2m"})),
                (
                    "schedules",
                    json!([{"name": "office", "timeZone": "Europe/Berlin", "start": "0 8 * * 1-5",
                "end": "0 18 * * 1-5", "minReplicas": 3}]),
                ),
            ]),
        ),
        (
            "a server of one's own",
            autoscaler(&[(
                "metrics",
                json!([prometheus(
                    "m",
                    &json!({
            "serverAddress": "https://mimir.example.org", "reduce": "Sum", "maxAge": "2m", "onAbsent": "Zero",
            "auth": {"ca": key, "bearerToken": key, "headers": [{"name": "X-Scope-OrgID", "value": "shop"}]}})
                )]),
            )]),
        ),
    ]
}

/// What must be refused, and the field that is named.
fn refused() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let mut add = |field: &str, changes: &[(&str, Value)]| all.push((format!("spec.{field}"), autoscaler(changes)));
    let utilization = json!({"type": "Utilization", "averageUtilization": 50});
    let each = json!({"type": "AverageValue", "averageValue": "1"});
    add("maxReplicas", &[("minReplicas", json!(9))]);
    add("maxReplicas", &[("minReplicas", json!(0)), ("maxReplicas", json!(0))]);
    add("minReplicas", &[("minReplicas", json!(-1))]);
    add(
        "minReplicas",
        &[("minReplicas", json!(0)), ("metrics", json!([metric("resource", &utilization, &json!({}))]))],
    );
    add("metrics", &[("metrics", json!([]))]);
    add("metrics", &[("metrics", json!([prometheus("m", &json!({})), prometheus("m", &json!({}))]))]);
    add(
        "metrics",
        &[("metrics", json!([{"type": "Resource", "prometheus": prometheus("m", &json!({}))["prometheus"]}]))],
    );
    add("interval", &[("interval", json!("10m"))]);
    add("cooldown", &[("cooldown", json!("200h"))]);
    add("fallback.replicas", &[("fallback", json!({"after": "3m", "replicas": 6}))]);
    add("fallback.replicas", &[("fallback", json!({"after": "3m", "replicas": -1}))]);
    add("fallback.after", &[("fallback", json!({"after": "0s", "replicas": 1}))]);
    add("pendingPods.count", &[("pendingPods", json!({"count": 0, "longerThan": "2m"}))]);
    add("pendingPods.longerThan", &[("pendingPods", json!({"count": 1, "longerThan": "25h"}))]);
    for (field, name, change) in [
        ("schedules", "minReplicas", Value::Null),
        ("schedules.maxReplicas", "maxReplicas", json!(2)),
        ("schedules.maxReplicas", "maxReplicas", json!(0)),
        ("schedules.minReplicas", "minReplicas", json!(-1)),
        ("schedules.name", "name", json!("Office")),
        ("schedules.start", "start", json!("8 o'clock")),
        ("schedules.end", "end", json!("0 18 * * 1-5 2026")),
    ] {
        let mut schedule = json!({"name": "office", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 3});
        schedule[name] = change;
        schedule.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        add(field, &[("schedules", json!([schedule]))]);
    }
    // More than the maxReplicas of the spec, which hold meanwhile.
    add(
        "schedules",
        &[("schedules", json!([{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 6}]))],
    );
    // It would sleep until the schedule ends, whatever comes.
    add(
        "schedules",
        &[
            ("schedules", json!([{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 0}])),
            ("metrics", json!([metric("resource", &utilization, &json!({}))])),
        ],
    );
    for direction in ["scaleUp", "scaleDown"] {
        for (field, rules) in [
            ("tolerance", json!({"tolerance": "-0.1"})),
            ("stabilizationWindowSeconds", json!({"stabilizationWindowSeconds": 3601})),
            ("policies", json!({"policies": []})),
            ("policies.value", json!({"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}]})),
            ("policies.periodSeconds", json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]})),
        ] {
            add(&format!("behavior.{direction}.{field}"), &[("behavior", json!({direction: rules}))]);
        }
    }
    for field in V2 {
        let mut with = |place: &str, target: &Value, identifier: Value| {
            add(&format!("metrics.{field}{place}"), &[("metrics", json!([metric(field, target, &identifier)]))]);
        };
        let m = || json!({"name": "m"});
        with(".target", &json!({"type": "AverageValue", "value": "1"}), m());
        with(".target.averageValue", &json!({"type": "AverageValue", "averageValue": "0"}), m());
        with(".target.value", &json!({"type": "Value", "value": "nothing"}), m());
        with(".target.averageUtilization", &json!({"type": "Utilization", "averageUtilization": 0}), m());
        let wrong =
            if field.ends_with("esource") { json!({"type": "Value", "value": "1"}) } else { utilization.clone() };
        with(".target.type", &wrong, m());
        if !field.ends_with("esource") {
            with(".metric.name", &each, json!({"name": "a/b"}));
            let selector = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]});
            with(".metric.selector.matchExpressions", &each, json!({"name": "m", "selector": selector}));
        }
    }
    let key = json!({"name": "mimir", "key": "x"});
    let https = |auth: Value| json!({"serverAddress": "https://mimir", "auth": auth});
    for (field, changes) in [
        (".name", json!({"name": "Active Tasks"})),
        (".activation", json!({"activation": "-1"})),
        (".maxAge", json!({"maxAge": "2h"})),
        (".serverAddress", json!({"serverAddress": "mimir:9090"})),
        (".serverAddress", json!({"auth": {"ca": key}})),
        (".auth", json!({"serverAddress": "https://mimir"})),
        (".auth", https(json!({"ca": key, "bearerToken": key, "basic": {"username": key, "password": key}}))),
        (".auth.headers", https(json!({"ca": key, "headers": [{"name": "X-A", "value": "1", "valueFrom": key}]}))),
        (".auth.headers.name", https(json!({"ca": key, "headers": [{"name": "X A", "value": "1"}]}))),
        (".target", json!({"target": {"type": "AverageValue", "value": "1"}})),
        (".target.averageValue", json!({"target": {"type": "AverageValue", "averageValue": 0}})),
        (".target.value", json!({"target": {"type": "Value", "value": "0"}})),
    ] {
        add(&format!("metrics.prometheus{field}"), &[("metrics", json!([prometheus("m", &changes)]))]);
    }
    all
}

/// Every rule of the definition: the field that it names, and its message.
fn rules(schema: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let field = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
        found.insert((field, rule["message"].as_str().expect("every rule says what to write").to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rules(property, &path, found);
    }
    if schema["items"].is_object() {
        rules(&schema["items"], path, found);
    }
}

/// Status and answer of trying to make an object; nothing is stored.
async fn try_out(world: &World, object: &Value) -> (u16, Value) {
    let uri = format!("{PATH}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(uri).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
    match world.client.request::<Value>(request).await {
        Ok(answer) => (201, answer),
        Err(kube::Error::Api(status)) => (status.code, serde_json::to_value(&status).unwrap()),
        Err(error) => panic!("{error}"),
    }
}

/// `spec.metrics[0].pods` is about `spec.metrics.pods`.
fn without_places(field: &str) -> String {
    field.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

pub async fn every_rule_of_the_definition_is_told_with_its_field(world: &World) {
    world.runs(&World::up("in-crd")).await;
    // Nothing was waited for, and what is established is served a moment later.
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let served = await_condition(definitions, "autoscalers.scalekit.dev", is_crd_established());
    tokio::time::timeout(LIMIT, served).await.unwrap().unwrap();
    let accepted = accepted();
    let began = Instant::now();
    while matches!(try_out(world, &accepted[0].1).await.0, 404 | 429) && began.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for (what, object) in accepted {
        let (status, answer) = try_out(world, &object).await;
        assert_eq!(status, 201, "{what}: {answer:#}");
    }

    let definition = serde_json::to_value(api::crd()).unwrap();
    let mut untold = BTreeSet::new();
    rules(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut untold);
    let total = untold.len();
    for (field, object) in refused() {
        let (status, answer) = try_out(world, &object).await;
        assert_eq!(status, 422, "{field}: {answer:#}");
        let causes: Vec<(String, &str)> = answer["details"]["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cause| {
                (
                    without_places(cause["field"].as_str().unwrap_or_default()),
                    cause["message"].as_str().unwrap_or_default(),
                )
            })
            .collect();
        assert!(causes.iter().any(|(named, _)| *named == field), "{field}: {causes:#?}");
        untold.retain(|(field, message)| {
            !causes.iter().any(|(named, said)| named == field && said.ends_with(message.as_str()))
        });
    }
    assert!(untold.is_empty(), "of {total} rules these were never told: {untold:#?}");
    println!("  {total} rules");

    let mut object = autoscaler(&[("maxReplica", json!(5))]);
    object["spec"]["metrics"][0]["prometheus"]["onAbsense"] = json!("Zero");
    let (status, answer) = try_out(world, &object).await;
    let said = answer["message"].as_str().unwrap_or_default();
    assert_eq!(status, 400, "{answer:#}");
    assert!(said.contains("unknown field \"spec.maxReplica\""), "{said}");
    assert!(said.contains("unknown field \"spec.metrics[0].prometheus.onAbsense\""), "{said}");
}

fn kubectl(world: &World, arguments: &[&str]) -> String {
    let output = world.kubectl().args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub async fn kubectl_explains_and_lists_autoscalers(world: &World) {
    world.runs(&World::up("in-crd")).await;
    // The API server publishes a definition a moment after it serves it.
    let since = Instant::now();
    let explained = loop {
        let explained = kubectl(world, &["explain", "as.spec"]);
        if explained.contains("FIELDS:") || since.elapsed() > LIMIT {
            break explained;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let words: Vec<&str> = explained.split_whitespace().collect();
    let words = words.join(" ");
    for said in [
        "What is to be scaled, on what, and within which bounds.",
        "maxReplicas <integer> -required- Most replicas.",
        "interval <string> How often to look at the metrics and decide: 1s to 5m, written as in Go (15s, 1m30s).",
        "mode <string> enum: Auto, Recommend, Paused Auto decides and scales.",
        "metrics <[]Object> -required- What to scale on.",
    ] {
        assert!(words.contains(said), "{said}\n{explained}");
    }
    let query = kubectl(world, &["explain", "autoscaler.spec.metrics.prometheus.onAbsent"]);
    assert!(query.contains("A server that does not answer is never absence"), "{query}");

    world.kubectl_apply(&autoscaler(&[]).to_string());
    let status = json!({"status": {"currentReplicas": 2, "desiredReplicas": 3,
        "currentMetrics": [{"name": "m", "summary": "25/10 per replica"}],
        "lastDecision": {"time": "2026-01-01T00:00:00Z", "reason": "DesiredWithinRange", "message": "m=25 → scaling up"}}});
    let patch =
        ["patch", "as", "w", "-n", "default", "--subresource=status", "--type=merge", "-p", &status.to_string()];
    let patched = kubectl(world, &patch);
    assert!(patched.contains("patched"), "{patched}");
    let listed = kubectl(world, &["get", "as", "-n", "default"]);
    let wide = kubectl(world, &["get", "all,as", "-n", "default", "-o", "wide"]);
    // Its own, or it would keep the definition from going.
    let deleted = kubectl(world, &["delete", "as", "w", "-n", "default"]);
    assert!(deleted.contains("deleted"), "{deleted}");
    let columns: Vec<&str> = listed.lines().next().unwrap_or_default().split_whitespace().collect();
    let expected = ["NAME", "TARGET", "MIN", "MAX", "CURRENT", "DESIRED", "METRIC", "REASON", "AGE"];
    assert_eq!(columns, expected, "{listed}");
    let row: Vec<&str> = listed.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..9], ["w", "web", "1", "5", "2", "3", "25/10", "per", "replica"], "{listed}");
    assert!(wide.contains("DECISION") && wide.contains("m=25 → scaling up"), "{wide}");
}
