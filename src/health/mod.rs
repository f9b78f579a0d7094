//! What is wrong, how badly, and what to do about it: one vocabulary for `up`'s pre-flight checks
//! and for `status`.

mod finding;

pub use finding::{Finding, Severity};
