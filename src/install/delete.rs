//! Deleting, each object by its UID, and waiting until it is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future, stream};
use kube::{
    ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Failure, InstallError, Installer, wait::now};
use crate::{
    catalog::{Component, FIELD_MANAGER, MANAGED_BY, SCALEKIT, is_ours},
    cluster::{self, API_SERVICE, CONCURRENCY, Kind, LEASE},
    event::{Action, Event},
    object::ObjectRef,
    plan::{KEPT, Scaled, Target, Teardown},
    readiness::{self, Surroundings},
};

/// How often what is on its way out is looked at while no watch tells that something went: for what holds it, and for who
/// may not watch.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long a finalizer's controller has, before it is taken off where that was asked for.
const FINALIZED_WITHIN: Duration = Duration::from_secs(8);

/// How long an aggregated API that does not answer may hold a namespace before waiting is given up: a program that
/// only restarts is back by then.
pub(super) const BLOCKED_FOR: Duration = Duration::from_secs(20);

/// How long a namespace tells of an API after that one is back or gone: its controller tries again after a minute at most
/// (`nsControllerRateLimiter` of kube-controller-manager), and takes a moment.
const TOLD_OF_FOR: Duration = Duration::from_secs(75);

/// [`BLOCKED_FOR`] where nothing else is done meanwhile: a run that only waits says soon what for.
const TOLD_WITHIN: Duration = Duration::from_secs(8);

impl Installer<'_> {
    /// Deletes what the teardown says: first what scales, then everything else at once; waits until it is gone. What is to
    /// be `reset` goes back to its lower bound in between: when nothing scales it any more, and while the Autoscalers are
    /// still there, by which a run that comes after a broken one knows what it is.
    ///
    /// # Errors
    ///
    /// [`InstallError::Delete`], [`InstallError::Reset`], or [`InstallError::NotGone`] with what still holds each object.
    pub async fn tear_down(&self, teardown: &Teardown, reset: &[Scaled]) -> Result<(), InstallError> {
        for kept in &teardown.keep {
            if kept.data {
                self.mark_kept(&kept.object).await?;
            }
            self.reporter.report(Event::Object {
                object: kept.object.clone(),
                action: Action::Kept,
                why: Some(kept.why.clone()),
            });
        }
        // A scaler that still runs would make its Lease again.
        let (leases, targets): (Vec<_>, Vec<_>) =
            teardown.delete.iter().partition(|target| Kind::of(&target.object) == Some(&LEASE));
        // And it could scale what is being deleted, as an aggregated API could hold its namespace.
        let (first, rest): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| target.first);
        let is_told_by = |target: &&Target| !reset.is_empty() && target.object.kind == "Autoscaler";
        let (autoscalers, first): (Vec<_>, Vec<_>) = first.into_iter().partition(is_told_by);
        let mut waiting = self.delete_all(first).await?;
        if !reset.is_empty() {
            self.until_gone(std::mem::take(&mut waiting), BLOCKED_FOR).await?;
            self.until_ended(&self.traces_of(Component::Scaler).await?).await?;
            self.reset_replicas(reset).await?;
        }
        for batch in [autoscalers, rest] {
            waiting.extend(self.delete_all(batch).await?);
        }
        self.until_gone(waiting, BLOCKED_FOR).await?;
        self.until_ended(&self.traces(teardown).await?).await?;
        for lease in leases {
            self.delete_lease(&lease.object).await?;
        }
        self.until_volumes_are_gone(teardown).await
    }

    /// Deletes these at once. Gives those that are not gone by that.
    async fn delete_all(&self, targets: Vec<&Target>) -> Result<BTreeMap<ObjectRef, String>, InstallError> {
        let asked: Vec<(&Target, bool)> = stream::iter(targets)
            .map(|target| async move {
                let gone = self.delete_one(&target.object, &target.uid).await?;
                Ok::<_, InstallError>((target, gone))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let going = asked.into_iter().filter(|(_, gone)| !gone);
        Ok(going.map(|(target, _)| (target.object.clone(), target.uid.clone())).collect())
    }

    /// Deletes a Lease of a program that has ended by now, as it is by now: it may have been made again since it was
    /// listed.
    async fn delete_lease(&self, object: &ObjectRef) -> Result<(), InstallError> {
        let found = self.retrying(object, || self.cluster.get(object)).await.map_err(InstallError::Read)?;
        if let Some(uid) = found.filter(is_ours).and_then(|lease| lease.metadata.uid) {
            self.delete_one(object, &uid).await?;
        }
        Ok(())
    }

    /// Pods outlive what made them for as long as they take to end; in a namespace that stays they would be found by
    /// the proof.
    async fn until_ended(&self, pods: &[DynamicObject]) -> Result<(), InstallError> {
        let going = pods.iter().filter_map(|pod| Some((ObjectRef::of(pod), pod.metadata.uid.clone()?))).collect();
        self.until_gone(going, BLOCKED_FOR).await
    }

    /// As [`Installer::delete`], and says of an error what it was about.
    pub(super) async fn delete_one(&self, object: &ObjectRef, uid: &str) -> Result<bool, InstallError> {
        let deleted = self.delete(object, uid).await;
        deleted.map_err(|source| InstallError::Delete { object: object.clone(), source })
    }

    /// Deletes one object if it still is the one with this UID. Returns whether it is gone already.
    pub(super) async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<bool, cluster::Error> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let deleted = self
            .retrying(object, || async {
                let api = self.cluster.api_for(object)?;
                api.delete(&object.name, &params).await.map_err(cluster::Error::from)
            })
            .await;
        let gone = match deleted {
            Ok(answer) => answer.is_right(),
            // Gone already, or made again by somebody since: not ours any more.
            Err(cluster::Error::NotFound { .. } | cluster::Error::Conflict { .. }) => true,
            Err(error) => return Err(error),
        };
        if gone {
            self.reporter.report(Event::Object { object: object.clone(), action: Action::Deleted, why: None });
        }
        Ok(gone)
    }

    /// Something of what is waited for may have gone: tells that it is time to look. What nobody may watch tells nothing.
    fn departures(&self, waiting: &BTreeMap<ObjectRef, String>) -> stream::BoxStream<'static, ()> {
        let mut kinds = BTreeSet::new();
        let one_of_each =
            waiting.keys().filter(|object| kinds.insert((&object.group, &object.kind, object.namespace.as_deref())));
        let watches = one_of_each.filter_map(|object| {
            let api = self.cluster.metadata_api(Kind::of(object)?, object.namespace.as_deref());
            let labelled = watcher::Config::default().labels(&format!("{MANAGED_BY}={SCALEKIT}"));
            let events = watcher(api, labelled).default_backoff();
            Some(events.filter_map(|event| future::ready(matches!(event, Ok(watcher::Event::Delete(_))).then_some(()))))
        });
        // An end would be taken for a departure.
        stream::select_all(watches.map(StreamExt::boxed)).chain(stream::pending()).boxed()
    }

    /// Waits until none of these is there any more, and for `patience` only where nothing holds them but an aggregated API
    /// that does not answer. What a namespace tells of such an API may be over: then its controller is waited for.
    pub(super) async fn until_gone(
        &self,
        mut waiting: BTreeMap<ObjectRef, String>,
        patience: Duration,
    ) -> Result<(), InstallError> {
        let mut departures = self.departures(&waiting);
        let began = Instant::now();
        let (mut blocked_since, mut over_since): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            let objects: Vec<(ObjectRef, String)> = waiting.clone().into_iter().collect();
            let looked: Vec<(ObjectRef, Option<Held>)> = stream::iter(objects)
                .map(|(object, uid)| async move {
                    match self.cluster.get(&object).await {
                        Ok(Some(found)) if found.metadata.uid.as_deref() == Some(&uid) => {
                            (object, Some(what_holds(&found)))
                        }
                        Ok(_) => (object, None),
                        Err(error) => (object, Some(Held { why: error.to_string(), blocked: false })),
                    }
                })
                .buffered(CONCURRENCY)
                .collect()
                .await;
            let mut held = Vec::new();
            let blocked = looked.iter().all(|(_, held)| held.as_ref().is_none_or(|held| held.blocked));
            blocked_since = if blocked { blocked_since.or_else(|| Some(Instant::now())) } else { None };
            let is_late = blocked_since.is_some_and(|since| since.elapsed() >= patience);
            if is_late {
                over_since = match self.every_api_answers().await {
                    Some(true) => over_since.or_else(|| Some(Instant::now())),
                    Some(false) => None,
                    None => over_since,
                };
            }
            let is_over = is_late && over_since.is_some();
            for (object, state) in looked {
                match state {
                    None => {
                        waiting.remove(&object);
                        self.reporter.report(Event::Object { object, action: Action::Deleted, why: None });
                    }
                    Some(Held { why, .. }) => {
                        let told = if is_over {
                            "every API answers by now; its controller looks again within a minute".to_owned()
                        } else {
                            why.clone()
                        };
                        self.reporter.report(Event::InProgress { object: object.clone(), why: told });
                        held.push(Failure { object, why, hint: None });
                    }
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            if self.force_finalizers && began.elapsed() >= FINALIZED_WITHIN {
                self.take_finalizers_off(&waiting).await?;
            }
            let for_nothing = is_late && over_since.is_none_or(|since| since.elapsed() >= TOLD_OF_FOR);
            if self.expired() || for_nothing {
                return Err(InstallError::NotGone { waiting: held });
            }
            let _time_is_up = timeout(LOOK_AGAIN, departures.next()).await;
        }
    }

    /// Whether no aggregated API is without an answer as of now; `None` where the API server did not say it this time. Who may
    /// not look takes the namespace's word.
    async fn every_api_answers(&self) -> Option<bool> {
        let (around, now) = (Surroundings::default(), now());
        match self.cluster.list_kind(&API_SERVICE, None, "").await {
            Ok(services) => Some(services.iter().all(|one| readiness::of(one, &around, now).is_current())),
            Err(cluster::Error::Forbidden { .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Takes workloads back to the lower bound of what scaled them. One that is not there any more, or that somebody else
    /// may scale, is left.
    async fn reset_replicas(&self, workloads: &[Scaled]) -> Result<(), InstallError> {
        for Scaled { target, replicas, least } in workloads.iter().filter(|one| one.replicas != one.least) {
            let scale = Patch::Merge(json!({"spec": {"replicas": least}}));
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let done = self
                .retrying(target, || async {
                    let api = self.cluster.api_for(target)?;
                    api.patch_scale(&target.name, &params, &scale).await.map(|_| ()).map_err(cluster::Error::from)
                })
                .await;
            let message = match done {
                Ok(()) => format!("{target}: from {replicas} replicas back to {least}"),
                Err(error @ (cluster::Error::NotFound { .. } | cluster::Error::UnknownKind { .. })) => {
                    format!("{target} stays at {replicas} replicas: {error}")
                }
                Err(source) => return Err(InstallError::Reset { object: target.clone(), source }),
            };
            self.reporter.report(Event::Note { message });
        }
        Ok(())
    }

    async fn mark_kept(&self, object: &ObjectRef) -> Result<(), InstallError> {
        self.label(object, KEPT.0, Some(KEPT.1)).await
    }

    /// What was kept as data by an earlier removal is in use again.
    pub(super) async fn unmark_kept(&self, live: &[DynamicObject]) -> Result<(), InstallError> {
        for object in live.iter().filter(|object| object.labels().contains_key(KEPT.0)) {
            self.label(&ObjectRef::of(object), KEPT.0, None).await?;
        }
        Ok(())
    }

    async fn label(&self, object: &ObjectRef, key: &str, value: Option<&str>) -> Result<(), InstallError> {
        let patch = json!({"metadata": {"labels": {key: value}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.retrying(object, || async {
            let api = self.cluster.api_for(object)?;
            api.patch(&object.name, &params, &Patch::Merge(&patch)).await.map(|_| ()).map_err(cluster::Error::from)
        })
        .await
        .map_err(|source| InstallError::Label { object: object.clone(), source })
    }

    /// Waits until nothing of this is on its way out any more, so that `up` can follow `down` at once. Returns whether
    /// there was anything to wait for: then what was read is no longer what is there.
    ///
    /// # Errors
    ///
    /// [`InstallError::NotGone`] with what still holds each object.
    pub async fn until_settled(&self, live: &[DynamicObject]) -> Result<bool, InstallError> {
        let going: BTreeMap<ObjectRef, String> = live
            .iter()
            .filter(|object| object.metadata.deletion_timestamp.is_some())
            .filter_map(|object| Some((ObjectRef::of(object), object.metadata.uid.clone()?)))
            .collect();
        let waited = !going.is_empty();
        self.until_gone(going, TOLD_WITHIN).await?;
        Ok(waited)
    }
}

/// Why something that was deleted is still there.
struct Held {
    why: String,
    /// Whether it waits for an aggregated API that does not answer: nothing of its own is in its way.
    blocked: bool,
}

/// Why an object that was deleted is still there, in its own words.
fn what_holds(object: &DynamicObject) -> Held {
    let conditions = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    let remaining = conditions.into_iter().flatten().find(|condition| {
        condition["status"] == "True"
            && condition["type"].as_str().is_some_and(|kind| {
                [
                    "NamespaceDeletionDiscoveryFailure",
                    "NamespaceContentRemaining",
                    "NamespaceFinalizersRemaining",
                    "NamespaceDeletionContentFailure",
                ]
                .contains(&kind)
            })
    });
    if let Some(condition) = remaining
        && let Some(message) = condition["message"].as_str()
    {
        let blocked = condition["type"] == "NamespaceDeletionDiscoveryFailure";
        return Held { why: message.to_owned(), blocked };
    }
    let why = match object.metadata.finalizers.as_deref() {
        Some(finalizers) if !finalizers.is_empty() => format!("finalizers hold it: {}", finalizers.join(", ")),
        _ => "it is being deleted".to_owned(),
    };
    Held { why, blocked: false }
}
