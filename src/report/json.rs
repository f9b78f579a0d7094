//! Progress as one JSON object a line.

use std::io::{self, Write};

use super::text::clauses;
use crate::{
    commands::CommandError,
    event::{Event, Reporter},
};

/// Writes each event to stderr as it comes.
pub struct Ndjson;

impl Reporter for Ndjson {
    fn report(&self, event: Event) {
        if let Ok(line) = serde_json::to_string(&event) {
            // A reader that went away is no reason to stop an installation.
            let _gone = writeln!(io::stderr().lock(), "{line}");
        }
    }
}

/// Writes why a command did not do what was asked, as the last events of its run: each thing that stopped it, and the error.
pub fn failed(error: &CommandError) {
    let whole = Event::Error { code: error.exit_code(), message: clauses(error), hint: error.hint() };
    for event in error.stoppers().into_iter().chain([whole]) {
        Ndjson.report(event);
    }
}
