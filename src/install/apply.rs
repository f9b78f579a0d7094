//! Writing what the change set says, by edges between objects, many at once.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::{
    api::storage::v1::StorageClass, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Failure, InstallError, Installer, Release, State,
    delete::BLOCKED_FOR,
    run::{Outcome, Run},
};
use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY},
    event::{Action, Event},
    object::{ByName, ObjectRef},
    plan::{self, Change, ChangeSet, Checked, Inventory, content_hash},
    readiness::{self, Readiness},
};

/// How long a definition may take to be served; it takes milliseconds.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// How long a definition may be told refused: its names may be those of one that is on its way out.
const REFUSAL_HOLDS: Duration = Duration::from_secs(3);

/// Reason of a definition that was taken and is not served.
pub(super) const NOT_ESTABLISHED: &str = "NotEstablished";

/// Reason of an object that has to be made anew and does not go.
pub(super) const NOT_GONE: &str = "NotGone";

impl Installer<'_> {
    /// Writes what was planned by `state`, one run at a time: makes the namespace in which lock and inventory lie, takes
    /// the lock, reads and compares again if another run has written meanwhile, applies, and gives the lock back. Without
    /// a change nothing is written and no lock taken. Gives the version of the inventory that it wrote. `desired` is fitted to
    /// what is there then, with these storage classes.
    ///
    /// # Errors
    ///
    /// As [`Installer::apply`] and [`Installer::lock`]; [`InstallError::LockLost`].
    pub async fn write(
        &self,
        release: &Release,
        desired: &[DynamicObject],
        classes: &[StorageClass],
        changes: &ChangeSet,
        state: State,
    ) -> Result<Option<String>, InstallError> {
        let opened = self.open(release, desired, changes).await?;
        if !changes.has_changes() {
            return Ok(None);
        }
        let lock = self.lock(release).await?;
        let work = async {
            let state = if self.is_current(release, &state).await? {
                State { live: state.live.into_iter().chain(opened.clone()).collect(), ..state }
            } else {
                self.read_again(release, desired).await?
            };
            let desired = plan::adapted(desired, &state.live, classes);
            let mut changes = plan::plan(&desired, &state.live, &state.inventory);
            if let Some(opened) = &opened {
                changes.is_as_desired(&ObjectRef::of(opened));
            }
            self.apply(release, &desired, &changes, &state).await
        };
        lock.hold(work).await
    }

    /// Applies what has to be created, configured or made anew: an object goes as soon as what it needs is there, up to 16
    /// at once. A failure stops only what depends on it. Then deletes what is no longer wanted. Afterwards the inventory,
    /// whose version this gives, holds exactly what is installed.
    ///
    /// # Errors
    ///
    /// [`InstallError::Foreign`] before anything is written; [`InstallError::Conflict`] and [`InstallError::Apply`]
    /// after everything that could be written was; the inventory then holds the union of old and new.
    /// [`InstallError::Prune`] after everything that could be deleted was; the inventory then holds the rest of it too.
    pub async fn apply(
        &self,
        release: &Release,
        desired: &[DynamicObject],
        changes: &ChangeSet,
        before: &State,
    ) -> Result<Option<String>, InstallError> {
        refuse_foreign(changes)?;
        let mut run = Run::new(desired, changes);
        let live = ByName::of(&before.live);
        for item in changes.items.iter().filter(|item| item.change == Change::Unchanged) {
            self.reporter.report(Event::Object { object: item.object.clone(), action: Action::Unchanged, why: None });
        }
        self.refuse_conflicts(desired, changes, &live).await?;
        self.write_inventory(release, &before.inventory.with_intended(run.references.iter())).await?;
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < CONCURRENCY
                && let Some(position) = run.next()
            {
                let live = live.get(&run.references[position]);
                let served = run.is_needed(position);
                in_flight.push(async move {
                    let live = match live {
                        Some(old) if changes.makes_anew(old) => match self.make_room(old).await {
                            Ok(()) => None,
                            Err(error) => return (position, Outcome::Failed(error)),
                        },
                        live => live,
                    };
                    (position, self.write_one(&desired[position], live, served).await)
                });
            }
            let Some((position, outcome)) = in_flight.next().await else { break };
            run.settle(position, outcome);
            run.tell(self.reporter, false);
        }
        run.tell(self.reporter, true);
        for (object, why) in run.skipped() {
            self.reporter.report(Event::Object { object, action: Action::Skipped, why: Some(why) });
        }
        run.verdict(desired, &live)?;
        self.unmark_kept(&before.live).await?;
        let inventory = Inventory::of(desired.iter().zip(&run.references).map(|(object, reference)| {
            // What was not written now was there before, though no inventory may know: a run may have died in between.
            let there = || live.get(reference);
            let uid = run.uids.get(reference).cloned().or_else(|| there()?.metadata.uid.clone());
            (reference.clone(), uid, content_hash(object))
        }));
        let left = self.prune(changes, before).await;
        self.tell_kept_data(changes, before);
        let inventory = inventory.with_left(&before.inventory, left.iter().map(|(object, _)| object));
        let version = self.write_inventory(release, &inventory).await?;
        if left.is_empty() { Ok(version) } else { Err(not_pruned(left)) }
    }

    /// Makes sure that the namespace of a release is there: its lock and its inventory lie in it. Gives it where it was
    /// made.
    async fn open(
        &self,
        release: &Release,
        desired: &[DynamicObject],
        changes: &ChangeSet,
    ) -> Result<Option<DynamicObject>, InstallError> {
        refuse_foreign(changes)?;
        let namespace = ObjectRef::new("v1", "Namespace", None, &release.namespace);
        let missing = changes.items.iter().any(|item| item.object == namespace && item.change == Change::Create);
        let Some(desired) = desired.iter().find(|object| missing && ObjectRef::of(object) == namespace) else {
            return Ok(None);
        };
        match self.write_one(desired, None, true).await {
            Outcome::Applied(live) => {
                self.reporter.report(Event::Object { object: namespace, action: Action::Created, why: None });
                Ok(Some(*live))
            }
            Outcome::Failed(error) => {
                let failure = Failure { object: namespace, why: error.to_string(), hint: None };
                let not_permitted = error.is_about_access();
                Err(InstallError::Apply { failures: vec![failure], skipped: Vec::new(), not_permitted })
            }
        }
    }

    /// Deletes what has to be made anew, and waits until it is gone.
    async fn make_room(&self, old: &DynamicObject) -> Result<(), cluster::Error> {
        let Some(uid) = old.metadata.uid.clone() else { return Ok(()) };
        let old = ObjectRef::of(old);
        if self.delete(&old, &uid).await? {
            return Ok(());
        }
        self.until_gone(BTreeMap::from([(old, uid)]), BLOCKED_FOR).await.map_err(|error| match error {
            InstallError::Read(source) | InstallError::Delete { source, .. } => source,
            error => {
                let why = error.failures().first().map_or_else(|| error.to_string(), |failure| failure.why.clone());
                let message = format!("the old one does not go: {why}");
                cluster::Error::Rejected { code: 0, reason: NOT_GONE.to_owned(), message }
            }
        })
    }

    /// Asks the API server, before anything is written, whether somebody else manages fields that would be changed.
    async fn refuse_conflicts(
        &self,
        desired: &[DynamicObject],
        changes: &ChangeSet,
        live: &ByName<'_>,
    ) -> Result<(), InstallError> {
        // What a tool applied for us is taken over before it is changed.
        let is_new = |object: &DynamicObject| {
            live.get(&ObjectRef::of(object)).is_none_or(|found| plan::adoption(object, found).is_some())
        };
        let changed: Vec<DynamicObject> = desired.iter().filter(|object| !is_new(object)).cloned().collect();
        let mut conflicts = Vec::new();
        for (object, checked) in self.dry_run(&changed, changes, live).await {
            if let Checked::Conflict { fields } = checked {
                let why = plan::in_words(&fields);
                conflicts.push(Failure { object, why, hint: None });
            }
        }
        if self.force_conflicts {
            for Failure { object, why, .. } in conflicts {
                self.reporter.report(Event::Note { message: format!("taking over fields of {object}: {why}") });
            }
            return Ok(());
        }
        if conflicts.is_empty() { Ok(()) } else { Err(InstallError::Conflict { conflicts }) }
    }

    /// Makes us the manager of what another tool applied for us. Somebody may change the object meanwhile, so it is read
    /// anew and tried again.
    async fn adopt(&self, desired: &DynamicObject, live: &DynamicObject) -> Result<(), cluster::Error> {
        let object = ObjectRef::of(desired);
        let mut live = live.clone();
        while let Some(patch) = plan::adoption(desired, &live) {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let adopted = self
                .retrying(&object, || async {
                    let api = self.cluster.api_for(&object)?;
                    api.patch(&object.name, &params, &Patch::Merge(&patch)).await.map_err(cluster::Error::from)
                })
                .await;
            match adopted {
                Ok(_) => return Ok(()),
                Err(cluster::Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.retrying(&object, || self.cluster.get(&object)).await? {
                Some(found) => live = found,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Writes one object over what is there of it. `served`: as of [`Installer::put`].
    async fn write_one(&self, desired: &DynamicObject, live: Option<&DynamicObject>, served: bool) -> Outcome {
        let object = ObjectRef::of(desired);
        if let Some(live) = live
            && let Err(error) = self.adopt(desired, live).await
        {
            return Outcome::Failed(error);
        }
        if let Some(live) = live
            && let Some(bridge) = plan::bridge(desired, live)
            && let Outcome::Failed(error) = self.put(&object, &bridge, true).await
        {
            return Outcome::Failed(error);
        }
        self.put(&object, desired, served).await
    }

    /// Applies one object; a definition so that nothing is stored in older versions of it, and, if it has to be `served`
    /// for what comes next, waits until it is. Else the wait for all that was written sees to that.
    pub(super) async fn put(&self, object: &ObjectRef, desired: &DynamicObject, served: bool) -> Outcome {
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.force = self.force_conflicts;
        let applied = self
            .retrying_overtaken(object, || async {
                let api = self.cluster.api_for(object)?;
                api.patch(&object.name, &params, &Patch::Apply(desired)).await.map_err(cluster::Error::from)
            })
            .await;
        let live = match applied {
            Ok(live) if object.kind == "CustomResourceDefinition" => live,
            Ok(live) => return Outcome::Applied(Box::new(live)),
            Err(error) => return Outcome::Failed(error),
        };
        let migrate = plan::needs_migration(&live);
        if !served && !migrate {
            return Outcome::Applied(Box::new(live));
        }
        match self.established(object, live).await {
            Outcome::Applied(live) if migrate => match self.store_anew(&live).await {
                Ok(()) => Outcome::Applied(live),
                Err(error) => Outcome::Failed(error),
            },
            other => other,
        }
    }

    /// What depends on a definition can only be written once the API server serves it.
    async fn established(&self, object: &ObjectRef, live: DynamicObject) -> Outcome {
        let crds: Api<CustomResourceDefinition> = Api::all(self.cluster.client().clone());
        let deadline = self.deadline.min(Instant::now() + ESTABLISHED_WITHIN);
        let mut why = "the API server does not serve it".to_owned();
        loop {
            match timeout(REFUSAL_HOLDS, await_condition(crds.clone(), &object.name, is_crd_established())).await {
                Ok(Ok(_)) => return Outcome::Applied(Box::new(live)),
                // One failed request never ends a wait.
                Ok(Err(error)) => {
                    tracing::debug!("watching {object} again: {error}");
                    sleep(Duration::from_millis(200)).await;
                }
                Err(_) => match self.cluster.get(object).await.map(|found| found.as_ref().map(readiness::definition)) {
                    Ok(Some(Readiness::Failed { why, .. })) => return Outcome::Failed(not_established(why)),
                    Ok(Some(Readiness::InProgress { why: waits })) => why = waits,
                    _ => {}
                },
            }
            if Instant::now() >= deadline {
                return Outcome::Failed(not_established(format!("{why} after {} s", ESTABLISHED_WITHIN.as_secs())));
            }
        }
    }
}

fn not_established(message: String) -> cluster::Error {
    cluster::Error::Rejected { code: 0, reason: NOT_ESTABLISHED.to_owned(), message }
}

fn not_pruned(left: Vec<(ObjectRef, cluster::Error)>) -> InstallError {
    let not_permitted = left.iter().all(|(_, error)| error.is_about_access());
    let failure = |(object, error): (ObjectRef, cluster::Error)| Failure { object, why: error.to_string(), hint: None };
    InstallError::Prune { failures: left.into_iter().map(failure).collect(), not_permitted }
}

fn refuse_foreign(changes: &ChangeSet) -> Result<(), InstallError> {
    let objects: Vec<_> = changes.foreign().map(|(object, owner)| (object.clone(), owner.map(str::to_owned))).collect();
    if objects.is_empty() { Ok(()) } else { Err(InstallError::Foreign { objects }) }
}
