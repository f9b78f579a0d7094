//! Finalizers whose controller is gone, taken off by force: only from objects of ours that are on their way out.

use std::collections::BTreeMap;

use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use super::{InstallError, Installer};
use crate::{
    catalog::{FIELD_MANAGER, MANAGED_BY, SCALEKIT, is_ours},
    cluster::{self, INSTALLED, TRACES},
    event::Event,
    object::ObjectRef,
};

/// Finalizers of Kubernetes itself: its controllers are there, and what they guard is real.
const KUBERNETES: [&str; 4] = ["kubernetes.io/", "foregroundDeletion", "orphan", "customresourcecleanup."];

impl Installer<'_> {
    /// Takes the finalizers of others off what is waited for, and off our objects inside the namespaces that are.
    pub(super) async fn take_finalizers_off(&self, waiting: &BTreeMap<ObjectRef, String>) -> Result<(), InstallError> {
        let selector = format!("{MANAGED_BY}={SCALEKIT}");
        let any = ObjectRef::new("v1", "Namespace", None, "");
        // What a workload of ours made holds a namespace as well as the workload does.
        let kinds = [&INSTALLED[..], &TRACES].concat();
        let ours = self.retrying(&any, || self.cluster.list(&kinds, &selector)).await.map_err(InstallError::Read)?;
        let inside = |object: &DynamicObject| {
            object.metadata.namespace.as_deref().is_some_and(|namespace| {
                waiting.keys().any(|waiting| waiting.kind == "Namespace" && waiting.name == namespace)
            })
        };
        let stuck = ours.iter().filter(|object| {
            object.metadata.deletion_timestamp.is_some()
                && is_ours(*object)
                && (inside(object) || waiting.contains_key(&ObjectRef::of(object)))
        });
        for object in stuck {
            self.take_off(object).await?;
        }
        Ok(())
    }

    async fn take_off(&self, object: &DynamicObject) -> Result<(), InstallError> {
        let (kept, others): (Vec<&String>, Vec<&String>) =
            object.finalizers().iter().partition(|finalizer| KUBERNETES.iter().any(|own| finalizer.starts_with(own)));
        if others.is_empty() {
            return Ok(());
        }
        let reference = ObjectRef::of(object);
        let metadata = json!({"uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": kept});
        let patch = json!({"metadata": metadata});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let taken = self
            .retrying(&reference, || async {
                let api = self.cluster.api_for(&reference)?;
                api.patch(&reference.name, &params, &Patch::Merge(&patch)).await.map_err(cluster::Error::from)
            })
            .await;
        match taken {
            Ok(_) => {
                let names: Vec<&str> = others.iter().map(|name| name.as_str()).collect();
                let message =
                    format!("took {} off {reference}, by force: what it was to do is not done", names.join(", "));
                self.reporter.report(Event::Note { message });
                Ok(())
            }
            // It went, or its controller came back meanwhile.
            Err(cluster::Error::NotFound { .. } | cluster::Error::Conflict { .. }) => Ok(()),
            Err(source) => Err(InstallError::Delete { object: reference, source }),
        }
    }
}
