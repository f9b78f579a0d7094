//! Writing and waiting, as steps of a run: the same for the stack and for the samples.

use std::time::Instant;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::DynamicObject;

use super::CommandError;
use crate::{
    event::{Event, Reporter, Step},
    install::{Installer, Release, State},
    object::ObjectRef,
    plan::ChangeSet,
};

/// Writes what was planned, under the lock. Gives the version of the inventory that it wrote, where there was anything to
/// write.
pub(super) async fn write(
    installer: &Installer<'_>,
    release: &Release,
    desired: &[DynamicObject],
    classes: &[StorageClass],
    changes: &ChangeSet,
    state: State,
    reporter: &dyn Reporter,
) -> Result<Option<String>, CommandError> {
    let step = Instant::now();
    let written = changes.items.iter().filter(|item| item.change.is_write()).count();
    reporter.report(Event::StepStarted { step: Step::Apply, total: Some(written) });
    let version = installer.write(release, desired, classes, changes, state).await?;
    let summary = format!("{written} objects written");
    reporter.report(Event::StepFinished { step: Step::Apply, took: step.elapsed(), summary });
    Ok(version)
}

/// Waits until everything that was written works.
pub(super) async fn until_ready(
    installer: &Installer<'_>,
    release: &Release,
    desired: &[DynamicObject],
    reporter: &dyn Reporter,
) -> Result<(), CommandError> {
    let step = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Wait, total: None });
    let objects: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
    installer.wait(release, &objects).await?;
    let summary = "everything is ready".to_owned();
    reporter.report(Event::StepFinished { step: Step::Wait, took: step.elapsed(), summary });
    Ok(())
}
