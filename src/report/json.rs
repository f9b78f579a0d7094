//! Progress as one JSON object a line.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use super::text::clauses;
use crate::{
    commands::CommandError,
    event::{Event, Reporter},
    object::ObjectRef,
};

/// Writes each event to stderr as it comes; what an object waits for once, until it is something else.
#[derive(Default)]
pub struct Ndjson {
    waits: Mutex<BTreeMap<ObjectRef, String>>,
}

impl Ndjson {
    /// Whether this has been said of the object, and nothing since.
    fn is_known(&self, event: &Event) -> bool {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::InProgress { object, why } => {
                waits.insert(object.clone(), why.clone()).is_some_and(|before| before == *why)
            }
            Event::Current { object } | Event::Object { object, .. } => {
                waits.remove(object);
                false
            }
            _ => false,
        }
    }
}

impl Reporter for Ndjson {
    fn report(&self, event: Event) {
        if !self.is_known(&event) {
            write(&event);
        }
    }
}

fn write(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        // A reader that went away is no reason to stop an installation.
        let _gone = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Writes why a command did not do what was asked, as the last events of its run: each thing that stopped it, and the error.
pub fn failed(error: &CommandError) {
    let whole = Event::Error { code: error.exit_code(), message: clauses(error), hint: error.hint() };
    for event in error.stoppers().into_iter().chain([whole]) {
        write(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Action;

    #[test]
    fn what_an_object_waits_for_is_said_again_when_it_changes() {
        let object = ObjectRef::new("v1", "Namespace", None, "monitoring");
        let waits = |why: &str| Event::InProgress { object: object.clone(), why: why.to_owned() };
        let deleted = Event::Object { object: object.clone(), action: Action::Deleted, why: None };
        let events = [waits("a"), waits("a"), waits("b"), waits("a"), deleted, waits("a"), waits("a")];
        let told = Ndjson::default();
        let known: Vec<bool> = events.iter().map(|event| told.is_known(event)).collect();
        assert_eq!(known, [false, true, false, false, false, false, true]);
    }
}
