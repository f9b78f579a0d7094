//! The mode of all Autoscalers at once: to Recommend and back, for an incident.
//!
//! The one thing that is written into objects of users, and it is remembered in the object itself: who runs this again,
//! or on another machine, takes up from there.

use futures::{StreamExt, stream};
use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY, Cluster, Kind, answered},
    object::ObjectRef,
};

/// The annotation that remembers the mode from before.
pub const MODE_BEFORE: &str = "scalekit.dev/mode-before-pause";
const AUTO: &str = "Auto";
const RECOMMEND: &str = "Recommend";

/// What became of the Autoscalers.
#[derive(Debug, Default)]
pub struct ModeChange {
    /// Those that were changed.
    pub changed: Vec<ObjectRef>,
    /// Those that had nothing to change.
    pub unchanged: usize,
    /// Those that could not be changed, and why.
    pub failed: Vec<(ObjectRef, cluster::Error)>,
}

/// Sets every Autoscaler that scales to Recommend, and notes in it what it was.
///
/// # Errors
///
/// When the Autoscalers cannot be listed. One that cannot be written does not stop the others.
pub async fn recommend_all(cluster: &Cluster) -> Result<ModeChange, cluster::Error> {
    let patch = |object: &DynamicObject| {
        let mode = object.data["spec"]["mode"].as_str().unwrap_or(AUTO);
        (mode == AUTO).then(|| json!({"metadata": {"annotations": {MODE_BEFORE: AUTO}}, "spec": {"mode": RECOMMEND}}))
    };
    change(cluster, patch).await
}

/// Gives every Autoscaler the mode back that was noted in it. One whose mode somebody has changed since keeps it.
///
/// # Errors
///
/// As [`recommend_all`].
pub async fn restore_all(cluster: &Cluster) -> Result<ModeChange, cluster::Error> {
    let patch = |object: &DynamicObject| {
        let before = object.annotations().get(MODE_BEFORE)?;
        let forget = json!({MODE_BEFORE: null});
        Some(if object.data["spec"]["mode"] == RECOMMEND {
            json!({"metadata": {"annotations": forget}, "spec": {"mode": before}})
        } else {
            json!({"metadata": {"annotations": forget}})
        })
    };
    change(cluster, patch).await
}

async fn change(
    cluster: &Cluster,
    patch: impl Fn(&DynamicObject) -> Option<serde_json::Value>,
) -> Result<ModeChange, cluster::Error> {
    let mut done = ModeChange::default();
    let Some(kind) = Kind::named("scalekit.dev", "Autoscaler") else { return Ok(done) };
    let all = cluster.list_kind(kind, None, "").await?;
    let patches: Vec<_> = all.iter().filter_map(|object| Some((ObjectRef::of(object), patch(object)?))).collect();
    done.unchanged = all.len() - patches.len();
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written: Vec<_> = stream::iter(patches)
        .map(|(object, patch)| {
            let params = &params;
            async move {
                let api = cluster.api(kind, object.namespace.as_deref());
                let written = answered(api.patch(&object.name, params, &Patch::Merge(&patch))).await;
                (object, written)
            }
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    for (object, written) in written {
        match written {
            Ok(_) => done.changed.push(object),
            // Deleted meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => done.failed.push((object, error)),
        }
    }
    Ok(done)
}
