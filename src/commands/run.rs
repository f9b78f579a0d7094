//! `scalekit run`: the programs that live in the cluster.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::{cluster::Connection, samples::watcherbot};

/// x
pub async fn run_controller(
    _connection: &Connection,
    _prometheus_url: String,
    _listen: SocketAddr,
    _shutdown: CancellationToken,
) -> Result<(), CommandError> {
    Ok(())
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
