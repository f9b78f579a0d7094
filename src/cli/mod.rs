//! The command line.

mod args;
mod demo;
mod dispatch;
mod down;
mod images;
mod logs;

pub use dispatch::main;
