//! Which alerts read a metric, so that who drops it knows what falls silent.

use serde_json::Value;

use super::{
    assets,
    prometheus::{ALERTS, RECORDED},
};

/// The alerts of ours whose expressions name a metric, or something that a rule of ours records from it; in the order of
/// their file.
pub fn alerts_reading(metric: &str) -> Vec<String> {
    let recorded = rules(RECORDED, "record");
    let mut names = vec![metric.to_owned()];
    // What is recorded may be recorded from anew: each turn adds a name, or is the last.
    while let Some((record, _)) = recorded
        .iter()
        .find(|(record, expression)| !names.contains(record) && names.iter().any(|name| reads(expression, name)))
    {
        names.push(record.clone());
    }
    let mut alerts: Vec<String> = rules(ALERTS, "alert")
        .into_iter()
        .filter(|(_, expression)| names.iter().any(|name| reads(expression, name)))
        .map(|(alert, _)| alert)
        .collect();
    alerts.dedup();
    alerts
}

/// The rules of a file that have a key, each with what stands under it and its expression.
fn rules(file: &str, key: &str) -> Vec<(String, String)> {
    let content = assets::config("prometheus", file);
    let groups = content["groups"].as_array().into_iter().flatten();
    let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rules.filter_map(|rule| Some((text(&rule[key])?, text(&rule["expr"])?))).collect()
}

/// Whether an expression has this name in it as a whole, and not within quotes, where the values of labels stand.
fn reads(expression: &str, name: &str) -> bool {
    let within = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    expression.split('"').step_by(2).any(|code| code.split(|letter| !within(letter)).any(|word| word == name))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::by_name("kube_persistentvolume_status_phase", &["PersistentVolumeFailed"])]
    #[case::the_beginning_of_a_name("kube_persistentvolume_status", &[])]
    #[case::the_value_of_a_label("kubelet", &[])]
    #[case::no_alert("apiserver_request_duration_seconds_bucket", &[])]
    fn a_metric_is_read_by_those_that_name_it(#[case] metric: &str, #[case] alerts: &[&str]) {
        assert_eq!(alerts_reading(metric), alerts);
    }

    #[test]
    fn what_is_read_through_a_recorded_rule_is_read() {
        let alerts = alerts_reading("node_filesystem_avail_bytes");
        assert!(alerts.contains(&"NodeDiskAlmostFull".to_owned()), "{alerts:?}");
        assert_eq!(alerts_reading("apiserver_request_total"), ["ApiServerErrors"]);
        assert!(alerts_reading("kube_pod_status_phase").contains(&"PodNotReady".to_owned()));
    }
}
