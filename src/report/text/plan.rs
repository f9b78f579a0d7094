//! What `up` would do.

use std::fmt::Write;

use super::difference::difference;
use crate::{
    catalog::FIELD_MANAGER,
    commands::{Plan, PlannedObject},
    plan::{Change, Checked, FieldManager, OTHER_INSTALLATION, foreign_hint},
    report::progress::{bold, dim},
};

pub(in crate::report) fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}, namespace {}\n", plan.platform, plan.namespace);
    let head = text.len();
    for PlannedObject { planned, checked } in &plan.objects {
        let (mark, fields) = match &planned.change {
            Change::Create => ("+ create   ", None),
            Change::Configure { fields } => ("~ configure", Some(fields)),
            Change::Delete { .. } => ("- delete   ", None),
            Change::Recreate { .. } => ("± anew     ", None),
            Change::Foreign { .. } => ("! foreign  ", None),
            Change::Unchanged => continue,
        };
        let _ = writeln!(text, "{mark} {}{}", planned.object, verdict(checked.as_ref()));
        if let Change::Foreign { owner } = &planned.change {
            let owner = owner.as_deref().unwrap_or("nobody that it names");
            let whose = if owner == OTHER_INSTALLATION { "this installation" } else { "scalekit" };
            let _ = writeln!(text, "    it is there and not {whose}'s; managed by {owner}");
        }
        if let Change::Recreate { why, .. } = &planned.change {
            let _ = writeln!(text, "    {why}");
        }
        for change in fields.into_iter().flatten() {
            let differs = difference(change.live.as_ref(), &change.desired);
            let (first, rest) = differs.split_once('\n').unwrap_or((&differs, ""));
            let _ = writeln!(text, "    {}: {first}{}", change.field, set_by(&change.by));
            if !rest.is_empty() {
                let _ = writeln!(text, "{rest}");
            }
        }
        match checked {
            Some(Checked::Refused { why } | Checked::NotTried { why }) => {
                let _ = writeln!(text, "    {why}");
            }
            Some(Checked::Conflict { fields }) => {
                for conflict in fields {
                    let _ = writeln!(text, "    {conflict}");
                }
            }
            _ => {}
        }
    }
    if text.len() > head {
        text.push('\n');
    }
    let _ = writeln!(text, "{}", plan.summary);
    let foreign: Vec<_> = plan.objects.iter().filter_map(|object| object.planned.foreign()).collect();
    if !foreign.is_empty() {
        let _ = writeln!(text, "  hint: {}", foreign_hint(foreign));
    }
    text
}

/// What the API server says to an object, in a few words behind its name.
fn verdict(checked: Option<&Checked>) -> String {
    match checked {
        None => String::new(),
        Some(Checked::Accepted { tried_in, taken_over_from }) => {
            let tried = tried_in.map(|namespace| format!(", tried in namespace {namespace}")).unwrap_or_default();
            let taken = match taken_over_from.as_slice() {
                [] => String::new(),
                tools => format!("; will be taken over from {}", tools.join(" and ")),
            };
            dim(&format!("  accepted by the API server{tried}{taken}"))
        }
        Some(Checked::Refused { .. }) => bold("  refused by the API server"),
        Some(Checked::Conflict { .. }) => bold("  fields are managed by somebody else"),
        Some(Checked::NotTried { .. }) => dim("  not tried"),
        Some(Checked::Untried { untried }) => dim(&format!("  not tried: {untried}")),
    }
}

/// Who set a field, where that was somebody else.
fn set_by(managers: &[FieldManager]) -> String {
    let others: Vec<&str> =
        managers.iter().map(|by| by.manager.as_str()).filter(|manager| *manager != FIELD_MANAGER).collect();
    if others.is_empty() { String::new() } else { format!("  (set by {})", others.join(", ")) }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;
    use crate::{
        object::ObjectRef,
        plan::{ChangeSet, ONE_A_CLUSTER, Planned},
    };

    #[test]
    fn one_blank_line_stands_before_the_summary_with_objects_and_without() {
        let planned = |change| {
            let object = ObjectRef {
                group: String::new(),
                version: "v1".to_owned(),
                kind: "Service".to_owned(),
                namespace: Some("monitoring".to_owned()),
                name: "grafana".to_owned(),
            };
            plan(&Plan {
                platform: "kind".to_owned(),
                namespace: "monitoring".to_owned(),
                changes: true,
                summary: "in short".to_owned(),
                objects: vec![PlannedObject { planned: Planned { object, change }, checked: None }],
            })
        };
        assert_eq!(planned(Change::Unchanged), "kind, namespace monitoring\n\nin short\n");
        let created = planned(Change::Create);
        assert_eq!(created, "kind, namespace monitoring\n\n+ create    service/grafana -n monitoring\n\nin short\n");
    }

    #[test]
    fn how_each_was_checked_stands_behind_it() {
        let planned = |change: Change, checked: Option<Checked>| {
            let checked = checked.or_else(|| Checked::untried(&change));
            let object = ObjectRef::new("v1", "Service", Some("m"), "s");
            let objects = vec![PlannedObject { planned: Planned { object, change }, checked }];
            let [platform, namespace, summary] = ["kind", "m", "in short"].map(str::to_owned);
            strip_str(&plan(&Plan { platform, namespace, changes: true, summary, objects })).to_string()
        };
        let uid = || "u".to_owned();
        let deleted = planned(Change::Delete { uid: uid() }, None);
        assert!(
            deleted.contains("- delete    service/s -n m  not tried: the API server is not asked about"),
            "{deleted}"
        );
        let anew = planned(Change::Recreate { uid: uid(), why: "it cannot be changed".to_owned() }, None);
        let expected =
            "± anew      service/s -n m  not tried: what is there has to go before it\n    it cannot be changed\n";
        assert!(anew.contains(expected), "{anew}");
        let taken_over_from = vec!["helm".to_owned(), "kubectl".to_owned()];
        let taken = Checked::Accepted { tried_in: None, taken_over_from };
        let taken = planned(Change::Configure { fields: Vec::new() }, Some(taken));
        let expected = "service/s -n m  accepted by the API server; will be taken over from helm and kubectl\n";
        assert!(taken.contains(expected), "{taken}");
    }

    #[test]
    fn what_is_in_the_way_is_counted_and_told_with_the_way_out() {
        let role = |name: &str| ObjectRef::new("rbac.authorization.k8s.io/v1", "ClusterRole", None, name);
        let foreign = Change::Foreign { owner: Some(OTHER_INSTALLATION.to_owned()) };
        let items = vec![
            Planned { object: role("ours"), change: Change::Create },
            Planned { object: role("theirs"), change: foreign },
        ];
        let changes = ChangeSet { items };
        let mut shown = Plan {
            platform: "kind".to_owned(),
            namespace: "nope".to_owned(),
            changes: true,
            summary: changes.summary(),
            objects: changes.items.into_iter().map(|planned| PlannedObject { planned, checked: None }).collect(),
        };
        let text = plan(&shown);
        let end = "\n1 to create, 1 in the way, so that `up` would write nothing\n  hint: ";
        assert!(text.ends_with(&format!("{end}{ONE_A_CLUSTER}\n")), "{text}");
        assert!(text.contains("it is there and not this installation's"), "{text}");
        shown.objects.truncate(1);
        assert!(!plan(&shown).contains("hint"));
    }
}
