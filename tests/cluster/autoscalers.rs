//! What Autoscalers say and do, many at a time, over targets that cost nothing: objects of a definition of our own with
//! a scale subresource, for which no pod is ever made.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    nodes,
    scaling::kill,
    tanks::{NAMESPACE, autoscaler, binding, both_targets, cask, definitions, metric, role, tank},
    world::World,
};

/// A look of every object, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(180);
/// What is wrong is told at the next look, within one interval of 15 s, and at the latest after a query that was lost: its 5 s,
/// 2 s for a probe of the server, the half minute for which that is then spared, and the time of a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(90);

/// The lease of one that was killed, and a container that the kubelet does not start at once since it was killed before.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(150);
/// How long a scale-down waits, where nothing else is said.
const WINDOW: Duration = Duration::from_secs(300);

/// The namespace and the definition, without the right to scale objects of it.
pub async fn a_kind_that_the_scaler_may_not_scale_is_named_with_what_to_do(world: &World) {
    // What a run that failed has left.
    world.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    world.kubectl(["delete", "clusterrole,clusterrolebinding", "scalekit-test-tanks", "--ignore-not-found"]);
    world.kubectl(["create", "namespace", NAMESPACE]);
    apply(world, &definitions());
    let defined = ["crd/tanks.scalekit-test.dev", "crd/casks.scalekit-test.dev"];
    world.kubectl([&["wait", "--for=condition=Established", "--timeout=120s"][..], &defined].concat());
    apply(world, &[tank("other-kind", 1), autoscaler("other-kind", &json!({"interval": "5s"}))]);
    if world.rbac() {
        let says = "bind a ClusterRole to that account with get, update and patch of tanks/scale";
        until(world, &[is("other-kind", "AbleToScale", "FailedGetScale", says)]).await;
    }
    // As docs/autoscaler.md has it.
    apply(world, &[role(), binding()]);
    until_replicas(world, &[("tanks", "other-kind", 3)]).await;
}

/// Each is told by its field, and what to write instead; the one that is right goes on.
pub async fn bad_input_is_named_and_the_others_go_on(world: &World) {
    for (wrong, says) in [
        (json!({"minReplicas": 6}), "maxReplicas must not be less than minReplicas"),
        (json!({"metrics": []}), "spec.metrics"),
        (json!({"metrics": [both_targets()]}), "needs averageValue and no value"),
        (json!({"schedules": [{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *"}]}), "set at least one of them"),
        (
            json!({"schedules": [{"name": "s", "start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 6}]}),
            "must not be more than the maxReplicas that holds meanwhile",
        ),
    ] {
        let refused = world.apply_fails(&autoscaler("refused", &wrong).to_string());
        assert!(refused.contains(says), "expected {says:?} in:\n{refused}");
    }
    let secret = json!({"bearerToken": {"name": "not-there", "key": "token"}});
    let elsewhere = |auth: Value| {
        let mut metric = metric("vector(25)");
        metric["prometheus"]["serverAddress"] = json!("http://127.0.0.1:9");
        metric["prometheus"]["auth"] = auth;
        json!({"metrics": [metric]})
    };
    // The thirtieth of February.
    let never = json!({"name": "s", "start": "0 0 30 2 *", "end": "0 1 * * *", "minReplicas": 2});
    let mut objects = vec![tank("good", 1), autoscaler("good", &json!({"interval": "1s"}))];
    for (name, spec) in [
        ("syntax", json!({"metrics": [metric("sum(up")]})),
        ("unreachable", elsewhere(Value::Null)),
        ("no-secret", elsewhere(secret)),
        ("never", json!({"schedules": [never]})),
    ] {
        objects.extend([tank(name, 1), autoscaler(name, &spec)]);
    }
    objects.push(autoscaler("no-target", &json!({})));
    apply(world, &objects);
    let mut took = until(
        world,
        &[
            is("good", "ScalingActive", "ValidMetricFound", "metric load"),
            is("syntax", "ScalingActive", "InvalidQuery", "parse error"),
            is("unreachable", "ScalingActive", "PrometheusUnreachable", "http://127.0.0.1:9"),
            is("no-secret", "ScalingActive", "CredentialsUnavailable", "scalekit-test-autoscalers/not-there"),
            is("never", "ScalingActive", "InvalidSpec", "spec.schedules[0].start"),
            is("no-target", "AbleToScale", "FailedGetScale", "\"no-target\" not found"),
        ],
    )
    .await;
    // Each by its field, and with what to do.
    took += until(
        world,
        &[
            is("syntax", "ScalingActive", "InvalidQuery", "metric load"),
            is("syntax", "ScalingActive", "InvalidQuery", "correct the PromQL in spec.metrics[0].prometheus.query"),
            is("unreachable", "ScalingActive", "PrometheusUnreachable", "metric load"),
            is(
                "unreachable",
                "ScalingActive",
                "PrometheusUnreachable",
                "see whether spec.metrics[0].prometheus.serverAddress is right",
            ),
            is("no-secret", "ScalingActive", "CredentialsUnavailable", "spec.metrics[0].prometheus.auth.bearerToken"),
            is(
                "no-secret",
                "ScalingActive",
                "CredentialsUnavailable",
                if world.rbac() { "bind a Role in namespace scalekit-test-autoscalers" } else { "make it there" },
            ),
            is("no-target", "AbleToScale", "FailedGetScale", "spec.scaleTargetRef.name: "),
            is("never", "ScalingActive", "InvalidSpec", "write one that they have"),
            is("no-target", "AbleToScale", "FailedGetScale", "make it, or write the name of one"),
        ],
    )
    .await;
    assert!(took <= TOLD_WITHIN, "all were told after {:.1} s", took.as_secs_f64());
    until_replicas(world, &[("tanks", "good", 3)]).await;
    // The good one is looked at every second, whatever the others do.
    set_query(world, "good", "vector(45)");
    until_replicas(world, &[("tanks", "good", 5), ("tanks", "syntax", 1), ("tanks", "unreachable", 1)]).await;
    let status = world.scalekit(["status"]).exits(6);
    for name in ["syntax", "unreachable", "no-secret", "never", "no-target"] {
        assert!(status.stdout.contains(name), "{}", status.stdout);
    }
    world.kubectl(["delete", "autoscalers,tanks", "-n", NAMESPACE, "--all"]);
}

/// The answers that a real Prometheus gives to a query while it is well, each with a reason of its own.
pub async fn every_answer_of_prometheus_has_its_reason(world: &World) {
    let two = "label_replace(vector(10), \"a\", \"b\", \"\", \"\") or vector(15)";
    let answers = [
        ("one", "vector(25)", Value::Null, "ValidMetricFound", "3"),
        ("scalar", "25", Value::Null, "ValidMetricFound", "3"),
        ("zero", "vector(0)", Value::Null, "ValidMetricFound", "1"),
        ("huge", "vector(1e300)", Value::Null, "ValidMetricFound", "4"),
        ("no-series", "scalekit_test_nothing_of_this_name", Value::Null, "MetricAbsent", "1"),
        ("not-a-number", "vector(0) / 0", Value::Null, "NotANumber", "1"),
        ("infinite", "vector(1) / 0", Value::Null, "InfiniteValue", "1"),
        ("negative", "vector(-25)", Value::Null, "NegativeValue", "1"),
        ("several", two, Value::Null, "SeveralSeries", "1"),
        ("sum", two, json!("Sum"), "ValidMetricFound", "3"),
        ("most", two, json!("Max"), "ValidMetricFound", "2"),
        ("text", "\"text\"", Value::Null, "WrongResultType", "1"),
        ("range", "up[1m]", Value::Null, "WrongResultType", "1"),
        ("unknown-function", "no_function(up)", Value::Null, "InvalidQuery", "1"),
    ];
    // They write nothing, so one target is enough.
    let mut objects = vec![tank("looked-at", 1)];
    for (name, query, reduce, ..) in &answers {
        let mut metric = metric(query);
        metric["prometheus"]["reduce"] = reduce.clone();
        let target = json!({"apiVersion": "scalekit-test.dev/v1", "kind": "Tank", "name": "looked-at"});
        let spec = json!({"mode": "Recommend", "interval": "1s", "metrics": [metric], "scaleTargetRef": target});
        objects.push(autoscaler(name, &spec));
    }
    // Scraped every 15 s: there is a sample, and nearly always it is older than a second.
    let mut aged = metric("count(up{job=\"prometheus\"})");
    aged["prometheus"]["maxAge"] = json!("1s");
    let target = json!({"apiVersion": "scalekit-test.dev/v1", "kind": "Tank", "name": "looked-at"});
    let spec = json!({"mode": "Recommend", "interval": "1s", "metrics": [aged], "scaleTargetRef": target});
    objects.push(autoscaler("aged", &spec));
    apply(world, &objects);
    until(world, &[is("aged", "ScalingActive", "StaleSample", "maxAge of 1s")]).await;
    let expected: Vec<_> = answers.iter().map(|(name, .., reason, _)| is(name, "ScalingActive", reason, "")).collect();
    until(world, &expected).await;
    let listed = listed(world);
    for (name, .., desired) in answers {
        assert_eq!(listed[name]["status"]["desiredReplicas"].to_string(), desired, "{name}: {}", listed[name]);
    }
    world.kubectl(["delete", "autoscalers,tanks", "-n", NAMESPACE, "--all"]);
}

/// What an HPA does not have, and who else writes the count.
pub async fn modes_bounds_and_rivals_are_kept(world: &World) {
    let at_once = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    let always = json!({"name": "always", "start": "* * * * *", "end": "0 0 29 2 *", "minReplicas": 4});
    let cool = json!({"minReplicas": 0, "cooldown": "3s", "behavior": at_once, "metrics": [metric("vector(0)")]});
    let missing = [metric("scalekit_test_nothing_of_this_name")];
    let fallback = json!({"fallback": {"after": "2s", "replicas": 4}, "metrics": missing});
    let of = |target: &str| json!({"apiVersion": "scalekit-test.dev/v1", "kind": "Tank", "name": target});
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "of-somebody", "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": of("two-kinds"), "maxReplicas": 3},
    });
    let mut objects = vec![hpa, cask("of-another-field", 1)];
    objects
        .extend(["paused", "sleepy", "absent", "office", "foreign", "two-kinds", "shared"].map(|name| tank(name, 1)));
    for (name, spec) in [
        ("paused", json!({"mode": "Paused"})),
        ("sleepy", cool),
        ("absent", fallback),
        ("office", json!({"schedules": [always], "metrics": [metric("vector(0)")]})),
        ("foreign", json!({})),
        (
            "of-another-field",
            json!({"scaleTargetRef": {"apiVersion": "scalekit-test.dev/v1", "kind": "Cask", "name": "of-another-field"}}),
        ),
        // It calls for what there is, until it is known that the HPA is known.
        ("two-kinds", json!({"metrics": [metric("vector(5)")]})),
        ("shared", json!({})),
        // Of the same second: then the name decides.
        ("shared-too", json!({"scaleTargetRef": of("shared")})),
    ] {
        let mut object = autoscaler(name, &spec);
        object["spec"]["interval"] = json!("1s");
        objects.push(object);
    }
    apply(world, &objects);
    until(
        world,
        &[
            is("paused", "ScalingActive", "Paused", "set spec.mode to Auto"),
            is("sleepy", "ScaledToZero", "ScaledToZero", ""),
            is("absent", "ScalingActive", "Fallback", "counts as 4 replicas"),
            is("two-kinds", "Conflict", "HorizontalPodAutoscaler", "of-somebody"),
            is("shared-too", "Conflict", "AnotherAutoscaler", "shared"),
        ],
    )
    .await;
    set_query(world, "two-kinds", "vector(25)");
    until_seen(world, "two-kinds").await;
    let reached = [("sleepy", 0), ("absent", 4), ("office", 4), ("foreign", 3), ("shared", 3)];
    until_replicas(world, &reached.map(|(name, count)| ("tanks", name, count))).await;
    let counts = |name: &str| world.kubectl(["get", "tank", name, "-n", NAMESPACE, "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!((counts("paused"), counts("two-kinds")), ("1".to_owned(), "1".to_owned()));

    // From nothing to what is called for, in one write: a write of the spec makes a generation.
    let generation = || -> u64 {
        let path = "jsonpath={.metadata.generation}";
        world.kubectl(["get", "tank", "sleepy", "-n", NAMESPACE, "-o", path]).parse().unwrap()
    };
    let before = generation();
    set_query(world, "sleepy", "vector(45)");
    until_replicas(world, &[("tanks", "sleepy", 5)]).await;
    assert_eq!(generation(), before + 1, "in one write");

    // Somebody orders another count: it stands, and he is named.
    world.kubectl(["scale", "tank/foreign", "--replicas=2", "-n", NAMESPACE]);
    until(world, &[is("foreign", "Conflict", "ForeignWriter", "kubectl")]).await;
    assert_eq!(counts("foreign"), "2");
    // Of the field that holds the count only the definition knows the name.
    let cask = ["cask", "of-another-field", "-n", NAMESPACE];
    nodes::until_or_why("the cask is of the size that is called for", async || {
        let size = world.kubectl([&["get"][..], &cask, &["-o", "jsonpath={.spec.size}"]].concat());
        if size == "3" { Ok(()) } else { Err(size) }
    })
    .await;
    world.kubectl([&["patch"][..], &cask, &["--type=merge", "-p", r#"{"spec":{"size":2}}"#]].concat());
    until(world, &[is("of-another-field", "Conflict", "ForeignWriter", "kubectl")]).await;
    // Without its Autoscaler a count stays as it is; nothing holds the Autoscaler up.
    world.kubectl(["delete", "autoscalers", "-n", NAMESPACE, "--all", "--timeout=120s"]);
    assert_eq!((counts("sleepy"), counts("shared")), ("5".to_owned(), "3".to_owned()));
    world.kubectl(["delete", "tanks,casks,hpa", "-n", NAMESPACE, "--all"]);
}

/// What windows and rates need is in the status: a scaler that starts goes on with it, also after one that had no time to
/// say goodbye.
pub async fn windows_and_rates_go_on_after_a_restart_of_the_scaler(world: &World) {
    let slow = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1800}]}});
    let objects = [
        tank("window", 1),
        tank("rate", 1),
        // Without a write the window is all that holds the recommendation up.
        autoscaler("window", &json!({"mode": "Recommend", "interval": "1s"})),
        autoscaler("rate", &json!({"interval": "1s", "behavior": slow})),
    ];
    apply(world, &objects);
    until_replicas(world, &[("tanks", "rate", 2)]).await;
    until(world, &[is("window", "ScalingActive", "ValidMetricFound", "")]).await;
    let stabilized = is("window", "AbleToScale", "ScaleDownStabilized", "");
    let limited = is("rate", "ScalingLimited", "ScaleUpLimit", "");
    let lease = "jsonpath={.spec.holderIdentity}";
    let leader = || world.kubectl(["get", "lease", "-n", "monitoring", "scalekit-scaler", "-o", lease]);
    for killed in [false, true] {
        // Each time anew, so that the window is young.
        set_query(world, "window", "vector(25)");
        until(world, &[is("window", "AbleToScale", "ReadyForNewScale", "")]).await;
        let lowered = Instant::now();
        set_query(world, "window", "vector(5)");
        until(world, &[stabilized.clone(), limited.clone()]).await;
        let before = leader();
        if killed {
            kill(world, before.rsplit_once('_').expect("a pod and a number").0);
        } else {
            world.kubectl(["rollout", "restart", "-n", "monitoring", "deployment/scaler"]);
            world.kubectl(["rollout", "status", "-n", "monitoring", "deployment/scaler", "--timeout=240s"]);
        }
        let began = Instant::now();
        while leader().is_empty() || leader() == before {
            assert!(began.elapsed() < TAKEN_OVER_WITHIN, "nobody took over from {before}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (window, rate) = (remembered(world, "window").await, remembered(world, "rate").await);
        let decided = |told: &Value| (told["desiredReplicas"].clone(), told["metrics"][0]["proposedReplicas"].clone());
        assert_eq!(decided(&window), (json!(3), json!(1)), "killed: {killed}; {window}");
        assert_eq!(decided(&rate), (json!(2), json!(3)), "killed: {killed}; {rate}");
        until(world, &[stabilized.clone(), limited.clone()]).await;
        println!("killed: {killed}: decided {:.1} s after the load fell", lowered.elapsed().as_secs_f64());
        assert!(lowered.elapsed() < WINDOW, "the window has run out, and nothing is proved");
    }
    world.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]);
    world.kubectl(["delete", "crd", "tanks.scalekit-test.dev", "casks.scalekit-test.dev"]);
    world.kubectl(["delete", "clusterrole,clusterrolebinding", "scalekit-test-tanks"]);
}

/// What the scaler remembers of its last decision: a new one, once it has looked and was answered.
async fn remembered(world: &World, name: &str) -> Value {
    let began = Instant::now();
    loop {
        let ran = world.scalekit(["explain", &format!("as/{name}"), "-n", NAMESPACE, "-o", "json"]);
        if ran.code == 0 {
            let told: Value = serde_json::from_str(&ran.stdout).unwrap();
            if told["recomputed"] == false && told["metrics"][0]["proposedReplicas"].is_number() {
                return told;
            }
        }
        assert!(began.elapsed() < SOON, "{}{}", ran.stdout, ran.stderr);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a condition has to be: of which Autoscaler, its type and reason, and what its message says.
#[derive(Clone, Debug)]
pub struct Told {
    name: String,
    condition: &'static str,
    reason: String,
    says: String,
}

pub fn is(name: &str, condition: &'static str, reason: &str, says: &str) -> Told {
    Told { name: name.to_owned(), condition, reason: reason.to_owned(), says: says.to_owned() }
}

/// Waits until all conditions are as expected. Returns how long that took.
pub async fn until(world: &World, expected: &[Told]) -> Duration {
    until_in(world, NAMESPACE, expected).await
}

/// The same in another namespace.
pub async fn until_in(world: &World, namespace: &str, expected: &[Told]) -> Duration {
    let began = Instant::now();
    loop {
        let listed = listed_in(world, namespace);
        let found = |told: &Told| -> Value {
            let conditions = listed[&*told.name]["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.into_iter().find(|one| one["type"] == told.condition).unwrap_or_default()
        };
        let holds = |told: &Told| {
            let condition = found(told);
            condition["reason"] == *told.reason
                && condition["message"].as_str().is_some_and(|message| message.contains(&told.says))
        };
        let Some(unmet) = expected.iter().find(|told| !holds(told)) else { return began.elapsed() };
        assert!(began.elapsed() < SOON, "{unmet:?} does not come; it is {:#}", listed[&*unmet.name]["status"]);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits until what is ordered of each is as expected.
pub async fn until_replicas(world: &World, expected: &[(&str, &str, i32)]) {
    let began = Instant::now();
    for (resource, name, replicas) in expected {
        loop {
            let path = "jsonpath={.spec.replicas}";
            let ordered = world.kubectl(["get", resource, name, "-n", NAMESPACE, "-o", path]);
            if ordered == replicas.to_string() {
                break;
            }
            let status = &listed(world)[*name]["status"];
            assert!(began.elapsed() < SOON, "{resource} {name} is at {ordered}, not {replicas}: {status:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Waits until the scaler has told of what an Autoscaler says now.
pub async fn until_seen(world: &World, name: &str) {
    nodes::until_or_why(&format!("{name} is looked at as it is now"), async || {
        let object = &listed(world)[name];
        let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if seen { Ok(()) } else { Err(format!("{object:#}")) }
    })
    .await;
}

/// All Autoscalers of the namespace, by name.
pub fn listed(world: &World) -> Value {
    listed_in(world, NAMESPACE)
}

pub fn listed_in(world: &World, namespace: &str) -> Value {
    let list: Value = serde_json::from_str(&world.kubectl(["get", "as", "-n", namespace, "-o", "json"])).unwrap();
    let of = |object: &Value| (object["metadata"]["name"].as_str().unwrap().to_owned(), object.clone());
    list["items"].as_array().unwrap().iter().map(of).collect::<serde_json::Map<_, _>>().into()
}

pub fn apply(world: &World, objects: &[Value]) {
    world.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
}

pub fn set_query(world: &World, name: &str, query: &str) {
    let patch = json!([{"op": "replace", "path": "/spec/metrics/0/prometheus/query", "value": query}]);
    world.kubectl(["patch", "as", name, "-n", NAMESPACE, "--type=json", "-p", &patch.to_string()]);
}
