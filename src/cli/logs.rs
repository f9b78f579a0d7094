//! What is logged, and where to.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::report;

/// Logs to stderr: always for in-cluster programs, from `-vv` (`verbose` 2) for the others.
pub(super) fn trace(verbose: u8, program: bool) {
    let default = match (program, verbose) {
        (true, 0) => "info",
        (false, 0 | 1) => "off",
        (true, _) | (false, 2) => "info,scalekit=debug,kube_client=debug",
        _ => "debug",
    };
    // A filter that is no filter says what it is not, and everything is logged as if there were none.
    let (filter, refused) = match env::var("SCALEKIT_LOG").ok().filter(|filter| !filter.is_empty()) {
        Some(filter) => match filter.parse::<Targets>() {
            Ok(filter) => (filter, None),
            Err(error) => (targets(default), Some(error)),
        },
        None => (targets(default), None),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| report::Logs)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter);
    tracing_subscriber::registry().with(lines).init();
    if let Some(error) = refused {
        tracing::warn!("SCALEKIT_LOG is no filter such as `scalekit=debug`: {error}");
    }
}

fn targets(filter: &str) -> Targets {
    filter.parse().expect("a filter of ours")
}
