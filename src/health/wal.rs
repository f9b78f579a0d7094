//! A Prometheus that never gets through its start.
//!
//! At its start Prometheus reads its write-ahead log back into memory. When what it has written does not fit into its
//! limit, it is killed before it serves anything, starts anew, reads the same, and is killed again: no waiting helps.

use k8s_openapi::api::core::v1::Pod;

use super::{Finding, Severity};

/// This often makes a loop. Once may be a query that was too large.
const RESTARTS: i32 = 2;

/// Looks for it among the pods of the stack.
pub(super) fn replay_loop(pods: &[Pod]) -> Option<Finding> {
    pods.iter().find_map(|pod| {
        let name = pod.metadata.name.as_deref()?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        let status = statuses.iter().find(|status| status.name == "prometheus")?;
        let killed = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
            let ended = state.as_ref().and_then(|state| state.terminated.as_ref());
            ended.is_some_and(|ended| ended.reason.as_deref() == Some("OOMKilled"))
        };
        let dies = killed(&status.last_state) || killed(&status.state);
        if !dies || status.restart_count < RESTARTS || status.ready {
            return None;
        }
        let limit = pod.spec.as_ref()?.containers.iter().find(|container| container.name == "prometheus")?;
        let limit = limit.resources.as_ref().and_then(|resources| resources.limits.as_ref()?.get("memory").cloned());
        let limit = limit.map_or_else(|| "its limit".to_owned(), |limit| format!("its limit of {}", limit.0));
        let message = format!(
            "pod {name} runs out of memory whenever it starts, {} times so far: what its write-ahead log holds does \
             not fit into {limit}",
            status.restart_count
        );
        Some(Finding::new("wal-replay", Severity::Error, message).hint(format!(
            "give it more for the start: `kubectl set resources -n {namespace} statefulset/prometheus \
             --limits=memory=2Gi`; once it runs, find out what grew with the dashboard Prometheus, and take the limit \
             back with `scalekit up --force-conflicts`"
        )))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::loops("OOMKilled", 3, false, true)]
    #[case::once("OOMKilled", 1, false, false)]
    #[case::ready_again("OOMKilled", 3, true, false)]
    #[case::ends_for_another_reason("Error", 3, false, false)]
    fn only_a_start_that_is_killed_again_and_again_is_a_loop(
        #[case] reason: &str,
        #[case] restarts: i32,
        #[case] ready: bool,
        #[case] expected: bool,
    ) {
        let pod = serde_json::from_value(json!({"metadata": {"name": "prometheus-0", "namespace": "monitoring"},
            "spec": {"containers": [{"name": "prometheus", "resources": {"limits": {"memory": "512Mi"}}}]},
            "status": {"containerStatuses": [{"name": "prometheus", "image": "", "imageID": "", "ready": ready,
                "restartCount": restarts, "lastState": {"terminated": {"exitCode": 137, "reason": reason}}}]}}))
        .unwrap();
        let finding = replay_loop(&[pod]);
        assert_eq!(finding.is_some(), expected, "{finding:?}");
        if let Some(finding) = finding {
            assert!(finding.message.contains("512Mi") && finding.hint.is_some(), "{finding:?}");
        }
    }
}
