//! Why a container does not start, or does not stay.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::Readiness;

/// The command that shows what a container says.
pub(super) fn logs(pod: &Pod, container: &str) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    format!("kubectl logs -n {namespace} {name} -c {container}")
}

/// The verdict on a container that will not start by waiting.
pub(super) fn doomed(pod: &Pod, container: &ContainerStatus) -> Option<Readiness> {
    let state = container.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        // That it backs off the kubelet says ten seconds late, and starts the container again then. An init container that
        // ended well has done its work.
        let first = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
        let did_its_work = ended.exit_code == 0 && first.into_iter().any(|first| first.name == container.name);
        return (container.restart_count > 0 && !did_its_work).then(|| crashes(pod, container, Some(ended)));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let message = waiting.message.as_deref().unwrap_or_default();
    let image = &container.image;
    let of = format!("pod {}, container {}", pod.metadata.name.as_deref().unwrap_or_default(), container.name);
    match reason {
        "ErrImageNeverPull" => Some(
            Readiness::failed(format!("{of}: image {image} is not on the node, and it is not to be pulled"))
                .hint(
                    "give a reference that every node can pull, --image scaler=REF, or run `scalekit up` again where it reaches all \
                     nodes; a kubelet takes an image that it pulled by another name for absent by this one: give that name",
                ),
        ),
        "InvalidImageName" => Some(
            Readiness::failed(format!("{of}: `{image}` is not an image reference"))
                .hint("name another with --image COMPONENT=REF"),
        ),
        // The first error is precise, and the kubelet backs off for ten seconds after it, whether or not it may pass.
        "ErrImagePull" | "ImagePullBackOff" => Some(cannot_pull(&of, image, message)),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"
            if !message.contains("failed to sync") =>
        {
            Some(Readiness::failed(format!("{of}: {message}")).hint(if reason == "CreateContainerConfigError" {
                "make what it names; `scalekit up` makes its own ConfigMaps and Secrets anew".to_owned()
            } else {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
                format!("`kubectl describe pod -n {namespace}` shows what was tried")
            }))
        }
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            Some(crashes(pod, container, last))
        }
        _ => None,
    }
}

fn crashes(pod: &Pod, container: &ContainerStatus, last: Option<&ContainerStateTerminated>) -> Readiness {
    let ended = last.map_or_else(String::new, |last| {
        let reason = last.reason.as_deref().filter(|reason| !["Error", "Completed"].contains(reason));
        let reason = reason.map(|reason| format!(", {reason}"));
        format!(" (exit code {}{})", last.exit_code, reason.unwrap_or_default())
    });
    let said = last.and_then(|last| last.message.as_deref()).map(|text| format!(": {}", text.trim()));
    let restarts = container.restart_count;
    Readiness::failed(format!(
        "pod {}, container {} ends again and again{ended}, {restarts} restart{}{}",
        pod.metadata.name.as_deref().unwrap_or_default(),
        container.name,
        if restarts == 1 { "" } else { "s" },
        said.unwrap_or_default()
    ))
    .hint(format!("`{} --previous` shows all that it said", logs(pod, &container.name)))
}

fn cannot_pull(of: &str, image: &str, message: &str) -> Readiness {
    Readiness::failed(format!("{of}: image {image} cannot be pulled: {message}"))
        .hint("check the reference and whether the node reaches the registry; --registry or --image COMPONENT=REF name another. The kubelet goes on trying")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::readiness::pod::readiness;

    fn judge(status: serde_json::Value) -> Readiness {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
        readiness(&pod, &[], Timestamp::UNIX_EPOCH)
    }

    fn waiting(reason: &str, message: &str) -> serde_json::Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]})
    }

    #[rstest]
    #[case::image_not_found("ErrImagePull", "rpc error: i: not found", true)]
    #[case::a_registry_that_refuses("ErrImagePull", "401 Unauthorized", true)]
    #[case::a_registry_that_stumbles("ErrImagePull", "500 Internal Server Error", true)]
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

    #[rstest]
    #[case::once(0, 1, "containerStatuses", false)]
    #[case::again(1, 1, "containerStatuses", true)]
    #[case::again_though_well(1, 0, "containerStatuses", true)]
    #[case::an_init_container_again(2, 3, "initContainerStatuses", true)]
    #[case::an_init_container_that_did_its_work(1, 0, "initContainerStatuses", false)]
    fn what_has_ended_again_is_a_crash_before_the_kubelet_calls_it_one(
        #[case] restarts: i32,
        #[case] code: i32,
        #[case] which: &str,
        #[case] failed: bool,
    ) {
        let container = json!([{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": {"terminated": {"exitCode": code}}}]);
        let answer = judge(json!({"phase": "Running", which: container}));
        assert_eq!(matches!(answer, Readiness::Failed { .. }), failed, "{answer:?}");
    }

    #[test]
    fn an_init_container_counts() {
        let answer = judge(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "image": "x", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "InvalidImageName"}}}]}),
        );
        assert!(matches!(answer, Readiness::Failed { .. }));
    }
}
