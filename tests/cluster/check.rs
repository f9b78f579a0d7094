//! Checking the cluster: before anything is installed, with everything installed, and with something broken.

use std::time::Duration;

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    runtime::wait::await_condition,
};
use scalekit::health::CHECKS;
use serde_json::{Value, json};

use crate::{removal::nothing_is_left, world::World};

/// Every finding of a run of `check`, and the run's stage.
fn checked(world: &World, arguments: &[&str]) -> (String, Vec<Value>) {
    let ran = world.scalekit([&["check", "-o", "json"], arguments].concat()).exits(0);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["passed"], true, "{report:#}");
    (report["stage"].as_str().unwrap().to_owned(), report["checks"].as_array().unwrap().clone())
}

/// Where nothing of the platform stands in the way, nothing is said that is not so.
fn all_is_well(world: &World, findings: &[Value], installed: bool) {
    for check in CHECKS.iter().filter(|check| installed || check.before) {
        // Where all nodes can run the image there is nothing to say about their architecture, nor about volumes of the size
        // that is wanted, nor where no metric is dropped, nor about a stack that is installed and a configuration that is
        // taken; and nobody asked for series.
        let unsaid = ["architecture", "volumes", "dropped-metrics", "installed", "configuration", "series"];
        let expected = !unsaid.contains(&check.id);
        assert_eq!(findings.iter().any(|found| found["check"] == check.id), expected, "{}", check.id);
    }
    for found in findings.iter().filter(|found| found["severity"] != "ok") {
        let rbac_is_off = found["check"] == "rbac" && !world.rbac();
        assert!(rbac_is_off, "{found:#}");
    }
}

pub async fn a_check_of_an_empty_cluster_finds_it_ready_and_writes_nothing(world: &World) {
    let mark = world.audit_mark();
    let ran = world.scalekit(["check"]).exits(0);
    println!("{}", ran.stdout);
    let (stage, findings) = checked(world, &["--pre"]);
    assert_eq!(stage, "before-install");
    all_is_well(world, &findings, false);
    world.asked_and_wrote_nothing(mark);
}

pub async fn a_check_of_a_healthy_stack_finds_nothing_wrong(world: &World) {
    let ran = world.scalekit(["check"]).exits(0);
    println!("{}", ran.stdout);
    let (stage, findings) = checked(world, &[]);
    assert_eq!(stage, "installed");
    all_is_well(world, &findings, true);
    let (stage, findings) = checked(world, &["--pre"]);
    assert_eq!(stage, "before-install");
    all_is_well(world, &findings, false);
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
    let judged = await_condition(services.clone(), name, |service: Option<&APIService>| {
        let conditions = service.and_then(|service| service.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Available" && one.status == "False"))
    });
    tokio::time::timeout(Duration::from_secs(30), judged).await.expect("it is judged").unwrap();

    let fix = format!("kubectl delete apiservice {name}");
    world.scalekit(["check"]).exits(0).says(&format!("APIService {name} does not answer")).says(&fix);
    let ran = world.scalekit(["down", "--purge-data", "--yes"]).exits(6).says("namespace/monitoring").says(&fix);
    println!("{} ({:.1} s)", ran.stderr, ran.took.as_secs_f64());
    assert!(ran.took < Duration::from_secs(60), "it waited for what does not come: {:?}", ran.took);

    services.delete(name, &DeleteParams::default()).await.unwrap();
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0).says("nothing left");
    nothing_is_left(world).await;
}
