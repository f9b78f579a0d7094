//! What stopped a command, as events: for programs what the lines below an error are for people.

use super::CommandError;
use crate::{
    event::Event,
    install::{Failure, InstallError, Left},
    object::ObjectRef,
};

impl CommandError {
    /// What stopped it, each thing by itself: objects that failed with their causes, and checks that were not passed. What was
    /// not tried because of them was told as it was skipped.
    pub fn stoppers(&self) -> Vec<Event> {
        match self {
            Self::Preflight { findings } => findings.iter().cloned().map(Event::Finding).collect(),
            Self::Install(error) => of_an_installation(error),
            Self::Modes { failed: objects, .. } => {
                objects.iter().map(|(object, why)| failed(object, why.clone())).collect()
            }
            Self::LeftBehind { left } => left.iter().map(|Left { object, why }| failed(object, why.clone())).collect(),
            other => {
                let details = other.details().into_iter();
                details.map(|(why, hint)| Event::Failed { object: None, why, hint }).collect()
            }
        }
    }
}

fn failed(object: &ObjectRef, why: String) -> Event {
    Event::Failed { object: Some(object.clone()), why, hint: None }
}

fn of_an_installation(error: &InstallError) -> Vec<Event> {
    match error {
        InstallError::Foreign { objects } => {
            let whose =
                |owner: &Option<String>| owner.as_deref().map_or_else(String::new, |owner| format!(": {owner}"));
            objects
                .iter()
                .map(|(object, owner)| failed(object, format!("it is somebody else's{}", whose(owner))))
                .collect()
        }
        InstallError::Inventory { object, source }
        | InstallError::Label { object, source }
        | InstallError::Reset { object, source }
        | InstallError::Delete { object, source } => vec![failed(object, source.to_string())],
        InstallError::Read(_)
        | InstallError::Locked { .. }
        | InstallError::LockLost
        | InstallError::Interrupted
        | InstallError::Conflict { .. }
        | InstallError::Apply { .. }
        | InstallError::Prune { .. }
        | InstallError::Failed { .. }
        | InstallError::TimedOut { .. }
        | InstallError::NotGone { .. } => {
            let failures = error.failures().iter().cloned();
            failures.map(|Failure { object, why, hint }| Event::Failed { object: Some(object), why, hint }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        cluster,
        health::{Finding, Severity},
    };

    fn told(error: impl Into<CommandError>) -> Value {
        serde_json::to_value(error.into().stoppers()).unwrap()
    }

    #[test]
    fn each_object_that_failed_is_told_with_its_cause_and_none_that_was_skipped() {
        let [failed, skipped] =
            ["prometheus-config", "grafana"].map(|name| ObjectRef::new("v1", "ConfigMap", Some("monitoring"), name));
        let named =
            json!({"version": "v1", "kind": "ConfigMap", "namespace": "monitoring", "name": "prometheus-config"});
        let failure = Failure { object: failed.clone(), why: "refused".to_owned(), hint: Some("mend it".to_owned()) };
        let apply = InstallError::Apply { failures: vec![failure], skipped: vec![skipped], not_permitted: false };
        assert_eq!(told(apply), json!([{"event": "failed", "object": named, "why": "refused", "hint": "mend it"}]));

        let foreign = InstallError::Foreign { objects: vec![(failed.clone(), Some("Helm".to_owned()))] };
        assert_eq!(told(foreign), json!([{"event": "failed", "object": named, "why": "it is somebody else's: Helm"}]));

        let source = cluster::Error::Forbidden { message: "user x cannot".to_owned() };
        let delete = InstallError::Delete { object: failed.clone(), source };
        assert_eq!(told(delete), json!([{"event": "failed", "object": named, "why": "not permitted: user x cannot"}]));

        let left = vec![Left { object: failed, why: "a finalizer".to_owned() }];
        let left = told(CommandError::LeftBehind { left });
        assert_eq!(left, json!([{"event": "failed", "object": named, "why": "a finalizer"}]));
    }

    #[test]
    fn a_check_that_is_not_passed_is_told_as_a_finding_and_what_is_no_object_by_its_words() {
        let finding = Finding::new("storage-class", Severity::Error, "there is none").hint("make one");
        let told_of_it = told(CommandError::Preflight { findings: vec![finding] });
        assert_eq!(
            told_of_it,
            json!([{"event": "finding", "check": "storage-class", "severity": "error", "message": "there is none",
                "hint": "make one"}])
        );
        let missing = vec!["grafana: connection refused".to_owned()];
        let targets = CommandError::Targets { up: 1, total: 2, waited: std::time::Duration::ZERO, missing };
        assert_eq!(told(targets), json!([{"event": "failed", "why": "grafana: connection refused"}]));
        assert_eq!(told(CommandError::Interrupted), json!([]));
    }
}
