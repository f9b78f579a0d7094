//! The controller against an API server and a Prometheus that are told what to answer.

mod fake;
mod looks;
mod runs;
