//! Deleting what is no longer wanted, but nothing of others with it.

use std::time::Duration;

use futures::{StreamExt, future, stream};
use tokio::time::timeout;

use super::{Installer, State, state::somebodys};
use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    cluster::{self, CONCURRENCY},
    event::{Action, Event},
    object::{ByName, ObjectRef},
    plan::{self, Change, ChangeSet},
};

/// How long it may take to look through a namespace: it is a LIST of every kind that the cluster has.
const LOOKED_THROUGH_WITHIN: Duration = Duration::from_secs(20);

impl Installer<'_> {
    /// Deletes what is no longer wanted. A namespace that holds something of others, or that cannot be looked through, stays, and
    /// that is told: its label stays too, so that a removal finds it. Gives what could not be deleted, and why.
    pub(super) async fn prune(&self, changes: &ChangeSet, before: &State) -> Vec<(ObjectRef, cluster::Error)> {
        let no_more = changes.items.iter().filter_map(|item| match &item.change {
            Change::Delete { uid } => Some((&item.object, uid.as_str())),
            _ => None,
        });
        stream::iter(no_more)
            .map(|(object, uid)| async move { (object, self.prune_one(object, uid, before).await) })
            .buffered(CONCURRENCY)
            .filter_map(|(object, deleted)| future::ready(deleted.err().map(|error| (object.clone(), error))))
            .collect()
            .await
    }

    async fn prune_one(&self, object: &ObjectRef, uid: &str, before: &State) -> Result<(), cluster::Error> {
        if object.kind == "Namespace" {
            let namespaces = [object.name.clone()];
            let others = format!("{MANAGED_BY}!={SCALEKIT}");
            let why = match timeout(LOOKED_THROUGH_WITHIN, self.cluster.list_everything(&namespaces, &others)).await {
                Ok(Ok(inside)) => match somebodys(&inside, &before.live) {
                    theirs if theirs.is_empty() => None,
                    theirs => Some(plan::holds(&theirs)),
                },
                Ok(Err(error)) => Some(format!("what else is in it cannot be seen: {error}")),
                Err(_) => Some("what else is in it cannot be seen in time".to_owned()),
            };
            if let Some(why) = why {
                self.tell_kept(object, why);
                return Ok(());
            }
        }
        self.delete(object, uid).await.map(|_gone| ())
    }

    /// Tells of the data of what is no longer wanted, once: no inventory lists them from now on.
    pub(super) fn tell_kept_data(&self, changes: &ChangeSet, before: &State) {
        let live = ByName::of(&before.live);
        let wanted = |object: &ObjectRef| changes.items.iter().any(|item| item.object == *object);
        for object in before.inventory.entries().map(|entry| &entry.object) {
            if plan::is_data(object) && !wanted(object) && live.get(object).is_some() {
                self.tell_kept(object, "its data stay; `scalekit down --purge-data` takes them too".to_owned());
            }
        }
    }

    fn tell_kept(&self, object: &ObjectRef, why: String) {
        self.reporter.report(Event::Object { object: object.clone(), action: Action::Kept, why: Some(why) });
    }
}
