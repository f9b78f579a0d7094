//! Small writes to objects that are there: a nudge for a pod's kubelet, a value in a Secret.

use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use super::Installer;
use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, answered},
};

/// On a pod: when it was last nudged. The value means nothing; that it changes makes the kubelet sync the pod.
const NUDGED: &str = "scalekit.dev/configured-at";

impl Installer<'_> {
    /// Makes the kubelet bring changed ConfigMaps and Secrets into the pods with these labels at once; by itself it looks
    /// once in a minute or two.
    ///
    /// # Errors
    ///
    /// The first request that fails. What was changed gets into the pods all the same, later.
    pub async fn nudge(&self, namespace: &str, selector: &str, at: &str) -> Result<(), cluster::Error> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), namespace);
        let patch = json!({"metadata": {"annotations": {NUDGED: at}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        for pod in answered(pods.list_metadata(&ListParams::default().labels(selector))).await?.items {
            let name = pod.metadata.name.unwrap_or_default();
            answered(pods.patch_metadata(&name, &params, &Patch::Merge(&patch))).await?;
        }
        Ok(())
    }

    /// Sets values of a Secret that is there, and takes away those that are `None`; the others stay.
    ///
    /// # Errors
    ///
    /// When the request fails.
    pub async fn set_secret(
        &self,
        namespace: &str,
        name: &str,
        values: &[(&str, Option<&str>)],
    ) -> Result<(), cluster::Error> {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client().clone(), namespace);
        let data: serde_json::Map<String, serde_json::Value> = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value.map(|value| ByteString(value.as_bytes().to_vec())))))
            .collect();
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        answered(secrets.patch(name, &params, &Patch::Merge(&json!({"data": data})))).await?;
        Ok(())
    }
}
