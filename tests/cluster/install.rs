//! Installing, and what is then there.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Namespace, Pod},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use scalekit::prometheus::TargetHealth;
use serde_json::{Value, json};

use crate::{
    nodes::until_or_why,
    prometheus::PROMETHEUS,
    world::{Ran, World, becomes},
};

pub async fn starts_from_an_empty_cluster(world: &World) {
    world.scalekit(["down", "--purge-data", "--yes"]).exits(0);
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get_opt("monitoring").await.unwrap().is_none());
    world.scalekit(["status"]).exits(6).says("nothing is installed").says("scalekit up");
}

pub async fn a_class_that_does_not_exist_fails_with_its_name_in_seconds(world: &World) {
    let ran = world.scalekit(["up", "--storage-class", "nowhere"]).exits(6);
    let ran = ran.says("persistentvolumeclaim/prometheus-data").says("there is no StorageClass `nowhere`");
    assert!(ran.took < Duration::from_secs(120), "{:?}", ran.took);
    // The next run mends it without a removal in between: the claims hold nothing yet.
    let ran = world.scalekit(["plan"]).exits(10);
    ran.says("2 to make anew").says("it waits for StorageClass `nowhere`, which does not exist");
}

pub async fn a_plan_of_an_empty_cluster_names_every_object_and_writes_nothing(world: &World) {
    let mark = world.audit_mark();
    let ran = world.scalekit(["plan"]).exits(10).says("to create");
    println!("{}", ran.stdout);
    world.asked_and_wrote_nothing(mark);
    let answer: Value = serde_json::from_str(&world.scalekit(["plan", "-o", "json"]).exits(10).stdout).unwrap();
    let objects = answer["objects"].as_array().unwrap();
    assert!(objects.len() > 30, "{answer:#}");
    let is_namespace = |object: &&Value| object["object"]["kind"] == "Namespace";
    let made: Vec<&Value> = objects.iter().filter(is_namespace).map(|object| &object["object"]["name"]).collect();
    assert_eq!(made.len(), 2, "{made:?}");
    for object in objects {
        assert_eq!((&object["action"], &object["checked"]), (&"create".into(), &"accepted".into()), "{object:#}");
        // Nothing can be tried in a namespace that is not there yet.
        let elsewhere = made.contains(&&object["object"]["namespace"]);
        let tried_in = if elsewhere { json!("default") } else { Value::Null };
        assert_eq!(object["tried_in"], tried_in, "{object:#}");
    }
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get_opt("monitoring").await.unwrap().is_none(), "a plan wrote something");
}

/// Somebody else is at work: named while it lives, taken over once it has died.
pub async fn a_second_run_names_the_first_and_takes_over_from_a_dead_one(world: &World) {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "monitoring");
    let lease = |renewed: Timestamp| {
        serde_json::from_value(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "scalekit-lock"},
            "spec": {"holderIdentity": "elsewhere/4711/another-boot", "leaseDurationSeconds": 15,
                "acquireTime": MicroTime(renewed), "renewTime": MicroTime(renewed)}}))
        .unwrap()
    };
    let apply = PatchParams::apply("scalekit-test").force();
    let held: Lease = lease(Timestamp::UNIX_EPOCH);
    leases.patch("scalekit-lock", &apply, &Patch::Apply(&held)).await.unwrap();
    let run = |arguments: &'static [&'static str]| {
        let mut command = world.command();
        command.args(arguments);
        tokio::task::spawn_blocking(move || World::run(&mut command))
    };
    let mut second = run(&["up", "--scrape-interval", "5s"]);
    let mut renewed = Timestamp::UNIX_EPOCH;
    let ran = loop {
        renewed += Duration::from_secs(1);
        let held: Lease = lease(renewed);
        tokio::select! {
            ran = &mut second => break ran.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                leases.patch("scalekit-lock", &apply, &Patch::Apply(&held)).await.unwrap();
            }
        }
    };
    ran.exits(7).says("host elsewhere, process 4711");
    let ran = run(&["up", "--scrape-interval", "5s"]).await.unwrap().exits(0);
    assert!(ran.took > Duration::from_secs(14), "it took a live holder's lock: {:?}", ran.took);
    assert!(leases.get_opt("scalekit-lock").await.unwrap().is_none(), "the lock was not given back");
    every_target_is_scraped_every_five_seconds(world).await;
    world.scalekit(["up"]).exits(0);
    world.scalekit(["plan"]).exits(0).says("nothing to change");
}

/// By what Prometheus says of its targets, and by the samples that come. The API server's page is too long for that; where
/// it is the kubelet's, so is the kubelet's.
async fn every_target_is_scraped_every_five_seconds(world: &World) {
    let path = format!("{PROMETHEUS}/api/v1/targets?state=active");
    let began = Instant::now();
    // A target that Prometheus has keeps its interval over a reload until its discovery tells of it again, seconds later.
    loop {
        let answer = world.raw(&path).unwrap_or_default();
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let slow = targets.iter().filter(|target| target["scrapeInterval"] != "5s");
        let slow: Vec<_> = slow.map(|target| (&target["scrapePool"], &target["scrapeInterval"])).collect();
        let is_long = |job: &Value| ["apiserver", "kubelet"].iter().any(|long| job == long);
        if targets.len() > 8 && slow.len() == 1 && is_long(slow[0].0) && slow[0].1 == "20s" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "{slow:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    while world.query(r#"count_over_time(up{job="node-exporter"}[11s]) >= 2"#).await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(300), "no sample comes after five seconds");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

pub async fn up_makes_everything_ready_and_every_target_up(world: &World) {
    let ran = world.scalekit(["up"]).exits(0);
    println!("{}{}", ran.stderr, ran.stdout);
    every_step_is_told_with_its_time(&ran);
    let pods = all_pods(world).await;
    assert_eq!(pods.len(), 5, "{:?}", pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    for pod in &pods {
        let ready = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
            conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
        assert!(ready, "{} is not ready", pod.name_any());
        let restarts: i32 = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .map(|status| status.restart_count)
            .sum();
        assert_eq!(restarts, 0, "{} was restarted", pod.name_any());
    }
    let optional = ["annotated-pods", "annotated-services"];
    until_or_why("every target is up, and only what users annotate has none", async || {
        let targets = world.targets().await;
        let down: Vec<_> = targets.iter().filter(|target| target.health != TargetHealth::Up).collect();
        let pools = world.raw(&format!("{PROMETHEUS}/api/v1/scrape_pools")).unwrap_or_default();
        let pools = pools["data"]["scrapePools"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let empty: Vec<_> = pools.filter(|pool| !targets.iter().any(|target| target.scrape_pool == *pool)).collect();
        if down.is_empty() && empty == optional { Ok(()) } else { Err(format!("down: {down:?}, empty: {empty:?}")) }
    })
    .await;
}

/// In the summary, in their order, and together the most of the run.
fn every_step_is_told_with_its_time(ran: &Ran) {
    let is_it = |line: &&str| line.starts_with("scalekit runs in namespace monitoring (");
    let summary = ran.stdout.lines().find(is_it).expect(&ran.stdout);
    let (_, steps) = summary.trim_end_matches(')').split_once(" s: ").expect(summary);
    let step = |told: &str| {
        let (name, seconds) = told.trim_end_matches(" s").split_once(' ').expect(summary);
        (name.to_owned(), seconds.parse::<f64>().expect(summary))
    };
    let (names, seconds): (Vec<String>, Vec<f64>) = steps.split(", ").map(step).unzip();
    // Nodes that pull the image are sent none, and what was loaded already is not loaded again.
    let always: Vec<&String> = names.iter().filter(|name| !["image", "reload"].contains(&name.as_str())).collect();
    assert_eq!(always, ["preflight", "plan", "apply", "wait", "targets"], "{summary}");
    let (sum, took) = (seconds.iter().sum::<f64>(), ran.took.as_secs_f64());
    // Each is told to a tenth.
    assert!(sum > took / 2.0 && sum < took + 0.5, "{took:.1} s: {summary}");
}

pub async fn up_again_changes_nothing(world: &World) {
    let before = resource_versions(world);
    let mark = world.audit_mark();
    let ran = world.scalekit(["up"]).exits(0).says("nothing to change");
    println!("{:.2} s", ran.took.as_secs_f64());
    if let Some(mark) = mark {
        let (requests, writes) = world.requests_since(mark);
        println!("{} requests", requests.len());
        assert_eq!(writes, Vec::<String>::new());
        // A watch that the server ends is begun anew.
        let asked = requests.iter().filter(|request| !request.starts_with("watch ")).count();
        assert!((1..=20).contains(&asked), "{requests:#?}");
    }
    let written: Vec<_> = resource_versions(world).difference(&before).cloned().collect();
    assert!(written.is_empty(), "{written:?}");
}

pub async fn status_is_healthy(world: &World) {
    let ran = world.until_it_passes(&["status"]).await.says("healthy");
    println!("{}", ran.stdout);
    until_or_why("status is healthy, and counts every target as up", async || {
        let answer = world.status_once_healthy(&[]).await;
        let targets = &answer["targets"];
        let all_up = targets["total"].is_number() && targets["up"] == targets["total"];
        if answer["healthy"] == true && all_up { Ok(()) } else { Err(format!("{answer:#}")) }
    })
    .await;
}

/// Retention is in the configuration file, which Prometheus takes over from its flags: by its own word and its own figures.
pub async fn prometheus_keeps_what_it_is_told_to(world: &World) {
    let path = "jsonpath={.data.prometheus\\.yml}";
    let text = world.kubectl(["get", "configmap", "-n", "monitoring", "prometheus-config", "-o", path]);
    let config: Value = scalekit::yaml::parse(&text).unwrap();
    let told = &config["storage"]["tsdb"]["retention"];
    let (time, size) = (told["time"].as_str().unwrap(), told["size"].as_str().unwrap());

    let path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/status/runtimeinfo";
    let answer: Value = serde_json::from_str(&world.kubectl(["get", "--raw", path])).unwrap();
    let kept = answer["data"]["storageRetention"].as_str().unwrap();
    println!("told {told}, keeps {kept}");
    let (for_time, up_to) = kept.split_once(" or ").unwrap();
    assert_eq!(seconds(for_time), seconds(time), "{kept}");
    assert_eq!(bytes(up_to), bytes(size), "{kept}");
    let limit = world.query(&format!("prometheus_tsdb_retention_limit_bytes == {}", bytes(size))).await;
    assert_eq!(limit.len(), 1, "{size}");
}

/// A duration of one unit, as Prometheus writes it.
fn seconds(text: &str) -> u64 {
    let number: u64 = text.trim_end_matches(char::is_alphabetic).parse().unwrap();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    number * [("d", 86_400), ("h", 3600), ("w", 604_800)].into_iter().find(|(name, _)| *name == unit).unwrap().1
}

/// A size as Prometheus writes it: units of 1024, with an i or without.
fn bytes(text: &str) -> u64 {
    let number: u64 = text.trim_end_matches(char::is_alphabetic).parse().unwrap();
    let power = ["MB", "GB", "TB"].iter().position(|unit| text.replace('i', "").ends_with(unit)).unwrap();
    number << (10 * (power + 2))
}

pub async fn samples_survive_a_restart_of_prometheus(world: &World) {
    let sample = &world.query("prometheus_tsdb_head_series").await[0];
    let before = sample.at;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
    let old = pods.get("prometheus-0").await.unwrap().uid().unwrap();
    pods.delete("prometheus-0", &DeleteParams::default()).await.unwrap();
    let new = becomes(pods, "prometheus-0", Duration::from_secs(240), |pod| {
        pod.is_some_and(|pod| {
            pod.uid().as_ref() != Some(&old)
                && pod.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
                    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
                })
        })
    });
    assert!(new.await, "no new pod is ready");
    let again = world.query(&format!("prometheus_tsdb_head_series @ {before}")).await;
    assert_eq!(again.len(), 1, "the sample of before the restart is gone");
}

pub async fn jobs_that_lost_their_rights_are_named(world: &World) {
    let rules = r#"[{"op": "replace", "path": "/rules", "value": [
        {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}]"#;
    world.kubectl(["patch", "clusterrole", "scalekit-prometheus", "--type=json", "-p", rules]);
    world.kubectl(["delete", "pod", "-n", "monitoring", "prometheus-0", "--wait=true"]);
    world.kubectl(["rollout", "status", "-n", "monitoring", "statefulset/prometheus", "--timeout=240s"]);
    // The rollout may be told as complete before anybody has looked at the new pod, and a discovery takes its time.
    let ran = until_or_why("status names jobs without a target", async || {
        let ran = world.scalekit(["status"]);
        let named = ["no target at all for ", "coredns"].iter().all(|words| ran.stdout.contains(words));
        if named { Ok(ran) } else { Err(ran.stdout) }
    })
    .await;
    let ran = ran.exits(6).says("clusterrole.rbac.authorization.k8s.io/scalekit-prometheus was changed: rules is ");
    ran.says("(by kubectl-patch)")
        .says("services")
        .says("endpointslices")
        .says("`scalekit up --force-conflicts` gives it back");
    let answer: Value = serde_json::from_str(&world.scalekit(["status", "-o", "json"]).exits(6).stdout).unwrap();
    let field = &answer["drift"][0]["fields"][0];
    assert_eq!((&field["field"], &field["by"][0]["manager"]), (&json!("rules"), &json!("kubectl-patch")), "{field:#}");
    assert!(field["live"].is_array() && field["live"] != field["desired"], "{field:#}");
    // What needs no right that is missing is discovered some seconds after the start.
    let began = Instant::now();
    loop {
        let (named, alert) = (jobs_that_status_names(world), jobs_that_the_alert_is_about(world));
        if named == alert && named.contains("coredns") && !named.contains("kubelet") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "status names {named:?}, the alert {alert:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Somebody took the right away on purpose, perhaps: it is not taken back without a word.
    world
        .scalekit(["up"])
        .exits(5)
        .says("clusterrole.rbac.authorization.k8s.io/scalekit-prometheus")
        .says("kubectl-patch");
    world.scalekit(["up", "--force-conflicts"]).exits(0);
    world.until_healthy(&[]).await;
}

/// None where Prometheus did not say in time.
fn jobs_that_status_names(world: &World) -> BTreeSet<String> {
    let answer: Value = serde_json::from_str(&world.scalekit(["status", "-o", "json"]).exits(6).stdout).unwrap();
    let empty = answer["targets"]["emptyJobs"].as_array().into_iter().flatten();
    empty.map(|job| job.as_str().unwrap().to_owned()).collect()
}

/// What the rule of `JobWithoutTargets` finds in the last half minute. The alert waits until `up` of before a restart is forgotten,
/// five minutes.
fn jobs_that_the_alert_is_about(world: &World) -> BTreeSet<String> {
    let path = "jsonpath={.data.alerts\\.rules\\.yml}";
    let text = world.kubectl(["get", "configmap", "-n", "monitoring", "prometheus-config", "-o", path]);
    let file: Value = scalekit::yaml::parse(&text).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    let mut rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let rule = rules.find(|rule| rule["alert"] == "JobWithoutTargets").unwrap();
    let asked = [("query", rule["expr"].as_str().unwrap()), ("lookback_delta", "30s")];
    let url = reqwest::Url::parse_with_params("http://prometheus/api/v1/query", asked).unwrap();
    let proxy = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy";
    let path = format!("{proxy}{}?{}", url.path(), url.query().unwrap());
    let answer: Value = serde_json::from_str(&world.kubectl(["get", "--raw", &path])).unwrap();
    let found = answer["data"]["result"].as_array().unwrap();
    found.iter().map(|sample| sample["metric"]["job"].as_str().unwrap().to_owned()).collect()
}

/// All that are to stay.
async fn all_pods(world: &World) -> Vec<Pod> {
    let mut pods = world.pods("monitoring", "").await;
    pods.extend(world.pods("monitoring-nodes", "").await);
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    pods
}

/// Name, generation and the times of our own writes of everything with our label: others write the status.
fn resource_versions(world: &World) -> BTreeSet<String> {
    let kinds = "namespaces,serviceaccounts,configmaps,secrets,services,deployments,statefulsets,daemonsets,networkpolicies,\
                 persistentvolumeclaims,clusterroles,clusterrolebindings,customresourcedefinitions";
    let format = "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {.metadata.generation} {.metadata.managedFields[?(@.manager==\"scalekit\")].time}{\"\\n\"}{end}";
    let listed = world.kubectl([
        "get",
        kinds,
        "-A",
        "-l",
        "app.kubernetes.io/managed-by=scalekit",
        "--show-managed-fields",
        "-o",
        format,
    ]);
    listed.lines().map(str::to_owned).collect()
}
