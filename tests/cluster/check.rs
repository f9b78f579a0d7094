//! Checking the cluster: before anything is installed, with everything installed, and with something broken.

use std::time::{Duration, Instant};

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use scalekit::health::CHECKS;
use serde_json::{Value, json};

use crate::{
    removal::nothing_is_left,
    resources::IMAGE,
    world::{World, becomes},
};

/// Waits until a run of `check` with these arguments finds nothing wrong: an answer that takes the API server more than a second
/// is a finding, and so is a scrape that was lost.
async fn all_is_well(world: &World, arguments: &[&str], stage: &str) {
    let began = Instant::now();
    loop {
        let ran = world.scalekit([&["check", "-o", "json"], arguments].concat());
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let mut wrong = unexpected(world, &report, stage);
        if ran.code != 0 {
            wrong.push(format!("exit code {}: {}{}", ran.code, ran.stdout, ran.stderr));
        }
        if wrong.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "{}", wrong.join("\n"));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What a report says that is not so where nothing of the platform stands in the way, and what it does not say.
fn unexpected(world: &World, report: &Value, stage: &str) -> Vec<String> {
    let findings = report["checks"].as_array().cloned().unwrap_or_default();
    let mut wrong = Vec::new();
    if report["passed"] != true || report["stage"] != stage {
        wrong.push(format!("passed: {}, stage: {}", report["passed"], report["stage"]));
    }
    for check in CHECKS.iter().filter(|check| stage == "installed" || check.before) {
        // Where all nodes can run the image there is nothing to say about their architecture, nor about volumes of the size
        // that is wanted, nor where no metric is dropped, no Secret of the user's is mounted and Prometheus is the stack's
        // own, nor about a stack that is installed and a configuration that is taken; and nobody asked for series.
        let unsaid = [
            "architecture",
            "volumes",
            "dropped-metrics",
            "secret",
            "installed",
            "configuration",
            "prometheus",
            "series",
        ];
        let expected = !unsaid.contains(&check.id);
        let said = findings.iter().any(|found| found["check"] == check.id);
        if said != expected {
            wrong.push(format!("{}: said: {said}, expected: {expected}", check.id));
        }
    }
    let is_as_it_should = |found: &&Value| {
        if found["check"] == "rbac" && !world.rbac() {
            let hint = found["hint"].as_str().unwrap_or_default();
            return found["severity"] == "warning" && hint.contains("microk8s enable rbac");
        }
        found["severity"] == "ok"
    };
    wrong.extend(findings.iter().filter(|found| !is_as_it_should(found)).map(|found| format!("{found:#}")));
    wrong
}

pub async fn a_check_of_an_empty_cluster_finds_it_ready_and_writes_nothing(world: &World) {
    let mark = world.audit_mark();
    let ran = world.until_it_passes(&["check"]).await;
    println!("{}", ran.stdout);
    all_is_well(world, &["--pre"], "before-install").await;
    world.asked_and_wrote_nothing(mark);
}

/// A pod whose program listens on node-exporter's port of its node, whether or not it claims that. With a grace of 0 the pod would
/// be gone before its program is.
pub fn on_the_port_of_node_exporter(namespace: &str, name: &str, claims: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"hostNetwork": true, "terminationGracePeriodSeconds": 1, "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "ports": claims,
                "command": ["httpd", "-f", "-p", "9100"],
                "readinessProbe": {"tcpSocket": {"port": 9100}, "periodSeconds": 1}}]}})
}

/// As Debian's package has it: it listens on the node, and no pod claims the port.
pub async fn a_program_on_the_port_of_node_exporter_is_named_before_anything_is_written(world: &World) {
    world.apply(&on_the_port_of_node_exporter("kube-system", "listens", json!([])).to_string());
    world.kubectl(["wait", "-n", "kube-system", "pod/listens", "--for=condition=Ready", "--timeout=300s"]);
    let mark = world.audit_mark();
    let said = [&["check", "--pre"][..], &["up"]].map(|command| world.scalekit(command));
    world.asked_and_wrote_nothing(mark);
    world.kubectl(["delete", "-n", "kube-system", "pod", "listens"]);
    for ran in said {
        println!("{}{} ({:.1} s)", ran.stdout, ran.stderr, ran.took.as_secs_f64());
        ran.exits(3).says("listens on port 9100 of").says("ss -ltnp 'sport = :9100'");
    }
    all_is_well(world, &["--pre"], "before-install").await;
}

pub async fn a_check_of_a_healthy_stack_finds_nothing_wrong(world: &World) {
    let ran = world.until_it_passes(&["check"]).await;
    println!("{}", ran.stdout);
    all_is_well(world, &[], "installed").await;
    all_is_well(world, &["--pre"], "before-install").await;
}

/// An aggregated API without a server: no namespace of the cluster can go. `check` finds it, and `down`, which would
/// wait for ever, says what it waits for and how to go on.
pub async fn an_api_without_a_server_is_found_and_down_says_what_to_do(world: &World) {
    let name = "v1.scalekit-test.example";
    let services: Api<APIService> = Api::all(world.client.clone());
    let service = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
        "group": "scalekit-test.example", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "insecureSkipTLSVerify": true, "service": {"name": "nobody", "namespace": "default"}}}))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
    let judged = becomes(services.clone(), name, Duration::from_secs(120), |service| {
        let conditions = service.and_then(|service| service.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Available" && one.status == "False"))
    });
    assert!(judged.await, "it is not judged");

    let fix = format!("kubectl delete apiservice {name}");
    world.scalekit(["check"]).exits(0).says(&format!("APIService {name} does not answer")).says(&fix);
    let ran = world.scalekit(["down", "--purge-data", "--yes"]).exits(6).says("namespace/monitoring").says(&fix);
    println!("{} ({:.1} s)", ran.stderr, ran.took.as_secs_f64());
    assert!(ran.took < Duration::from_secs(200), "it waited for what does not come: {:?}", ran.took);
    // The namespace is on its way out, and stays there: nothing can be installed until that is mended.
    let ran = world.scalekit(["up"]).exits(6).says("namespace/monitoring").says(&fix);
    assert!(ran.took < Duration::from_secs(120), "it waited for what does not come: {:?}", ran.took);
    world.scalekit(["check"]).says(&format!("APIService {name} does not answer")).says(&fix);

    services.delete(name, &DeleteParams::default()).await.unwrap();
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
    nothing_is_left(world).await;
}
