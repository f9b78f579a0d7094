//! Reading what is there: LISTs by label, in parallel.

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DynamicObject, ListParams};

use super::{Cluster, Error, Kind};
use crate::object::ObjectRef;

/// Requests in flight at once. More gains nothing on a small API server, as measured.
pub const CONCURRENCY: usize = 16;

/// An object that was read, with its type filled in (items of a LIST come without).
pub type Listed = DynamicObject;

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
        let items = if kind.kind == "Secret" {
            api.list_metadata(&params).await.map(|list| list.items.into_iter().map(metadata_only).collect())
        } else {
            api.list(&params).await.map(|list| list.items)
        };
        match items.map_err(Error::from) {
            Ok(items) => Ok(items.into_iter().map(|item| typed(item, kind)).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads one object, or `None` when it is not there.
    ///
    /// # Errors
    ///
    /// When the request fails.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Listed>, Error> {
        let kind = Kind::of(object).ok_or_else(|| Error::UnknownKind { object: object.clone() })?;
        match self.api_for(object)?.get_opt(&object.name).await.map_err(Error::from) {
            Ok(found) => Ok(found.map(|found| typed(found, kind))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn metadata_only(partial: kube::core::PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: None, metadata: partial.metadata, data: serde_json::json!({}) }
}

fn typed(mut object: DynamicObject, kind: &Kind) -> DynamicObject {
    object.types = Some(kube::core::TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_owned() });
    object
}
