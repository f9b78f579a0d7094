//! The command line.

mod args;
mod dispatch;
mod images;

pub use dispatch::main;
