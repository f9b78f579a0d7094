//! Progress as one JSON object a line.

use std::io::{self, Write};

use crate::event::{Event, Reporter};

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
