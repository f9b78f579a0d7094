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
    rivals::{Writer, writer},
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
    /// The API server had the kind, and does not have it any more.
    #[error(
        "there is no kind {kind} in {api_version} any more: its CustomResourceDefinition, or that version of it, is gone"
    )]
    Gone {
        /// As it was written.
        api_version: String,
        /// As it was written.
        kind: String,
    },
    /// Objects of the kind have no scale subresource.
    #[error("{0} have no scale subresource: nothing can order how many replicas there are")]
    NoScale(String),
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl TargetError {
    /// Whether there is nothing that could be scaled, rather than that it could not be read just now.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Api(error) => error.is_not_found(),
            Self::ApiVersion(_) | Self::Kind { .. } | Self::Gone { .. } | Self::NoScale(_) => true,
        }
    }

    /// The same of a scale target: with the field of the spec and what to do, where it is the spec that names what is not
    /// there.
    pub fn of_target(&self) -> String {
        let (field, remedy) = match self {
            // It says what to write.
            Self::ApiVersion(_) => ("apiVersion", None),
            Self::Kind { .. } => (
                "kind",
                Some("install what defines it, or write kind and apiVersion as `kubectl api-resources` lists them"),
            ),
            Self::Gone { .. } => {
                ("kind", Some("install it again, after which this goes on by itself, or delete this Autoscaler"))
            }
            Self::NoScale(_) => (
                "kind",
                Some(
                    "name what owns such objects and can be scaled, such as a Deployment, or give their definition a \
                     scale subresource",
                ),
            ),
            Self::Api(error) if error.is_not_found() => {
                ("name", Some("make it, or write the name of one that is in this namespace"))
            }
            Self::Api(_) => return self.to_string(),
        };
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        format!("spec.scaleTargetRef.{field}: {self}{remedy}")
    }
}

#[derive(Clone)]
struct Found {
    kind: ApiResource,
    has_scale: bool,
}

/// Finds and caches kinds.
#[derive(Default)]
pub struct Kinds {
    /// `None` is one that was there and is gone.
    found: Mutex<HashMap<(String, String), Option<Found>>>,
}

impl Kinds {
    /// The kind of an object: the usual ones are known, others are asked for, once.
    ///
    /// # Errors
    ///
    /// When the API server does not have it, or does not answer.
    pub async fn resolve(&self, client: &Client, object: &ScaleTargetRef) -> Result<ApiResource, TargetError> {
        match self.known(object) {
            Some(found) => Ok(found.kind),
            None => Ok(self.discover(client, object).await?.kind),
        }
    }

    /// The kind of a target, which has a scale. One that had none is asked for anew: its definition may have got one.
    ///
    /// # Errors
    ///
    /// When the API server does not have it, does not answer, or objects of the kind have no scale.
    pub async fn scalable(&self, client: &Client, target: &ScaleTargetRef) -> Result<ApiResource, TargetError> {
        let found = match self.known(target).filter(|found| found.has_scale) {
            Some(found) => found,
            None => self.discover(client, target).await?,
        };
        let ApiResource { group, plural, .. } = &found.kind;
        if !found.has_scale {
            return Err(TargetError::NoScale(if group.is_empty() {
                plural.clone()
            } else {
                format!("{plural}.{group}")
            }));
        }
        Ok(found.kind)
    }

    /// Asks for the kind of a target anew, whose scale is not there though its kind was found: that may be gone since.
    ///
    /// # Errors
    ///
    /// As [`Kinds::scalable`]; a kind that is gone is [`TargetError::Gone`], also the next time that it is asked for.
    pub async fn again(&self, client: &Client, target: &ScaleTargetRef) -> Result<(), TargetError> {
        if usual(&target.api_version, &target.kind).is_none() {
            self.discover(client, target).await?;
            self.scalable(client, target).await?;
        }
        Ok(())
    }

    fn known(&self, object: &ScaleTargetRef) -> Option<Found> {
        if let Some(plural) = usual(&object.api_version, &object.kind) {
            let kind = GroupVersionKind::gvk("apps", "v1", &object.kind);
            return Some(Found { kind: ApiResource::from_gvk_with_plural(&kind, plural), has_scale: true });
        }
        let key = (object.api_version.clone(), object.kind.clone());
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().flatten()
    }

    async fn discover(&self, client: &Client, target: &ScaleTargetRef) -> Result<Found, TargetError> {
        let key = (target.api_version.clone(), target.kind.clone());
        let unreadable = || TargetError::ApiVersion(target.api_version.clone());
        let version: GroupVersion = target.api_version.parse().map_err(|_| unreadable())?;
        // kube takes what is behind the first slash for the version, whatever it is.
        if version.version.is_empty() || version.version.contains('/') {
            return Err(unreadable());
        }
        let missing = || {
            let (api_version, kind) = key.clone();
            match self.found.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&key) {
                Some(known) => {
                    *known = None;
                    TargetError::Gone { api_version, kind }
                }
                None => TargetError::Kind { api_version, kind },
            }
        };
        let group = match in_time(oneshot::pinned_group(client, &version)).await {
            Err(error) if error.is_not_found() => return Err(missing()),
            other => other?,
        };
        let resources = group.versioned_resources(&version.version);
        let (kind, capabilities) =
            resources.into_iter().find(|(resource, _)| resource.kind == target.kind).ok_or_else(missing)?;
        let has_scale = capabilities.subresources.iter().any(|(subresource, _)| subresource.plural == "scale");
        let found = Found { kind, has_scale };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Some(found.clone()));
        Ok(found)
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

    /// Who wrote the count last, if it was somebody else. Where that cannot be read, or nothing says it, it is «somebody», if
    /// it was `certain`ly not us.
    pub async fn foreign_writer(&self, certain: bool) -> Option<String> {
        let written = in_time(self.scales.get_metadata(&self.name)).await;
        match written.map_or(Writer::Unknown, |target| writer(&target.metadata)) {
            Writer::Ours => None,
            Writer::Another(who) => Some(who),
            Writer::Unknown => certain.then(|| "somebody".to_owned()),
        }
    }
}
