//! The volumes of our claims: whose they are, and what becomes of them after a removal.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use tokio::time::{Instant, sleep};

use super::{InstallError, Installer, delete::LOOK_AGAIN};
use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    cluster::Kind,
    event::Event,
    object::ObjectRef,
    plan::Teardown,
};

impl Installer<'_> {
    /// A volume goes after its claim, by its provisioner; one whose policy is Retain stays, and the proof says so.
    pub(super) async fn until_volumes_are_gone(&self, teardown: &Teardown) -> Result<(), InstallError> {
        let began = Instant::now();
        loop {
            let left: Vec<PersistentVolume> = self
                .volumes_left_by(teardown)
                .await?
                .into_iter()
                .filter(|volume| {
                    volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref())
                        == Some("Delete")
                })
                .collect();
            // A provisioner that does not come back within half a minute is not there; the proof names its volumes.
            if left.is_empty() || self.expired() || began.elapsed() > Duration::from_secs(30) {
                return Ok(());
            }
            for volume in &left {
                let object = ObjectRef::new("v1", "PersistentVolume", None, &volume.name_any());
                self.reporter.report(Event::InProgress { object, why: "its provisioner is removing it".to_owned() });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The volumes that a removal leaves to their provisioners: those of the namespaces that it empties, but for the ones
    /// of claims that somebody else still has in them.
    pub(super) async fn volumes_left_by(&self, teardown: &Teardown) -> Result<Vec<PersistentVolume>, InstallError> {
        let mut volumes = self.volumes_of(&teardown.emptied_namespaces()).await?;
        let Some(kind) = Kind::named("", "PersistentVolumeClaim").filter(|_| !volumes.is_empty()) else {
            return Ok(volumes);
        };
        let others = format!("{MANAGED_BY}!={SCALEKIT}");
        let claims = self.looking(|| self.cluster.list_kind(kind, None, &others)).await?;
        volumes.retain(|volume| !claims.iter().any(|claim| is_volume_of(volume, claim)));
        Ok(volumes)
    }

    /// The volumes that are bound to claims in these namespaces.
    pub(super) async fn volumes_of(&self, namespaces: &[String]) -> Result<Vec<PersistentVolume>, InstallError> {
        let volumes: Api<PersistentVolume> = Api::all(self.cluster.client().clone());
        let object = ObjectRef::new("v1", "PersistentVolume", None, "");
        let all = self
            .retrying(&object, || async { Ok(volumes.list(&ListParams::default()).await?) })
            .await
            .map_err(InstallError::Read)?;
        Ok(all
            .items
            .into_iter()
            .filter(|volume| {
                let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
                claim.and_then(|claim| claim.namespace.as_ref()).is_some_and(|namespace| namespaces.contains(namespace))
            })
            .collect())
    }
}

/// Whether a volume belongs to this very claim, and not to one that had its name before.
fn is_volume_of(volume: &PersistentVolume, claim: &DynamicObject) -> bool {
    volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(|bound| {
        bound.namespace == claim.metadata.namespace
            && bound.name == claim.metadata.name
            && (bound.uid.is_none() || bound.uid == claim.metadata.uid)
    })
}
