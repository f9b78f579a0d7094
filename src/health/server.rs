//! Whether the scaler alone gets an answer from the Prometheus that it was given.

use serde::Serialize;

use super::{Finding, Severity, Silence};

const CHECK: &str = "prometheus";

/// The Prometheus that the scaler was given, as the scaler found it just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its address.
    pub address: String,
    /// Why it gives the scaler no answer; absent where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it: part of the finding.
    #[serde(skip)]
    pub hint: Option<String>,
}

/// What is wrong with it, or that it is not known.
pub(super) fn server(found: &Result<Server, Silence>) -> Option<Finding> {
    let unknown = |why: &str| {
        let message = format!("whether the scaler gets an answer from its Prometheus is unknown: {why}");
        Finding::new(CHECK, Severity::Warning, message)
    };
    match found {
        Ok(Server { why: None, .. }) => None,
        Ok(Server { address, why: Some(why), hint }) => {
            let message = format!("Prometheus at {address} gives the scaler no answer: {why}");
            let finding = Finding::new(CHECK, Severity::Error, message);
            Some(hint.iter().fold(finding, Finding::hint))
        }
        Err(Silence::NoAnswer(why)) => Some(unknown(why)),
        Err(Silence::NotPermitted(why)) => Some(unknown(why).hint(
            "it takes `get` on services/proxy of scaler:8080 in its namespace, or `get` and `create` on pods/portforward there",
        )),
    }
}
