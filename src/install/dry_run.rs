//! What the API server would say, asked before anything is written.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, Patch, PatchParams};

use super::Installer;
use crate::{
    catalog::FIELD_MANAGER,
    cluster::{self, CONCURRENCY},
    object::{ByName, ObjectRef},
    plan::{self, Change, ChangeSet, Checked},
};

/// A namespace that every cluster has: members of one that is not there yet are tried in it.
const STAND_IN: &str = "default";

/// And how their names begin there: an object of somebody else that has the same name is none of ours.
const STAND_IN_NAME: &str = "scalekit-dry-run";

impl Installer<'_> {
    /// Asks the API server about everything that would be created or configured. Writes nothing: each request is a
    /// dry run. Fields of another manager are a conflict, but for those of the tools from which an object would be taken
    /// over. `live` is what is there: who manages it, and the values of conflicts.
    pub async fn dry_run(
        &self,
        desired: &[DynamicObject],
        changes: &ChangeSet,
        live: &ByName<'_>,
    ) -> Vec<(ObjectRef, Checked)> {
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
        stream::iter(wanted.enumerate())
            .map(|(position, object)| {
                let new_namespaces = &new_namespaces;
                async move {
                    let reference = ObjectRef::of(object);
                    let stand_in =
                        reference.namespace.as_deref().is_some_and(|namespace| new_namespaces.contains(namespace));
                    let stand_in = stand_in.then(|| format!("{STAND_IN_NAME}-{position}"));
                    let checked = self.try_one(object, &reference, stand_in, live.get(&reference)).await;
                    (reference, checked)
                }
            })
            .buffered(CONCURRENCY)
            .collect()
            .await
    }

    /// Tries one object, under another name in the namespace that every cluster has where there is such a name.
    async fn try_one(
        &self,
        declared: &DynamicObject,
        reference: &ObjectRef,
        stand_in: Option<String>,
        live: Option<&DynamicObject>,
    ) -> Checked {
        let mut object = declared.clone();
        let mut target = reference.clone();
        let tried_in = stand_in.is_some().then_some(STAND_IN);
        if let Some(name) = stand_in {
            target.namespace = Some(STAND_IN.to_owned());
            target.name = name;
            object.metadata.namespace = target.namespace.clone();
            object.metadata.name = Some(target.name.clone());
        }
        let adopted_from = live.map(plan::adopted_from).unwrap_or_default();
        let mut tried = self.try_as(reference, &target, &object, false).await;
        if let Err(cluster::Error::Conflict { fields, .. }) = &mut tried {
            let all = fields.len();
            fields.retain(|(_, owner)| !plan::is_held_by(owner, &adopted_from));
            // A conflict is told before anything else is looked at, and these are ours by then.
            if fields.is_empty() && all > 0 {
                tried = self.try_as(reference, &target, &object, true).await;
            }
        }
        match tried {
            Ok(()) => Checked::Accepted { tried_in, taken_over_from: adopted_from },
            Err(cluster::Error::Conflict { fields, .. }) if !fields.is_empty() => {
                Checked::Conflict { fields: plan::conflicts(&fields, Some(declared), live) }
            }
            Err(error) if error.is_not_found() => {
                Checked::NotTried { why: "its definition is not there yet".to_owned() }
            }
            Err(error) if tried_in.is_some() && !is_about_the_object(&error) => Checked::NotTried {
                why: format!(
                    "its own namespace is not there yet; tried in `{STAND_IN}`, it fails for a reason that may be that \
                     namespace's alone: {error}"
                ),
            },
            Err(error) => Checked::Refused { why: error.to_string() },
        }
    }

    /// Applies an object as a dry run, by force or not, as `target` in place of `reference`.
    async fn try_as(
        &self,
        reference: &ObjectRef,
        target: &ObjectRef,
        object: &DynamicObject,
        force: bool,
    ) -> Result<(), cluster::Error> {
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.dry_run = true;
        params.force = force;
        self.retrying_overtaken(reference, || async {
            let api = self.cluster.api_for(target)?;
            api.patch(&target.name, &params, &Patch::Apply(object)).await.map(|_| ()).map_err(cluster::Error::from)
        })
        .await
    }
}

/// Whether the object itself is wrong, in whatever namespace it lies. Rights, quotas, limits and what policies and webhooks
/// refuse may be a namespace's own; the last two may refuse with the codes of a wrong object.
fn is_about_the_object(error: &cluster::Error) -> bool {
    matches!(error, cluster::Error::Rejected { code: 400 | 422, message, .. }
        if !message.contains(" denied the request") && !message.contains(" is forbidden: "))
}
