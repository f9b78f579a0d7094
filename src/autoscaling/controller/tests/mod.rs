//! The controller against an API server and a Prometheus that are told what to answer.

mod credentials;
mod doubts;
mod explained;
pub(super) mod fake;
mod looks;
mod runs;
mod sources;
mod writes;
