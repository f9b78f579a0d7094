//! What Prometheus keeps of an idle cluster, and what it makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::{Duration, Instant},
};

use promql_parser::{
    parser::{self, Expr},
    util::{ExprVisitor, walk_expr},
};
use serde_json::{Value, json};

use crate::{nodes::until, panels, world::World};

/// Longer than a loaded machine takes for scrapes, of which one may be missed.
const SHOWN_WITHIN: Duration = Duration::from_secs(240);

/// The control plane is scraped as this cluster lets it be seen, and what is left out is said.
pub async fn the_control_plane_is_scraped_once_and_what_is_not_is_said(world: &World) {
    let answer = world.status_once_healthy(&[]).await;
    let scraping = &answer["scraping"];
    let left_out = left_out(&answer);
    let one_process = scraping["oneProcess"] == true;
    // Its page is the kubelet's where it is one process.
    let (jobs, with_target): (&[&str], usize) = if one_process {
        assert_eq!(left_out, ["etcd"]);
        (&["apiserver", "controller-manager", "kube-proxy", "scheduler"], 0)
    } else {
        assert_eq!(left_out.len(), 4, "{scraping:#}");
        (&["apiserver"], 1)
    };
    let of_the_control_plane =
        r#"group by (job) ({job=~"apiserver|controller-manager|kube-proxy|scheduler|etcd", __name__!="up"})"#;
    let began = Instant::now();
    loop {
        let samples = world.query(of_the_control_plane).await;
        let with_series: BTreeSet<&str> = samples.iter().map(|sample| sample.labels["job"].as_str()).collect();
        let targets = world.targets().await;
        let of_the_api_server = targets.iter().filter(|target| target.scrape_pool == "apiserver").count();
        if with_series.iter().eq(jobs) && of_the_api_server == with_target {
            break;
        }
        assert!(began.elapsed() < SHOWN_WITHIN, "{with_series:?}, and {of_the_api_server} targets: {scraping:#}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // No series of the API server twice: once for each label of its own, whatever the job.
    let twice = world.query("count by (instance, verb, code, resource, scope, group, version, component, subresource, dry_run) (apiserver_request_total) > 1").await;
    assert!(twice.is_empty(), "{twice:?}");
    // MicroK8s' kubelets have certificates of the cluster's authority, kubeadm's sign their own.
    if world.audit_mark().is_some() {
        assert_eq!(scraping["kubeletsVerified"], scraping["oneProcess"], "{scraping:#}");
    }
    println!(
        "kubelets verified: {}, one process: {}, left out: {}",
        scraping["kubeletsVerified"], scraping["oneProcess"], scraping["notScraped"]
    );
    let said = world.until_it_passes(&["status"]).await;
    said.says("not scraped: ").says("etcd").says("the kubelets' certificates are");
}

/// The parts of the control plane that `status` names as not scraped.
fn left_out(status: &Value) -> Vec<String> {
    let jobs = status["scraping"]["notScraped"].as_array().unwrap().iter();
    jobs.map(|job| job["job"].as_str().unwrap().to_owned()).collect()
}

/// A second scheduler and a second controller manager, which wait for leases that somebody else has and do nothing, a second
/// kube-proxy, which writes the same rules as the first, and an etcd of nobody. The node's own programs are mounted: they
/// need no image but one.
fn second_control_plane() -> Value {
    let lease = |name: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": format!("second-{name}"), "namespace": "kube-system"},
            "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 36000, "leaseTransitions": 0}})
    };
    let pod = |program: &str, port: u16, scheme: &str, flags: Vec<String>| {
        let command: Vec<String> = [format!("/run/bin/{program}")].into_iter().chain(flags).collect();
        let folders = ["/run/bin", "/run/build", "/etc/kubernetes/pki"];
        let name = |at: usize| format!("folder-{at}");
        let mounts = folders.iter().enumerate().map(|(at, path)| json!({"name": name(at), "mountPath": path}));
        let volumes =
            folders.iter().enumerate().map(|(at, path)| json!({"name": name(at), "hostPath": {"path": path}}));
        let path = if scheme == "HTTPS" { "/healthz" } else { "/metrics" };
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("second-{program}"), "namespace": "kube-system",
                "labels": {"component": program, "tier": "control-plane", "second": "true"}},
            "spec": {"hostNetwork": true, "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": program, "image": "docker.io/library/busybox:1.35.0",
                    "imagePullPolicy": "IfNotPresent", "command": command, "volumeMounts": mounts.collect::<Vec<_>>(),
                    "readinessProbe": {"httpGet": {"path": path, "port": port, "scheme": scheme}, "periodSeconds": 1}}],
                "volumes": volumes.collect::<Vec<_>>()}})
    };
    let of_kubernetes = |program: &str, short: &str, port: u16| {
        let kubeconfig = format!("/etc/kubernetes/pki/{short}.conf");
        let flags = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"];
        let flags = flags.iter().map(|flag| format!("--{flag}={kubeconfig}"));
        let more = [
            "--bind-address=0.0.0.0".to_owned(),
            format!("--secure-port={port}"),
            "--leader-elect=true".to_owned(),
            format!("--leader-elect-resource-name=second-{program}"),
        ];
        pod(program, port, "HTTPS", flags.chain(more).collect())
    };
    let etcd = [
        "data-dir=/tmp/etcd",
        "listen-client-urls=http://127.0.0.1:22379",
        "advertise-client-urls=http://127.0.0.1:22379",
        "listen-peer-urls=http://127.0.0.1:22380",
        "listen-metrics-urls=http://0.0.0.0:22381",
    ];
    let items = [
        lease("kube-scheduler"),
        lease("kube-controller-manager"),
        of_kubernetes("kube-scheduler", "scheduler", 11259),
        of_kubernetes("kube-controller-manager", "controller-manager", 11257),
        pod("etcd", 22381, "HTTP", etcd.map(|flag| format!("--{flag}")).to_vec()),
        // As kubeadm has it: the pod names a file of this ConfigMap, which says where it answers.
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "data": {"config.conf": "metricsBindAddress: 0.0.0.0:20249\nhealthzBindAddress: 0.0.0.0:20256\n"}}),
        second_kube_proxy(),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// With what is the node's own of the first one's configuration, in the node's file system, where it finds iptables.
fn second_kube_proxy() -> Value {
    let start = "cat /host/etc/kubernetes/kube-proxy.yaml /config/config.conf >/host/run/second-kube-proxy.yaml && \
                 exec chroot /host \"$@\"";
    let program = ["/run/bin/kube-proxy", "--config=/run/second-kube-proxy.yaml"];
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "second-kube-proxy", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-proxy", "second": "true"}},
        "spec": {"hostNetwork": true, "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "kube-proxy", "image": "docker.io/library/busybox:1.35.0",
                "imagePullPolicy": "IfNotPresent", "securityContext": {"privileged": true},
                "command": ["sh", "-c", start, "sh", program[0], program[1]],
                "env": [{"name": "PATH", "value": "/usr/sbin:/usr/bin:/sbin:/bin"}],
                "volumeMounts": [{"name": "host", "mountPath": "/host"}, {"name": "config", "mountPath": "/config"}],
                "readinessProbe": {"httpGet": {"path": "/metrics", "port": 20249}, "periodSeconds": 1}}],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}},
                {"name": "config", "configMap": {"name": "kube-proxy"}}]}})
}

/// What answers on its node's address is scraped from the next run on, and no more when it has gone.
pub async fn a_control_plane_that_can_be_reached_is_scraped(world: &World) {
    let left_out = async || left_out(&world.status_once_healthy(&[]).await);
    let all = ["scheduler", "controller-manager", "kube-proxy", "etcd"];
    let before = world.targets().await.len();
    world.apply(&second_control_plane().to_string());
    world.kubectl(["wait", "-n", "kube-system", "pod", "-l", "second=true", "--for=condition=Ready", "--timeout=300s"]);
    // Before anybody runs `up`, nothing is wrong, and it is said.
    let said = world.until_it_passes(&["status"]).await;
    said.says("scheduler, controller-manager, kube-proxy, etcd can be reached by pods now");
    assert_eq!(left_out().await, all);
    // That it listens there does not say that anybody is let there: it is not waited for.
    world.scalekit(["up"]).exits(0).says(&format!("{before} scrape targets are up"));
    world.scalekit(["up"]).exits(0).says("nothing to change");
    world.until_samples(&format!("up{{job=~\"{}\"}} == 1", all.join("|")), all.len()).await;
    assert_eq!(left_out().await, [""; 0]);
    for job in all {
        let own = until(&format!("{job} is up, with series of its own"), async || {
            let samples = world.query(&format!("{{job=\"{job}\"}}")).await;
            let up = samples.iter().any(|sample| sample.labels["__name__"] == "up" && sample.value > 0.0);
            let own = samples.iter().filter(|sample| !sample.labels["__name__"].starts_with("scrape_")).count();
            // A controller manager that waits collects no nodes yet, and so has nothing that is kept.
            (up && (own > 1 || job == "controller-manager")).then_some(own)
        })
        .await;
        println!("{own} series of {job}");
    }

    what_the_parts_tell_is_shown(world, &all).await;

    world.kubectl(["delete", "-n", "kube-system", "pod", "-l", "second=true"]);
    // With a job that goes, nothing says any more that its targets are gone: one that was found down meanwhile would be so
    // for five minutes, and an alert would wait for its time.
    world.until_samples(&format!("up{{job=~\"{}\"}}", all.join("|")), 0).await;
    world.kubectl([
        "delete",
        "-n",
        "kube-system",
        "lease/second-kube-scheduler",
        "lease/second-kube-controller-manager",
        "configmap/kube-proxy",
    ]);
    world.scalekit(["up"]).exits(0).says(&format!("{before} scrape targets are up"));
    assert_eq!(left_out().await, all);
}

/// What cannot be shown of parts that wait for a Lease which somebody else has: panel, query, and why.
const STANDS_BY: [(&str, &str, &str); 5] = [
    ("Attempts to place a pod", "A", "a scheduler that waits places none, and has a series for each result only then"),
    ("How long an attempt takes", "A", "the same"),
    ("Nodes, by the controller manager", "A", "one that waits collects no nodes"),
    ("Nodes, by the controller manager", "B", "the same"),
    ("Nodes, by the controller manager", "C", "the same"),
];

/// Each query of the dashboard on these jobs has an answer. Rates take a second scrape.
async fn what_the_parts_tell_is_shown(world: &World, jobs: &[&str]) {
    let dashboards = panels::dashboards(world).await;
    let dashboard = dashboards.iter().find(|dashboard| dashboard["uid"] == "scalekit-control-plane").unwrap();
    let mut queries = Vec::new();
    for panel in panels::panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().into_iter().flatten();
        for (target, query) in targets.zip(panels::queries(panel, &[])) {
            let target = target["refId"].as_str().unwrap();
            let waits = STANDS_BY.iter().any(|(panel, query, _)| (*panel, *query) == (title, target));
            if !waits && jobs.iter().any(|job| query.contains(&format!("job=\"{job}\""))) {
                queries.push((title, query));
            }
        }
    }
    let of_etcd = queries.iter().filter(|(_, query)| query.contains("job=\"etcd\"")).count();
    assert!(of_etcd >= 7, "{queries:#?}");
    let (asked, began) = (queries.len(), Instant::now());
    while !queries.is_empty() {
        let mut empty = Vec::new();
        for (title, query) in queries {
            if world.query(&query).await.is_empty() {
                empty.push((title, query));
            }
        }
        queries = empty;
        assert!(began.elapsed() < SHOWN_WITHIN, "nothing is shown of {queries:#?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("{asked} queries on these parts show something, {of_etcd} of them on etcd");
}

/// A job whose discovery finds nothing has no `up` that could be 0: an alert and `status` say so, and `up` mends it.
pub async fn a_job_that_lost_its_targets_is_an_alert_and_a_finding(world: &World) {
    // What Prometheus knew of a target ends two intervals after it.
    world.scalekit(["up", "--scrape-interval", "2s"]).exits(0);
    // A target that goes between a reload and its next scrape gets no staleness marker: what was known of it then stays
    // for the five minutes of Prometheus' lookback.
    world.until_samples(r#"count_over_time(up{job="grafana"}[10s]) >= 3"#, 1).await;
    world.kubectl(["delete", "service", "-n", "monitoring", "grafana"]);
    let pending = r#"ALERTS{alertname="JobWithoutTargets", job="grafana", alertstate="pending"}"#;
    world.until_samples(pending, 1).await;
    // A discovery that begins anew has none for a moment.
    world.until_samples(r#"ALERTS{alertname="JobWithoutTargets", job!="grafana"}"#, 0).await;
    let status = ["status", "--scrape-interval", "2s"];
    until("status names grafana, and nothing else", async || {
        let ran = world.scalekit([&status[..], &["-o", "json"]].concat()).exits(6);
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        (answer["targets"]["emptyJobs"] == json!(["grafana"])).then_some(())
    })
    .await;
    let words = "no target at all for grafana: there is no service/grafana -n monitoring";
    until("and says why", async || world.scalekit(status).exits(6).stdout.contains(words).then_some(())).await;
    world.scalekit(["up"]).exits(0).says("service/grafana");
    world.until_healthy(&[]).await;
    world.until_samples(pending, 0).await;
}

/// The budget of one idle node.
pub async fn an_idle_node_has_fewer_than_3000_series(world: &World) {
    let began = Instant::now();
    let (head, by_job) = loop {
        let head = world.query("prometheus_tsdb_head_series").await.first().map(|sample| sample.value);
        let by_job: BTreeMap<String, f64> = world
            .query(r#"count by (job) ({job!=""})"#)
            .await
            .iter()
            .map(|sample| (sample.labels["job"].clone(), sample.value))
            .collect();
        match head {
            Some(head) if by_job.values().sum::<f64>() > 700.0 => break (head, by_job),
            _ => assert!(began.elapsed() < SHOWN_WITHIN, "there is not everything yet: {by_job:?}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    println!("{head} series; by job: {by_job:?}");
    assert!(head < 3000.0, "{head} series; by job: {by_job:?}");
}

/// Nothing is wrong with a cluster that has just been set up: no alert only waits for its time.
pub async fn no_alert_is_pending(world: &World) {
    // The disk is that of the machine under the cluster, which may be filling up in earnest. A change of the scrape interval
    // ends what was known of the targets until they are scraped anew: that passes by itself.
    let any = r#"ALERTS{alertname!~"NodeDisk.+|NodeInodes.+"}"#;
    let rules = ["alerts", "recorded"].map(|name| format!("assets/prometheus/config/{name}.rules.yml"));
    let texts = rules.map(|path| std::fs::read_to_string(path).unwrap());
    let groups: usize = texts.iter().map(|text| text.lines().filter(|line| line.starts_with("- name: ")).count()).sum();
    // When each group was evaluated and nothing was wrong: each twice, one after the other. The slowest takes a minute.
    let mut quiet: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let began = Instant::now();
    while quiet.len() < groups || quiet.values().any(|evaluations| evaluations.len() < 2) {
        let evaluated = rule_groups(world).into_iter().map(|group| {
            let text = |key: &str| group[key].as_str().unwrap().to_owned();
            (text("name"), text("lastEvaluation"))
        });
        let evaluated: Vec<_> = evaluated.filter(|(_, at)| !at.starts_with("0001-")).collect();
        let alerts = world.query(any).await;
        if alerts.is_empty() {
            for (name, at) in evaluated {
                quiet.entry(name).or_default().insert(at);
            }
        } else {
            quiet.clear();
        }
        // An alert goes no sooner than what it looks back on, which is five minutes.
        assert!(began.elapsed() < Duration::from_secs(720), "{alerts:?}, and of {groups} groups {quiet:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(quiet.len(), groups, "{quiet:#?}");
}

/// The groups of rules, as Prometheus has them.
fn rule_groups(world: &World) -> Vec<Value> {
    let path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/rules";
    let answer: Value = serde_json::from_str(&world.kubectl(["get", "--raw", path])).unwrap();
    answer["data"]["groups"].as_array().unwrap().clone()
}

/// What alerts and records read, and a cluster may have nothing of: why, and the names.
const MAY_BE_MISSING: [(&str, &[&str]); 4] = [
    (
        "a watch begins with all that is there, and kube-state-metrics lists only where an API server cannot do that",
        &["kube_state_metrics_list_total"],
    ),
    (
        "its etcd, where it has one, shows itself to nobody",
        &["etcd_mvcc_db_total_size_in_bytes", "etcd_server_has_leader", "etcd_server_quota_backend_bytes"],
    ),
    (
        "its kubelets are given their certificates, and ask for none",
        &[
            "kubelet_certificate_manager_client_expiration_renew_errors",
            "kubelet_certificate_manager_client_ttl_seconds",
            "kubelet_certificate_manager_server_ttl_seconds",
        ],
    ),
    (
        "volumes on a directory of the node have no size of their own",
        &[
            "kubelet_volume_stats_available_bytes",
            "kubelet_volume_stats_capacity_bytes",
            "kubelet_volume_stats_inodes",
            "kubelet_volume_stats_inodes_free",
            "kubelet_volume_stats_used_bytes",
        ],
    ),
];

/// An alert on a metric that nobody exports under this name is silent for ever. Until here there were workloads that break,
/// a receiver, and one that scales: of every metric that a rule reads Prometheus has had a series, but for those that
/// cannot be had here.
pub async fn every_metric_that_a_rule_reads_is_there(world: &World) {
    let mut read = Names(BTreeSet::new());
    for rule in rule_groups(world).iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let query = rule["query"].as_str().unwrap();
        let expression = parser::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        walk_expr(&mut read, &expression).unwrap();
    }
    let allowed: BTreeSet<&str> = MAY_BE_MISSING.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let needless: Vec<_> = allowed.iter().filter(|name| !read.0.contains(**name)).collect();
    assert!(needless.is_empty(), "exceptions of what no rule reads: {needless:?}");
    let path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/label/__name__/values";
    // What was recorded last may have been scraped just now.
    let began = Instant::now();
    let missing = loop {
        let answer: Value = serde_json::from_str(&world.kubectl(["get", "--raw", path])).unwrap();
        let known: BTreeSet<&str> =
            answer["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let missing: Vec<String> = read.0.iter().filter(|name| !known.contains(name.as_str())).cloned().collect();
        let unexpected: Vec<_> = missing.iter().filter(|name| !allowed.contains(name.as_str())).collect();
        if unexpected.is_empty() {
            break missing;
        }
        assert!(began.elapsed() < SHOWN_WITHIN, "rules read what is not there: {unexpected:#?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    println!("rules read {} metrics, of which {} cannot be had here: {missing:?}", read.0.len(), missing.len());
    assert!(read.0.len() > 60, "{:?}", read.0);
}

/// The names of the metrics that expressions read.
struct Names(BTreeSet<String>);

impl ExprVisitor for Names {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        match expression {
            Expr::VectorSelector(selector) => self.0.extend(selector.name.clone()),
            Expr::MatrixSelector(selector) => self.0.extend(selector.vs.name.clone()),
            _ => {}
        }
        Ok(true)
    }
}
