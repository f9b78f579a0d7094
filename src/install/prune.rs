//! Deleting what is no longer wanted, but nothing of others with it.

use futures::{StreamExt, future, stream};

use super::{Installer, State, state::somebodys};
use crate::{
    catalog::{MANAGED_BY, SCALEKIT},
    cluster::{self, CONCURRENCY},
    event::{Action, Event},
    object::{ByName, ObjectRef},
    plan::{self, Change, ChangeSet},
};

impl Installer<'_> {
    /// Deletes what is no longer wanted. A namespace that holds something of others stays, and that is told. Gives what could
    /// not be deleted, and why.
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
            let inside = self.retrying(object, || self.cluster.list_everything(&namespaces, &others)).await?;
            let theirs = somebodys(&inside, &before.live);
            if !theirs.is_empty() {
                self.tell_kept(object, plan::holds(&theirs));
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
