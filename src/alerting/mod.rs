//! What an alert means; and one alert sent to see whether it arrives: what is sent, and what Alertmanager's own figures and its
//! log say came of it.
//!
//! Alertmanager has no answer to «was this alert delivered». It counts each request to a receiver and each that failed,
//! by receiver and kind of receiver, and it logs why one failed. [`outcomes`] puts the two together.

mod counters;
mod log;
mod outcome;
mod runbook;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use counters::{Channel, Counters, Requests};
pub use log::{Refusal, refusals};
pub use outcome::{Delivery, Outcome, outcomes};
pub use runbook::Runbook;

use crate::catalog::TEST_ALERT;

/// The label that tells one test from another.
pub const TEST_LABEL: &str = "test";

/// The body of `POST /api/v2/alerts`. Without times in it: Alertmanager's clock counts, and it takes an alert that is not
/// sent again for resolved after its `resolve_timeout`, five minutes unless configured.
pub fn test_alert(id: &str, severity: &str, context: &str, now: Timestamp) -> Value {
    json!([{
        "labels": {
            "alertname": TEST_ALERT,
            "severity": severity,
            (TEST_LABEL): id,
        },
        "annotations": {
            "summary": "this is a test: nothing is wrong",
            "description": format!("Sent by `scalekit alert test` through context {context} at {now:.0}. It is over in five minutes."),
        },
    }])
}

/// What `GET /api/v2/alerts` says of the test: who will be told, and what keeps it from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Receivers by name.
    pub receivers: Vec<String>,
    /// Why nothing is sent, where that is so.
    pub suppressed: Option<&'static str>,
}

/// Reads an answer of `GET /api/v2/alerts` that was filtered for one test; `None` where the alert is not there (yet).
pub fn routed(answer: &Value) -> Option<Routed> {
    let alert = answer.get(0)?;
    let receivers = alert["receivers"].as_array().into_iter().flatten();
    let any = |key: &str| alert["status"][key].as_array().is_some_and(|causes| !causes.is_empty());
    let suppressed = if any("silencedBy") {
        Some("a silence matches it")
    } else if any("inhibitedBy") {
        Some("another alert inhibits it")
    } else if any("mutedBy") {
        Some("its route is muted at this time")
    } else {
        None
    };
    Some(Routed {
        receivers: receivers.filter_map(|receiver| receiver["name"].as_str()).map(str::to_owned).collect(),
        suppressed,
    })
}

/// Why what Prometheus fires does not get to this namespace's Alertmanager, by the URLs that Prometheus sends alerts to;
/// `None` where that Alertmanager is among them.
pub fn unlinked(urls: &[String], namespace: &str) -> Option<String> {
    let address = format!("//alertmanager.{namespace}.svc:");
    if urls.iter().any(|url| url.contains(&address)) {
        None
    } else if urls.is_empty() {
        Some("Prometheus sends its alerts nowhere".to_owned())
    } else {
        Some(format!("Prometheus sends its alerts elsewhere: {}", urls.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ours(&["http://alertmanager.m.svc:9093/api/v2/alerts"], None)]
    #[case::ours_among_others(&["http://other:9093/x", "http://alertmanager.m.svc:9093/api/v2/alerts"], None)]
    #[case::none(&[], Some("Prometheus sends its alerts nowhere"))]
    #[case::another_namespaces(
        &["http://alertmanager.n.svc:9093/api/v2/alerts"],
        Some("Prometheus sends its alerts elsewhere: http://alertmanager.n.svc:9093/api/v2/alerts")
    )]
    fn the_way_from_prometheus_is_a_link_of_the_chain(#[case] urls: &[&str], #[case] expected: Option<&str>) {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        assert_eq!(unlinked(&urls, "m").as_deref(), expected);
    }

    #[test]
    fn an_alert_has_no_times_of_ours() {
        let alert = test_alert("1", "warning", "kind", Timestamp::UNIX_EPOCH);
        assert_eq!(alert[0]["labels"], json!({"alertname": "ScalekitTest", "severity": "warning", "test": "1"}));
        assert!(alert[0].get("startsAt").is_none() && alert[0].get("endsAt").is_none());
        let said = alert[0]["annotations"]["description"].as_str().unwrap();
        assert!(said.contains("context kind at 1970-01-01T00:00:00Z"), "{said}");
    }

    #[test]
    fn who_is_told_and_what_is_in_the_way() {
        assert_eq!(routed(&json!([])), None);
        let answer = |silenced: Value| json!([{"receivers": [{"name": "default"}], "status": {"state": "active", "silencedBy": silenced, "inhibitedBy": []}}]);
        let receivers = vec!["default".to_owned()];
        assert_eq!(routed(&answer(json!([]))), Some(Routed { receivers: receivers.clone(), suppressed: None }));
        assert_eq!(
            routed(&answer(json!(["id"]))),
            Some(Routed { receivers, suppressed: Some("a silence matches it") })
        );
    }
}
