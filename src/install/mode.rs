//! The mode of all Autoscalers at once: to Recommend and back, for an incident.
//!
//! The one thing that is written into objects of users, and it is remembered in the object itself: who runs this again,
//! or on another machine, takes up from there.

use futures::{StreamExt, stream};
use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY, Cluster, Kind, answered},
    object::ObjectRef,
};

/// The annotation that remembers the mode from before.
pub const MODE_BEFORE: &str = "scalekit.dev/mode-before-pause";
const AUTO: &str = "Auto";
const RECOMMEND: &str = "Recommend";
/// How often one is written that others change at the same time: the scaler writes its status at most once a look.
const TRIES: usize = 5;

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
    patch: impl Fn(&DynamicObject) -> Option<Value>,
) -> Result<ModeChange, cluster::Error> {
    let mut done = ModeChange::default();
    let Some(kind) = Kind::named("scalekit.dev", "Autoscaler") else { return Ok(done) };
    let all = cluster.list_kind(kind, None, "").await?;
    let written: Vec<_> = stream::iter(all)
        .map(|object| {
            let patch = &patch;
            async move { (ObjectRef::of(&object), write(cluster, kind, object, patch).await) }
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    for (object, written) in written {
        match written {
            Ok(true) => done.changed.push(object),
            Ok(false) => done.unchanged += 1,
            // Deleted meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => done.failed.push((object, error)),
        }
    }
    Ok(done)
}

/// Patches the object as it was read. Where it was changed since, it is read again and decided about anew: a mode that somebody
/// set meanwhile stands. Says whether there was anything to change.
async fn write(
    cluster: &Cluster,
    kind: &Kind,
    mut object: DynamicObject,
    patch: impl Fn(&DynamicObject) -> Option<Value>,
) -> Result<bool, cluster::Error> {
    let api = cluster.api(kind, object.namespace().as_deref());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut tries = TRIES;
    while let Some(mut change) = patch(&object) {
        tries -= 1;
        change["metadata"]["resourceVersion"] = json!(object.resource_version());
        match answered(api.patch(&object.name_any(), &params, &Patch::Merge(&change))).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_overtaken() && tries > 0 => {}
            Err(error) => return Err(error),
        }
        object = answered(api.get(&object.name_any())).await?;
    }
    Ok(false)
}
