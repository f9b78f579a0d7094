//! `scalekit status --watch`: the same judgement again and again, each time that something may have changed.

use std::{io, pin::pin, time::Duration};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{CommandError, status};
use crate::{
    catalog,
    cluster::{Cluster, Kind},
    health::Status,
    settings::StackSettings,
};

/// The shortest time between two rounds.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest: what has no watch (scrape targets, who may do what) is seen at this pace.
const LONGEST: Duration = Duration::from_secs(10);

/// Why a watch ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The first round failed.
    #[error(transparent)]
    Command(Box<CommandError>),
    /// The result could not be shown.
    #[error(transparent)]
    Shown(io::Error),
}

/// Judges the installation, shows it, and judges anew when pods or Autoscalers change, at most every 2 s and at least
/// every 10 s. A round that fails later on is shown, too, and the watch goes on.
///
/// Who may not watch sees every change after 10 s at most.
///
/// # Errors
///
/// When the first round fails, or `show` does.
pub async fn watch_status(
    settings: StackSettings,
    with_series: bool,
    cluster: &Cluster,
    show: &mut dyn FnMut(&Result<Status, CommandError>) -> io::Result<()>,
) -> Result<(), WatchError> {
    let mut changes = pin!(changes(cluster, &settings.options.namespace));
    let mut first = true;
    loop {
        let began = Instant::now();
        let round = status(settings.clone(), with_series, cluster).await;
        match round {
            Err(error) if first => return Err(WatchError::Command(Box::new(error))),
            round => show(&round).map_err(WatchError::Shown)?,
        }
        first = false;
        sleep_until(began + SHORTEST).await;
        // One that ended, as for want of rights, leaves the pace to the clock.
        let _changed = timeout(LONGEST.saturating_sub(began.elapsed()), changes.next()).await;
    }
}

/// Ticks when a pod of ours or an Autoscaler changed. What comes between two looks is one tick.
fn changes(cluster: &Cluster, namespace: &str) -> impl Stream<Item = ()> + use<> {
    let config = watcher::Config::default().any_semantic();
    let pods = [namespace.to_owned(), catalog::nodes_namespace(namespace)].map(|namespace| {
        let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(cluster.client().clone(), &namespace);
        watcher::watcher(pods, config.clone()).default_backoff().filter_map(async |event| event.ok().map(drop)).boxed()
    });
    let autoscalers = Kind::named("scalekit.dev", "Autoscaler").map(|kind| {
        let all: Api<DynamicObject> = Api::all_with(cluster.client().clone(), &kind.resource());
        watcher::watcher(all, config.clone()).default_backoff().filter_map(async |event| event.ok().map(drop)).boxed()
    });
    stream::select_all(pods.into_iter().chain(autoscalers)).ready_chunks(1024).map(drop)
}
