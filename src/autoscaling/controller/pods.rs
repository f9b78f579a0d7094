//! The target's pods: listed by its selector, and of those the ones that belong to it.
//!
//! A selector may well match pods of somebody else, whose load is none of the target's and who would be divided by all
//! the same. What belongs to the target says its owner: the target itself, or a ReplicaSet that is the target's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{
    Api, Client,
    api::{ApiResource, ListParams, ObjectMeta},
    core::{GroupVersionKind, Object},
};
use serde::{Deserialize, Serialize};

use super::{
    target::ReadScale,
    words::{ApiError, in_time},
};
use crate::{
    autoscaling::decision::{
        observation::{Container, Phase, Pod, Pods, ReadyCondition},
        pods::{InitContainer, whole},
    },
    quantity::Quantity,
};

/// How many owners are remembered before all are forgotten: they come and go with every rollout.
const REMEMBERED: usize = 10_000;

/// Of a pod what a decision looks at, and no more: there may be thousands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    containers: Vec<ContainerSpec>,
    #[serde(default)]
    init_containers: Vec<ContainerSpec>,
    #[serde(default)]
    resources: Resources,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSpec {
    name: String,
    #[serde(default)]
    resources: Resources,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Resources {
    #[serde(default)]
    requests: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    start_time: Option<jiff::Timestamp>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    last_transition_time: Option<jiff::Timestamp>,
}

type Listed = Object<Spec, Status>;

/// Who owns which ReplicaSet, by UID. That never changes.
#[derive(Default)]
pub struct Owners(Mutex<HashMap<String, Option<String>>>);

/// The pods of a target, as far as they belong to it.
pub async fn of_target(
    client: &Client,
    owners: &Owners,
    namespace: &str,
    kind: &ApiResource,
    scale: &ReadScale,
) -> Pods {
    let Some(selector) = scale.selector() else {
        return Pods::Unknown("the target's scale has no selector to list its pods by".to_owned());
    };
    let pod_kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let pods: Api<Listed> = Api::namespaced_with(client.clone(), namespace, &pod_kind);
    match in_time(pods.list(&ListParams::default().labels(selector))).await {
        Ok(listed) => {
            let mut listed = listed.items;
            keep_own(client, owners, namespace, kind, scale.uid(), &mut listed).await;
            Pods::Listed(listed.into_iter().map(pod).collect())
        }
        Err(error) => Pods::Unknown(format!("unable to list the target's pods: {error}")),
    }
}

async fn keep_own(
    client: &Client,
    owners: &Owners,
    namespace: &str,
    kind: &ApiResource,
    target: &str,
    pods: &mut Vec<Listed>,
) {
    let sets: BTreeSet<(String, String)> = pods
        .iter()
        .filter_map(|pod| controller(&pod.metadata))
        .filter(|(owner, uid, _)| *owner == "ReplicaSet" && *uid != target)
        .map(|(_, uid, name)| (uid.to_owned(), name.to_owned()))
        .collect();
    let asked = sets.into_iter().map(async |(uid, name)| {
        let owner = owners.of(client, namespace, &uid, &name).await;
        (uid, owner)
    });
    let of_sets: HashMap<String, Result<Option<String>, ApiError>> = join_all(asked).await.into_iter().collect();
    let is_own = |pod: &Listed| match controller(&pod.metadata) {
        None => false,
        Some((_, uid, _)) if uid == target => true,
        Some((_, uid, _)) => match of_sets.get(uid) {
            Some(Ok(owner)) => owner.as_deref() == Some(target),
            // What cannot be told counts, as it does for the HPA.
            Some(Err(_)) => true,
            None => false,
        },
    };
    // A kind of somebody's own may make its pods by ways of which nothing is known here.
    if kind.group == "apps" || pods.iter().any(is_own) {
        pods.retain(is_own);
    }
}

/// Kind, UID and name of the owner that is the controller.
fn controller(metadata: &ObjectMeta) -> Option<(&str, &str, &str)> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some((&owner.kind, &owner.uid, &owner.name))
}

impl Owners {
    async fn of(&self, client: &Client, namespace: &str, uid: &str, name: &str) -> Result<Option<String>, ApiError> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid) {
            return Ok(known.clone());
        }
        let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
        let found = match in_time(sets.get_metadata(name)).await {
            Ok(set) => Some(set.metadata),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let owner = found
            .filter(|metadata| metadata.uid.as_deref() == Some(uid))
            .and_then(|metadata| controller(&metadata).map(|(_, uid, _)| uid.to_owned()));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(uid.to_owned(), owner.clone());
        Ok(owner)
    }
}

/// What the decision looks at.
fn pod(pod: Listed) -> Pod {
    let Spec { containers, init_containers, resources } = pod.spec;
    let status = pod.status;
    let conditions = status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.kind == "Ready");
    let container = |spec: &ContainerSpec| Container { requests: milli(&spec.resources), name: spec.name.clone() };
    let lasts = |spec: &ContainerSpec| spec.restart_policy.as_deref() == Some("Always");
    let mut running: Vec<Container> = containers.iter().map(container).collect();
    let before =
        init_containers.iter().map(|spec| InitContainer { requests: milli(&spec.resources), lasts: lasts(spec) });
    // Of most pods, which say nothing of themselves, the init containers are not read.
    let requests = whole(&milli(&resources), &running, before);
    // Init containers that keep running request as long as the others do (KEP-753).
    running.extend(init_containers.iter().filter(|spec| lasts(spec)).map(container));
    Pod {
        name: pod.metadata.name.unwrap_or_default(),
        phase: phase(status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()),
        ready: ready.map(|condition| ReadyCondition {
            status: match condition.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            },
            since: condition.last_transition_time.unwrap_or(jiff::Timestamp::MIN),
        }),
        started: status.as_ref().and_then(|status| status.start_time),
        created: pod.metadata.creation_timestamp.map(|time| time.0),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        requests,
        containers: running,
    }
}

/// A phase by its name; what the kubelet does not know counts as running.
pub fn phase(name: &str) -> Phase {
    match name {
        "Pending" => Phase::Pending,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Running,
    }
}

/// A request that is no quantity is none: the API server lets no such thing in.
fn milli(resources: &Resources) -> BTreeMap<String, i64> {
    let of = |(resource, text): (&String, &String)| {
        let milli = text.parse::<Quantity>().and_then(Quantity::milli).ok()?;
        Some((resource.clone(), milli))
    };
    resources.requests.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_requests_is_read_of_it_and_of_its_containers() {
        let container = |name: &str, cpu: &str, more: serde_json::Value| {
            let mut container = json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
            container.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            container
        };
        let listed = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
            "resources": {"requests": {"memory": "1Gi"}},
            "initContainers": [container("lasts", "100m", json!({"restartPolicy": "Always"})), container("ends", "1", json!({}))],
            "containers": [container("main", "500m", json!({}))],
        }});
        let pod = pod(serde_json::from_value(listed).unwrap());
        assert_eq!((pod.requests["cpu"], pod.requests["memory"]), (1100, 1024 * 1024 * 1024 * 1000));
        let running: Vec<_> = pod.containers.iter().map(|one| (one.name.as_str(), one.requests["cpu"])).collect();
        assert_eq!(running, [("main", 500), ("lasts", 100)]);
    }
}
