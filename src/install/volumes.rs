//! The volumes of our claims: whose they are, and what becomes of them after a removal.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use tokio::time::{Instant, sleep};

use super::{InstallError, Installer, delete::LOOK_AGAIN};
use crate::{
    catalog::{DATA_CLAIMS, MANAGED_BY, SCALEKIT, is_ours},
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
    /// of claims that somebody else still has in them; and those that an earlier removal has left, of claims of ours that
    /// are gone. In a namespace of somebody else's the name of a claim alone says nothing.
    pub(super) async fn volumes_left_by(&self, teardown: &Teardown) -> Result<Vec<PersistentVolume>, InstallError> {
        let emptied = teardown.emptied_namespaces();
        let is_emptied = |claim: &ObjectReference| claim.namespace.as_ref().is_some_and(|it| emptied.contains(it));
        // One that was made for a claim that never came has no UID of it.
        let is_named_so = |claim: &ObjectReference| {
            claim.uid.is_some() && claim.name.as_deref().is_some_and(|name| DATA_CLAIMS.contains(&name))
        };
        let mut volumes = self.volumes_of(|claim| is_emptied(claim) || is_named_so(claim)).await?;
        let kinds = ["PersistentVolumeClaim", "Namespace"].map(|kind| Kind::named("", kind));
        let ([Some(claim), Some(namespace)], false) = (kinds, volumes.is_empty()) else { return Ok(volumes) };
        let others = format!("{MANAGED_BY}!={SCALEKIT}");
        let claims = self.looking(|| self.cluster.list_kind(claim, None, "")).await?;
        let theirs = self.looking(|| self.cluster.list_kind(namespace, None, &others)).await?;
        volumes.retain(|volume| {
            let Some(bound) = claim_of(volume) else { return false };
            match claims.iter().find(|claim| is_claim_of(claim, bound)) {
                Some(claim) => is_emptied(bound) && is_ours(claim),
                None => is_emptied(bound) || !theirs.iter().any(|it| it.metadata.name == bound.namespace),
            }
        });
        Ok(volumes)
    }

    /// The volumes that are bound to such claims.
    pub(super) async fn volumes_of(
        &self,
        wanted: impl Fn(&ObjectReference) -> bool,
    ) -> Result<Vec<PersistentVolume>, InstallError> {
        let volumes: Api<PersistentVolume> = Api::all(self.cluster.client().clone());
        let object = ObjectRef::new("v1", "PersistentVolume", None, "");
        let all = self
            .retrying(&object, || async { Ok(volumes.list(&ListParams::default()).await?) })
            .await
            .map_err(InstallError::Read)?;
        Ok(all.items.into_iter().filter(|volume| claim_of(volume).is_some_and(&wanted)).collect())
    }
}

/// The claim that a volume is bound to.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether a volume is bound to this very claim, and not to one that had its name before.
fn is_claim_of(claim: &DynamicObject, bound: &ObjectReference) -> bool {
    bound.namespace == claim.metadata.namespace
        && bound.name == claim.metadata.name
        && (bound.uid.is_none() || bound.uid == claim.metadata.uid)
}
