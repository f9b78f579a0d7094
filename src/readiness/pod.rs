//! Why a pod is not ready, and whether waiting for it makes sense.
//!
//! The doom rules are krane's (`kubernetes_resource/pod.rb`), with init containers, with any error of a pull, with
//! volumes that cannot be mounted, and with readiness probes that go on failing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Event, Pod, Probe};

use super::{
    Readiness,
    container::{doomed, logs},
    occurrence,
};

/// How long the scheduler may take before a pod that fits nowhere is called unschedulable. kstatus gives it 15 s; it tries
/// again within one or two once anything in the cluster changes, and a run says within ten what will not come.
const SCHEDULING_GRACE_SECONDS: i64 = 5;

/// How long a readiness probe may fail, where its own period and threshold give it less.
const SHORTEST_READINESS_GRACE: i64 = 15;

/// How long a volume that could not be mounted counts: the kubelet tries again after two minutes at the latest, and says so.
const MOUNT_TRIED_WITHIN: i64 = 150;

/// Pods that ended this way were put away by the node or the scheduler; their controller makes others.
const SUPERSEDED: [&str; 9] = [
    "Evicted",
    "Preempting",
    "NodeLost",
    "NodeAffinity",
    // A node that shuts down in good order ends what runs on it, and takes nothing new; older kubelets say `Shutdown`.
    "Terminated",
    "NodeShutdown",
    "Shutdown",
    "TaintToleration",
    "UnexpectedAdmissionError",
];

/// How the reasons begin by which a kubelet turns away what the scheduler has sent it: `OutOfcpu`, `OutOfpods`.
const NO_ROOM: &str = "OutOf";

/// Whether a pod has been put away and says nothing about its workload any more.
pub(super) fn is_superseded(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    pod.metadata.deletion_timestamp.is_some()
        || status.and_then(|status| status.reason.as_deref()).is_some_and(|reason| SUPERSEDED.contains(&reason))
}

/// Whether a pod was turned away by its node for want of room. That is a verdict as long as no pod came after it: for the
/// next one the scheduler knows better.
pub(super) fn is_turned_away(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.reason.as_deref()).is_some_and(|reason| reason.starts_with(NO_ROOM))
}

/// Judges one pod by itself and by the events about it, which may be about others too.
pub(super) fn readiness(pod: &Pod, events: &[Event], now: Timestamp) -> Readiness {
    let Some(status) = &pod.status else { return Readiness::in_progress("it has no status yet") };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let containers =
        || status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    for container in containers() {
        if let Some(doomed) = doomed(pod, container) {
            return doomed;
        }
    }
    let about: Vec<&Event> = events.iter().filter(|event| event.involved_object.uid == pod.metadata.uid).collect();
    if let Some(scheduled) = condition("PodScheduled")
        && scheduled.status == "False"
    {
        let text = scheduled.message.clone().unwrap_or_else(|| "the scheduler has not said why".to_owned());
        let since = scheduled.last_transition_time.as_ref().map_or(now, |time| time.0);
        // A claim that is made, or made anew: it says itself when that will come to nothing, and the scheduler says what it
        // saw last for as long as ten seconds.
        let claim = text.to_lowercase().contains("persistentvolumeclaim");
        return if !claim && now.duration_since(since).as_secs() >= SCHEDULING_GRACE_SECONDS {
            Readiness::failed(format!("pod {name} fits on no node: {text}"))
                .hint("free resources, add a node, or remove what the scheduler names")
        } else {
            Readiness::in_progress(format!("pod {name} is not scheduled: {text}"))
        };
    }
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return Readiness::Current;
    }
    if let Some(unmountable) = unmountable(name, &about, now).filter(|_| containers().all(|it| !has_run(it))) {
        return unmountable;
    }
    let unready_since = condition("Ready").and_then(|ready| ready.last_transition_time.as_ref()).map(|time| time.0);
    for container in status.container_statuses.iter().flatten() {
        if let Some(never_ready) = never_ready(pod, container, &about, unready_since, now) {
            return never_ready;
        }
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
        Some("Running") => Readiness::in_progress(match probes(&about).last() {
            Some((_, said)) => format!("pod {name} runs and is not ready yet: {said}"),
            None => format!("pod {name} runs and is not ready yet"),
        }),
        _ => Readiness::in_progress(format!("pod {name} is starting")),
    }
}

fn has_run(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.waiting.is_none())
}

/// The verdict on a pod whose volume names what is not there. The kubelet says it in events only.
fn unmountable(pod: &str, about: &[&Event], now: Timestamp) -> Option<Readiness> {
    let said = about
        .iter()
        .filter(|event| event.reason.as_deref() == Some("FailedMount"))
        .filter(|event| occurrence(event).is_some_and(|at| now.duration_since(at).as_secs() <= MOUNT_TRIED_WITHIN))
        .filter_map(|event| event.message.as_deref())
        .rfind(|message| {
            ["not found", "non-existent", "hostPath type check failed"].iter().any(|word| message.contains(word))
        })?;
    Some(
        Readiness::failed(format!("pod {pod}: {said}"))
            .hint("make what it names; `scalekit up` makes its own ConfigMaps and Secrets anew"),
    )
}

/// Probes of readiness and of the start that failed: the event, and what the kubelet says.
fn probes<'a>(about: &[&'a Event]) -> Vec<(&'a Event, &'a str)> {
    let unhealthy = about.iter().filter(|event| event.reason.as_deref() == Some("Unhealthy"));
    let mut failed: Vec<(&Event, &str)> = unhealthy
        .filter_map(|event| Some((*event, event.message.as_deref()?.trim())))
        .filter(|(_, said)| said.starts_with("Readiness probe") || said.starts_with("Startup probe"))
        .collect();
    failed.sort_by_key(|(event, _)| occurrence(event));
    failed
}

/// The verdict on a container that runs and whose readiness probe has failed for longer than it may: the kubelet goes on
/// probing for ever, and only a Deployment has a deadline, of ten minutes.
fn never_ready(
    pod: &Pod,
    status: &ContainerStatus,
    about: &[&Event],
    unready_since: Option<Timestamp>,
    now: Timestamp,
) -> Option<Readiness> {
    let runs_since = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
    if status.ready || status.started == Some(false) {
        return None;
    }
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == status.name)?;
    let probe = container.readiness_probe.as_ref()?;
    let own = format!("spec.containers{{{}}}", status.name);
    let failed: Vec<(&Event, &str)> = probes(about)
        .into_iter()
        .filter(|(event, said)| {
            said.starts_with("Readiness probe") && event.involved_object.field_path.as_deref() == Some(&own)
        })
        .filter(|(event, _)| occurrence(event).is_some_and(|at| at >= runs_since))
        .collect();
    let first = failed.iter().filter_map(|(event, _)| event.first_timestamp.as_ref()).map(|time| time.0).min();
    let probed_since = first.map_or_else(|| first_probe(container, probe, runs_since), |first| first.max(runs_since));
    let since = unready_since.map_or(probed_since, |unready| unready.max(probed_since));
    let grace = failing_for(probe).max(SHORTEST_READINESS_GRACE);
    if now.duration_since(since).as_secs() < grace {
        return None;
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let said = failed.last().map_or("its readiness probe fails", |(_, said)| said);
    Some(
        Readiness::failed(format!("pod {name}, container {} runs, but is not ready: {said}", status.name))
            .hint(format!("`{}` says what it is at", logs(pod, &status.name))),
    )
}

/// When the readiness probe is tried at the latest, by its own numbers: after the start has been proved.
fn first_probe(container: &Container, probe: &Probe, runs_since: Timestamp) -> Timestamp {
    let delay = |probe: &Probe| i64::from(probe.initial_delay_seconds.unwrap_or(0));
    let start = container.startup_probe.as_ref().map_or(0, |start| delay(start) + failing_for(start));
    runs_since.saturating_add(jiff::SignedDuration::from_secs(start + delay(probe))).unwrap_or(Timestamp::MAX)
}

/// Seconds until a probe that fails each time is believed, with the API's defaults.
fn failing_for(probe: &Probe) -> i64 {
    i64::from(probe.period_seconds.unwrap_or(10)) * i64::from(probe.failure_threshold.unwrap_or(3))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn judge(status: serde_json::Value) -> Readiness {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap();
        readiness(&pod, &[], Timestamp::from_second(NOW).unwrap())
    }

    fn at(second: i64) -> String {
        Timestamp::from_second(second).unwrap().to_string()
    }

    fn event(reason: &str, message: &str, first: i64, last: i64) -> Event {
        serde_json::from_value(json!({"metadata": {}, "type": "Warning", "reason": reason, "message": message,
            "involvedObject": {"kind": "Pod", "uid": "u", "fieldPath": "spec.containers{c}"},
            "firstTimestamp": at(first), "lastTimestamp": at(last)}))
        .unwrap()
    }

    /// A pod whose container has run for a minute and is not ready.
    fn unready(started: bool, events: &[Event]) -> Readiness {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "c", "readinessProbe": {"periodSeconds": 10, "failureThreshold": 3},
                "startupProbe": {"periodSeconds": 1, "failureThreshold": 60}}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
                "started": started, "restartCount": 0, "state": {"running": {"startedAt": at(NOW - 60)}}}]}}))
        .unwrap();
        readiness(&pod, events, Timestamp::from_second(NOW).unwrap())
    }

    #[rstest]
    #[case::for_longer_than_it_may(true, Some((NOW - 30, NOW)), true)]
    #[case::not_yet(true, Some((NOW - 29, NOW)), false)]
    #[case::before_the_container_started_anew(true, Some((NOW - 90, NOW - 70)), false)]
    #[case::while_it_may_still_start(true, None, false)]
    #[case::that_is_not_probed_yet(false, Some((NOW - 50, NOW)), false)]
    fn a_readiness_probe_may_fail_for_its_period_times_its_threshold(
        #[case] started: bool,
        #[case] failing: Option<(i64, i64)>,
        #[case] failed: bool,
    ) {
        let said = "Readiness probe failed: HTTP probe failed with statuscode: 503";
        let events: Vec<Event> =
            failing.into_iter().map(|(first, last)| event("Unhealthy", said, first, last)).collect();
        let answer = unready(started, &events);
        assert_eq!(matches!(answer, Readiness::Failed { .. }), failed, "{answer:?}");
        if let Readiness::Failed { why, hint } = answer {
            assert_eq!(why, format!("pod p, container c runs, but is not ready: {said}"));
            assert_eq!(hint.as_deref(), Some("`kubectl logs -n n p -c c` says what it is at"));
        }
    }

    #[test]
    fn what_a_start_waits_for_is_said() {
        let answer = unready(false, &[event("Unhealthy", "Startup probe failed: connection refused", NOW - 9, NOW)]);
        let expected = "pod p runs and is not ready yet: Startup probe failed: connection refused";
        assert_eq!(answer, Readiness::in_progress(expected));
    }

    #[rstest]
    #[case::no_config_map("MountVolume.SetUp failed for volume \"v\" : configmap \"x\" not found", NOW - 9, true)]
    #[case::no_key(
        "MountVolume.SetUp failed for volume \"v\" : configmap references non-existent config key: k",
        NOW,
        true
    )]
    #[case::long_ago("MountVolume.SetUp failed for volume \"v\" : configmap \"x\" not found", NOW - 151, false)]
    #[case::a_kubelet_that_lags(
        "MountVolume.SetUp failed for volume \"v\" : failed to sync configmap cache",
        NOW,
        false
    )]
    fn a_volume_that_names_what_is_not_there_is_a_failure(#[case] said: &str, #[case] last: i64, #[case] failed: bool) {
        let mut status = json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}]});
        status["containerStatuses"][0]["lastState"] = json!({});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "status": status})).unwrap();
        let answer =
            readiness(&pod, &[event("FailedMount", said, NOW - 200, last)], Timestamp::from_second(NOW).unwrap());
        assert_eq!(matches!(answer, Readiness::Failed { .. }), failed, "{answer:?}");
    }

    #[rstest]
    #[case::that_is_not_bound("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")]
    #[case::that_is_made_anew("0/1 nodes are available: persistentvolumeclaim \"data\" is being deleted. not found")]
    fn a_claim_that_the_scheduler_waits_for_speaks_for_itself(#[case] said: &str) {
        let answer = judge(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "lastTransitionTime": at(NOW - 600), "message": said}]}));
        assert!(matches!(answer, Readiness::InProgress { .. }), "{answer:?}");
    }

    #[rstest]
    #[case::just_now(NOW - 4, false)]
    #[case::for_long(NOW - 5, true)]
    fn the_scheduler_gets_five_seconds(#[case] since: i64, #[case] failed: bool) {
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
