//! `scalekit status`: what works and what does not. Reads only.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as ClusterEvent, Pod};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};

use super::{
    CommandError, image, reload, scaler,
    service_proxy::ServiceProxy,
    targets,
    up::{now, stack_release, unusable},
    whereabouts,
};
use crate::{
    catalog::{self, Component},
    cluster::{self, Cluster, ForwardError, Kind},
    event::Silent,
    health::{self, Facts, Observed, Scraping, Severity, Silence, Status},
    install::{Installer, Release},
    plan,
    platform::Platform,
    preflight,
    readiness::Surroundings,
    settings::StackSettings,
};

/// Reads and judges the stack, its scrape targets, every Autoscaler, and on demand how many series there are.
///
/// # Errors
///
/// Only when the cluster cannot be read; what is wrong with the stack is in the answer.
pub async fn status(settings: StackSettings, with_series: bool, cluster: &Cluster) -> Result<Status, CommandError> {
    let StackSettings {
        connection: _,
        mut options,
        files: _,
        platform: asked,
        containerd_socket,
        timeout,
        force_conflicts: _,
    } = settings;
    let failed = |source| unusable(cluster, source);
    let facts = preflight::facts_and_ports(cluster).await.map_err(failed)?;
    let own = image::own(options.images.get(&Component::Scaler));
    if let Ok(own) = &own {
        image::use_in(&mut options, own);
    }
    let release: Release = stack_release(&options.namespace);
    let installer = Installer::new(cluster, &Silent, timeout);
    let (state, around, series) = futures::join!(
        // Foreign objects under our names are not what status is about: nothing is desired here.
        installer.read(&release, &[]),
        look_around(cluster, &options),
        // Another Prometheus is its owners' to look at.
        async {
            if with_series && options.external.is_none() {
                Some(series(cluster, &options.namespace).await)
            } else {
                None
            }
        },
    );
    let around = around.map_err(failed)?;
    let live = state?.live;
    let elsewhere = if live.is_empty() { whereabouts::elsewhere(cluster, &options.namespace).await } else { None };
    let installed = catalog::scraped_as(&live);
    let unscraped = catalog::unscraped(&facts.seen, &installed, &options);
    let platform = facts.platform(asked).seen(facts.seen.clone().of_installation(installed));
    catalog::fit_volumes(&mut options, &live, &facts.classes);
    let mut desired = catalog::stack(&options, &platform);
    plan::yield_replicas(&mut desired, &live);
    let sent = live.iter().any(image::runs_side_loaded);
    let source = sent.then(|| {
        image::source(&own, &facts.nodes, &platform, containerd_socket.as_deref()).known_by(&around.pods, now())
    });
    let observed =
        Observed { elsewhere, unscraped, series, ..observed(facts, &platform, &options, desired, live, around) };
    let mut status = health::status(&observed, now());
    // Nothing of the stack waits for a node that is not ready, and somebody should know.
    let nodes = health::nodes(&observed.around.nodes);
    status.findings.extend(Some(nodes).filter(|finding| finding.severity == Severity::Warning));
    // Of an image that is well there is nothing to say.
    let image = source.map(|source| health::image(&source, true));
    status.findings.extend(image.filter(|finding| finding.severity == Severity::Warning));
    Ok(status)
}

/// What has to be read, besides the objects of the stack, to judge it.
pub(super) struct Around {
    /// Pods of our namespaces.
    pub(super) pods: Vec<Pod>,
    events: Vec<ClusterEvent>,
    autoscalers: Vec<cluster::Listed>,
    scraped: Option<Result<Scraped, Silence>>,
    server: Option<Result<health::Server, Silence>>,
}

/// What the stack's Prometheus says of itself.
struct Scraped {
    targets: Vec<crate::prometheus::Target>,
    refused: Option<Vec<String>>,
}

/// Reads it.
pub(super) async fn look_around(cluster: &Cluster, options: &catalog::Options) -> Result<Around, cluster::Error> {
    let server = async {
        match options.external {
            Some(_) => scaler::prometheus(cluster, &options.namespace).await,
            None => None,
        }
    };
    let (around, autoscalers, scraped, server) = futures::join!(
        surroundings(cluster, &options.namespace),
        autoscalers(cluster),
        scraped(cluster, options),
        server
    );
    let (pods, events) = around?;
    Ok(Around { pods, events, autoscalers: autoscalers?, scraped, server })
}

/// Everything that a judgement is made of, but for the series and the parts of the control plane that could be scraped.
pub(super) fn observed(
    facts: Facts,
    platform: &Platform,
    options: &catalog::Options,
    desired: Vec<DynamicObject>,
    live: Vec<DynamicObject>,
    around: Around,
) -> Observed {
    let Around { pods, events, autoscalers, scraped, server } = around;
    let (targets, refused) = match scraped {
        Some(Ok(Scraped { targets, refused })) => (Some(Ok(targets)), refused),
        Some(Err(silence)) => (Some(Err(silence)), None),
        None => (None, None),
    };
    Observed {
        platform: platform.kind.to_string(),
        scraping: Scraping::of(platform),
        unscraped: Vec::new(),
        kubernetes: facts.version,
        namespace: options.namespace.clone(),
        elsewhere: None,
        desired,
        live,
        // Who looks once takes it that everything has been there for as long as it says.
        around: Surroundings {
            pods,
            events,
            since: Some(Timestamp::UNIX_EPOCH),
            nodes: facts.nodes,
            classes: facts.classes,
        },
        targets,
        server,
        refused,
        expected_jobs: if options.external.is_some() { Vec::new() } else { catalog::expected_jobs(options, platform) },
        autoscalers,
        series: None,
    }
}

async fn surroundings(cluster: &Cluster, namespace: &str) -> Result<(Vec<Pod>, Vec<ClusterEvent>), cluster::Error> {
    let all = ListParams::default();
    let warnings = ListParams::default().fields("type=Warning");
    // That a provisioner is at work, or that nobody is, is no warning.
    let claims = ListParams::default().fields("type=Normal,involvedObject.kind=PersistentVolumeClaim");
    let nodes = catalog::nodes_namespace(namespace);
    let pods = |namespace: &str| Api::<Pod>::namespaced(cluster.client().clone(), namespace);
    let events = |namespace: &str| Api::<ClusterEvent>::namespaced(cluster.client().clone(), namespace);
    let (own, on_nodes) = (pods(namespace), pods(&nodes));
    let (own_events, node_events) = (events(namespace), events(&nodes));
    let (own, on_nodes, about_claims, own_events, node_events) = futures::try_join!(
        own.list(&all),
        on_nodes.list(&all),
        own_events.list(&claims),
        own_events.list(&warnings),
        node_events.list(&warnings)
    )?;
    let pods = own.items.into_iter().chain(on_nodes.items).collect();
    let events = about_claims.items.into_iter().chain(own_events.items).chain(node_events.items).collect();
    Ok((pods, events))
}

async fn autoscalers(cluster: &Cluster) -> Result<Vec<cluster::Listed>, cluster::Error> {
    match Kind::named("scalekit.dev", "Autoscaler") {
        Some(kind) => cluster.list_kind(kind, None, "").await,
        None => Ok(Vec::new()),
    }
}

/// What the stack's Prometheus says of its targets and its configuration; another one is not asked.
async fn scraped(cluster: &Cluster, options: &catalog::Options) -> Option<Result<Scraped, Silence>> {
    match options.external {
        Some(_) => None,
        None => Some(asked(cluster, &options.namespace).await),
    }
}

async fn asked(cluster: &Cluster, namespace: &str) -> Result<Scraped, Silence> {
    let pod = targets::ready_pod(cluster, namespace, "app.kubernetes.io/name=prometheus")
        .await
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "no pod of Prometheus is ready".to_owned())?;
    let tunnel = targets::tunnel(cluster, namespace, &pod);
    let client = targets::client(tunnel.clone());
    let error = match client.targets().await {
        Ok(targets) => {
            let refused = match client.runtime().await {
                Ok(runtime) if !runtime.reload_config_success => {
                    Some(reload::refusals(cluster, namespace, reload::LOGGED).await)
                }
                _ => None,
            };
            return Ok(Scraped { targets, refused });
        }
        Err(error) => error.to_string(),
    };
    // What went wrong in words is not enough to tell a missing right from a broken pod.
    let again = tunnel.request(http::Method::GET, "/-/healthy").await;
    let Err(ForwardError::Open { source: refused @ cluster::Error::Forbidden { .. }, .. }) = again else {
        return Err(error.into());
    };
    let proxied = targets::client(ServiceProxy::new(cluster, namespace, health::PROXIED_SERVICE));
    let targets = proxied.targets().await;
    let targets = targets.map(|targets| Scraped { targets, refused: None });
    targets.map_err(|error| Silence::NotPermitted(format!("{refused}, and {error}")))
}

/// What each job gives, by the label that its series have: where one page is scraped for several jobs, the scrape has the name of
/// one. Without what Prometheus adds to each scrape, what rules record, and alerts. It looks at every series once, which is
/// for who asks by hand.
const SERIES_BY_JOB: &str = r#"count by (job) ({job!="", __name__!~"up|scrape_.+|ALERTS.*|.*:.*"})"#;

async fn series(cluster: &Cluster, namespace: &str) -> Result<health::Series, String> {
    let client = targets::prometheus(cluster, namespace).await.map_err(|error| error.to_string())?;
    let client = client.ok_or_else(|| "no pod of Prometheus is ready".to_owned())?;
    let said = |error: crate::prometheus::Error| error.to_string();
    let tsdb = client.tsdb().await.map_err(said)?;
    let by_job = client.query(SERIES_BY_JOB).await.map_err(said)?;
    let mut jobs_of = Vec::new();
    for metric in &tsdb.series_count_by_metric_name {
        let query = format!("group by (job) ({{__name__=\"{}\"}})", metric.name);
        jobs_of.push(client.query(&query).await.map_err(said)?);
    }
    Ok(health::series(&tsdb, &by_job, &jobs_of))
}
