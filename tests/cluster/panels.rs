//! What Grafana shows, of the real Prometheus.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::{scaling::set_tasks, world::World};

/// Longer than a loaded machine takes for what a panel waits for: scrapes, of which one may be missed.
const SHOWN_WITHIN: Duration = Duration::from_secs(240);

/// All panels, those in rows that are closed among them.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.flat_map(|panel| [panel].into_iter().chain(panel["panels"].as_array().into_iter().flatten()))
}

/// A panel that shows nothing says what that means, and before there is any workload, too. Rates take a second scrape.
pub async fn no_panel_of_a_fresh_installation_is_empty_without_a_word(world: &World) {
    let dashboards = dashboards(world).await;
    let began = Instant::now();
    loop {
        let mut silent = Vec::new();
        for dashboard in &dashboards {
            let variables = variables(world, dashboard).await;
            let variables: Vec<(String, String)> =
                variables.into_iter().map(|(name, value)| (name, value.unwrap_or_else(|| ".*".to_owned()))).collect();
            for panel in panels(dashboard) {
                let queries = queries(panel, &variables);
                let says = panel["fieldConfig"]["defaults"]["noValue"].as_str();
                if !queries.is_empty() && says.is_none() && samples(world, &queries).await == 0 {
                    silent.push(format!("{} of {}: {queries:?}", panel["title"], dashboard["uid"]));
                }
            }
        }
        if silent.is_empty() {
            return;
        }
        assert!(began.elapsed() < SHOWN_WITHIN, "{silent:#?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What may show nothing while all is well: dashboard, panel, query, and why.
const MAY_BE_EMPTY: &[(&str, &str, &str, &str)] = &[
    ("scalekit-application", "Requests by answer", "B", "WatcherBot calls the label status"),
    ("scalekit-autoscaling", "Held back", "B", "it is within its bounds"),
    ("scalekit-control-plane", "How long it takes", "A", "connections stay, and names are not asked for"),
    ("scalekit-control-plane", "How long it takes", "B", "connections stay, and names are not asked for"),
    ("scalekit-overview", "Alerts that fire or are about to", "A", "none does"),
    ("scalekit-overview", "Pods in trouble", "A", "none is"),
    (
        "scalekit-overview",
        "Fullest disks and volumes",
        "B",
        "volumes on a directory of the node have no size of their own",
    ),
    ("scalekit-overview", "DNS: how long it takes", "A", "connections stay, and names are not asked for"),
    ("scalekit-overview", "DNS: how long it takes", "B", "connections stay, and names are not asked for"),
    ("scalekit-scaler", "Answers of metrics APIs", "A", "no Autoscaler asks one"),
    ("scalekit-scaler", "How long metrics APIs take", "A", "no Autoscaler asks one"),
    ("scalekit-scaler", "Autoscalers that are stuck", "A", "none is"),
    ("scalekit-workloads", "Throttling", "A", "none is held back"),
    ("scalekit-workloads", "Replicas missing", "A", "none is missing"),
    ("scalekit-workloads", "Replicas missing", "B", "none is missing"),
    ("scalekit-workloads", "Replicas missing", "C", "none is missing"),
    ("scalekit-workloads", "Probes that fail", "A", "none does"),
    ("scalekit-workloads", "Why containers last ended", "A", "none has ended"),
];

/// Grafana, or what stands in for it, has taken the datasource and the dashboards, each variable has values, and each
/// query of each panel shows something of the real Prometheus while a workload is under load, but for those that only ever
/// show that something is wrong.
pub async fn every_panel_has_data(world: &World) {
    let datasources: Value = serde_json::from_str(&grafana(world, "/api/datasources").await).unwrap();
    assert_eq!(datasources[0]["uid"], "prometheus", "{datasources:#}");
    let health = grafana(world, "/api/datasources/uid/prometheus/health").await;
    assert!(health.contains("\"status\":\"OK\""), "{health}");
    let dashboards = dashboards(world).await;
    // A rate takes a second scrape, and the load has only begun.
    let began = Instant::now();
    loop {
        let (mut shown, mut empty) = (BTreeSet::new(), BTreeSet::new());
        for dashboard in &dashboards {
            look(world, dashboard, &mut shown, &mut empty).await;
        }
        if empty.is_empty() {
            let needless: Vec<_> = MAY_BE_EMPTY
                .iter()
                .filter(|(uid, title, target, _)| {
                    let all = dashboards.iter().filter(|dashboard| dashboard["uid"] == *uid);
                    let mut of_title = all.flat_map(panels).filter(|panel| panel["title"] == *title);
                    !of_title
                        .any(|panel| panel["targets"].as_array().unwrap().iter().any(|asked| asked["refId"] == *target))
                })
                .collect();
            assert!(needless.is_empty(), "exceptions of what is not there: {needless:?}");
            println!("{} queries show something", shown.len());
            assert!(shown.len() > 150, "{shown:#?}");
            break;
        }
        assert!(began.elapsed() < SHOWN_WITHIN, "nothing is shown of {empty:#?}");
        // What lasts how long is shown of requests: one task more, one less, which is one replica all the same.
        for tasks in ["6", "5"] {
            set_tasks(world, tasks).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let log = world.kubectl(["logs", "-n", "monitoring", "deployment/grafana"]);
    assert!(!log.contains("keeping what was read before"), "what is provisioned was refused: {log}");
}

/// What [`every_panel_has_data`] finds empty fills once an Autoscaler asks one of these APIs. Rates take a second scrape.
pub async fn answers_of_metrics_apis_are_shown(world: &World, apis: &[&str]) {
    let dashboards = dashboards(world).await;
    let scaler = dashboards.iter().find(|dashboard| dashboard["uid"] == "scalekit-scaler").unwrap();
    for title in ["Answers of metrics APIs", "How long metrics APIs take"] {
        let panel = panels(scaler).find(|panel| panel["title"] == title).unwrap();
        let query = queries(panel, &[]).swap_remove(0);
        let began = Instant::now();
        loop {
            let samples = world.query(&query).await;
            let is_shown =
                |api: &&str| samples.iter().any(|sample| sample.labels.get("api").is_some_and(|of| of == api));
            if apis.iter().all(is_shown) {
                break;
            }
            assert!(began.elapsed() < SHOWN_WITHIN, "{title} shows {samples:?} of {query}, and not {apis:?}");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}

/// Asks each query of a dashboard: which show something, and which do not though nothing stands against it.
async fn look(world: &World, dashboard: &Value, shown: &mut BTreeSet<String>, empty: &mut BTreeSet<String>) {
    let uid = dashboard["uid"].as_str().unwrap();
    let mut given: Vec<(String, String)> = Vec::new();
    for (name, value) in variables(world, dashboard).await {
        let Some(value) = value else {
            empty.insert(format!("{uid}, whose variable {name} has no value"));
            return;
        };
        given.push((name, value));
    }
    let variables = given;
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        for (target, query) in panel["targets"].as_array().into_iter().flatten().zip(queries(panel, &variables)) {
            let target = target["refId"].as_str().unwrap();
            let asked = format!("{uid}, {title}, {target}: {query}");
            if !world.query(&query).await.is_empty() {
                shown.insert(asked);
            } else if !(MAY_BE_EMPTY
                .iter()
                .any(|(in_it, panel, query, _)| (*in_it, *panel, *query) == (uid, title, target))
                || is_of_what_is_not_exposed(world, &query).await)
            {
                empty.insert(asked);
            }
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        if let Some(query) = annotation["expr"].as_str() {
            let asked = format!("{uid}, {}", annotation["name"]);
            if world.query(&filled(query, &variables)).await.is_empty() {
                empty.insert(asked)
            } else {
                shown.insert(asked)
            };
        }
    }
}

/// Whether a query is of a part of the control plane that this cluster shows nothing of.
async fn is_of_what_is_not_exposed(world: &World, query: &str) -> bool {
    for part in ["scheduler", "controller-manager", "kube-proxy", "etcd"] {
        let selector = format!("job=\"{part}\"");
        if query.contains(&selector) {
            return world.query(&format!("group({{{selector}}})")).await.is_empty();
        }
    }
    false
}

/// Every dashboard as Grafana has it.
pub async fn dashboards(world: &World) -> Vec<Value> {
    let found: Vec<Value> = serde_json::from_str(&grafana(world, "/api/search?type=dash-db").await).unwrap();
    assert!(found.len() >= 8, "{found:?}");
    let mut dashboards = Vec::new();
    for uid in found.iter().map(|dashboard| dashboard["uid"].as_str().unwrap()) {
        let mut answer: Value =
            serde_json::from_str(&grafana(world, &format!("/api/dashboards/uid/{uid}")).await).unwrap();
        dashboards.push(answer["dashboard"].take());
    }
    dashboards
}

/// The variables of a dashboard as they are on a fresh look: all where that is the default, else the first, if any.
async fn variables(world: &World, dashboard: &Value) -> Vec<(String, Option<String>)> {
    let mut known: Vec<(String, Option<String>)> = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let definition = variable["definition"].as_str().unwrap();
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (selector, label) = inner.rsplit_once(", ").unwrap();
        let chosen: Vec<(String, String)> = known
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().unwrap_or_else(|| ".*".to_owned())))
            .collect();
        let samples = world.query(&format!("group by ({label}) ({})", filled(selector, &chosen))).await;
        let values: BTreeSet<_> = samples.iter().map(|sample| sample.labels[label].clone()).collect();
        let first = if variable["sort"] == 2 { values.last() } else { values.first() };
        let all = (variable["includeAll"] == true).then(|| ".*".to_owned());
        known.push((name.to_owned(), first.map(|first| all.unwrap_or_else(|| first.clone()))));
    }
    known
}

/// The queries of a panel with the variables' values in them.
pub fn queries(panel: &Value, variables: &[(String, String)]) -> Vec<String> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| filled(target["expr"].as_str().unwrap(), variables)).collect()
}

async fn samples(world: &World, queries: &[String]) -> usize {
    let mut samples = 0;
    for query in queries {
        samples += world.query(query).await.len();
    }
    samples
}

fn filled(query: &str, variables: &[(String, String)]) -> String {
    let own = [("__rate_interval", "1m"), ("__interval", "15s"), ("__range", "15m")];
    let own = own.into_iter().map(|(name, value)| (name, value.to_owned()));
    let all = variables.iter().map(|(name, value)| (name.as_str(), value.clone())).chain(own);
    all.fold(query.to_owned(), |query, (name, value)| query.replace(&format!("${name}"), &value))
}

/// What Grafana answers, which may lose a request, as everybody does that has much to do.
async fn grafana(world: &World, path: &str) -> String {
    let began = Instant::now();
    loop {
        match asked(world, path).await {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < SHOWN_WITHIN, "{path}: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Through a port-forward, since the API server's proxy takes the credentials for itself.
async fn asked(world: &World, path: &str) -> Result<String, String> {
    let pods = world.pods("monitoring", "app.kubernetes.io/name=grafana").await;
    let is_running = |pod: &&Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
    };
    let pod = pods.iter().find(is_running).ok_or("no pod of it runs")?.name_any();
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "monitoring");
    let secret = secrets.get("grafana-admin").await.map_err(|error| error.to_string())?;
    let password = String::from_utf8(secret.data.unwrap()["password"].0.clone()).unwrap();
    let port = world.forward("monitoring", &pod, 3000).await;
    let client = reqwest::Client::builder().tls_certs_only(std::iter::empty()).no_proxy().build().unwrap();
    let request = client.get(format!("http://{port}{path}")).basic_auth("admin", Some(password));
    let answer = request.timeout(Duration::from_secs(30)).send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}
