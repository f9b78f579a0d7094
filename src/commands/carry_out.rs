//! Writing under the lock: the same for the stack and for the samples.

use std::time::Instant;

use kube::core::DynamicObject;

use super::CommandError;
use crate::{
    event::{Event, Reporter, Step},
    install::{InstallError, Installer, Release},
    object::ObjectRef,
    plan::{self, ChangeSet},
};

/// Takes the lock, compares again (somebody may have written since), applies, gives the lock back, and waits until
/// everything works. `changes` is what was planned without the lock.
pub(super) async fn carry_out(
    installer: &Installer<'_>,
    release: &Release,
    desired: &[DynamicObject],
    changes: &ChangeSet,
    reporter: &dyn Reporter,
) -> Result<(), CommandError> {
    let step = Instant::now();
    let written = changes.items.iter().filter(|item| item.change.is_write()).count();
    reporter.report(Event::StepStarted { step: Step::Apply, total: Some(written) });
    installer.open(release, desired, changes).await?;
    if written > 0 {
        let lock = installer.lock(release).await?;
        let work = async {
            let state = installer.read(release, desired).await?;
            let changes = plan::plan(desired, &state.live, &state.inventory);
            installer.apply(release, desired, &changes, &state).await
        };
        let done = tokio::select! {
            done = work => done,
            () = lock.lost() => Err(InstallError::LockLost),
        };
        lock.release().await;
        done?;
    }
    let summary = format!("{written} objects written");
    reporter.report(Event::StepFinished { step: Step::Apply, took: step.elapsed(), summary });

    let step = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Wait, total: None });
    let objects: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
    installer.wait(release, &objects).await?;
    let summary = "everything is ready".to_owned();
    reporter.report(Event::StepFinished { step: Step::Wait, took: step.elapsed(), summary });
    Ok(())
}
