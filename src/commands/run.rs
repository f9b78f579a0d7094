//! `scalekit run`: the programs that live in the cluster.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::{
    autoscaling::controller,
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
    let cluster = connect_in_cluster(connection).await?;
    let options = controller::Options { prometheus_url, listen };
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
