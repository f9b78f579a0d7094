//! The workload that is scaled: finding its kind, reading and writing its scale.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ObjectMeta, PostParams},
    core::{GroupVersion, GroupVersionKind},
    discovery::oneshot,
};

use super::{
    FIELD_MANAGER,
    rivals::writer,
    words::{ApiError, in_time},
};
use crate::autoscaling::api::ScaleTargetRef;

/// Why a target's kind is not known.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// `apiVersion` is neither `version` nor `group/version`.
    #[error("`{0}` is not an API version; write one such as apps/v1")]
    ApiVersion(String),
    /// The API server does not have the kind.
    #[error("the API server has no kind {kind} in {api_version}")]
    Kind {
        /// As it was written.
        api_version: String,
        /// As it was written.
        kind: String,
    },
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Finds and caches kinds.
#[derive(Default)]
pub struct Kinds {
    found: Mutex<HashMap<(String, String), ApiResource>>,
}

impl Kinds {
    /// The kind of a target: the usual ones are known, others are asked for, once.
    ///
    /// # Errors
    ///
    /// When the API server does not have it, or does not answer.
    pub async fn resolve(&self, client: &Client, target: &ScaleTargetRef) -> Result<ApiResource, TargetError> {
        if let Some(plural) = usual(&target.api_version, &target.kind) {
            let kind = GroupVersionKind::gvk("apps", "v1", &target.kind);
            return Ok(ApiResource::from_gvk_with_plural(&kind, plural));
        }
        let key = (target.api_version.clone(), target.kind.clone());
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let version: GroupVersion =
            target.api_version.parse().map_err(|_| TargetError::ApiVersion(target.api_version.clone()))?;
        let missing = || TargetError::Kind { api_version: key.0.clone(), kind: key.1.clone() };
        let group = match in_time(oneshot::pinned_group(client, &version)).await {
            Err(error) if error.is_not_found() => return Err(missing()),
            other => other?,
        };
        let resources = group.versioned_resources(&version.version);
        let (resource, _) =
            resources.into_iter().find(|(resource, _)| resource.kind == target.kind).ok_or_else(missing)?;
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, resource.clone());
        Ok(resource)
    }
}

fn usual(api_version: &str, kind: &str) -> Option<&'static str> {
    match (api_version, kind) {
        ("apps/v1", "Deployment") => Some("deployments"),
        ("apps/v1", "StatefulSet") => Some("statefulsets"),
        ("apps/v1", "ReplicaSet") => Some("replicasets"),
        _ => None,
    }
}

/// A target's scale as it was read.
#[derive(Clone, Debug)]
pub struct ReadScale(Scale);

impl ReadScale {
    /// UID of the target.
    pub fn uid(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }

    /// What is ordered.
    pub fn spec_replicas(&self) -> i32 {
        self.0.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
    }

    /// What is there.
    pub fn status_replicas(&self) -> i32 {
        self.0.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// The selector of its pods, if it has one.
    pub fn selector(&self) -> Option<&str> {
        self.0.status.as_ref()?.selector.as_deref().filter(|selector| !selector.is_empty())
    }
}

/// One target.
pub struct Target {
    scales: Api<DynamicObject>,
    /// Its kind.
    pub kind: ApiResource,
    name: String,
}

impl Target {
    /// The target `name` of a kind.
    pub fn new(client: &Client, namespace: &str, name: &str, kind: ApiResource) -> Self {
        Self { scales: Api::namespaced_with(client.clone(), namespace, &kind), kind, name: name.to_owned() }
    }

    /// Reads the scale.
    pub async fn scale(&self) -> Result<ReadScale, ApiError> {
        let mut scale = in_time(self.scales.get_scale(&self.name)).await.map_err(|error| self.say_right(error))?;
        // It may be kept for each of ten thousand.
        let ObjectMeta { name, namespace, uid, resource_version, .. } = scale.metadata;
        scale.metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(ReadScale(scale))
    }

    /// Orders `replicas`, provided that nobody wrote since `read`.
    pub async fn order(&self, read: &ReadScale, replicas: i32) -> Result<(), ApiError> {
        let mut scale = read.0.clone();
        scale.status = None;
        scale.spec.get_or_insert_default().replicas = Some(replicas);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = in_time(self.scales.replace_scale(&self.name, &params, &scale)).await;
        written.map(drop).map_err(|error| self.say_right(error))
    }

    fn say_right(&self, error: ApiError) -> ApiError {
        let ApiResource { group, plural, .. } = &self.kind;
        error.with_right(|| {
            if group == "apps" {
                return "that right comes with the installation: run `scalekit up` again".to_owned();
            }
            format!(
                "bind a ClusterRole to that account with get, update and patch of {plural}/scale in API group {group:?}: \
                 see «Targets of other kinds» in docs/autoscaler.md"
            )
        })
    }

    /// Who wrote the count last, if it was somebody else. Where that is not known it is «somebody».
    pub async fn foreign_writer(&self) -> Option<String> {
        match in_time(self.scales.get_metadata(&self.name)).await {
            Ok(target) => writer(&target.metadata),
            Err(_) => Some("somebody".to_owned()),
        }
    }
}
