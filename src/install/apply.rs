//! Writing what the change set says, by edges between objects, many at once.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use kube::{
    api::{DynamicObject, Patch, PatchParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Failure, InstallError, Installer, Release, State};
use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY},
    event::{Action, Event},
    object::ObjectRef,
    plan::{Change, ChangeSet, Inventory, content_hash, dependencies},
};

/// How long a definition may take to be served; it takes milliseconds.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// How long one answer may take. Admission webhooks alone have ten seconds each.
const ANSWER: Duration = Duration::from_secs(30);
/// And at least, when the run's deadline is near: long enough for a server that is well.
const SHORTEST: Duration = Duration::from_secs(2);

/// What became of one write.
enum Outcome {
    Applied(Box<DynamicObject>),
    Failed(cluster::Error),
}

impl Installer<'_> {
    /// Applies what has to be created or configured: an object goes as soon as what it needs is there, up to 16
    /// at once. A failure stops only what depends on it. Afterwards the inventory holds exactly what is installed.
    ///
    /// # Errors
    ///
    /// [`InstallError::Foreign`] before anything is written; [`InstallError::Conflict`] and [`InstallError::Apply`]
    /// after everything that could be written was; the inventory then holds the union of old and new.
    pub async fn apply(
        &self,
        release: &Release,
        desired: &[DynamicObject],
        changes: &ChangeSet,
        before: &State,
    ) -> Result<(), InstallError> {
        refuse_foreign(changes)?;
        let mut run = Run::new(desired, changes);
        self.write_inventory(release, &before.inventory.with_intended(run.references.iter())).await?;
        self.make_room(changes).await?;
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < CONCURRENCY
                && let Some(position) = run.next()
            {
                in_flight.push(async move { (position, self.write(&desired[position]).await) });
            }
            let Some((position, outcome)) = in_flight.next().await else { break };
            self.settle(&mut run, position, outcome);
        }
        run.verdict()?;
        self.unmark_kept(&before.live).await?;
        let inventory = Inventory::of(desired.iter().zip(&run.references).map(|(object, reference)| {
            // What was not written now was there before, though no inventory may know: a run may have died in between.
            let there = || before.live.iter().find(|live| ObjectRef::of(live).same_object(reference));
            let uid = run.uids.get(reference).cloned().or_else(|| there()?.metadata.uid.clone());
            (reference.clone(), uid, content_hash(object))
        }));
        self.prune(changes).await?;
        self.write_inventory(release, &inventory).await
    }

    /// Makes sure that the namespace of a release is there: its lock and its inventory lie in it.
    ///
    /// # Errors
    ///
    /// [`InstallError::Foreign`] before anything is written; [`InstallError::Apply`].
    pub async fn open(
        &self,
        release: &Release,
        desired: &[DynamicObject],
        changes: &ChangeSet,
    ) -> Result<(), InstallError> {
        refuse_foreign(changes)?;
        let namespace = ObjectRef::new("v1", "Namespace", None, &release.namespace);
        let missing = changes.items.iter().any(|item| item.object == namespace && item.change == Change::Create);
        let Some(desired) = desired.iter().find(|object| missing && ObjectRef::of(object) == namespace) else {
            return Ok(());
        };
        match self.write(desired).await {
            Outcome::Applied(_) => {
                self.reporter.report(Event::Object { object: namespace, action: Action::Created });
                Ok(())
            }
            Outcome::Failed(error) => {
                let failure = Failure { object: namespace, why: error.to_string(), hint: None };
                let not_permitted = error.is_about_access();
                Err(InstallError::Apply { failures: vec![failure], skipped: Vec::new(), not_permitted })
            }
        }
    }

    /// Deletes what has to be made anew, and waits until it is gone.
    async fn make_room(&self, changes: &ChangeSet) -> Result<(), InstallError> {
        let mut going = BTreeMap::new();
        for item in &changes.items {
            if let Change::Recreate { uid, .. } = &item.change
                && !self.delete_one(&item.object, uid).await?
            {
                going.insert(item.object.clone(), uid.clone());
            }
        }
        self.until_gone(going).await
    }

    async fn prune(&self, changes: &ChangeSet) -> Result<(), InstallError> {
        for item in &changes.items {
            if let Change::Delete { uid } = &item.change {
                self.delete_one(&item.object, uid).await?;
            }
        }
        Ok(())
    }

    fn settle(&self, run: &mut Run, position: usize, outcome: Outcome) {
        let object = run.references[position].clone();
        match outcome {
            Outcome::Applied(live) => {
                if let Some(uid) = live.metadata.uid {
                    run.uids.insert(object.clone(), uid);
                }
                let action = if matches!(run.changes[position], Some(Change::Create | Change::Recreate { .. })) {
                    Action::Created
                } else {
                    Action::Configured
                };
                self.reporter.report(Event::Object { object, action });
                run.state[position] = Progress::Done;
            }
            Outcome::Failed(error) => {
                run.state[position] = Progress::Failed;
                run.failures.push((object, error));
            }
        }
    }

    async fn write(&self, desired: &DynamicObject) -> Outcome {
        let object = ObjectRef::of(desired);
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.force = self.force_conflicts;
        let applied = self
            .retrying(&object, || async {
                let api = self.cluster.api_for(&object)?;
                api.patch(&object.name, &params, &Patch::Apply(desired)).await.map_err(cluster::Error::from)
            })
            .await;
        match applied {
            Ok(live) if object.kind == "CustomResourceDefinition" => self.established(&object, live).await,
            Ok(live) => Outcome::Applied(Box::new(live)),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// What depends on a definition can only be written once the API server serves it.
    async fn established(&self, object: &ObjectRef, live: DynamicObject) -> Outcome {
        let crds = kube::Api::all(self.cluster.client().clone());
        let condition = await_condition(crds, &object.name, is_crd_established());
        let deadline = self.deadline.min(Instant::now() + ESTABLISHED_WITHIN);
        match timeout_at(deadline, condition).await {
            Ok(Ok(_)) => Outcome::Applied(Box::new(live)),
            Ok(Err(error)) => Outcome::Failed(cluster::Error::Unreadable { cause: error.to_string() }),
            Err(_) => Outcome::Failed(cluster::Error::Rejected {
                code: 0,
                reason: "NotEstablished".to_owned(),
                message: format!("the API server does not serve it after {} s", ESTABLISHED_WITHIN.as_secs()),
            }),
        }
    }

    /// Tries again what fails for a reason that passes (overload, a restart of the API server, a namespace on its
    /// way out), with a growing pause, until the deadline; says so after the first second.
    pub(super) async fn retrying<T, F>(
        &self,
        object: &ObjectRef,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, cluster::Error>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        let mut pause = Duration::from_millis(100);
        loop {
            // A server that takes the request and says nothing is asked again; the run's deadline holds all the same.
            let patience = self.deadline.saturating_duration_since(Instant::now()).clamp(SHORTEST, ANSWER);
            let error = match timeout(patience, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => cluster::Error::Unreachable { cause: format!("no answer within {} s", patience.as_secs()) },
            };
            let passes = error.is_transient() || matches!(error, cluster::Error::Terminating { .. });
            if !passes || Instant::now() + pause >= self.deadline {
                return Err(error);
            }
            if pause >= Duration::from_millis(800) {
                self.reporter
                    .report(Event::InProgress { object: object.clone(), why: format!("trying again: {error}") });
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

fn refuse_foreign(changes: &ChangeSet) -> Result<(), InstallError> {
    let objects: Vec<_> = changes.foreign().map(|(object, owner)| (object.clone(), owner.map(str::to_owned))).collect();
    if objects.is_empty() { Ok(()) } else { Err(InstallError::Foreign { objects }) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    InFlight,
    Done,
    Failed,
}

/// Where a run of writes stands.
struct Run {
    references: Vec<ObjectRef>,
    changes: Vec<Option<Change>>,
    needs: Vec<Vec<usize>>,
    state: Vec<Progress>,
    uids: BTreeMap<ObjectRef, String>,
    failures: Vec<(ObjectRef, cluster::Error)>,
}

impl Run {
    fn new(desired: &[DynamicObject], changes: &ChangeSet) -> Self {
        let references: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
        let changes: Vec<Option<Change>> = references
            .iter()
            .map(|object| changes.items.iter().find(|item| item.object == *object).map(|item| item.change.clone()))
            .collect();
        let state = changes
            .iter()
            .map(|change| match change {
                Some(change) if change.is_write() => Progress::Waiting,
                _ => Progress::Done,
            })
            .collect();
        Self { needs: dependencies(desired), references, changes, state, uids: BTreeMap::new(), failures: Vec::new() }
    }

    /// The next object whose needs are all there.
    fn next(&mut self) -> Option<usize> {
        let position = (0..self.state.len()).find(|&position| {
            self.state[position] == Progress::Waiting
                && self.needs[position].iter().all(|&needed| self.state[needed] == Progress::Done)
        })?;
        self.state[position] = Progress::InFlight;
        Some(position)
    }

    fn verdict(&self) -> Result<(), InstallError> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let skipped = (0..self.state.len())
            .filter(|&position| self.state[position] == Progress::Waiting)
            .map(|position| self.references[position].clone())
            .collect();
        let failure = |(object, error): &(ObjectRef, cluster::Error)| Failure {
            object: object.clone(),
            why: match error {
                cluster::Error::Conflict { fields, .. } if !fields.is_empty() => {
                    fields.iter().map(|(field, owner)| format!("{field}: {owner}")).collect::<Vec<_>>().join("; ")
                }
                other => other.to_string(),
            },
            hint: None,
        };
        let only_conflicts = self
            .failures
            .iter()
            .all(|(_, error)| matches!(error, cluster::Error::Conflict { fields, .. } if !fields.is_empty()));
        let failures = self.failures.iter().map(failure).collect();
        Err(if only_conflicts {
            InstallError::Conflict { conflicts: failures }
        } else {
            let not_permitted = self.failures.iter().all(|(_, error)| error.is_about_access());
            InstallError::Apply { failures, skipped, not_permitted }
        })
    }
}
