//! Looking for what is left after a removal.

use kube::{ResourceExt, api::DynamicObject};
use serde::Serialize;

use super::{InstallError, Installer};
use crate::{
    catalog::{MANAGED_BY, NAME, SCALEKIT},
    cluster::TRACES,
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
        left.extend(
            self.traces(teardown)
                .await?
                .iter()
                .map(|trace| Left { object: ObjectRef::of(trace), why: "it has not ended yet".to_owned() }),
        );
        for volume in self.volumes_of(&teardown.emptied_namespaces()).await? {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone()).unwrap_or_default();
            if teardown.keeps_claim(&claim.namespace.unwrap_or_default(), &claim.name.unwrap_or_default()) {
                continue;
            }
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

    /// What came into being through a workload that is deleted, and carries its name: pods and replica sets.
    pub(super) async fn traces(&self, teardown: &Teardown) -> Result<Vec<DynamicObject>, InstallError> {
        let object = ObjectRef::new("v1", "Pod", None, "");
        let selector = format!("{MANAGED_BY}={SCALEKIT}");
        let mut traces =
            self.retrying(&object, || self.cluster.list(&TRACES, &selector)).await.map_err(InstallError::Read)?;
        traces.retain(|trace| {
            let name = trace.metadata.labels.as_ref().and_then(|labels| labels.get(NAME));
            teardown.delete.iter().map(|target| &target.object).any(|object| {
                object.namespace == trace.metadata.namespace && name == Some(&object.name) && object.group == "apps"
            })
        });
        Ok(traces)
    }
}
