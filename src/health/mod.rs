//! What is wrong, how badly, and what to do about it: one vocabulary for `up`'s pre-flight checks,
//! for `check` and for `status`.

mod check;
mod drift;
mod environment;
mod finding;
mod image;
mod objects;
mod port;
mod preflight;
mod room;
mod series;
mod server;
mod status;
mod storage;
mod targets;
mod volumes;
mod wal;

pub use check::{CHECKS, Check, Counts, Report, Stage, Verdict, of_status};
pub use environment::{Clock, Environment, Looked, PROVISIONERS, unavailable};
pub use finding::{Finding, Severity};
pub use image::{ImageSource, LISTED_IMAGES, image};
pub use objects::{installed_version, ownership, pod_security};
pub use port::{Listener, NODE_EXPORTER_PORT};
pub use preflight::{
    BeforeWriting, Extent, Facts, Permission, api_server, before_writing, nodes, of_cluster, permissions, platform,
    unready_nodes,
};
pub use room::room;
pub use series::{JobSeries, LargeMetric, Series, dropped_metrics, series, silenced};
pub use server::Server;
pub use status::{
    Autoscaler, Component, NotScraped, Observed, PROXIED_SERVICE, Scraping, Silence, Status, Targets, status,
};
pub use storage::chosen_class;
pub use volumes::volumes;

/// `1 node`, `3 nodes`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// `1 node is`, `3 nodes are`.
fn are(number: usize, what: &str) -> String {
    format!("{} {}", count(number, what), if number == 1 { "is" } else { "are" })
}
