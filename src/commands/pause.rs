//! `scalekit pause --all` and `scalekit resume`: nothing is scaled while people look at what is wrong.

use super::{CommandError, up::unusable};
use crate::{
    cluster::Cluster,
    install::mode::{self, ModeChange},
    object::ObjectRef,
};

/// What `pause` or `resume` did.
#[derive(Clone, Debug)]
pub struct ModeChanged {
    /// Autoscalers whose mode was changed.
    pub changed: Vec<ObjectRef>,
    /// Autoscalers that had nothing to change.
    pub unchanged: usize,
}

/// Sets every Autoscaler that scales to Recommend.
///
/// # Errors
///
/// [`CommandError::Modes`] with those that could not be changed; the others are.
pub async fn pause(cluster: &Cluster) -> Result<ModeChanged, CommandError> {
    done(mode::recommend_all(cluster).await.map_err(|source| unusable(cluster, source))?)
}

/// Gives every Autoscaler the mode back that it had before.
///
/// # Errors
///
/// As [`pause`].
pub async fn resume(cluster: &Cluster) -> Result<ModeChanged, CommandError> {
    done(mode::restore_all(cluster).await.map_err(|source| unusable(cluster, source))?)
}

fn done(change: ModeChange) -> Result<ModeChanged, CommandError> {
    let ModeChange { changed, unchanged, failed } = change;
    if failed.is_empty() {
        return Ok(ModeChanged { changed, unchanged });
    }
    let not_permitted = failed.iter().all(|(_, error)| error.is_about_access());
    let failed = failed.into_iter().map(|(object, error)| (object, error.to_string())).collect();
    Err(CommandError::Modes { changed: changed.len(), failed, not_permitted })
}
