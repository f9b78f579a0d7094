//! Waiting until what was written works: one watch per kind, a verdict as soon as there is one.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, LogParams, PostParams},
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    Failure, InstallError, Installer, Release,
    watches::{CLAIM, Seen},
};
use crate::{
    cluster::{self, Kind},
    event::Event,
    object::ObjectRef,
    readiness::{self, Readiness, Surroundings},
};

/// A verdict of failure has to hold this long: a container that crashed once while its neighbour started is not
/// a failed installation.
const VERDICT_HOLDS: Duration = Duration::from_secs(3);

/// How often rules that depend on time are looked at again when nothing changes.
const TICK: Duration = Duration::from_millis(500);

/// Lines of a crashed container that are shown.
const LOG_LINES: i64 = 5;

impl Installer<'_> {
    /// Waits until every object that has a state is current.
    ///
    /// # Errors
    ///
    /// [`InstallError::Failed`] with cause and hint once an object will not get there by itself,
    /// [`InstallError::TimedOut`] with what each is waiting for.
    pub async fn wait(&self, release: &Release, objects: &[ObjectRef]) -> Result<(), InstallError> {
        let node = ObjectRef::new("v1", "Node", None, "");
        let mut around = self.retrying(&node, || self.surroundings()).await.map_err(InstallError::Read)?;
        around.since = Some(now());
        let wanted: Vec<ObjectRef> = objects.iter().filter(|object| has_state(object)).cloned().collect();
        let mut namespaces: Vec<String> = wanted.iter().filter_map(|object| object.namespace.clone()).collect();
        namespaces.sort();
        namespaces.dedup();
        let mut seen = stream::select_all(self.watches(release, &wanted, &namespaces));
        let mut live: BTreeMap<ObjectRef, DynamicObject> = BTreeMap::new();
        let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
        let mut told: BTreeMap<ObjectRef, Readiness> = BTreeMap::new();
        let mut failed_since: Option<Instant> = None;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(seen) = seen.next() => match seen {
                    Seen::Object(object) => { live.insert(ObjectRef::of(&object), *object); }
                    Seen::Gone(object) => { live.remove(&object); }
                    // What vanished while nobody watched is told by nobody.
                    Seen::Objects(kind, there) => {
                        live.retain(|object, _| Kind::of(object) != Some(kind) || there.contains(object));
                    }
                    Seen::Pods(namespace, there) => {
                        pods.retain(|uid, pod| pod.namespace() != Some(namespace.clone()) || there.contains(uid));
                    }
                    Seen::Pod(pod) => { pods.insert(pod.uid().unwrap_or_default(), *pod); }
                    Seen::PodGone(uid) => { pods.remove(&uid); }
                    Seen::Event(event) => {
                        around.events.retain(|known| known.metadata.uid != event.metadata.uid);
                        around.events.push(*event);
                    }
                    Seen::Nodes(nodes) => around.nodes = nodes,
                    // A right that is missing does not come by waiting.
                    Seen::Refused(error) => return Err(InstallError::Read(error)),
                    // One failed request never ends a wait.
                    Seen::Trouble(error) => {
                        self.reporter.report(Event::Note { message: format!("watching again: {error}") });
                    }
                    Seen::Nothing => {}
                },
                _ = tick.tick() => {}
            }
            around.pods = pods.values().cloned().collect();
            let now = now();
            let verdicts: Vec<(&ObjectRef, Readiness)> = wanted
                .iter()
                .map(|object| {
                    let verdict = live.get(object).map_or_else(
                        || Readiness::in_progress("it has not been seen yet"),
                        |found| readiness::of(found, &around, now),
                    );
                    (object, verdict)
                })
                .collect();
            self.tell(&verdicts, &mut told);
            if verdicts.iter().all(|(_, verdict)| verdict.is_current()) {
                return Ok(());
            }
            let failed = verdicts.iter().any(|(_, verdict)| matches!(verdict, Readiness::Failed { .. }));
            failed_since = if failed { failed_since.or_else(|| Some(Instant::now())) } else { None };
            if failed_since.is_some_and(|since| since.elapsed() >= VERDICT_HOLDS) {
                let failures = self.not_outdated(collect(&verdicts, true), &live).await;
                if failures.is_empty() {
                    failed_since = None;
                } else {
                    let failures = self.with_last_words(failures, &around).await;
                    return Err(InstallError::Failed { failures });
                }
            }
            if self.expired() {
                return Err(InstallError::TimedOut { waiting: collect(&verdicts, false) });
            }
        }
    }

    /// Nodes and storage classes; pods and events come by watch.
    async fn surroundings(&self) -> Result<Surroundings, cluster::Error> {
        let nodes: Api<Node> = Api::all(self.cluster.client().clone());
        let classes: Api<StorageClass> = Api::all(self.cluster.client().clone());
        let all = ListParams::default();
        let (nodes, classes) = futures::try_join!(nodes.list(&all), classes.list(&all))?;
        Ok(Surroundings { nodes: nodes.items, classes: classes.items, ..Surroundings::default() })
    }

    fn tell(&self, verdicts: &[(&ObjectRef, Readiness)], told: &mut BTreeMap<ObjectRef, Readiness>) {
        for (object, verdict) in verdicts {
            if told.get(*object) == Some(verdict) {
                continue;
            }
            told.insert((*object).clone(), verdict.clone());
            let object = (*object).clone();
            self.reporter.report(match verdict {
                Readiness::Current => Event::Current { object },
                Readiness::InProgress { why } | Readiness::Failed { why, .. } => {
                    Event::InProgress { object, why: why.clone() }
                }
            });
        }
    }

    /// The failures without those that may be mended already: a workload's pods were refused, and the API server, asked by
    /// dry run, does not refuse them now. Its controller tries again by itself, though not at once.
    async fn not_outdated(&self, failures: Vec<Failure>, live: &BTreeMap<ObjectRef, DynamicObject>) -> Vec<Failure> {
        let mut current = Vec::new();
        for failure in failures {
            let refused = failure.why.starts_with(readiness::PODS_REFUSED);
            match live.get(&failure.object).filter(|_| refused).and_then(pod_of) {
                Some(pod) if !self.is_refused(&pod).await => {}
                _ => current.push(failure),
            }
        }
        current
    }

    /// Whether the API server refuses it. Only its word counts: one that has no answer just now is asked again before there
    /// is a verdict.
    async fn is_refused(&self, pod: &Pod) -> bool {
        let pods: Api<Pod> =
            Api::namespaced(self.cluster.client().clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let answer = timeout(Duration::from_secs(3), pods.create(&params, pod)).await;
        matches!(answer, Ok(Err(kube::Error::Api(status))) if [403, 422].contains(&status.code))
    }

    /// What the containers that crash said last: the log of the run before, or of this one.
    async fn with_last_words(&self, mut failures: Vec<Failure>, around: &Surroundings) -> Vec<Failure> {
        for failure in failures.iter_mut().filter(|failure| failure.why.contains("ends again and again")) {
            let Some((pod, container, ended)) = around.pods.iter().find_map(|pod| {
                let name = pod.name_any();
                let status = pod.status.as_ref()?;
                let (first, then) = (&status.init_container_statuses, &status.container_statuses);
                let crashed = first
                    .iter()
                    .chain(then)
                    .flatten()
                    .find(|status| failure.why.contains(&format!("pod {name}, container {}", status.name)))?;
                let ended = crashed.state.as_ref().is_some_and(|state| state.terminated.is_some());
                Some((pod, crashed.name.clone(), ended))
            }) else {
                continue;
            };
            // The run that has just ended is this one until the next begins; the kubelet soon forgets those before.
            for previous in [!ended, ended] {
                if let Some(log) = self.last_lines(pod, &container, previous).await {
                    failure.why = format!("{}; it said:\n    {}", failure.why, log.trim().replace('\n', "\n    "));
                    break;
                }
            }
        }
        failures
    }

    /// The end of a container's log, if it has said anything.
    async fn last_lines(&self, pod: &Pod, container: &str, previous: bool) -> Option<String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        let log = timeout(Duration::from_secs(3), pods.logs(&pod.name_any(), &params)).await.ok()?.ok()?;
        (!log.trim().is_empty() && !log.starts_with(NO_LOG)).then_some(log)
    }
}

/// How the kubelet answers, as if it were the log, when it has the log no more.
const NO_LOG: &str = "unable to retrieve container logs";

/// The pod that a workload's controller would make, under a name of its own.
fn pod_of(workload: &DynamicObject) -> Option<Pod> {
    let mut pod = workload.data.pointer("/spec/template")?.clone();
    let metadata = pod.as_object_mut()?.entry("metadata").or_insert_with(|| json!({}));
    metadata["generateName"] = json!("scalekit-dry-run-");
    metadata["namespace"] = json!(workload.metadata.namespace);
    serde_json::from_value(pod).ok()
}

/// Whether there is anything to wait for.
fn has_state(object: &ObjectRef) -> bool {
    matches!(
        object.kind.as_str(),
        "Deployment" | "StatefulSet" | "DaemonSet" | CLAIM | "CustomResourceDefinition" | "APIService"
    )
}

fn collect(verdicts: &[(&ObjectRef, Readiness)], only_failed: bool) -> Vec<Failure> {
    verdicts
        .iter()
        .filter_map(|(object, verdict)| match verdict {
            Readiness::Failed { why, hint } => {
                Some(Failure { object: (*object).clone(), why: why.clone(), hint: hint.clone() })
            }
            Readiness::InProgress { why } if !only_failed => {
                Some(Failure { object: (*object).clone(), why: why.clone(), hint: None })
            }
            _ => None,
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the edge: the rules take the time from here")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
