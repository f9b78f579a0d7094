//! `scalekit support-bundle`: what one would attach to a bug report, without what is secret. Reads only.

use std::path::{Path, PathBuf};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Event as ClusterEvent, Pod};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, LogParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use super::{CommandError, status, targets::ready_pod, up::now, whereabouts};
use crate::{
    catalog::{self, MANAGED_BY, SCALEKIT},
    causes::causes,
    cluster::{Cluster, INSTALLED, Kind, LEASE, PodTunnel, TRACES, answered},
    object::ObjectRef,
    platform::{assume, detect},
    preflight,
    settings::StackSettings,
    support::{
        Bundle,
        redaction::{SecretValues, redact},
    },
    yaml,
};

/// Last lines of each container's log.
const LINES: i64 = 1000;
/// Bytes of each container's log.
const LOG_BYTES: i64 = 512 * 1024;
/// Newest events of each namespace.
const EVENTS: usize = 500;
/// Logs that are read at once.
const AT_ONCE: usize = 8;
/// Where the scaler serves its decisions.
const SCALER_PORT: u16 = 8080;
const PROMETHEUS_PORT: u16 = 9090;

const README: &str = "\
What `scalekit support-bundle` found, for a bug report. Everything is text: look through it before you send it.

Hidden are the content of Secrets (keys and lengths are shown), environment variables that look like credentials, who
and with what in URLs, and every value of scalekit's own Secrets wherever it occurs. Not asked for are objects that are
not scalekit's, but for the Autoscalers, which are yours, and the nodes. Names of nodes, namespaces, workloads and
images, addresses inside the cluster, and PromQL are in it.
";

/// A bundle that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundled {
    /// Where.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Files in it.
    pub files: usize,
    /// What is not in it, and why.
    pub left_out: Vec<String>,
}

/// Collects what there is and writes it. What cannot be read is left out, and told.
///
/// # Errors
///
/// When the cluster cannot be read at all, or the file cannot be written.
pub async fn support_bundle(
    settings: StackSettings,
    cluster: &Cluster,
    path: Option<&Path>,
) -> Result<Bundled, CommandError> {
    let namespace = settings.options.namespace.clone();
    let facts = preflight::facts(cluster).await.map_err(|source| super::up::unusable(cluster, source))?;
    let platform = match settings.platform.clone() {
        Some(kind) => assume(kind, &facts.nodes, &facts.classes),
        None => detect(&facts.nodes, &facts.classes),
    };
    let (secrets, unread) = secrets(cluster).await;
    let mut bundle = Bundle::new(SecretValues::of(&secrets));
    if let Some(why) = unread {
        bundle.left_out("Secrets, whose values are therefore not looked for elsewhere", &why);
    }
    let nodes: Vec<Value> = facts
        .nodes
        .iter()
        .map(|node| {
            json!({"name": node.name_any(), "labels": node.metadata.labels, "taints": node.spec.as_ref().map(|spec| &spec.taints),
                "info": node.status.as_ref().map(|status| &status.node_info), "conditions": node.status.as_ref().map(|status| &status.conditions),
                "allocatable": node.status.as_ref().map(|status| &status.allocatable), "images": node.status.as_ref().map(|status| &status.images)})
        })
        .collect();
    bundle.add(
        "platform.json",
        &pretty(&json!({"platform": platform.kind.to_string(), "kubernetes": facts.version,
        "nodes": nodes, "storageClasses": facts.classes})),
    );
    let program = json!({"version": env!("CARGO_PKG_VERSION"), "os": std::env::consts::OS, "architecture": std::env::consts::ARCH,
        "images": settings.options.components().map(|component| (component.name(), settings.options.image(component))).collect::<std::collections::BTreeMap<_, _>>(),
        "settings": format!("{:?}", settings.options)});
    bundle.add("scalekit.json", &pretty(&program));
    match super::check(settings.clone(), false, cluster).await {
        Ok(report) => bundle.add("check.json", &pretty(&json!(report))),
        Err(error) => bundle.left_out("check.json", &causes(&error)),
    }
    match status(settings, false, cluster).await {
        Ok(status) => bundle.add("status.json", &pretty(&json!(status))),
        Err(error) => bundle.left_out("status.json", &causes(&error)),
    }
    objects(cluster, secrets, &mut bundle).await;
    events(cluster, &namespace, &mut bundle).await;
    logs(cluster, &mut bundle).await;
    prometheus(cluster, &namespace, &mut bundle).await;
    decisions(cluster, &namespace, &mut bundle).await;

    let at = now();
    let path = path.map_or_else(
        || PathBuf::from(format!("scalekit-support-{}.tar.gz", at.strftime("%Y%m%d-%H%M%S"))),
        Path::to_owned,
    );
    let (files, left_out) = (bundle.files().count(), bundle.missing().to_vec());
    let size = bundle
        .write(&path, README, u64::try_from(at.as_second()).unwrap_or_default())
        .map_err(|source| CommandError::Io { what: format!("cannot write {}", path.display()), source })?;
    Ok(Bundled { path, size, files, left_out })
}

fn ours() -> ListParams {
    ListParams::default().labels(&format!("{MANAGED_BY}={SCALEKIT}"))
}

/// Our Secrets with their content, to look for it; or why they cannot be read.
async fn secrets(cluster: &Cluster) -> (Vec<DynamicObject>, Option<String>) {
    let Some(kind) = Kind::named("", "Secret") else { return (Vec::new(), None) };
    match answered(all(cluster, kind).list(&ours())).await {
        Ok(list) => (list.items.into_iter().map(|object| typed(object, kind)).collect(), None),
        Err(error) => (Vec::new(), Some(causes(&error))),
    }
}

fn all(cluster: &Cluster, kind: &Kind) -> Api<DynamicObject> {
    let resource: ApiResource = kind.resource();
    Api::all_with(cluster.client().clone(), &resource)
}

fn typed(mut object: DynamicObject, kind: &Kind) -> DynamicObject {
    object.types = Some(kube::core::TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_owned() });
    object
}

async fn objects(cluster: &Cluster, secrets: Vec<DynamicObject>, bundle: &mut Bundle) {
    let selector = format!("{MANAGED_BY}={SCALEKIT}");
    for object in secrets {
        add_object(object, bundle);
    }
    for kind in INSTALLED.iter().chain(&TRACES).chain([&LEASE]).filter(|kind| kind.kind != "Secret") {
        // Autoscalers are the users' own, and what the bundle is most often about.
        let selector = if kind.kind == "Autoscaler" { "" } else { selector.as_str() };
        match cluster.list_kind(kind, None, selector).await {
            Ok(listed) => listed.into_iter().for_each(|object| add_object(object, bundle)),
            Err(error) => bundle.left_out(&format!("objects of kind {}", kind.kind), &causes(&error)),
        }
    }
}

fn add_object(mut object: DynamicObject, bundle: &mut Bundle) {
    redact(&mut object);
    let ObjectRef { kind, namespace, name, .. } = ObjectRef::of(&object);
    let file = format!("objects/{}/{}-{name}.yaml", namespace.as_deref().unwrap_or("cluster"), kind.to_lowercase());
    match yaml::to_string(&object) {
        Ok(text) => bundle.add(&file, &text),
        Err(error) => bundle.left_out(&file, &error.to_string()),
    }
}

async fn events(cluster: &Cluster, namespace: &str, bundle: &mut Bundle) {
    for namespace in [namespace.to_owned(), catalog::nodes_namespace(namespace)] {
        let api: Api<ClusterEvent> = Api::namespaced(cluster.client().clone(), &namespace);
        let file = format!("events/{namespace}.txt");
        match answered(api.list(&ListParams::default())).await {
            Ok(list) => bundle.add(&file, &lines(list.items)),
            Err(error) => bundle.left_out(&file, &causes(&error)),
        }
    }
    let api: Api<ClusterEvent> = Api::all(cluster.client().clone());
    match answered(api.list(&ListParams::default().fields("involvedObject.kind=Autoscaler"))).await {
        Ok(list) => bundle.add("events/autoscalers.txt", &lines(list.items)),
        Err(error) => bundle.left_out("events/autoscalers.txt", &causes(&error)),
    }
}

/// A line an event, the newest last.
fn lines(mut events: Vec<ClusterEvent>) -> String {
    let time = |event: &ClusterEvent| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or(event.event_time.as_ref().map(|time| time.0)).or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0))
    };
    events.sort_by_key(time);
    let from = events.len().saturating_sub(EVENTS);
    let line = |event: &ClusterEvent| {
        let object = &event.involved_object;
        format!(
            "{} {} {} {}/{} {}{}\n",
            time(event).map(|time| time.to_string()).unwrap_or_default(),
            event.type_.as_deref().unwrap_or("-"),
            event.reason.as_deref().unwrap_or("-"),
            object.kind.as_deref().unwrap_or("-"),
            object.name.as_deref().unwrap_or("-"),
            event.message.as_deref().unwrap_or_default(),
            event.count.filter(|count| *count > 1).map(|count| format!(" (×{count})")).unwrap_or_default(),
        )
    };
    events[from..].iter().map(line).collect()
}

async fn logs(cluster: &Cluster, bundle: &mut Bundle) {
    let pods: Api<Pod> = Api::all(cluster.client().clone());
    let pods = match answered(pods.list(&ours())).await {
        Ok(list) => list.items,
        Err(error) => return bundle.left_out("logs", &causes(&error)),
    };
    let mut wanted = Vec::new();
    for pod in &pods {
        let status = pod.status.as_ref();
        let statuses = status.iter().flat_map(|status| {
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
        });
        for container in statuses {
            let started = container.state.as_ref().is_some_and(|state| state.waiting.is_none());
            let before = container.restart_count > 0;
            let of = |previous| (pod.namespace().unwrap_or_default(), pod.name_any(), container.name.clone(), previous);
            wanted.extend(started.then(|| of(false)));
            wanted.extend(before.then(|| of(true)));
        }
    }
    let read = stream::iter(wanted).map(async |(namespace, pod, container, previous)| {
        let parameters = LogParams {
            container: Some(container.clone()),
            previous,
            tail_lines: Some(LINES),
            limit_bytes: Some(LOG_BYTES),
            timestamps: true,
            ..LogParams::default()
        };
        let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &namespace);
        let text = answered(api.logs(&pod, &parameters)).await;
        (format!("logs/{namespace}/{pod}/{container}{}.log", if previous { ".previous" } else { "" }), text)
    });
    let mut read = read.buffered(AT_ONCE);
    while let Some((file, text)) = read.next().await {
        match text {
            Ok(text) => bundle.add(&file, &text),
            Err(error) => bundle.left_out(&file, &causes(&error)),
        }
    }
}

async fn prometheus(cluster: &Cluster, namespace: &str, bundle: &mut Bundle) {
    if whereabouts::prometheus_of_others(cluster, namespace).await.is_some() {
        return prometheus_of_others(cluster, namespace, bundle).await;
    }
    let pod = match ready_pod(cluster, namespace, "app.kubernetes.io/name=prometheus").await {
        Ok(Some(pod)) => pod,
        Ok(None) => return bundle.left_out("prometheus", "no pod of Prometheus is ready"),
        Err(error) => return bundle.left_out("prometheus", &causes(&error)),
    };
    let tunnel = PodTunnel::new(cluster, namespace, &pod, PROMETHEUS_PORT);
    for (name, path) in [
        ("targets", "/api/v1/targets?state=active"),
        ("alerts", "/api/v1/alerts"),
        ("runtime", "/api/v1/status/runtimeinfo"),
        ("tsdb", "/api/v1/status/tsdb?limit=10"),
    ] {
        asked(&tunnel, path, &format!("prometheus/{name}.json"), bundle).await;
    }
}

/// Of one that is not scalekit's no more than whether it answers the scaler.
async fn prometheus_of_others(cluster: &Cluster, namespace: &str, bundle: &mut Bundle) {
    match ready_pod(cluster, namespace, "app.kubernetes.io/name=scaler").await {
        Ok(Some(pod)) => {
            let tunnel = PodTunnel::new(cluster, namespace, &pod, SCALER_PORT);
            asked(&tunnel, "/prometheus", "prometheus/answered.json", bundle).await;
        }
        Ok(None) => {
            bundle.left_out("prometheus", "it is somebody else's, and no pod of the scaler that asks it is ready");
        }
        Err(error) => bundle.left_out("prometheus", &causes(&error)),
    }
}

async fn decisions(cluster: &Cluster, namespace: &str, bundle: &mut Bundle) {
    let Some(kind) = Kind::named("scalekit.dev", "Autoscaler") else { return };
    let autoscalers = cluster.list_kind(kind, None, "").await.unwrap_or_default();
    if autoscalers.is_empty() {
        return;
    }
    let pod = match ready_pod(cluster, namespace, "app.kubernetes.io/name=scaler").await {
        Ok(Some(pod)) => pod,
        Ok(None) => return bundle.left_out("decisions", "no pod of the scaler is ready"),
        Err(error) => return bundle.left_out("decisions", &causes(&error)),
    };
    let tunnel = PodTunnel::new(cluster, namespace, &pod, SCALER_PORT);
    for object in autoscalers {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let path = format!("/explain/{namespace}/{name}");
        asked(&tunnel, &path, &format!("decisions/{namespace}/{name}.txt"), bundle).await;
    }
}

/// What a server of ours answers, without the labels from which targets were made: they hold annotations of any pod.
async fn asked(tunnel: &PodTunnel, path: &str, file: &str, bundle: &mut Bundle) {
    let answer = match tokio::time::timeout(std::time::Duration::from_secs(10), tunnel.request(http::Method::GET, path))
        .await
    {
        Ok(Ok((status, body))) if status.is_success() => body,
        Ok(Ok((status, said))) => {
            let said = String::from_utf8_lossy(&said);
            return bundle.left_out(file, &format!("it answers {status}: {}", said.lines().next().unwrap_or_default()));
        }
        Ok(Err(error)) => return bundle.left_out(file, &causes(&error)),
        Err(_) => return bundle.left_out(file, "no answer within 10 s"),
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(&answer) else {
        return bundle.add(file, &String::from_utf8_lossy(&answer));
    };
    if let Some(targets) = value.pointer_mut("/data/activeTargets").and_then(Value::as_array_mut) {
        for target in targets {
            if let Some(target) = target.as_object_mut() {
                target.remove("discoveredLabels");
            }
        }
    }
    bundle.add(file, &pretty(&value));
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
