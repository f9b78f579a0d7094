//! Whether our own objects can be what they should be: namespaces, owners, versions.

use kube::core::DynamicObject;

use super::{Finding, Severity};
use crate::{
    object::ObjectRef,
    plan::{self, Checked},
};

/// The label by which a namespace says which pods it refuses.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Pod Security levels, the strictest last.
const LEVELS: [&str; 3] = ["privileged", "baseline", "restricted"];

/// Judges the Pod Security level of each of our namespaces: as it is where the namespace is there, else by what the
/// API server says to making it so.
pub fn pod_security(desired: &[DynamicObject], live: &[DynamicObject], tried: &[(ObjectRef, Checked)]) -> Finding {
    const CHECK: &str = "pod-security";
    let mut said = Vec::new();
    for namespace in desired.iter().filter(|object| kind(object) == "Namespace") {
        let object = ObjectRef::of(namespace);
        let Some(wanted) = level(namespace) else { continue };
        if let Some(found) = live.iter().find(|found| ObjectRef::of(found) == object) {
            // What enforces nothing takes everything, unless the cluster has a stricter default of its own.
            let there = level(found).unwrap_or("privileged");
            if strictness(there) > strictness(wanted) {
                let message =
                    format!("namespace {} enforces {there}, and its pods need {wanted}: they are refused", object.name);
                return Finding::new(CHECK, Severity::Error, message)
                    .hint(format!("kubectl label namespace {} {ENFORCE}={wanted} --overwrite", object.name));
            }
        }
        let refused = tried.iter().find_map(|(tried, checked)| match checked {
            Checked::Refused { why } if *tried == object => Some(why),
            _ => None,
        });
        if let Some(why) = refused {
            let message = format!("namespace {} with level {wanted} is refused: {why}", object.name);
            return Finding::new(CHECK, Severity::Error, message)
                .hint("the policy that is named there has to let this namespace through");
        }
        said.push(format!("{} {wanted}", object.name));
    }
    Finding::new(CHECK, Severity::Ok, format!("levels that our pods keep to: {}", said.join(", ")))
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

fn level(namespace: &DynamicObject) -> Option<&str> {
    namespace.metadata.labels.as_ref()?.get(ENFORCE).map(String::as_str)
}

/// An unknown level is refused by the API server, so it stands for the strictest.
fn strictness(level: &str) -> usize {
    LEVELS.iter().position(|known| *known == level).unwrap_or(LEVELS.len())
}

/// Objects of others that stand where ours would go, each with its owner.
pub fn ownership(changes: &plan::ChangeSet) -> Finding {
    const CHECK: &str = "ownership";
    if changes.foreign().next().is_none() {
        return Finding::new(CHECK, Severity::Ok, "no object of anybody else has the name of one of ours");
    }
    // What is another installation's is scalekit's all the same.
    let theirs = changes.foreign().any(|(_, owner)| owner == Some(plan::OTHER_INSTALLATION));
    let whose = if theirs { "this installation" } else { "scalekit" };
    let message = format!("not {whose}'s, and in the way: {}", plan::foreign_in_words(changes.foreign()));
    Finding::new(CHECK, Severity::Error, message).hint(plan::foreign_hint(changes.foreign()))
}

/// The version that wrote what is installed, and this one: an older one does not know what a newer one wrote.
pub fn installed_version(installed: Option<&str>, ours: &str) -> Option<Finding> {
    const CHECK: &str = "installed-version";
    let installed = installed?;
    if plan::is_newer(installed, ours) {
        let message =
            format!("scalekit {installed} wrote what is installed, and this is {ours}: it would not go back well");
        return Some(Finding::new(CHECK, Severity::Error, message).hint(format!(
            "use scalekit {installed} or newer; to go back all the same, `scalekit down --keep-data` and install anew"
        )));
    }
    let message = if installed == ours {
        format!("written by this version, {ours}")
    } else {
        format!("written by {installed}; `scalekit up` brings it to {ours}")
    };
    Some(Finding::new(CHECK, Severity::Ok, message))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn namespace(level: Option<&str>) -> DynamicObject {
        let labels = level.map(|level| json!({(ENFORCE): level}));
        serde_json::from_value(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": labels}}),
        )
        .unwrap()
    }

    #[rstest]
    #[case::not_there("privileged", &[], Severity::Ok)]
    #[case::as_it_should_be("privileged", &[Some("privileged")], Severity::Ok)]
    #[case::looser("restricted", &[Some("baseline")], Severity::Ok)]
    #[case::without_a_label("restricted", &[None], Severity::Ok)]
    #[case::stricter("privileged", &[Some("baseline")], Severity::Error)]
    #[case::not_a_level("restricted", &[Some("strict")], Severity::Error)]
    fn a_level_that_refuses_our_pods_is_said(
        #[case] wanted: &str,
        #[case] live: &[Option<&str>],
        #[case] expected: Severity,
    ) {
        let live: Vec<DynamicObject> = live.iter().copied().map(namespace).collect();
        let finding = pod_security(&[namespace(Some(wanted))], &live, &[]);
        assert_eq!(finding.severity, expected, "{finding:?}");
        assert_eq!(finding.hint.is_some(), expected == Severity::Error);
    }

    #[rstest]
    #[case::nothing_is_installed(None, None)]
    #[case::the_same(Some("0.2.0"), Some(Severity::Ok))]
    #[case::an_older_one(Some("0.1.0"), Some(Severity::Ok))]
    #[case::a_newer_one(Some("0.3.0"), Some(Severity::Error))]
    fn a_downgrade_is_refused(#[case] installed: Option<&str>, #[case] expected: Option<Severity>) {
        assert_eq!(installed_version(installed, "0.2.0").map(|finding| finding.severity), expected);
    }

    #[test]
    fn a_policy_that_refuses_the_namespace_is_quoted() {
        let refused = Checked::Refused { why: "admission webhook says no".to_owned() };
        let object = ObjectRef::new("v1", "Namespace", None, "n");
        let finding = pod_security(&[namespace(Some("privileged"))], &[], &[(object, refused)]);
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.ends_with("admission webhook says no"), "{}", finding.message);
    }
}
