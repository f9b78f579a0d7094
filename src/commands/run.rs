//! `scalekit run`: the programs that live in the cluster.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::{
    autoscaling::controller::{self, SERVICE_HOST, TOKEN, check_service_account},
    cluster::{Connection, connect_in_cluster},
    samples::watcherbot,
};

/// What the autoscaler is told.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// The Prometheus server of metrics that name none.
    pub prometheus_url: String,
    /// The folder with what that server wants to see.
    pub prometheus_credentials: Option<PathBuf>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// See [`controller::Options::most_down_share`].
    pub most_down_share: f64,
    /// See [`controller::Options::largest_step`].
    pub largest_step: Option<i32>,
}

/// The autoscaler, until it is told to stop.
///
/// # Errors
///
/// When it cannot start, or a part of it ended that it cannot be without.
pub async fn run_controller(
    connection: &Connection,
    settings: ControllerSettings,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    check_service_account(env::var_os(SERVICE_HOST).as_deref(), Path::new(TOKEN))?;
    let cluster = connect_in_cluster(connection).await?;
    let instance = env::var("HOSTNAME").unwrap_or_else(|_| "scaler".to_owned());
    let ControllerSettings { prometheus_url, prometheus_credentials, listen, most_down_share, largest_step } = settings;
    let options = controller::Options {
        prometheus: prometheus_url,
        prometheus_credentials,
        listen,
        instance,
        terms: controller::TERMS,
        most_down_share,
        largest_step,
    };
    controller::run(cluster.client().clone(), options, shutdown)
        .await
        .map_err(|source| CommandError::Program { program: "the autoscaler", source: Box::new(source) })
}

/// The sample workload WatcherBot, until it is told to stop.
///
/// # Errors
///
/// When the address cannot be listened on.
pub async fn run_watcherbot(listen: SocketAddr, shutdown: CancellationToken) -> Result<(), CommandError> {
    watcherbot::serve(listen, shutdown)
        .await
        .map_err(|source| CommandError::Program { program: "watcherbot", source: Box::new(source) })
}
