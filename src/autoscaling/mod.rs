//! Scaling workloads on what is measured.
//!
//! ```text
//! api (what users write) → policy → decision (pure)
//!                                      ↑ observation, memory
//!                          controller: watch, tick, observe, act, tell → explain (in words)
//! ```

pub mod api;
pub mod controller;
pub mod decision;
pub mod explain;
pub mod look_back;
pub mod policy;
pub mod replay;
