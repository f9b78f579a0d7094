//! Workloads: what their own status says, and what their pods say before the status does.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Node, Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::DynamicObject;

use super::{Readiness, Surroundings, pod};
use crate::object::ObjectRef;

/// kstatus' rule for a Deployment, ended early by its pods and by what stops them from being made.
pub(super) fn deployment(object: &DynamicObject, around: &Surroundings, now: Timestamp) -> Readiness {
    let Ok(deployment) = object.clone().try_parse::<Deployment>() else { return unreadable() };
    let (spec, Some(status)) = (deployment.spec, deployment.status) else { return no_status() };
    let condition =
        |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some(kind));
    if let Some(failure) = condition("ReplicaFailure").filter(|condition| condition.status.as_deref() == Some("True")) {
        return refused(object, failure.message.as_deref().unwrap_or_default());
    }
    let wanted = spec.replicas.unwrap_or(1);
    let total = status.replicas.unwrap_or(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let ready = status.ready_replicas.unwrap_or(0);
    let progressing = condition("Progressing");
    let done = wanted <= total
        && wanted <= updated
        && total <= wanted
        && updated <= available
        && wanted <= ready
        && condition("Available").is_some_and(|condition| condition.status.as_deref() == Some("True"));
    if done {
        return Readiness::Current;
    }
    let own = own_pods(object, &spec.selector, around);
    let progress = counted(&own, ready, wanted, around, now);
    if matches!(progress, Readiness::InProgress { .. })
        && progressing.is_some_and(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
    {
        let Readiness::InProgress { why } = progress else { return progress };
        return Readiness::failed(format!("no progress within its deadline: {why}"))
            .hint(format!("`kubectl describe pods -n {}` shows what was tried", namespace(object)));
    }
    progress
}

/// kstatus' rule for a `StatefulSet`, ended early by its pods and by what stops them from being made.
pub(super) fn stateful_set(object: &DynamicObject, around: &Surroundings, now: Timestamp) -> Readiness {
    let Ok(set) = object.clone().try_parse::<StatefulSet>() else { return unreadable() };
    let (spec, Some(status)) = (set.spec, set.status) else { return no_status() };
    let wanted = spec.replicas.unwrap_or(1);
    let ready = status.ready_replicas.unwrap_or(0);
    let updated = status.update_revision.is_none() || status.current_revision == status.update_revision;
    if wanted <= ready && status.replicas <= wanted && updated {
        return Readiness::Current;
    }
    not_done(object, &own_pods(object, &spec.selector, around), ready, wanted, around, now)
}

/// krane's rule for a `DaemonSet`: what counts are nodes that are Ready; one that is not holds nothing up.
pub(super) fn daemon_set(object: &DynamicObject, around: &Surroundings, now: Timestamp) -> Readiness {
    let Ok(set) = object.clone().try_parse::<DaemonSet>() else { return unreadable() };
    let (spec, Some(status)) = (set.spec, set.status) else { return no_status() };
    if status.observed_generation.is_none() {
        return no_status();
    }
    if status.desired_number_scheduled == 0 && !around.nodes.is_empty() {
        return on_no_node(&spec.template, around.nodes.len());
    }
    let is_lost =
        |node: &str| around.nodes.iter().any(|known| known.metadata.name.as_deref() == Some(node) && !is_ready(known));
    // Whatever pod such a node has is held there: of the template before, or one that was deleted and cannot end.
    let lost: BTreeSet<&str> =
        pods_of(object, &spec.selector, around).filter_map(node_of).filter(|node| is_lost(node)).collect();
    let mut counted: Vec<&Pod> = own_pods(object, &spec.selector, around);
    counted.retain(|pod| node_of(pod).is_none_or(|node| !lost.contains(node)));
    let wanted = status.desired_number_scheduled - i32::try_from(lost.len()).unwrap_or(0);
    let ready = status.number_ready;
    if wanted <= ready && wanted <= status.updated_number_scheduled.unwrap_or(0) {
        return Readiness::Current;
    }
    not_done(object, &counted, ready, wanted, around, now)
}

/// A workload whose status has no condition for it: what stops its pods from being made is only in events.
fn not_done(
    object: &DynamicObject,
    own: &[&Pod],
    ready: i32,
    wanted: i32,
    around: &Surroundings,
    now: Timestamp,
) -> Readiness {
    if own.is_empty()
        && let Some(message) = failed_create(object, around)
    {
        return refused(object, &message);
    }
    counted(own, ready, wanted, around, now)
}

/// A `DaemonSet` that no node takes has nothing to make, and calls that done.
fn on_no_node(template: &PodTemplateSpec, nodes: usize) -> Readiness {
    let selector = template.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    let labels: Vec<String> = selector.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(": its node selector is {}", labels.join(",")) };
    Readiness::failed(format!("it is to run on none of the {nodes} nodes{labels}"))
        .hint("label a node, or change the selector; a taint that it does not tolerate keeps it away too")
}

/// The worst that any pod has to say; else the count.
fn counted(own: &[&Pod], ready: i32, wanted: i32, around: &Surroundings, now: Timestamp) -> Readiness {
    let verdicts: Vec<Readiness> = own.iter().map(|pod| pod::readiness(pod, &around.events, now)).collect();
    if let Some(failed) = verdicts.iter().find(|verdict| matches!(verdict, Readiness::Failed { .. })) {
        return failed.clone();
    }
    let why = verdicts.iter().find_map(|verdict| match verdict {
        Readiness::InProgress { why } => Some(why.as_str()),
        _ => None,
    });
    Readiness::in_progress(match why {
        Some(why) => format!("{ready} of {wanted} ready: {why}"),
        None => format!("{ready} of {wanted} ready"),
    })
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// What tells the template that a pod was made from: Deployments and sets label it each in their own way.
fn template(pod: &Pod) -> Option<&String> {
    label(pod, "pod-template-hash").or_else(|| label(pod, "controller-revision-hash"))
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.labels.as_ref()?.get(name)
}

/// Pods that the selector takes. One without labels takes none.
fn pods_of<'a>(
    object: &'a DynamicObject,
    selector: &'a LabelSelector,
    around: &'a Surroundings,
) -> impl Iterator<Item = &'a Pod> {
    let inside = around.pods.iter().filter(|pod| pod.metadata.namespace == object.metadata.namespace);
    inside.filter(|pod| {
        let labels = selector.match_labels.as_ref();
        labels.is_some_and(|wanted| wanted.iter().all(|(name, value)| label(pod, name) == Some(value)))
    })
}

/// Pods that the selector takes, of the newest template only, without those that were put away.
fn own_pods<'a>(object: &'a DynamicObject, selector: &'a LabelSelector, around: &'a Surroundings) -> Vec<&'a Pod> {
    let mut own: Vec<&Pod> = pods_of(object, selector, around).filter(|pod| !pod::is_superseded(pod)).collect();
    // Within a second, what was turned away came before what was made for it.
    let age = |pod: &&Pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), !pod::is_turned_away(pod));
    own.sort_by_key(age);
    let newest = own.last().copied().and_then(template);
    own.retain(|pod| template(pod) == newest);
    let last = own.pop();
    own.retain(|pod| !pod::is_turned_away(pod));
    own.extend(last);
    own
}

fn failed_create(object: &DynamicObject, around: &Surroundings) -> Option<String> {
    let reference = ObjectRef::of(object);
    around
        .events
        .iter()
        .filter(|event| {
            event.reason.as_deref() == Some("FailedCreate")
                && event.involved_object.kind.as_deref() == Some(&reference.kind)
                && event.involved_object.name.as_deref() == Some(&reference.name)
                && event.involved_object.uid == object.metadata.uid
        })
        .filter_map(|event| event.message.as_deref())
        .next_back()
        // Since the name of each pod is another, the API server puts their events together.
        .map(|message| message.strip_prefix("(combined from similar events): ").unwrap_or(message).to_owned())
}

/// How the cause begins where the API server refuses a workload's pods: true when its controller last tried, which may be
/// minutes ago.
pub const PODS_REFUSED: &str = "its pods are refused";

/// The API server refused the pods: a quota, a pod security level, a missing account.
fn refused(object: &DynamicObject, message: &str) -> Readiness {
    let answer = Readiness::failed(format!("{PODS_REFUSED}: {message}"));
    if message.contains("exceeded quota") {
        answer.hint("raise the ResourceQuota of the namespace, or remove it")
    } else if message.contains("violates PodSecurity") {
        answer.hint("the namespace enforces a stricter pod security level than scalekit sets: look at its labels")
    } else {
        answer.hint(format!("`kubectl get events -n {}` shows who refuses them", namespace(object)))
    }
}

fn namespace(object: &DynamicObject) -> &str {
    object.metadata.namespace.as_deref().unwrap_or("default")
}

/// Whether a node says that it is ready.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn no_status() -> Readiness {
    Readiness::in_progress("it has no status yet")
}

fn unreadable() -> Readiness {
    Readiness::in_progress("its status cannot be read")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::readiness;

    fn judge(object: Value, around: &Surroundings) -> Readiness {
        readiness::of(&serde_json::from_value(object).unwrap(), around, Timestamp::UNIX_EPOCH)
    }

    fn deployment(status: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {}}, "status": status})
    }

    fn pod(created: &str, hash: &str, reason: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "creationTimestamp": created,
            "labels": {"a": "b", "pod-template-hash": hash}},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
                "restartCount": 1, "state": {"waiting": {"reason": reason}}}]}}))
        .unwrap()
    }

    #[test]
    fn a_deployment_whose_replicas_are_available_is_current() {
        let status = json!({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True"}]});
        assert_eq!(judge(deployment(status), &Surroundings::default()), Readiness::Current);
    }

    #[test]
    fn a_pod_that_crashes_fails_its_deployment_before_the_deadline() {
        let around = Surroundings {
            pods: vec![pod("2026-01-01T00:00:00Z", "1", "CrashLoopBackOff")],
            ..Surroundings::default()
        };
        assert!(matches!(judge(deployment(json!({"replicas": 1})), &around), Readiness::Failed { .. }));
    }

    #[test]
    fn a_crash_of_the_template_before_does_not_count() {
        let around = Surroundings {
            pods: vec![
                pod("2026-01-01T00:00:00Z", "old", "CrashLoopBackOff"),
                pod("2026-01-01T00:01:00Z", "new", "ContainerCreating"),
            ],
            ..Surroundings::default()
        };
        assert!(matches!(judge(deployment(json!({"replicas": 2})), &around), Readiness::InProgress { .. }));
    }

    /// As the kubelet of Kubernetes 1.37 leaves them on record (`nodeshutdown_manager.go`, `lifecycle/predicate.go`), beside
    /// the pod that was made for them in the same second.
    #[rstest]
    #[case::ended_with_its_node("Terminated", "Pod was terminated in response to imminent node shutdown.", false)]
    #[case::sent_to_a_node_that_ends("NodeShutdown", "Pod was rejected as the node is shutting down.", false)]
    #[case::no_room_for_it("OutOfcpu", "Node didn't have enough resource: cpu", true)]
    #[case::too_many_there("OutOfpods", "Node didn't have enough resource: pods", true)]
    fn a_pod_that_its_node_put_away_does_not_count_beside_the_next(
        #[case] reason: &str,
        #[case] message: &str,
        #[case] is_a_verdict_alone: bool,
    ) {
        let mut away = pod("2026-01-01T00:00:00Z", "h", "ContainerCreating");
        away.status =
            Some(serde_json::from_value(json!({"phase": "Failed", "reason": reason, "message": message})).unwrap());
        let next = pod("2026-01-01T00:00:00Z", "h", "ContainerCreating");
        let started = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1});
        for pods in [vec![away.clone(), next.clone()], vec![next, away.clone()]] {
            let around = Surroundings { pods, ..Surroundings::default() };
            let answer = judge(deployment(started.clone()), &around);
            assert!(matches!(answer, Readiness::InProgress { .. }), "{answer:?}");
        }
        let answer = judge(deployment(started), &Surroundings { pods: vec![away], ..Surroundings::default() });
        assert_eq!(matches!(answer, Readiness::Failed { .. }), is_a_verdict_alone, "{answer:?}");
    }

    /// It stays on record, beside the pod that was made for it.
    #[test]
    fn a_pod_that_was_evicted_does_not_count() {
        let mut evicted = pod("2026-01-01T00:00:00Z", "h", "ContainerCreating");
        evicted.metadata.name = Some("evicted".to_owned());
        let status =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
        evicted.status = Some(serde_json::from_value(status).unwrap());
        let around = Surroundings { pods: vec![evicted.clone()], ..Surroundings::default() };
        let started = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1});
        assert!(matches!(judge(deployment(started.clone()), &around), Readiness::InProgress { .. }));
        // One that failed by itself does.
        evicted.status.as_mut().unwrap().reason = Some("DeadlineExceeded".to_owned());
        let around = Surroundings { pods: vec![evicted], ..Surroundings::default() };
        let Readiness::Failed { why, .. } = judge(deployment(started), &around) else { panic!("it has failed") };
        assert!(why.contains("low on resource"), "{why}");
    }

    #[test]
    fn a_refused_pod_says_who_refuses_it() {
        let status = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: exceeded quota: q"}]});
        let Readiness::Failed { why, hint } = judge(deployment(status), &Surroundings::default()) else { panic!() };
        assert!(why.contains("exceeded quota"));
        assert!(hint.unwrap().contains("ResourceQuota"));
    }

    #[test]
    fn a_node_that_is_not_ready_does_not_hold_a_daemon_set() {
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "n"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 1,
                "numberMisscheduled": 0, "updatedNumberScheduled": 2}});
        let mut waiting = pod("2026-01-01T00:00:00Z", "1", "ContainerCreating");
        waiting.spec = Some(serde_json::from_value(json!({"containers": [], "nodeName": "lost"})).unwrap());
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "lost"},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}))
        .unwrap();
        let around = Surroundings { pods: vec![waiting], nodes: vec![node], ..Surroundings::default() };
        assert_eq!(judge(set.clone(), &around), Readiness::Current);
        assert!(matches!(judge(set, &Surroundings { nodes: vec![], ..around }), Readiness::InProgress { .. }));
    }

    /// Its template has changed since the node was lost: the pod there was deleted for a new one, and cannot end.
    #[rstest]
    #[case::that_cannot_end("old", true)]
    #[case::that_was_not_deleted_yet("old", false)]
    #[case::of_the_new_template("new", false)]
    fn whatever_pod_a_lost_node_has_does_not_hold_a_daemon_set(#[case] template: &str, #[case] deleted: bool) {
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "n"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 1,
                "numberMisscheduled": 0, "updatedNumberScheduled": 1}});
        let on = |node: &str, template: &str| {
            let mut pod = pod("2026-01-01T00:00:00Z", template, "ContainerCreating");
            pod.spec = Some(serde_json::from_value(json!({"containers": [], "nodeName": node})).unwrap());
            pod
        };
        let mut there = on("lost", template);
        if deleted {
            there.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:01:00Z")).unwrap();
        }
        let node = |name: &str, ready: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": name},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let mut around = Surroundings {
            pods: vec![there, on("here", "new")],
            nodes: vec![node("lost", "Unknown"), node("here", "True")],
            ..Surroundings::default()
        };
        assert_eq!(judge(set.clone(), &around), Readiness::Current);
        around.nodes[0] = node("lost", "True");
        assert!(matches!(judge(set, &around), Readiness::InProgress { .. }));
    }

    #[test]
    fn a_daemon_set_that_no_node_takes_is_no_success() {
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "n"},
            "spec": {"selector": {"matchLabels": {"a": "b"}},
                "template": {"spec": {"containers": [], "nodeSelector": {"disk": "tape"}}}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 0, "currentNumberScheduled": 0, "numberReady": 0,
                "numberMisscheduled": 0}});
        let node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        let Readiness::Failed { why, hint } =
            judge(set, &Surroundings { nodes: vec![node], ..Surroundings::default() })
        else {
            panic!()
        };
        assert_eq!(why, "it is to run on none of the 1 nodes: its node selector is disk=tape");
        assert!(hint.unwrap().contains("label a node"));
    }

    #[test]
    fn a_daemon_set_whose_pods_are_refused_says_so_from_its_events() {
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "n", "uid": "u"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 0, "numberReady": 0, "numberMisscheduled": 0}});
        let event = serde_json::from_value(
            json!({"metadata": {}, "reason": "FailedCreate", "message": "violates PodSecurity \"restricted\"",
            "involvedObject": {"kind": "DaemonSet", "name": "d", "uid": "u"}}),
        )
        .unwrap();
        let answer = judge(set, &Surroundings { events: vec![event], ..Surroundings::default() });
        assert!(matches!(answer, Readiness::Failed { .. }), "{answer:?}");
    }
}
