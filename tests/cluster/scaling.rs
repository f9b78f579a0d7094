//! Replicas follow what is measured, through a real Prometheus at its real interval.

use std::{
    fs,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::StatefulSet, coordination::v1::Lease};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    explained,
    nodes::until,
    place::clocked,
    world::{Ran, World, becomes},
};

const NAMESPACE: &str = "demo";
const WATCHERBOT: &str = "watcherbot";
/// A scrape, an interval of the scaler, and a pod that starts: longer than a loaded machine takes for them.
const REACHED_WITHIN: Duration = Duration::from_secs(180);
/// Longer than anything takes that passes by itself after an outage.
const PASSED_WITHIN: Duration = Duration::from_secs(300);

pub async fn watcherbot_starts_with_one_replica(world: &World) {
    let ran = world.scalekit(["demo", "up", WATCHERBOT]).exits(0);
    println!("{}", ran.stdout);
    world.until_replicas(NAMESPACE, WATCHERBOT, 1, REACHED_WITHIN).await;
    world.scalekit(["demo", "load", WATCHERBOT, "--finish", "1"]).exits(2).says("cannot finish 1 tasks");
}

pub async fn replicas_follow_the_tasks(world: &World) {
    let follow = async |tasks: &str, replicas: i32| {
        let took = world.until_replicas(NAMESPACE, WATCHERBOT, replicas, REACHED_WITHIN).await;
        println!("{tasks} tasks → {replicas} replicas after {:.1} s", took.as_secs_f64());
        until_scaled_by_decision(world, replicas).await;
    };
    for (tasks, replicas) in [("5", 1), ("11", 2), ("25", 3), ("35", 4), ("45", 5)] {
        set_tasks(world, tasks).await;
        follow(tasks, replicas).await;
    }
    world.scalekit(["demo", "load", WATCHERBOT, "--finish", "40"]).exits(0).says("5 tasks");
    follow("5", 1).await;
    world.scalekit(["demo", "load", WATCHERBOT, "--tasks", "25"]).exits(0);
    world.until_replicas(NAMESPACE, WATCHERBOT, 3, REACHED_WITHIN).await;
    let listed = world.kubectl(["get", "deploy,as", "-A"]);
    println!("{listed}");
    assert!(listed.contains("/10 per replica"), "{listed}");
    let log = world.kubectl(["logs", "-n", "monitoring", "deployment/scaler", "--tail=200"]);
    assert!(log.contains("current_replicas=1 desired_replicas=3 → scaling up"), "{log}");
    let events = world.kubectl(["get", "events", "-n", NAMESPACE, "-o", "wide"]);
    assert!(events.contains("from 1 to 3"), "{events}");
}

/// Sets the tasks of all pods together. A pod that goes while it is asked is an error, and not there at the next try.
pub async fn set_tasks(world: &World, tasks: &str) {
    let began = Instant::now();
    loop {
        let ran = world.scalekit(["demo", "load", WATCHERBOT, "--set", tasks]);
        if ran.code == 0 || began.elapsed() > REACHED_WITHIN {
            ran.exits(0).says(&format!("{tasks} tasks"));
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// As the README has it. What the scaler holds of its own executable counts, too.
pub async fn the_binary_and_the_scaler_are_small(world: &World) {
    let binary = world.binary_size();
    let resident = "max(process_resident_memory_bytes{job=\"scaler\"})";
    let resident = until("the scaler is scraped", async || Some(world.query(resident).await.first()?.value)).await;
    println!("binary {binary} bytes, scaler {:.2} MiB resident", resident / 1_048_576.0);
    assert!(binary <= 14_000_000, "{binary}: not of `make build`?");
    assert!(resident <= 12.0 * 1_048_576.0, "{resident}");
}

pub async fn explain_says_why_now_and_then(world: &World) {
    let explain = |extra: &[&str]| {
        let target = ["explain", "deploy/watcherbot", "-n", NAMESPACE];
        world.scalekit(target.iter().chain(extra).copied())
    };
    let json = |ran: Ran| serde_json::from_str::<Value>(&ran.exits(0).stdout).unwrap();
    // What is remembered of the last scale-up is to be one from a single replica.
    set_tasks(world, "5").await;
    world.until_replicas(NAMESPACE, WATCHERBOT, 1, REACHED_WITHIN).await;
    until_scaled_by_decision(world, 1).await;
    let began = Instant::now();
    loop {
        // A pod that goes takes its tasks along; where there are 25, this changes nothing.
        set_tasks(world, "25").await;
        let now = json(explain(&["-o", "json"]));
        if (&now["metrics"][0]["value"], &now["currentReplicas"], &now["desiredReplicas"])
            == (&json!("25"), &json!(3), &json!(3))
        {
            break;
        }
        assert!(began.elapsed() < REACHED_WITHIN, "the decision about 25 tasks does not come: {now}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let told = explain(&[]).exits(0).says("needs 31 active-tasks to reach 4").says("it stays at 3");
    println!("{}", told.stdout);
    // What is remembered of the last scale-up, by its own time.
    let scaled = world.kubectl(["get", "as", WATCHERBOT, "-n", NAMESPACE, "-o", "jsonpath={.status.lastScaleTime}"]);
    let then = json(explain(&["-o", "json", "--at", &scaled]));
    assert_eq!((&then["desiredReplicas"], &then["recomputed"]), (&json!(3), &json!(false)), "{then}");
    assert_ne!(then["currentReplicas"], 3, "{then}");
    // What is not remembered is recomputed.
    let lease = ["get", "lease", "-n", "monitoring", "scalekit-scaler", "-o", "jsonpath={.spec.renewTime}"];
    let just_before = world.kubectl(lease);
    explained::forgets(world);
    let again = json(explain(&["-o", "json", "--at", &just_before]));
    assert_eq!((&again["recomputed"], &again["desiredReplicas"]), (&json!(true), &json!(3)), "{again}");
    world
        .scalekit(["explain", "deploy/nothing", "-n", NAMESPACE])
        .exits(2)
        .says("Deployment/watcherbot (as/watcherbot)");
    explain(&["--at", "noon"]).exits(2);
    explain(&["--at", "2999-01-01T00:00:00Z"]).exits(2).says("lies in the future");
    explain(&["--at", "300d"]).exits(6).says("kept no replica count of that time").says("was made at");
}

/// 15 s of the lease since the other has seen its last renewal, two looks 2 s apart with jitter, and the polls of this test.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

/// kill -9 of the scaler that leads: nothing is given back, the lease has to run out.
pub async fn when_the_leader_is_killed_the_other_goes_on(world: &World) {
    let leader = || {
        world.kubectl(["get", "lease", "-n", "monitoring", "scalekit-scaler", "-o", "jsonpath={.spec.holderIdentity}"])
    };
    world.kubectl(["scale", "-n", "monitoring", "deployment/scaler", "--replicas=2"]);
    world.kubectl(["rollout", "status", "-n", "monitoring", "deployment/scaler", "--timeout=300s"]);
    let first = until("a scaler leads", async || Some(leader()).filter(|holder| !holder.is_empty())).await;
    let pod = first.rsplit_once('_').expect("a pod and a number").0.to_owned();
    set_tasks(world, "35").await;
    let killed = Instant::now();
    kill(world, &pod);
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "monitoring");
    let taken = async {
        loop {
            let holder = leases.get("scalekit-scaler").await.ok().and_then(|lease| lease.spec?.holder_identity);
            if let Some(holder) = holder.filter(|holder| !holder.is_empty() && *holder != first) {
                break holder;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (second, clock) = clocked(world, tokio::time::timeout(Duration::from_secs(180), taken)).await;
    let second = second.unwrap_or_else(|_| panic!("nobody took over from {first}"));
    clock.ended_within(TAKEN_OVER_WITHIN, killed, &format!("{second} took over from {first}"));
    world.until_replicas(NAMESPACE, WATCHERBOT, 4, REACHED_WITHIN).await;
    world.kubectl(["scale", "-n", "monitoring", "deployment/scaler", "--replicas=1"]);
    set_tasks(world, "25").await;
    world.until_replicas(NAMESPACE, WATCHERBOT, 3, REACHED_WITHIN).await;
}

/// SIGKILL to the process where it can be seen from here, as on the test cluster; else the kubelet does it.
pub fn kill(world: &World, pod: &str) {
    let hostname = format!("HOSTNAME={pod}");
    let is_it = |process: &std::fs::DirEntry| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == hostname.as_bytes())
            && command.split(|byte| *byte == 0).any(|argument| argument == b"controller")
    };
    let found = std::fs::read_dir("/proc").unwrap().flatten().find(is_it);
    match found {
        Some(process) => {
            let id = process.file_name().into_string().unwrap();
            assert!(std::process::Command::new("kill").args(["-9", &id]).status().unwrap().success());
        }
        None => {
            world.kubectl(["delete", "pod", "-n", "monitoring", pod, "--grace-period=0", "--force"]);
        }
    }
}

pub async fn all_autoscalers_are_stopped_and_go_on(world: &World) {
    world.scalekit(["pause"]).exits(2).says("--all");
    world.scalekit(["pause", "--all"]).exits(0).says("1 Autoscaler recommend only");
    set_tasks(world, "45").await;
    let began = Instant::now();
    loop {
        let log = world.kubectl(["logs", "-n", "monitoring", "deployment/scaler", "--since=60s"]);
        if log.contains("desired_replicas=5 → recommend only") {
            break;
        }
        assert!(began.elapsed() < REACHED_WITHIN, "no word of recommending in:\n{log}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let replicas = world.deployments(NAMESPACE).get(WATCHERBOT).await.unwrap().spec.replicas;
    assert_eq!(replicas, Some(3), "nothing is scaled meanwhile");
    world.scalekit(["explain", "deploy/watcherbot", "-n", NAMESPACE]).exits(0).says("mode Recommend writes nothing");
    world.scalekit(["resume"]).exits(0).says("1 Autoscaler scale again");
    world.until_replicas(NAMESPACE, WATCHERBOT, 5, REACHED_WITHIN).await;
    set_tasks(world, "25").await;
    world.until_replicas(NAMESPACE, WATCHERBOT, 3, REACHED_WITHIN).await;
}

/// `up` leaves the environment to whoever has set something in it, and gives and takes the arguments.
pub async fn the_scaler_has_the_limits_of_the_settings_and_of_its_environment(world: &World) {
    let set_env = |variable| world.kubectl(["set", "env", "-n", "monitoring", "deployment/scaler", variable]);
    let until_rolled_out = || {
        world.kubectl(["rollout", "status", "-n", "monitoring", "deployment/scaler", "--timeout=300s"]);
    };
    let scaler = || {
        let path = "jsonpath={.spec.template.spec.containers[0].args} {.spec.template.spec.containers[0].env}";
        world.kubectl(["get", "deployment", "scaler", "-n", "monitoring", "-o", path])
    };
    let before = scaler();
    set_env("SCALEKIT_MOST_DOWN_SHARE=0.3");
    until_rolled_out();
    let mark = world.audit_mark();
    world.scalekit(["up"]).exits(0).says("nothing to change");
    world.asked_and_wrote_nothing(mark);
    assert!(scaler().contains("SCALEKIT_MOST_DOWN_SHARE"), "{}", scaler());

    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("scalekit.yaml");
    let own = fs::read_to_string(world.settings()).unwrap();
    fs::write(&settings, format!("{own}autoscaling: {{largestStep: 100}}\n")).unwrap();
    let limited = |arguments: &[&str]| {
        let mut command = world.bare();
        command.arg("--kubeconfig").arg(world.kubeconfig()).arg("--config").arg(&settings).args(arguments);
        World::run(&mut command)
    };
    limited(&["plan"]).exits(10).says("--largest-step=100").says("1 to configure");
    // The rollout is all there is to wait for: the scrape targets take Prometheus' interval more.
    limited(&["up", "--no-wait"]).exits(0);
    until_rolled_out();
    let both = scaler();
    assert!(both.contains("--largest-step=100") && both.contains("SCALEKIT_MOST_DOWN_SHARE"), "{both}");

    world.scalekit(["up", "--no-wait"]).exits(0);
    set_env("SCALEKIT_MOST_DOWN_SHARE-");
    until_rolled_out();
    assert_eq!(scaler(), before);
}

/// The Autoscaler's own status says the same, after the metric has settled: a count that is only passed through on
/// the way to another is not an answer.
async fn until_scaled_by_decision(world: &World, replicas: i32) {
    let reached = async {
        loop {
            let said = world.kubectl([
                "get",
                "autoscaler",
                WATCHERBOT,
                "-n",
                NAMESPACE,
                "-o",
                "jsonpath={.status.currentReplicas} {.status.desiredReplicas}",
            ]);
            if said == format!("{replicas} {replicas}") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    assert!(
        tokio::time::timeout(REACHED_WITHIN, reached).await.is_ok(),
        "the Autoscaler does not settle at {replicas}"
    );
}

pub async fn an_unreachable_prometheus_holds_the_count(world: &World) {
    set_tasks(world, "25").await;
    world.until_replicas(NAMESPACE, WATCHERBOT, 3, REACHED_WITHIN).await;
    // A pod that went counts until Prometheus has noted that it is gone, half a minute later. Stopped before that, it would
    // count it until the last sample is older than the metric's maxAge.
    let began = Instant::now();
    loop {
        let seen = world.query("watcherBot_active_tasks").await;
        let tasks: f64 = seen.iter().map(|sample| sample.value).sum();
        if seen.len() == 3 && (tasks - 25.0).abs() < 0.1 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(240), "Prometheus does not forget the pods that went: {seen:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let restarts_before = restarts_of_the_scaler(world).await;
    let began = Instant::now();
    scale_prometheus(world, 0).await;
    set_tasks(world, "5").await;
    // Held over several intervals: the log shows that it was asked and answered by holding.
    loop {
        let since = format!("--since={}s", began.elapsed().as_secs() + 1);
        let log = world.kubectl(["logs", "-n", "monitoring", "deployment/scaler", &since]);
        if log.lines().filter(|line| line.contains("no data: holding")).count() >= 2
            && log.contains("Prometheus did not answer")
        {
            break;
        }
        assert!(began.elapsed() < PASSED_WITHIN, "no word of holding and backoff in:\n{log}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let replicas = world.deployments(NAMESPACE).get(WATCHERBOT).await.unwrap().spec.replicas;
    assert_eq!(replicas, Some(3), "held, with 5 tasks and no Prometheus");
    assert_eq!(restarts_of_the_scaler(world).await, restarts_before, "the scaler did not panic");
    world.scalekit(["status"]).exits(6).says("watcherbot");
    scale_prometheus(world, 1).await;
    // A pod may go before Prometheus has asked it again: what it said before the outage counts for the two minutes of
    // maxAge, then a look of the scaler and a pod that ends.
    world.until_replicas(NAMESPACE, WATCHERBOT, 1, PASSED_WITHIN).await;
}

/// Of its containers; a pod that was killed before may be the one that is left.
async fn restarts_of_the_scaler(world: &World) -> i32 {
    let pods = world.pods("monitoring", "app.kubernetes.io/name=scaler").await;
    let statuses =
        pods.iter().flat_map(|pod| pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()));
    statuses.map(|status| status.restart_count).sum()
}

async fn scale_prometheus(world: &World, replicas: i32) {
    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), "monitoring");
    let patch = json!({"spec": {"replicas": replicas}});
    sets.patch("prometheus", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let scaled = becomes(sets, "prometheus", PASSED_WITHIN, |set| {
        set.and_then(|set| set.status.as_ref())
            .is_some_and(|status| status.replicas == replicas && status.ready_replicas.unwrap_or(0) == replicas)
    });
    assert!(scaled.await, "Prometheus has not {replicas} ready replicas after {PASSED_WITHIN:?}");
}
