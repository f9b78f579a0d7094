//! What the API server would say, asked before anything is written.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde::Serialize;

use super::Installer;
use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY},
    object::ObjectRef,
    plan::{Change, ChangeSet},
};

/// A namespace that every cluster has: members of one that is not there yet are tried in it.
const STAND_IN: &str = "default";

/// How an object was checked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "checked", rename_all = "kebab-case")]
pub enum Checked {
    /// The API server would take it as it is.
    Accepted {
        /// The namespace in which it was tried, where its own is not there yet. Schema and defaults are checked so;
        /// quotas and pod security levels of its own namespace are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        tried_in: Option<&'static str>,
    },
    /// The API server would refuse it.
    Refused {
        /// In the API server's words.
        why: String,
    },
    /// Somebody else manages fields of it.
    Conflict {
        /// Field and the API server's sentence about its owner.
        #[serde(rename = "conflicts")]
        fields: Vec<(String, String)>,
    },
    /// It could not be tried.
    NotTried {
        /// Why.
        why: String,
    },
}

impl Installer<'_> {
    /// Asks the API server about everything that would be created or configured. Writes nothing: each request is a
    /// dry run, and none takes fields from another manager.
    pub async fn dry_run(&self, desired: &[DynamicObject], changes: &ChangeSet) -> Vec<(ObjectRef, Checked)> {
        let to_write: BTreeSet<&ObjectRef> = changes
            .items
            .iter()
            .filter(|item| matches!(item.change, Change::Create | Change::Configure { .. }))
            .map(|item| &item.object)
            .collect();
        let new_namespaces: BTreeSet<&str> = changes
            .items
            .iter()
            .filter(|item| item.object.kind == "Namespace" && item.change == Change::Create)
            .map(|item| item.object.name.as_str())
            .collect();
        let wanted = desired.iter().filter(|object| to_write.contains(&ObjectRef::of(object)));
        stream::iter(wanted)
            .map(|object| {
                let new_namespaces = &new_namespaces;
                async move {
                    let reference = ObjectRef::of(object);
                    let stand_in =
                        reference.namespace.as_deref().is_some_and(|namespace| new_namespaces.contains(namespace));
                    let checked = self.try_one(object, &reference, stand_in).await;
                    (reference, checked)
                }
            })
            .buffered(CONCURRENCY)
            .collect()
            .await
    }

    async fn try_one(&self, object: &DynamicObject, reference: &ObjectRef, stand_in: bool) -> Checked {
        let mut object = object.clone();
        let mut target = reference.clone();
        if stand_in {
            target.namespace = Some(STAND_IN.to_owned());
            object.metadata.namespace = target.namespace.clone();
        }
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.dry_run = true;
        let tried = self
            .retrying(reference, || async {
                let api = self.cluster.api_for(&target)?;
                api.patch(&target.name, &params, &Patch::Apply(&object)).await.map_err(cluster::Error::from)
            })
            .await;
        match tried {
            Ok(_) => Checked::Accepted { tried_in: stand_in.then_some(STAND_IN) },
            Err(cluster::Error::Conflict { fields, .. }) if !fields.is_empty() => Checked::Conflict { fields },
            Err(error) if error.is_not_found() => {
                Checked::NotTried { why: "its definition is not there yet".to_owned() }
            }
            Err(error) => Checked::Refused { why: error.to_string() },
        }
    }
}
