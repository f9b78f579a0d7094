//! The controller against an API server and a Prometheus that are told what to answer.

mod answers;
mod clocks;
mod credentials;
mod doubts;
mod explained;
pub(super) mod fake;
mod fake_prometheus;
mod looks;
mod past;
mod rivals;
mod runs;
mod sources;
mod told;
mod writes;
