//! What a wait hears: a watch of each kind, of the pods and of what is said of them, each begun again when it breaks.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Event as ClusterEvent, Node, Pod};
use kube::{
    Api, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{Instant, sleep};

use super::{Installer, Release};
use crate::{
    catalog::APPLYSET_PART_OF,
    cluster::{self, Kind},
    object::ObjectRef,
    readiness,
};

/// The kind of a claim, whose provisioner is heard of by events.
pub(super) const CLAIM: &str = "PersistentVolumeClaim";

/// Reason of the event by which a controller says that its pods are refused.
const REFUSED: &str = "FailedCreate";

/// How long a watch has to be refused, one time after the other, before it is believed: an API server that has just started
/// knows no roles for a moment and refuses what it will allow (kubernetes/kubernetes#121635).
const REFUSAL_HOLDS: Duration = Duration::from_secs(10);

/// How often the nodes are asked for. One that is lost meanwhile is not waited for.
const NODES: Duration = Duration::from_secs(10);

/// One thing that a watch said.
pub(super) enum Seen {
    Object(Box<DynamicObject>),
    Gone(ObjectRef),
    /// All objects of a kind that there are, after the watch of it began or began anew.
    Objects(&'static Kind, BTreeSet<ObjectRef>),
    Pod(Box<Pod>),
    PodGone(String),
    /// UIDs of all pods of a namespace, likewise.
    Pods(String, BTreeSet<String>),
    Event(Box<ClusterEvent>),
    /// The nodes, asked for again.
    Nodes(Vec<Node>),
    /// A watch broke; it is started again.
    Trouble(cluster::Error),
    /// A watch is refused, and was for a while.
    Refused(cluster::Error),
    Nothing,
}

impl Installer<'_> {
    /// All that is watched of these objects and in their namespaces.
    pub(super) fn watches(
        &self,
        release: &Release,
        wanted: &[ObjectRef],
        namespaces: &[String],
    ) -> Vec<stream::BoxStream<'static, Seen>> {
        let mut kinds: Vec<&'static Kind> = wanted.iter().filter_map(Kind::of).collect();
        kinds.sort_by_key(|kind| kind.kind);
        kinds.dedup();
        let selector = format!("{APPLYSET_PART_OF}={}", release.applyset);
        let mut watches: Vec<stream::BoxStream<'static, Seen>> = kinds
            .into_iter()
            .map(|kind| {
                let config = watcher::Config::default().labels(&selector);
                watch(self.cluster.api(kind, None), config, move |event| match event {
                    Change::Applied(mut object) | Change::Listed(mut object) => {
                        object.types =
                            Some(kube::core::TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_owned() });
                        Seen::Object(Box::new(object))
                    }
                    Change::Deleted(object) => Seen::Gone(named(kind, &object)),
                    Change::Complete(all) => {
                        Seen::Objects(kind, all.iter().map(|object| named(kind, object)).collect())
                    }
                })
            })
            .collect();
        watches.push(nodes(Api::all(self.cluster.client().clone())));
        for namespace in namespaces {
            let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), namespace);
            let of = namespace.clone();
            watches.push(watch(pods, watcher::Config::default(), move |event| match event {
                Change::Applied(pod) | Change::Listed(pod) => Seen::Pod(Box::new(pod)),
                Change::Deleted(pod) => Seen::PodGone(pod.uid().unwrap_or_default()),
                Change::Complete(all) => Seen::Pods(of.clone(), all.iter().filter_map(ResourceExt::uid).collect()),
            }));
            let events: Api<ClusterEvent> = Api::namespaced(self.cluster.client().clone(), namespace);
            watches.push(watch(events.clone(), watcher::Config::default().fields("type=Warning"), told(REFUSED)));
            let claims = |object: &ObjectRef| object.kind == CLAIM && object.namespace.as_deref() == Some(namespace);
            if wanted.iter().any(claims) {
                // That a provisioner is at work, or that nobody is, is no warning.
                let about = format!("type=Normal,involvedObject.kind={CLAIM}");
                watches.push(watch(events, watcher::Config::default().fields(&about), told(readiness::PROVISIONING)));
            }
        }
        watches
    }
}

enum Change<K> {
    /// It was there when the watch began.
    Listed(K),
    Applied(K),
    Deleted(K),
    /// This is all that there is.
    Complete(Vec<K>),
}

/// What is heard of events: those that come, and of what was said before the watch only this.
///
/// A controller whose pods are refused asks again after minutes, and a provisioner says once that it begins; until then
/// only that event says so. Everything else that is not mended happens again within seconds, and is told anew.
fn told(before: &'static str) -> impl Fn(Change<ClusterEvent>) -> Seen + Send + 'static {
    move |event| match event {
        Change::Applied(event) => Seen::Event(Box::new(event)),
        Change::Listed(event) if event.reason.as_deref() == Some(before) => Seen::Event(Box::new(event)),
        Change::Listed(_) | Change::Deleted(_) | Change::Complete(_) => Seen::Nothing,
    }
}

fn named(kind: &Kind, object: &DynamicObject) -> ObjectRef {
    ObjectRef::new(&kind.api_version(), kind.kind, object.metadata.namespace.as_deref(), &object.name_any())
}

/// The nodes as they are now and then: they come and go seldom, and to watch them would take one right more.
fn nodes(api: Api<Node>) -> stream::BoxStream<'static, Seen> {
    stream::unfold(api, async |api| {
        sleep(NODES).await;
        let seen = match cluster::answered(api.list(&ListParams::default())).await {
            Ok(list) => Seen::Nodes(list.items),
            // Those that are known will do until the next time.
            Err(_) => Seen::Nothing,
        };
        Some((seen, api))
    })
    .boxed()
}

/// A watch that goes on over errors with the watcher's own backoff: one failed request never ends a wait.
fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    seen: impl Fn(Change<K>) -> Seen + Send + 'static,
) -> stream::BoxStream<'static, Seen>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut listed = Vec::new();
    let mut refused: Option<Instant> = None;
    watcher(api, config)
        .default_backoff()
        .map(move |event| {
            // That it begins says nothing yet: it has not been answered.
            if !matches!(event, Err(_) | Ok(watcher::Event::Init)) {
                refused = None;
            }
            match event {
                Ok(watcher::Event::Apply(object)) => seen(Change::Applied(object)),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.push(object.clone());
                    seen(Change::Listed(object))
                }
                Ok(watcher::Event::Delete(object)) => seen(Change::Deleted(object)),
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    Seen::Nothing
                }
                Ok(watcher::Event::InitDone) => seen(Change::Complete(std::mem::take(&mut listed))),
                Err(error) => match words(error) {
                    Some(error @ (cluster::Error::Forbidden { .. } | cluster::Error::Unauthorized { .. }))
                        if refused.get_or_insert_with(Instant::now).elapsed() >= REFUSAL_HOLDS =>
                    {
                        Seen::Refused(error)
                    }
                    Some(error) => Seen::Trouble(error),
                    None => Seen::Nothing,
                },
            }
        })
        .boxed()
}

/// The trouble with a watch, in our words. One that only has to begin anew, since it is too old, has none.
fn words(error: watcher::Error) -> Option<cluster::Error> {
    Some(match error {
        watcher::Error::WatchError(status) if status.code == 410 => return None,
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error.into(),
        watcher::Error::WatchError(status) => kube::Error::Api(status).into(),
        other @ watcher::Error::NoResourceVersion => cluster::Error::Unreadable { cause: other.to_string() },
    })
}
