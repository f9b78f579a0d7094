//! The command line.

mod args;
mod demo;
mod dispatch;
mod down;
mod images;
mod logs;
mod sub_verbs;

pub use dispatch::main;
