//! What is wrong, how badly, and what to do about it: one vocabulary for `up`'s pre-flight checks
//! and for `status`.

mod finding;
mod preflight;
mod room;
mod series;
mod status;

pub use finding::{Finding, Severity};
pub use preflight::{BeforeWriting, Facts, Permission, before_writing, of_cluster};
pub use room::room;
pub use series::{JobSeries, LargeMetric, Series, series};
pub use status::{Autoscaler, Component, Observed, Status, Targets, status};
