//! What goes, what stays, and what has gone.

use std::fmt::Write;

use super::{plain_table, trimmed};
use crate::{
    commands::{Downed, PlannedRemoval},
    event::Fate,
    health::{Severity, count},
    plan::Scaled,
    report::progress::severity_mark,
};

pub(in crate::report) fn planned_removal(planned: &PlannedRemoval) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "to delete: {}", count(planned.teardown.delete.len(), "object"));
    for target in &planned.teardown.delete {
        if target.object.kind == "Namespace" {
            let _ = writeln!(text, "  {} and all that scalekit put into it", target.object);
        }
    }
    if !planned.claims.is_empty() {
        let mut table = plain_table(&["DATA", "SIZE", "CLASS", "RECLAIM POLICY", "FATE"]);
        for claim in &planned.claims {
            let fate = match claim.fate {
                Fate::Kept => "kept",
                Fate::Deleted => "deleted",
            };
            table.add_row([
                format!("{}/{}", claim.object.namespace.as_deref().unwrap_or_default(), claim.object.name),
                claim.size.clone(),
                claim.class.clone(),
                claim.policy.clone(),
                fate.to_owned(),
            ]);
        }
        let _ = writeln!(text, "{}", trimmed(&table));
    }
    for kept in planned.teardown.keep.iter().filter(|kept| !kept.data) {
        let _ = writeln!(text, "{} {} stays: {}", severity_mark(Severity::Warning), kept.object, kept.why);
    }
    for Scaled { target, replicas, least } in &planned.scaled {
        let reset = if replicas == least { String::new() } else { format!("; --reset-replicas takes it to {least}") };
        let _ = writeln!(text, "{} {target} stays at {replicas} replicas{reset}", severity_mark(Severity::Info));
    }
    for finding in &planned.blocked {
        let _ = writeln!(text, "{} {}", severity_mark(finding.severity), finding.message);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    text
}

pub(in crate::report) fn downed(done: &Downed, what: &str, phases: &str) -> String {
    let mut text = String::new();
    let took = format!("{:.1} s: {phases}", done.took.as_secs_f64());
    if !done.anything {
        let _ = writeln!(text, "{what} is not installed: nothing to remove");
    } else if done.kept.is_empty() {
        let _ = writeln!(text, "nothing left ({took})");
    } else {
        let _ = writeln!(text, "nothing left but the data that was kept ({took})");
    }
    if done.images > 0 {
        let _ = writeln!(text, "{} taken off the nodes", count(done.images, "image"));
    }
    for left in &done.images_left {
        let _ = writeln!(text, "an image of scalekit may still be on a node: {left}");
    }
    for object in &done.kept {
        let _ = writeln!(text, "  kept {object}");
    }
    if !done.kept.is_empty() {
        let _ = writeln!(text, "`scalekit up` takes it into use again; `scalekit down --purge-data` deletes it");
    }
    text
}
