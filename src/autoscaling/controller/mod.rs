//! The controller: watches Autoscalers, and looks at each when its time comes.
//!
//! ```text
//! watch ─→ schedule ─→ tick: observe (target, servers) → decide → act (target) → tell (line, event, status)
//! ```
//!
//! One task owns the schedule; each look is a task of its own that returns what is to be kept. The count is
//! written through the scale subresource only, provided that nobody else wrote in between. Of several controllers
//! one leads, and the others stand by with nothing in memory. Needed rights:
//! `autoscalers` get, list, watch; `autoscalers/status` patch; `*/scale` of the targets' kinds get, update;
//! the targets themselves get, to name who else writes their count; `horizontalpodautoscalers` list, watch;
//! `events.k8s.io` events create; `pods` list, for metrics with a target of type Value; in the controller's own
//! namespace `leases` create, and get and update of its own.

mod access;
mod act;
mod backoff;
mod clock;
mod crowd;
mod doubt;
mod event;
mod history;
mod http;
mod leader;
mod line;
mod measure;
mod observe;
mod outages;
mod phase;
mod pods;
mod process;
mod recompute;
mod remedy;
mod rivals;
mod schedule;
mod servers;
mod service_account;
mod source;
mod status;
mod target;
mod telemetry;
mod tell;
#[cfg(test)]
mod tests;
mod throttle;
mod tick;
mod words;

use std::{
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::leader::{LEASE, TERMS};
pub use self::service_account::{MissingServiceAccount, SERVICE_HOST, TOKEN, check_service_account};
use self::{
    access::Credentials,
    clock::{Clock, until},
    crowd::Crowd,
    doubt::ShortHistories,
    event::Recorder,
    history::History,
    http::Vitals,
    leader::{Elector, Fence, Stop},
    outages::Outages,
    rivals::{Hpas, News},
    schedule::{Due, Schedule},
    servers::Servers,
    target::Kinds,
    telemetry::Telemetry,
    throttle::Throttle,
    tick::{Context, Kept, tick},
};
use super::api::Autoscaler;
use crate::{lease::Terms, metrics::MetricsApis};

/// Who writes scales and statuses, and signs events.
pub const FIELD_MANAGER: &str = "scalekit-autoscaler";

/// How long running looks may take when the controller is told to stop.
const GRACE: Duration = Duration::from_millis(800);
/// How many objects are looked at at once. Each may hold a connection to the API server: while that is slow, thousands
/// of objects that are due must wait for each other and not pile up.
const MOST_LOOKS: usize = 128;
/// How often the loop comes round when nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// For how long a lead waits for the list of HPAs, where that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// And where they may not be listed or are not served: the right may come a moment after the pod.
const PATIENCE_WITHOUT_A_RIGHT: Duration = Duration::from_secs(5);

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Prometheus server of metrics that name none, such as `http://prometheus.monitoring:9090`.
    pub prometheus: String,
    /// The folder with what that server wants to see, as a Secret is mounted.
    pub prometheus_credentials: Option<PathBuf>,
    /// Where `/livez`, `/readyz`, `/metrics` and `/explain/NAMESPACE/NAME` are served.
    pub listen: SocketAddr,
    /// What signs events: the name of the pod.
    pub instance: String,
    /// How the Lease is held: [`TERMS`], but for tests.
    pub terms: Terms,
    /// The greatest share of the objects of one source that may begin to want fewer replicas at once; from 1 on there is
    /// no limit.
    pub most_down_share: f64,
    /// By how many replicas a decision may change a count at most.
    pub largest_step: Option<i32>,
}

/// Why the controller ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP server ended, which it never does by itself.
    #[error("the HTTP server ended")]
    ServerEnded,
    /// The election ended, which it never does by itself.
    #[error("the election of a leader ended")]
    ElectionEnded,
    /// The watch of Autoscalers ended, which it never does by itself.
    #[error("the watch of Autoscalers ended")]
    WatchEnded,
}

/// An Autoscaler by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Runs until `shutdown`, then lets running looks end for a moment.
///
/// `client` should be one without retries of its own (`Config::default_retry = false`): everything here is
/// tried again at the next tick, and a retry would only be late. Both its watch and its requests follow the
/// ServiceAccount's rotating token by themselves.
///
/// # Errors
///
/// See [`Error`]. The API server or Prometheus not answering is none: it is logged and waited for.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let Options { prometheus, prometheus_credentials, listen, instance, terms, most_down_share, largest_step } =
        options;
    let clock = Clock::start();
    let telemetry = Arc::<Telemetry>::default();
    let vitals = Arc::new(Vitals::new(clock));
    let listener = TcpListener::bind(listen).await.map_err(|source| Error::Listen { address: listen, source })?;
    let (elector, fence) = Elector::new(&client, &instance, terms, clock, vitals.clone());
    let context = Arc::new(Context {
        client: client.clone(),
        servers: Servers::new(Box::new(source::direct), clock, telemetry.clone()),
        credentials: Credentials::new(client.clone(), prometheus.clone(), prometheus_credentials),
        default_server: prometheus,
        kinds: Kinds::default(),
        metrics: MetricsApis::new(client.clone()),
        outages: Outages::new(clock),
        owners: pods::Owners::default(),
        objects: AtomicUsize::new(0),
        crowd: Crowd::new(most_down_share),
        short_histories: ShortHistories::default(),
        largest_step,
        throttle: Throttle::default(),
        recorder: Recorder::new(client.clone(), instance),
        fence,
        hpas: Hpas::default(),
        history: History::default(),
        telemetry,
        clock,
    });
    let server = axum::serve(listener, http::router(vitals.clone(), context.clone()));
    tracing::info!(%listen, prometheus = context.default_server, "the autoscaler runs");
    let stop = Stop::default();
    let mut election = tokio::spawn(elector.run(stop.clone()));
    let result = tokio::select! {
        biased;
        result = lead(client, context, &vitals, &shutdown) => result,
        _ = server => Err(Error::ServerEnded),
        _ = &mut election => Err(Error::ElectionEnded),
    };
    match &result {
        Ok(Stopped { all_looks_ended: true }) => stop.release.cancel(),
        _ => stop.leave.cancel(),
    }
    if !election.is_finished() && tokio::time::timeout(GRACE, &mut election).await.is_err() {
        tracing::warn!("the lease was not given back in time, it runs out by itself");
        election.abort();
    }
    result.map(drop)
}

/// Leads whenever it may, until `shutdown`.
async fn lead(
    client: Client,
    context: Arc<Context>,
    vitals: &Vitals,
    shutdown: &CancellationToken,
) -> Result<Stopped, Error> {
    let mut fence: Fence = context.fence.clone();
    loop {
        vitals.beat();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(Stopped { all_looks_ended: true }),
            () = fence.opened() => {}
            () = tokio::time::sleep(LONGEST_SLEEP) => continue,
        }
        tracing::info!("this controller leads");
        vitals.leads(true);
        context.telemetry.leads(true);
        let ended = tokio::select! {
            biased;
            // Everything that it had begun is dropped with it; what was kept is in the statuses.
            () = fence.closed() => None,
            result = reconcile(client.clone(), context.clone(), vitals, shutdown) => Some(result),
        };
        vitals.leads(false);
        context.telemetry.leads(false);
        context.history.clear();
        context.servers.clear();
        context.outages.clear();
        context.crowd.clear();
        context.short_histories.clear();
        if let Some(result) = ended {
            return result;
        }
        tracing::warn!("this controller does not lead any more: the lease was not renewed in time");
    }
}

/// How the loop ended when it was told to.
struct Stopped {
    all_looks_ended: bool,
}

async fn reconcile(
    client: Client,
    context: Arc<Context>,
    vitals: &Vitals,
    shutdown: &CancellationToken,
) -> Result<Stopped, Error> {
    // An object that cannot be read must not hide the others.
    let autoscalers: Api<DeserializeGuard<Autoscaler>> = Api::all(client.clone());
    let watch = watcher::watcher(autoscalers, watcher::Config::default().page_size(500)).default_backoff();
    let mut watch = std::pin::pin!(watch);
    let mut hpas = context.hpas.watch(client);
    let mut schedule = Schedule::default();
    let mut looks: JoinSet<Looked> = JoinSet::new();
    // Before all are known, an older Autoscaler or an HPA of the same workload would go unnoticed.
    let (mut listed, mut hpas_listed) = (false, false);
    let patience = tokio::time::sleep(PATIENCE);
    let mut patience = std::pin::pin!(patience);
    loop {
        vitals.beat();
        context.objects.store(schedule.len(), Ordering::Relaxed);
        let now = context.clock.now();
        let begun = listed && hpas_listed;
        while begun
            && looks.len() < MOST_LOOKS
            && let Some(due) = schedule.take_due(now)
        {
            context.telemetry.late(now.duration_since(due.at));
            let context = context.clone();
            looks.spawn(async move {
                let kept = due.kept.clone();
                let (kept, wake) = tick(&context, &due.key, &due.object, kept, due.elder.as_ref()).await;
                Looked { due, kept, wake }
            });
        }
        // With all looks taken the next one is due when one of them ends.
        let next = schedule.next().filter(|_| begun && looks.len() < MOST_LOOKS);
        let sleep = next.map_or(LONGEST_SLEEP, |due| until(due, now).min(LONGEST_SLEEP));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(looked) = looks.join_next() => match looked {
                Ok(Looked { due, kept, wake }) => schedule.looked_at(&due, kept, wake, context.clock.now()),
                // A look that panicked would leave its object without a next time, unnoticed.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            },
            event = watch.next() => match event {
                Some(Ok(event)) => {
                    listed |= matches!(event, Event::InitDone);
                    take(event, &mut schedule, &context, vitals);
                }
                Some(Err(error)) => {
                    tracing::warn!("Autoscalers cannot be watched, trying again: {}", watch_error(error));
                }
                None => return Err(Error::WatchEnded),
            },
            Some(news) = hpas.next() => match news {
                News::Listed => hpas_listed = true,
                News::Failed(why) => {
                    tracing::warn!("HorizontalPodAutoscalers cannot be watched, trying again: {why}");
                }
                News::Unlistable(why) => {
                    let soon = tokio::time::Instant::now() + PATIENCE_WITHOUT_A_RIGHT;
                    if patience.deadline() > soon {
                        patience.as_mut().reset(soon);
                    }
                    tracing::warn!(
                        "HorizontalPodAutoscalers cannot be listed, so one of the same workload goes unnoticed: {why}"
                    );
                }
            },
            () = &mut patience, if !hpas_listed => {
                hpas_listed = true;
                tracing::warn!(
                    "HorizontalPodAutoscalers are not known yet, so one of the same workload goes unnoticed"
                );
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
    let ended = tokio::time::timeout(GRACE, async { while looks.join_next().await.is_some() {} }).await;
    tracing::info!(all_looks_ended = ended.is_ok(), "the autoscaler stops");
    Ok(Stopped { all_looks_ended: ended.is_ok() })
}

struct Looked {
    due: Due,
    kept: Kept,
    wake: Option<jiff::Timestamp>,
}

fn take(event: Event<DeserializeGuard<Autoscaler>>, schedule: &mut Schedule, context: &Context, vitals: &Vitals) {
    match event {
        Event::Init => schedule.list_begins(),
        Event::InitApply(object) | Event::Apply(object) => seen(object, schedule, context),
        Event::InitDone => {
            schedule.list_ends().iter().for_each(|key| context.forget(key));
            vitals.listed();
        }
        Event::Delete(object) => {
            let key = key(&object);
            schedule.remove(&key);
            context.forget(&key);
        }
    }
}

fn seen(object: DeserializeGuard<Autoscaler>, schedule: &mut Schedule, context: &Context) {
    let key = key(&object);
    match object.0 {
        Ok(mut autoscaler) => {
            // Most of an object's bytes, and of no use here; kubectl keeps a whole manifest in an annotation.
            autoscaler.metadata.managed_fields = None;
            autoscaler.metadata.annotations = None;
            autoscaler.metadata.labels = None;
            schedule.seen(key, autoscaler, &context.default_server, context.clock.now(), |object| {
                Kept::restored(object, context.clock)
            });
        }
        Err(invalid) => {
            tracing::warn!(autoscaler = %key, "the object cannot be read, it is not scaled: {invalid}");
            schedule.remove(&key);
        }
    }
}

fn key(object: &DeserializeGuard<Autoscaler>) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

fn watch_error(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => words::ApiError::from(error).to_string(),
        watcher::Error::WatchError(status) => status.message,
        watcher::Error::NoResourceVersion => "the list has no resource version".to_owned(),
    }
}
