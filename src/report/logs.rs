//! Logs beside what is drawn live: neither tears the other.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use indicatif::MultiProgress;

/// What is drawn live, for those who write to stderr beside it.
pub(super) static LIVE: OnceLock<MultiProgress> = OnceLock::new();

/// Writes logs to stderr, above what is drawn live there.
pub struct Logs;

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(bytes).map(|()| bytes.len());
        match LIVE.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
