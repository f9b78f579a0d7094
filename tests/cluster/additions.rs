//! What users add to Prometheus: taken within seconds, or refused before anything is written, or refused by Prometheus.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    grafana,
    nodes::{until, until_or_why},
    world::World,
};

const RULES: &str = "groups:
- name: mine
  interval: 5s
  rules:
  - record: mine:up:sum
    expr: sum(up)
";
const JOB: &str = "scrape_configs:
- job_name: mine
  scrape_interval: 5s
  static_configs:
  - targets: [localhost:9090]
";

fn write(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

/// Which pod Prometheus is, and how often it was started.
fn running(world: &World) -> String {
    let path = "jsonpath={.metadata.uid}, restarts: {.status.containerStatuses[*].restartCount}";
    world.kubectl(["get", "pod", "-n", "monitoring", "prometheus-0", "-o", path])
}

pub async fn rules_and_jobs_of_the_users_own_are_taken_or_refused(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let (rules, jobs) = (folder.path().join("rules"), folder.path().join("jobs"));
    let up = || {
        let mut command = world.command();
        command.arg("up").arg("--rules").arg(&rules).arg("--scrape-configs").arg(&jobs);
        World::run_answered(&mut command)
    };
    let ran_before = running(world);
    write(&rules, "mine.yml", RULES);
    write(&jobs, "mine.yaml", JOB);

    write(&rules, "broken.yml", "groups:\n- name: x\n  rules:\n  - record: y\n    expr: sum(up\n");
    let generation = || {
        world.kubectl([
            "get",
            "configmap",
            "-n",
            "monitoring",
            "prometheus-config",
            "-o",
            "jsonpath={.metadata.resourceVersion}",
        ])
    };
    let before = generation();
    let refused = up().exits(2).says("broken.yml:5:11").says("no PromQL").says("nothing was written");
    println!("{}", refused.stderr);
    write(&jobs, "broken.yml", "scrape_configs:\n- job_name: kubelet\n");
    up().exits(2).says("broken.yml:2:13: there is a job `kubelet` already");
    assert_eq!(generation(), before, "it was written all the same");
    fs::remove_file(rules.join("broken.yml")).unwrap();
    fs::remove_file(jobs.join("broken.yml")).unwrap();

    let ran = up().exits(0).says("Prometheus has loaded its new configuration");
    let line = ran.stderr.lines().find(|line| line.contains("has loaded its new")).unwrap();
    println!("{line}");
    let seconds: f64 = line.rsplit_once('(').unwrap().1.trim_end_matches(" s)").parse().unwrap();
    assert!(seconds < 60.0, "{line}");
    assert_eq!(running(world), ran_before, "Prometheus was started anew for what it can load");
    world.scalekit(["plan", "--rules", rules.to_str().unwrap(), "--scrape-configs", jobs.to_str().unwrap()]).exits(0);
    let loaded_at = || {
        let path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/status/runtimeinfo";
        let answer: Value = serde_json::from_str(&world.kubectl(["get", "--raw", path])).unwrap();
        answer["data"]["lastConfigTime"].clone()
    };
    let first = loaded_at();
    until_or_why("the rule is recorded and the job scraped", async || {
        let (recorded, scraped) = (world.query("mine:up:sum").await, world.query("up{job=\"mine\"}").await);
        let both = !recorded.is_empty() && !scraped.is_empty();
        if both { Ok(()) } else { Err(format!("{recorded:?} {scraped:?}")) }
    })
    .await;
    assert_eq!(loaded_at(), first, "what was said to be loaded was only half of it: the rules, or the jobs");
    // Where the API server is scraped by the kubelet's job, it is counted by itself all the same.
    until_or_why("series are counted by their jobs", async || {
        let answer: Value =
            serde_json::from_str(&world.scalekit(["status", "--series", "-o", "json"]).stdout).unwrap_or_default();
        let list = |field: &str| answer["series"][field].as_array().cloned().unwrap_or_default();
        let counted =
            |name: &str| list("jobs").iter().any(|job| job["job"] == name && job["series"].as_u64() > Some(0));
        let all = counted("mine") && counted("apiserver") && list("largest").len() == 3;
        if all { Ok(()) } else { Err(format!("{answer:#}")) }
    })
    .await;
    println!("{}", world.scalekit(["status", "--series"]).stdout);

    // What only Prometheus knows: it goes on with what it had.
    let template =
        "groups:\n- name: t\n  rules:\n  - alert: T\n    expr: up\n    annotations: {summary: '{{ nonsense }}'}\n";
    write(&rules, "template.yml", template);
    let refused = up().exits(6).says("nonsense").says("goes on with the old one");
    println!("{}", refused.stderr);
    assert!(!world.query("mine:up:sum").await.is_empty());
    // What was there before is there again, so that the next start of Prometheus finds something that it can load.
    let text = world.kubectl(["get", "configmap", "-n", "monitoring", "prometheus-config", "-o", "jsonpath={.data}"]);
    assert!(!text.contains("nonsense") && text.contains("mine:up:sum"), "{text}");
    up().exits(6).says("nonsense");
    // Left by hand, or by a run that was killed: said until it is mended.
    let patch = serde_json::json!({"data": {"template.rules.yml": template}}).to_string();
    let by_hand = |patch: &str| {
        world.kubectl(["patch", "configmap", "-n", "monitoring", "prometheus-config", "--type=merge", "-p", patch]);
        // Else the kubelet takes its time.
        let at = format!("scalekit.dev/configured-at={patch:.40}");
        world.kubectl(["annotate", "--overwrite", "pod", "-n", "monitoring", "prometheus-0", &at]);
    };
    by_hand(&patch);
    until_or_why("status says what Prometheus refuses", async || {
        let status: Value = serde_json::from_str(&world.scalekit(["status", "-o", "json"]).stdout).unwrap_or_default();
        let is_it = |finding: &Value| {
            finding["check"] == "configuration"
                && finding["message"].as_str().is_some_and(|words| words.contains("nonsense"))
        };
        let said = status["findings"].as_array().is_some_and(|findings| findings.iter().any(is_it));
        if said { Ok(()) } else { Err(format!("{status:#}")) }
    })
    .await;
    until("an alert of it is pending", async || world.query(r#"ALERTS{alertname="PrometheusBadConfig"}"#).await.pop())
        .await;

    // The file is somebody's, whom `up` takes nothing away from.
    by_hand(r#"{"data": {"template.rules.yml": null}}"#);
    world.scalekit(["up"]).exits(0).says("Prometheus has loaded its new configuration");
    world.scalekit(["plan"]).exits(0);
    assert_eq!(world.targets().await.iter().filter(|target| target.scrape_pool == "mine").count(), 0);
    assert_eq!(running(world), ran_before, "it was started anew for what it refused, or for what was taken away");
}

pub async fn a_profile_is_a_plan_and_an_unknown_one_is_refused(world: &World) {
    let ran = world.scalekit(["plan", "--profile", "edge"]).exits(10);
    assert!(
        ran.stdout.contains("resources.requests.memory") || ran.stdout.contains("containers[0].resources"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("refused by the API server"), "{}", ran.stdout);
    // In place: what is there keeps its data, and the volume its size.
    let claim = || {
        world.kubectl([
            "get",
            "pvc",
            "-n",
            "monitoring",
            "prometheus-data",
            "-o",
            "jsonpath={.metadata.uid} {.spec.resources.requests.storage}",
        ])
    };
    let (before, sample) = (claim(), world.query("prometheus_tsdb_head_series").await[0].at);
    // At the profile's own interval the targets alone would take half a minute.
    let settings = ["--profile", "edge", "--scrape-interval", "10s"];
    let edge = |command| [&[command], &settings[..]].concat();
    let ran = world.scalekit(edge("up")).exits(0).says("prometheus-data keeps its 5Gi");
    println!("{}", ran.stderr);
    world.scalekit(edge("plan")).exits(0);
    world.until_healthy(&settings).await;
    let limit = "jsonpath={.spec.containers[0].resources.limits.memory}";
    assert_eq!(world.kubectl(["get", "pod", "-n", "monitoring", "prometheus-0", "-o", limit]), "320Mi");
    assert_eq!(claim(), before);
    let old = world.query(&format!("prometheus_tsdb_head_series{{job=\"prometheus\"}} @ {sample}")).await;
    assert_eq!(old.len(), 1, "its samples are gone");
    world.scalekit(["up"]).exits(0);
    assert_eq!(claim(), before);
    // A configuration that goes before Prometheus has seen it: what it has is what it is to have.
    world.scalekit(["up", "--scrape-interval", "20s", "--no-wait"]).exits(0);
    let ran = world.scalekit(["up"]).exits(0);
    assert!(ran.took < Duration::from_secs(280), "{:?}", ran.took);
    world.scalekit(["plan", "--profile", "enormous"]).exits(2).says("edge, laptop or team");
}

pub async fn grafanas_password_is_set_anew(world: &World) {
    let keys = || {
        let template = "go-template={{ range $key, $value := .data }}{{ $key }};{{ end }}";
        world.kubectl(["get", "secret", "-n", "monitoring", "grafana-admin", "-o", template])
    };
    let before = grafana::password(world);
    let opened = grafana::Opened::with(world, &["--reset-password"]);
    assert_eq!((grafana::password(world), keys()), (opened.password.clone(), "password;".to_owned()));
    assert_ne!(opened.password, before);
    assert_eq!((opened.login(&opened.password).await, opened.login(&before).await), (200, 401));
    drop(opened);
    world.scalekit(["plan"]).exits(0);
}
