//! Looking for what is left after a removal.

use std::collections::BTreeSet;

use kube::{ResourceExt, api::DynamicObject};
use serde::Serialize;

use super::{InstallError, Installer, volumes::claim_of};
use crate::{
    catalog::{Component, FIELD_MANAGER, MANAGED_BY, NAME, SCALEKIT, is_ours},
    cluster::{INSTALLED, Kind, TRACES},
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
    /// Everything of ours that is left, without what was kept as data on purpose: by label over all kinds, by what the
    /// inventories listed before, by who has applied its fields, and the volumes of our namespaces.
    ///
    /// # Errors
    ///
    /// [`InstallError::Read`].
    pub async fn left(
        &self,
        teardown: &Teardown,
        recorded: &[(ObjectRef, Option<String>)],
    ) -> Result<Vec<Left>, InstallError> {
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
        let unlabelled = self.left_without_label(teardown, recorded).await?;
        let unknown = |one: &Left| !left.iter().any(|left| left.object.same_object(&one.object));
        let unlabelled: Vec<Left> = unlabelled.into_iter().filter(unknown).collect();
        left.extend(unlabelled);
        left.extend(
            self.traces(teardown)
                .await?
                .iter()
                .map(|trace| Left { object: ObjectRef::of(trace), why: "it has not ended yet".to_owned() }),
        );
        Ok(left)
    }

    /// What an earlier removal has left that no label tells of any more, whether it said so or died before its proof. What
    /// is on its way out by then is waited for.
    ///
    /// # Errors
    ///
    /// [`InstallError::Read`].
    pub async fn left_before(&self, teardown: &Teardown) -> Result<Vec<Left>, InstallError> {
        self.until_volumes_are_gone(teardown).await?;
        self.left_without_label(teardown, &[]).await
    }

    async fn left_without_label(
        &self,
        teardown: &Teardown,
        recorded: &[(ObjectRef, Option<String>)],
    ) -> Result<Vec<Left>, InstallError> {
        let unlabelled = self.unlabelled(recorded).await?;
        let unlabelled = unlabelled.iter().map(ObjectRef::of);
        let is_kept = |object: &ObjectRef| teardown.keep.iter().any(|kept| kept.object == *object);
        let why = "scalekit made it, and somebody took its label off: delete it by hand";
        let mut left: Vec<Left> =
            unlabelled.filter(|object| !is_kept(object)).map(|object| Left { object, why: why.to_owned() }).collect();
        for volume in self.volumes_left_by(teardown).await? {
            let claim = claim_of(&volume).cloned().unwrap_or_default();
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

    /// What scalekit made and does not carry its label any more: never deleted, since that is how somebody takes an object
    /// over, and never passed over in silence. By the inventories, where one was there, and by the managed fields.
    async fn unlabelled(&self, recorded: &[(ObjectRef, Option<String>)]) -> Result<Vec<DynamicObject>, InstallError> {
        let applied = self.looking(|| self.cluster.applied_by(&INSTALLED, FIELD_MANAGER)).await?;
        let mut found: Vec<DynamicObject> = applied.into_iter().filter(|object| !is_ours(object)).collect();
        let unknown = |object: &&ObjectRef| {
            Kind::of(object).is_some() && !found.iter().any(|known| ObjectRef::of(known).same_object(object))
        };
        let unknown: Vec<ObjectRef> = recorded.iter().map(|(object, _)| object).filter(unknown).cloned().collect();
        // Made anew by somebody else under the same name, it is theirs.
        let uids: BTreeSet<&str> = recorded.iter().filter_map(|(_, uid)| uid.as_deref()).collect();
        let is_it = |object: &DynamicObject| object.metadata.uid.as_deref().is_some_and(|uid| uids.contains(uid));
        let there = self.looking(|| self.get_all(unknown.clone())).await?;
        found.extend(there.into_iter().filter(|object| !is_ours(object) && is_it(object)));
        Ok(found)
    }

    /// What came into being through a workload that is deleted, and carries its name: pods and replica sets.
    pub(super) async fn traces(&self, teardown: &Teardown) -> Result<Vec<DynamicObject>, InstallError> {
        let mut traces = self.traced(&format!("{MANAGED_BY}={SCALEKIT}")).await?;
        traces.retain(|trace| {
            let name = trace.metadata.labels.as_ref().and_then(|labels| labels.get(NAME));
            teardown.delete.iter().map(|target| &target.object).any(|object| {
                object.namespace == trace.metadata.namespace && name == Some(&object.name) && object.group == "apps"
            })
        });
        Ok(traces)
    }

    /// The same through one component, whether what made it is still there or an earlier run has deleted that.
    pub(super) async fn traces_of(&self, component: Component) -> Result<Vec<DynamicObject>, InstallError> {
        self.traced(&format!("{MANAGED_BY}={SCALEKIT},{NAME}={}", component.name())).await
    }

    async fn traced(&self, selector: &str) -> Result<Vec<DynamicObject>, InstallError> {
        self.looking(|| self.cluster.list(&TRACES, selector)).await
    }
}
