//! `scalekit status`: what works and what does not. Reads only.

use k8s_openapi::api::core::v1::{Event as ClusterEvent, Pod};
use kube::{Api, api::ListParams};

use super::{
    CommandError, image, targets,
    up::{now, stack_release, unusable},
};
use crate::{
    catalog::{self, Component},
    cluster::{self, Cluster, Kind},
    event::Silent,
    health::{self, Observed, Status},
    install::{Installer, Release},
    platform::{assume, detect},
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
        platform,
        containerd_socket: _,
        timeout,
        force_conflicts: _,
    } = settings;
    let failed = |source| unusable(cluster, source);
    let facts = preflight::facts(cluster).await.map_err(failed)?;
    let platform = match platform {
        Some(kind) => assume(kind, &facts.nodes, &facts.classes),
        None => detect(&facts.nodes, &facts.classes),
    };
    if let Ok(own) = image::own(options.images.get(&Component::Scaler)) {
        image::use_in(&mut options, &own);
    }
    let desired = catalog::stack(&options, &platform);
    let release: Release = stack_release(&options.namespace);
    let installer = Installer::new(cluster, &Silent, timeout);
    let (state, around, autoscalers, answer, series) = futures::join!(
        // Foreign objects under our names are not what status is about: nothing is desired here.
        installer.read(&release, &[]),
        surroundings(cluster, &options.namespace),
        autoscalers(cluster),
        scraped(cluster, &options.namespace),
        async { if with_series { Some(series(cluster, &options.namespace).await) } else { None } },
    );
    let (pods, events) = around.map_err(failed)?;
    let observed = Observed {
        platform: platform.kind.to_string(),
        kubernetes: facts.version,
        namespace: options.namespace.clone(),
        desired,
        live: state?.live,
        around: Surroundings { pods, events, nodes: facts.nodes, classes: facts.classes },
        targets: answer,
        expected_jobs: catalog::expected_jobs(&options, &platform),
        autoscalers: autoscalers.map_err(failed)?,
        series,
    };
    Ok(health::status(&observed, now()))
}

async fn surroundings(cluster: &Cluster, namespace: &str) -> Result<(Vec<Pod>, Vec<ClusterEvent>), cluster::Error> {
    let all = ListParams::default();
    let warnings = ListParams::default().fields("type=Warning");
    let nodes = catalog::nodes_namespace(namespace);
    let pods = |namespace: &str| Api::<Pod>::namespaced(cluster.client().clone(), namespace);
    let events = |namespace: &str| Api::<ClusterEvent>::namespaced(cluster.client().clone(), namespace);
    let (own, on_nodes) = (pods(namespace), pods(&nodes));
    let (own_events, node_events) = (events(namespace), events(&nodes));
    let (own, on_nodes, own_events, node_events) = futures::try_join!(
        own.list(&all),
        on_nodes.list(&all),
        own_events.list(&warnings),
        node_events.list(&warnings)
    )?;
    let pods = own.items.into_iter().chain(on_nodes.items).collect();
    let events = own_events.items.into_iter().chain(node_events.items).collect();
    Ok((pods, events))
}

async fn autoscalers(cluster: &Cluster) -> Result<Vec<cluster::Listed>, cluster::Error> {
    match Kind::named("scalekit.dev", "Autoscaler") {
        Some(kind) => cluster.list_kind(kind, None, "").await,
        None => Ok(Vec::new()),
    }
}

async fn scraped(cluster: &Cluster, namespace: &str) -> Result<crate::prometheus::Targets, String> {
    let client = targets::prometheus(cluster, namespace).await.map_err(|error| error.to_string())?;
    let client = client.ok_or_else(|| "no pod of Prometheus is ready".to_owned())?;
    client.targets().await.map_err(|error| error.to_string())
}

async fn series(cluster: &Cluster, namespace: &str) -> Result<health::Series, String> {
    let client = targets::prometheus(cluster, namespace).await.map_err(|error| error.to_string())?;
    let client = client.ok_or_else(|| "no pod of Prometheus is ready".to_owned())?;
    let said = |error: crate::prometheus::Error| error.to_string();
    let tsdb = client.tsdb().await.map_err(said)?;
    let by_job = client.query("sum by (job) (scrape_samples_post_metric_relabeling)").await.map_err(said)?;
    let mut jobs_of = Vec::new();
    for metric in &tsdb.series_count_by_metric_name {
        let query = format!("group by (job) ({{__name__=\"{}\"}})", metric.name);
        jobs_of.push(client.query(&query).await.map_err(said)?);
    }
    Ok(health::series(&tsdb, &by_job, &jobs_of))
}
