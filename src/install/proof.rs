//! Looking for what is left after a removal.

use kube::ResourceExt;
use serde::Serialize;

use super::{InstallError, Installer};
use crate::{
    object::ObjectRef,
    plan::{Kept, Teardown},
};

/// Something of ours that is still in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Which object.
    pub object: ObjectRef,
    /// Why it is still there, as far as that can be told.
    pub why: String,
}

impl Installer<'_> {
    /// Everything of ours that is left, without what was kept as data on purpose: by label over all kinds, and
    /// the volumes of our namespaces.
    ///
    /// # Errors
    ///
    /// [`InstallError::Read`].
    pub async fn left(&self, teardown: &Teardown) -> Result<Vec<Left>, InstallError> {
        let survey = self.survey().await?;
        let kept = |object: &ObjectRef| teardown.keep.iter().find(|kept| kept.object == *object);
        let mut left: Vec<Left> = survey
            .ours
            .iter()
            .map(ObjectRef::of)
            .filter_map(|object| match kept(&object) {
                Some(Kept { data: true, .. }) => None,
                Some(Kept { why, .. }) => Some(Left { object, why: why.clone() }),
                None => Some(Left { object, why: "it was not deleted".to_owned() }),
            })
            .collect();
        let namespaces: Vec<String> = teardown
            .delete
            .iter()
            .filter(|target| target.object.kind == "Namespace")
            .map(|target| target.object.name.clone())
            .collect();
        for volume in self.volumes_of(&namespaces).await? {
            let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.clone());
            left.push(Left {
                object: ObjectRef::new("v1", "PersistentVolume", None, &volume.name_any()),
                why: match policy.as_deref() {
                    Some("Retain") => {
                        "its reclaim policy is Retain: delete it by hand when its data is not needed".to_owned()
                    }
                    _ => "its provisioner has not removed it".to_owned(),
                },
            });
        }
        Ok(left)
    }
}
