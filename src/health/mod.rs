//! What is wrong, how badly, and what to do about it: one vocabulary for `up`'s pre-flight checks
//! and for `status`.

mod finding;
mod preflight;
mod status;

pub use finding::{Finding, Severity};
pub use preflight::{BeforeWriting, Facts, Permission, before_writing, of_cluster};
pub use status::{Autoscaler, Component, NotScraped, Observed, Scraping, Status, Targets, status};
