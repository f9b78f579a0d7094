//! Scaling workloads on what is measured.

pub mod decision;
