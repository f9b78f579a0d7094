//! Reading what is there: LISTs by label, in parallel.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ObjectList, Request},
    discovery::{ApiGroup, ApiResource, Discovery, Scope, verbs},
};

use tokio::time::timeout;

use super::{Cluster, Error, Kind};
use crate::object::{ObjectRef, Written};

/// Requests in flight at once. More gains nothing on a small API server, as measured.
pub const CONCURRENCY: usize = 16;

/// Kinds that Kubernetes makes by itself, without naming an owner: what happened, and who is behind a Service.
const DERIVED: [&str; 3] = ["Event", "Endpoints", "EndpointSlice"];

/// An object that was read, with its type filled in (items of a LIST come without).
pub type Listed = DynamicObject;

/// How long one answer may take: longer than a webhook may, shorter than anybody watches a silent terminal.
const ANSWER: Duration = Duration::from_secs(20);

/// Waits for the answer to one request that is no watch, but not for ever.
///
/// # Errors
///
/// The request's own, in our words; [`Error::Unreachable`] when there is no answer in time.
pub async fn answered<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match timeout(ANSWER, request).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::Unreachable { cause: format!("no answer within {} s", ANSWER.as_secs()) }),
    }
}

impl Cluster {
    /// Lists the objects of each kind that carry the label selector, in all namespaces.
    ///
    /// A kind that the cluster does not have (our CRD before the first install) gives nothing. Secrets are
    /// read without their content.
    ///
    /// # Errors
    ///
    /// The first request that fails.
    pub async fn list(&self, kinds: &[Kind], selector: &str) -> Result<Vec<Listed>, Error> {
        let lists: Vec<Vec<Listed>> = stream::iter(kinds.to_vec())
            .map(|kind| async move { self.list_kind(&kind, None, selector).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Lists the objects of one kind, in one namespace or everywhere.
    ///
    /// # Errors
    ///
    /// When the request fails; a kind that the cluster does not have is not a failure.
    pub async fn list_kind(&self, kind: &Kind, namespace: Option<&str>, selector: &str) -> Result<Vec<Listed>, Error> {
        let params = ListParams::default().labels(selector);
        let api = self.api(kind, namespace);
        let items: Result<Vec<Listed>, Error> = if kind.kind == "Secret" {
            answered(api.list_metadata(&params)).await.map(|list| list.items.into_iter().map(metadata_only).collect())
        } else {
            let request = Request::new(api.resource_url()).list(&params).map_err(kube::Error::BuildRequest)?;
            let list = answered(self.client.request::<ObjectList<Written>>(request)).await;
            list.map(|list| list.items.into_iter().map(|Written(item)| item).collect())
        };
        match items {
            Ok(items) => Ok(items.into_iter().map(|item| typed(item, kind)).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Lists the names of everything in these namespaces that matches the selector, of whatever kind: what the API
    /// server serves is asked for, not assumed. Left out is what Kubernetes derives from other objects by itself.
    ///
    /// # Errors
    ///
    /// The first request that fails. A namespace must not be judged by half of what is in it.
    pub async fn list_everything(&self, namespaces: &[String], selector: &str) -> Result<Vec<Listed>, Error> {
        let discovery = answered(Discovery::new(self.client.clone()).run_aggregated()).await?;
        let resources: Vec<ApiResource> = discovery
            .groups()
            .flat_map(ApiGroup::recommended_resources)
            .filter(|(resource, capabilities)| {
                capabilities.scope == Scope::Namespaced
                    && [verbs::LIST, verbs::DELETE].iter().all(|verb| capabilities.supports_operation(verb))
                    && !DERIVED.contains(&resource.kind.as_str())
            })
            .map(|(resource, _)| resource)
            .collect();
        let wanted: Vec<(&ApiResource, &String)> = resources
            .iter()
            .flat_map(|resource| namespaces.iter().map(move |namespace| (resource, namespace)))
            .collect();
        let params = ListParams::default().labels(selector);
        let lists: Vec<Vec<Listed>> = stream::iter(wanted)
            .map(|(resource, namespace)| {
                let params = &params;
                async move {
                    let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
                    let listed = listed_metadata(&api, params).await?;
                    let typed = listed.map(|object| with_type(object, &resource.api_version, &resource.kind));
                    Ok::<_, Error>(typed.collect())
                }
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Lists what of these kinds, anywhere, has fields that this manager has applied; names and metadata only.
    ///
    /// # Errors
    ///
    /// The first request that fails; a kind that the cluster does not have is not a failure.
    pub async fn applied_by(&self, kinds: &[Kind], manager: &str) -> Result<Vec<Listed>, Error> {
        let params = &ListParams::default();
        let lists: Vec<Vec<Listed>> = stream::iter(kinds.to_vec())
            .map(|kind| async move {
                let applied = |object: &DynamicObject| {
                    let mut entries = object.metadata.managed_fields.iter().flatten();
                    entries.any(|entry| {
                        entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
                    })
                };
                let listed = listed_metadata(&self.api(&kind, None), params).await?;
                Ok::<_, Error>(listed.filter(applied).map(|object| typed(object, &kind)).collect())
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Reads one object, or `None` when it is not there.
    ///
    /// # Errors
    ///
    /// When the request fails.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Listed>, Error> {
        let kind = Kind::of(object).ok_or_else(|| Error::UnknownKind { object: object.clone() })?;
        match answered(self.api_for(object)?.get_opt(&object.name)).await {
            Ok(found) => Ok(found.map(|found| typed(found, kind))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What is there, by its metadata. A kind that is gone between two questions, or was never meant to be listed, has none.
async fn listed_metadata(
    api: &Api<DynamicObject>,
    params: &ListParams,
) -> Result<impl Iterator<Item = DynamicObject> + use<>, Error> {
    let items = match answered(api.list_metadata(params)).await {
        Ok(list) => list.items,
        Err(Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(items.into_iter().map(metadata_only))
}

fn metadata_only(partial: kube::core::PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: None, metadata: partial.metadata, data: serde_json::json!({}) }
}

fn typed(object: DynamicObject, kind: &Kind) -> DynamicObject {
    with_type(object, &kind.api_version(), kind.kind)
}

fn with_type(mut object: DynamicObject, api_version: &str, kind: &str) -> DynamicObject {
    object.types = Some(kube::core::TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() });
    object
}
