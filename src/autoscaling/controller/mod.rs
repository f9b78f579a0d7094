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
mod answer;
mod backoff;
mod clock;
mod crowd;
mod doubt;
mod event;
mod history;
mod http;
mod kubelets;
mod leader;
mod line;
mod measure;
mod observe;
mod outages;
mod past;
mod phase;
mod pods;
mod process;
mod recompute;
mod reconcile;
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
mod told;
mod words;

use std::{
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::history::{Held, History};
pub use self::http::{Answered, SKEW};
pub use self::leader::{LEASE, TERMS};
pub use self::service_account::{MissingServiceAccount, SERVICE_HOST, TOKEN, check_service_account};
use self::{
    access::Credentials,
    clock::Clock,
    crowd::Crowd,
    doubt::ShortHistories,
    event::Recorder,
    http::Vitals,
    leader::{Elector, Fence, Stop},
    outages::Outages,
    reconcile::{Stopped, reconcile},
    rivals::Hpas,
    servers::Servers,
    target::Kinds,
    telemetry::Telemetry,
    throttle::Throttle,
    tick::Context,
};
use crate::{lease::Terms, metrics::MetricsApis};

/// Who writes scales and statuses, and signs events.
pub const FIELD_MANAGER: &str = "scalekit-autoscaler";

/// How long running looks may take when the controller is told to stop.
const GRACE: Duration = Duration::from_millis(800);
/// How often the loop comes round when nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

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

/// An Autoscaler by namespace and name. It is held in some thirty places for each, most of them labels of metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of what has these names.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
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
