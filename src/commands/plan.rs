//! `scalekit plan`: `up` stopped before its first write.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    CommandError,
    up::{Prepared, prepare},
};
use crate::{
    cluster::Cluster,
    event::Reporter,
    install::Installer,
    object::{ByName, ObjectRef},
    plan::{Checked, Planned},
    settings::StackSettings,
};

/// What `up` would do. Its JSON form is documented in `docs/plan.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What the cluster is.
    pub platform: String,
    /// Namespace of the stack.
    pub namespace: String,
    /// Whether `up` would write anything.
    pub changes: bool,
    /// The change set in words.
    pub summary: String,
    /// Every object, unchanged ones included.
    pub objects: Vec<PlannedObject>,
}

/// One object: what would be done with it, and what the API server says to that.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedObject {
    /// What would be done.
    #[serde(flatten)]
    pub planned: Planned,
    /// What the API server says, or why it was not asked; absent where there is nothing to write.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
}

/// Compares and asks. Writes nothing.
///
/// # Errors
///
/// As `up` before its first write. What the API server would refuse is in the answer.
pub async fn plan(settings: StackSettings, cluster: &Cluster, reporter: &dyn Reporter) -> Result<Plan, CommandError> {
    let StackSettings { connection: _, options, files: _, platform, containerd_socket: _, timeout, force_conflicts: _ } =
        settings;
    let installer = Installer::new(cluster, reporter, timeout);
    let Prepared { platform, options, adapted, state, changes, .. } =
        prepare(options, platform, cluster, &installer, reporter).await?;
    let mut checked: BTreeMap<ObjectRef, Checked> =
        installer.dry_run(&adapted, &changes, &ByName::of(&state.live)).await.into_iter().collect();
    Ok(Plan {
        platform: platform.kind.to_string(),
        namespace: options.namespace,
        changes: changes.has_changes() || changes.foreign().next().is_some(),
        summary: changes.summary(),
        objects: changes
            .items
            .into_iter()
            .map(|planned| {
                let checked = checked.remove(&planned.object).or_else(|| Checked::untried(&planned.change));
                PlannedObject { planned, checked }
            })
            .collect(),
    })
}
