//! Why a pod is not ready, and whether waiting for it makes sense.
//!
//! The doom rules are krane's (`kubernetes_resource/pod.rb`), with init containers and with the pull errors
//! that a registry gives for good.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::Readiness;

/// How long the scheduler may take before a pod that fits nowhere is called unschedulable: kstatus' value.
const SCHEDULING_GRACE_SECONDS: i64 = 15;

/// Pods that ended this way were put away by the node or the scheduler; their controller makes others.
const SUPERSEDED: [&str; 7] =
    ["Evicted", "Preempting", "NodeLost", "NodeAffinity", "Shutdown", "TaintToleration", "UnexpectedAdmissionError"];

/// Whether a pod has been put away and says nothing about its workload any more.
pub(super) fn is_superseded(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    pod.metadata.deletion_timestamp.is_some()
        || status.and_then(|status| status.reason.as_deref()).is_some_and(|reason| SUPERSEDED.contains(&reason))
}

/// Judges one pod.
pub(super) fn readiness(pod: &Pod, now: Timestamp) -> Readiness {
    let Some(status) = &pod.status else { return Readiness::in_progress("it has no status yet") };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let containers =
        || status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    for container in containers() {
        if let Some(doomed) = doomed(name, container) {
            return doomed;
        }
    }
    if let Some(scheduled) = condition("PodScheduled")
        && scheduled.status == "False"
    {
        let text = scheduled.message.clone().unwrap_or_else(|| "the scheduler has not said why".to_owned());
        let since = scheduled.last_transition_time.as_ref().map_or(now, |time| time.0);
        // A volume that is still being made: the claim itself says when that will come to nothing.
        let volume = text.contains("unbound immediate PersistentVolumeClaims");
        return if !volume && now.duration_since(since).as_secs() >= SCHEDULING_GRACE_SECONDS {
            Readiness::failed(format!("pod {name} fits on no node: {text}"))
                .hint("free resources, add a node, or remove what the scheduler names")
        } else {
            Readiness::in_progress(format!("pod {name} is not scheduled: {text}"))
        };
    }
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return Readiness::Current;
    }
    if let Some(waiting) = containers().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        Some(format!("pod {name}: container {} is waiting: {}", container.name, waiting.reason.as_deref()?))
    }) {
        return Readiness::in_progress(waiting);
    }
    match status.phase.as_deref() {
        Some("Failed") => Readiness::failed(format!(
            "pod {name} failed: {}",
            status.message.as_deref().or(status.reason.as_deref()).unwrap_or("no reason given")
        )),
        Some("Running") => Readiness::in_progress(format!("pod {name} runs and is not ready yet")),
        _ => Readiness::in_progress(format!("pod {name} is starting")),
    }
}

/// The verdict on a container that will not start by waiting.
fn doomed(pod: &str, container: &ContainerStatus) -> Option<Readiness> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let message = waiting.message.as_deref().unwrap_or_default();
    let image = &container.image;
    let of = format!("pod {pod}, container {}", container.name);
    match reason {
        "ErrImageNeverPull" => Some(
            Readiness::failed(format!("{of}: image {image} is not on the node, and it is not to be pulled"))
                .hint("run `scalekit up` again to send the image to every node, or give a reference that can be pulled: --image scaler=REF"),
        ),
        "InvalidImageName" => Some(Readiness::failed(format!("{of}: `{image}` is not an image reference"))),
        // The first error is precise; after a few tries the kubelet may only say that it backs off.
        "ErrImagePull" if is_final(message) => Some(cannot_pull(&of, image, message)),
        "ImagePullBackOff" => Some(cannot_pull(&of, image, message)),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"
            if !message.contains("failed to sync") =>
        {
            Some(Readiness::failed(format!("{of}: {message}")))
        }
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let ended = last.map_or_else(String::new, |last| {
                let reason = last.reason.as_deref().filter(|reason| *reason != "Error").map(|reason| format!(", {reason}"));
                format!(" (exit code {}{})", last.exit_code, reason.unwrap_or_default())
            });
            let said = last.and_then(|last| last.message.as_deref()).map(|text| format!(": {}", text.trim()));
            Some(Readiness::failed(format!(
                "{of} ends again and again{ended}, {} restarts{}",
                container.restart_count,
                said.unwrap_or_default()
            )))
        }
        _ => None,
    }
}

/// Whether a registry's answer will be the same next time.
fn is_final(message: &str) -> bool {
    let message = message.to_lowercase();
    ["not found", "manifest unknown", "unauthorized", "denied", "forbidden", "no match for platform"]
        .iter()
        .any(|word| message.contains(word))
}

fn cannot_pull(of: &str, image: &str, message: &str) -> Readiness {
    Readiness::failed(format!("{of}: image {image} cannot be pulled: {message}"))
        .hint("check the reference and whether the node reaches the registry; --registry or --image COMPONENT=REF name another")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn judge(status: serde_json::Value) -> Readiness {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
        readiness(&pod, Timestamp::from_second(NOW).unwrap())
    }

    fn waiting(reason: &str, message: &str) -> serde_json::Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]})
    }

    #[rstest]
    #[case::image_not_found("ErrImagePull", "rpc error: i: not found", true)]
    #[case::a_registry_that_refuses("ErrImagePull", "401 Unauthorized", true)]
    #[case::a_registry_that_stumbles("ErrImagePull", "500 Internal Server Error", false)]
    #[case::a_registry_that_keeps_failing("ImagePullBackOff", "Back-off pulling image", true)]
    #[case::not_side_loaded("ErrImageNeverPull", "", true)]
    #[case::a_missing_key("CreateContainerConfigError", "couldn't find key x in ConfigMap n/c", true)]
    #[case::a_kubelet_that_lags("CreateContainerConfigError", "failed to sync configmap cache", false)]
    #[case::crashing("CrashLoopBackOff", "back-off 10s", true)]
    #[case::starting("ContainerCreating", "", false)]
    fn tells_what_will_not_heal(#[case] reason: &str, #[case] message: &str, #[case] failed: bool) {
        let answer = judge(waiting(reason, message));
        assert_eq!(matches!(answer, Readiness::Failed { .. }), failed, "{answer:?}");
    }

    #[test]
    fn a_crash_names_its_exit_code() {
        let Readiness::Failed { why, .. } = judge(waiting("CrashLoopBackOff", "")) else { panic!() };
        assert_eq!(why, "pod p, container c ends again and again (exit code 1), 3 restarts");
    }

    #[test]
    fn an_init_container_counts() {
        let answer = judge(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "image": "x", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "InvalidImageName"}}}]}),
        );
        assert!(matches!(answer, Readiness::Failed { .. }));
    }

    #[rstest]
    #[case::just_now(NOW - 14, false)]
    #[case::for_long(NOW - 15, true)]
    fn the_scheduler_gets_fifteen_seconds(#[case] since: i64, #[case] failed: bool) {
        let since = Timestamp::from_second(since).unwrap();
        let answer = judge(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu.", "lastTransitionTime": since.to_string()}]}));
        assert_eq!(matches!(answer, Readiness::Failed { .. }), failed, "{answer:?}");
    }

    #[test]
    fn a_ready_pod_is_current() {
        assert_eq!(
            judge(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
            Readiness::Current
        );
    }
}
