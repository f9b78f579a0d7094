//! scalekit gives a Kubernetes cluster monitoring and autoscaling, explains every scaling decision,
//! and takes everything away again.
//!
//! This is the library behind the binary; its interface is for the binary and the tests alone.
//!
//! ```text
//! main → cli → settings → commands → shells                                    → pure
//!                                    install, preflight, cluster, prometheus,    catalog, plan, readiness,
//!                                    autoscaling::controller, metrics, images,    platform, health, event,
//!                                    samples, support                            autoscaling::decision, object,
//!                                    report: the only one that prints            quantity, lease, yaml,
//!                                                                                additions, alerting
//! ```
//!
//! Arrows point one way. A pure module does no I/O, reads no clock and knows no client:
//! `tests/architecture.rs` keeps it so.

pub mod additions;
pub mod alerting;
pub mod autoscaling;
pub mod catalog;
mod causes;
pub mod cli;
pub mod cluster;
pub mod commands;
mod duration;
pub mod event;
pub mod health;
mod hex;
pub mod images;
pub mod install;
pub mod lease;
pub mod metrics;
pub mod object;
pub mod plan;
pub mod platform;
pub mod preflight;
pub mod prometheus;
pub mod quantity;
mod query;
pub mod readiness;
pub mod report;
pub mod samples;
pub mod settings;
pub mod support;
pub mod yaml;

/// The scaler runs for months, and for ten thousand objects makes and gives up a hundred megabytes of small pieces every quarter
/// of a minute. glibc's allocator gives back no page below the topmost in use, and grows with every change of load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
