//! Bringing a definition to other versions without losing what is stored in the old ones.

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::{Duration, sleep};

use super::Installer;
use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY, Kind},
    event::Event,
    object::ObjectRef,
    plan,
};

/// The API server learns of a changed definition by a watch of its own, a moment after it has taken it. What is written
/// in that moment is stored in the old version.
const LEARNED_WITHIN: Duration = Duration::from_secs(2);

impl Installer<'_> {
    /// Stores every object of a definition anew, in the version in which it is stored from now on, and then says so in
    /// the definition's status: only after that may an older version go.
    pub(super) async fn store_anew(&self, definition: &DynamicObject) -> Result<(), cluster::Error> {
        let object = ObjectRef::of(definition);
        let text = |path: &str| definition.data.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_default();
        let Some(version) = plan::storage_version(definition) else { return Ok(()) };
        let Some(kind) = Kind::named(text("/spec/group"), text("/spec/names/kind")) else { return Ok(()) };
        self.reporter.report(Event::InProgress {
            object: object.clone(),
            why: format!("what is stored in an older version is stored anew in {version}"),
        });
        sleep(LEARNED_WITHIN).await;
        let all = self.cluster.api(kind, None);
        let found = self.retrying(&object, || async { Ok(all.list(&ListParams::default()).await?) }).await?;
        stream::iter(found.items)
            .map(|stored| self.store_one(kind, stored))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        let status = json!({"status": {"storedVersions": [version]}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.retrying(&object, || async {
            let api = self.cluster.api_for(&object)?;
            api.patch_status(&object.name, &params, &Patch::Merge(&status)).await.map(|_| ()).map_err(Into::into)
        })
        .await
    }

    /// Replaces an object by itself. Who changed or deleted it meanwhile has done what was to be done.
    async fn store_one(&self, kind: &Kind, mut stored: DynamicObject) -> Result<(), cluster::Error> {
        stored.types = Some(kube::core::TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_owned() });
        let reference = ObjectRef::of(&stored);
        let api = self.cluster.api(kind, stored.metadata.namespace.as_deref());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let replaced = self
            .retrying(&reference, || async { Ok(api.replace(&stored.name_any(), &params, &stored).await.map(|_| ())?) })
            .await;
        match replaced {
            Err(cluster::Error::NotFound { .. } | cluster::Error::Conflict { .. }) => Ok(()),
            other => other,
        }
    }
}
