//! The sample workloads that come with the binary, and the load that is put on them.

pub mod load;
pub mod watcherbot;
