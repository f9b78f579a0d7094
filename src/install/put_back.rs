//! Undoing a write that turned out wrong.

use kube::{api::DynamicObject, core::ObjectMeta};

use super::{InstallError, Installer, Release, run::Outcome};
use crate::{object::ObjectRef, plan};

impl Installer<'_> {
    /// Writes objects as they were read before, and deletes those that were not there. A Secret whose content nobody might
    /// read stays as it is. The inventory goes on to name what was wanted, so that the next run finds it missing and tries
    /// again.
    ///
    /// `false`, and nothing is put back, where another run has written since: where the inventory is not of the version that
    /// was `written`.
    ///
    /// # Errors
    ///
    /// [`InstallError::Read`] with the first request that fails; as [`Installer::lock`].
    pub async fn put_back(
        &self,
        release: &Release,
        written: Option<&str>,
        before: &[DynamicObject],
        new: &[ObjectRef],
    ) -> Result<bool, InstallError> {
        let work = async {
            if written.is_none() || self.recorded(release).await?.as_deref() != written {
                return Ok(false);
            }
            for object in before.iter().filter(|object| is_whole(object)) {
                if let Outcome::Failed(error) = self.put(&ObjectRef::of(object), &declared(object), true).await {
                    return Err(InstallError::Read(error));
                }
            }
            for object in new {
                let live = self.cluster.get(object).await.map_err(InstallError::Read)?;
                if let Some(uid) = live.and_then(|live| live.metadata.uid) {
                    self.delete_one(object, &uid).await?;
                }
            }
            Ok(true)
        };
        self.lock(release).await?.hold(work).await
    }
}

/// Without its content, a Secret would be written empty.
fn is_whole(object: &DynamicObject) -> bool {
    ObjectRef::of(object).kind != "Secret" || plan::is_whole(object)
}

/// What a manifest says of an object that was read: not what the API server adds.
fn declared(live: &DynamicObject) -> DynamicObject {
    let read = live.metadata.clone();
    let metadata = ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        labels: read.labels,
        annotations: read.annotations,
        ..ObjectMeta::default()
    };
    let mut object = DynamicObject { types: live.types.clone(), metadata, data: live.data.clone() };
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    object
}
