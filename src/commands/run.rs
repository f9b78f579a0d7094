//! `scalekit run`: the programs that live in the cluster.

use std::{env, net::SocketAddr, path::Path};

use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::{
    autoscaling::controller::{self, SERVICE_HOST, TOKEN, check_service_account},
    cluster::{Connection, connect_in_cluster},
    samples::watcherbot,
};

/// The autoscaler, until it is told to stop.
///
/// # Errors
///
/// When it cannot start, or a part of it ended that it cannot be without.
pub async fn run_controller(
    connection: &Connection,
    prometheus_url: String,
    listen: SocketAddr,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    check_service_account(env::var_os(SERVICE_HOST).as_deref(), Path::new(TOKEN))?;
    let cluster = connect_in_cluster(connection).await?;
    let instance = env::var("HOSTNAME").unwrap_or_else(|_| "scaler".to_owned());
    let options = controller::Options { prometheus: prometheus_url, listen, instance, terms: controller::TERMS };
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
