//! Who else scales the same workload: other Autoscalers, HPAs, and whoever writes the count.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::{
    Api, Client,
    api::ApiResource,
    core::{GroupVersionKind, NotUsed, Object},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::{Deserialize, Serialize};

use super::{FIELD_MANAGER, Key, words::watch_error};
use crate::autoscaling::{
    api::{Autoscaler, ModeSpec, ScaleTargetRef},
    decision::{Memory, Mode, memory::ConditionType, rivalry::Rivalry},
};

/// A workload: namespace, group, kind, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Workload(String, String, String, String);

impl Workload {
    fn of(namespace: &str, target: &ScaleTargetRef) -> Self {
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        Self(namespace.to_owned(), group.to_owned(), target.kind.clone(), target.name.clone())
    }
}

/// Which Autoscalers scale the same workload. One that does not write is nobody's rival.
#[derive(Default)]
pub struct Siblings {
    /// Nearly always one: a set would take ten times as much memory.
    by_workload: HashMap<Workload, Vec<(Option<Timestamp>, Key)>>,
}

impl Siblings {
    /// An Autoscaler is there, or was changed from `before`.
    pub fn seen(&mut self, key: &Key, before: Option<&Autoscaler>, object: &Autoscaler) {
        if let Some(before) = before {
            self.gone(key, before);
        }
        if object.spec.mode == ModeSpec::Auto {
            let workload = Workload::of(&key.namespace, &object.spec.scale_target_ref);
            self.by_workload
                .entry(workload)
                .or_insert_with(|| Vec::with_capacity(1))
                .push((created(object), key.clone()));
        }
    }

    /// An Autoscaler is gone.
    pub fn gone(&mut self, key: &Key, object: &Autoscaler) {
        let workload = Workload::of(&key.namespace, &object.spec.scale_target_ref);
        if let Some(all) = self.by_workload.get_mut(&workload) {
            all.retain(|(_, other)| other != key);
            if all.is_empty() {
                self.by_workload.remove(&workload);
            }
        }
    }

    /// The oldest Autoscaler of the same workload, if that is another one. Of the same age it is the first by name.
    pub fn elder(&self, key: &Key, object: &Autoscaler) -> Option<Key> {
        if object.spec.mode != ModeSpec::Auto {
            return None;
        }
        let all = self.by_workload.get(&Workload::of(&key.namespace, &object.spec.scale_target_ref))?;
        all.iter().min().map(|(_, eldest)| eldest).filter(|eldest| *eldest != key).cloned()
    }
}

fn created(object: &Autoscaler) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Which HPAs there are, by what they scale.
#[derive(Clone, Default)]
pub struct Hpas(Arc<Mutex<Listed>>);

type ByWorkload = HashMap<Workload, BTreeSet<String>>;

#[derive(Default)]
struct Listed {
    known: ByWorkload,
    /// A list that is not complete yet. What was known holds until it is: a list that fails and is tried again for minutes
    /// must not look as if there were none.
    listing: Option<ByWorkload>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaSpec {
    scale_target_ref: HpaTarget,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaTarget {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
}

type Hpa = Object<HpaSpec, NotUsed>;

/// What becomes of the watch of HPAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// All of them are known.
    Listed,
    /// They cannot be listed just now.
    Failed(String),
    /// They may not be listed, or are not served: to wait for them would be in vain.
    Unlistable(String),
}

fn failed(error: watcher::Error) -> News {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let for_good = match &error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => [403, 404].contains(&status.code),
        _ => false,
    };
    let why = watch_error(error);
    if for_good { News::Unlistable(why) } else { News::Failed(why) }
}

impl Hpas {
    /// The HPA of the same workload, if there is one.
    pub fn of(&self, namespace: &str, target: &ScaleTargetRef) -> Option<String> {
        self.lock().known.get(&Workload::of(namespace, target))?.first().cloned()
    }

    /// Follows them. Whoever polls this keeps the list up to date, and is told when it is complete and when it fails.
    pub fn watch(&self, client: Client) -> BoxStream<'static, News> {
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("autoscaling", "v2", "HorizontalPodAutoscaler"),
            "horizontalpodautoscalers",
        );
        let hpas: Api<Hpa> = Api::all_with(client, &kind);
        let events = watcher::watcher(hpas, watcher::Config::default().page_size(500)).default_backoff();
        self.clone().follow(events).boxed()
    }

    fn follow(
        self,
        events: impl Stream<Item = Result<Event<Hpa>, watcher::Error>> + Send,
    ) -> impl Stream<Item = News> + Send {
        events.filter_map(move |event| {
            let news = match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    self.take(event);
                    complete.then_some(News::Listed)
                }
                Err(error) => Some(failed(error)),
            };
            std::future::ready(news)
        })
    }

    fn take(&self, event: Event<Hpa>) {
        let mut all = self.lock();
        let of = |hpa: &Hpa| {
            let HpaTarget { api_version, kind, name } = hpa.spec.scale_target_ref.clone();
            let namespace = hpa.metadata.namespace.as_deref().unwrap_or_default();
            let workload = Workload::of(namespace, &ScaleTargetRef { api_version, kind, name });
            (workload, hpa.metadata.name.clone().unwrap_or_default())
        };
        let forget = |all: &mut ByWorkload, namespace: &str, name: &str| {
            all.retain(|workload, names| {
                if workload.0 == namespace {
                    names.remove(name);
                }
                !names.is_empty()
            });
        };
        match event {
            Event::Init => all.listing = Some(ByWorkload::default()),
            Event::InitApply(hpa) => {
                let (workload, name) = of(&hpa);
                all.listing.get_or_insert_default().entry(workload).or_default().insert(name);
            }
            Event::InitDone => all.known = all.listing.take().unwrap_or_default(),
            Event::Apply(hpa) => {
                let (workload, name) = of(&hpa);
                forget(&mut all.known, &workload.0, &name);
                all.known.entry(workload).or_default().insert(name);
            }
            Event::Delete(hpa) => {
                let (workload, name) = of(&hpa);
                forget(&mut all.known, &workload.0, &name);
            }
        }
    }

    /// An HPA is there.
    #[cfg(test)]
    pub fn put(&self, namespace: &str, target: &ScaleTargetRef, name: &str) {
        self.lock().known.entry(Workload::of(namespace, target)).or_default().insert(name.to_owned());
    }

    /// No HPA is there.
    #[cfg(test)]
    pub fn take_away(&self, namespace: &str, target: &ScaleTargetRef) {
        self.lock().known.remove(&Workload::of(namespace, target));
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in that somebody changed the count (who, from what, to what), if somebody did, and says whom to leave alone now.
pub fn backs_off(memory: &mut Memory, mode: Mode, wrote: Option<(String, i32, i32)>, now: Timestamp) -> Option<String> {
    let before = memory.rivalry.take();
    let rivalry = match wrote {
        Some((who, from, to)) => Some(Rivalry::next(before.as_ref(), who, from, to, now)),
        None => before,
    };
    memory.rivalry = rivalry.filter(|rivalry| !rivalry.is_forgotten(now));
    if let Some(rivalry) = memory.rivalry.as_ref().filter(|rivalry| mode == Mode::Auto && rivalry.holds(now)) {
        let (who, message) = (rivalry.who.clone(), rivalry.message());
        memory.set(ConditionType::Conflict, true, "ForeignWriter", message, now);
        return Some(who);
    }
    // Where there never was a conflict there is no condition about it.
    if memory.condition(ConditionType::Conflict).is_some() {
        let message = "nobody else writes the replica count";
        memory.set(ConditionType::Conflict, false, "NoConflict", message, now);
    }
    None
}

/// Who wrote the replica count of a target last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// We did.
    Ours,
    /// Somebody else, by his field manager.
    Another(String),
    /// Nothing says who.
    Unknown,
}

/// Who wrote the replica count last, by the field managers of the target.
///
/// The field that a definition keeps its count in is not known here, `.spec.size` for one. Who wrote it through the scale is
/// marked, and loses the mark once somebody else sets that field: without such a mark, who wrote something of the spec last.
pub fn writer(target: &ObjectMeta) -> Writer {
    let last = |is: &dyn Fn(&ManagedFieldsEntry) -> bool| {
        let entries = target.managed_fields.iter().flatten().filter(|entry| is(entry));
        entries.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
    };
    let owns = |entry: &ManagedFieldsEntry, field: &str| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(field).is_some())
    };
    let entry = last(&|entry| owns(entry, "/f:spec/f:replicas"))
        .or_else(|| last(&|entry| entry.subresource.as_deref() == Some("scale")))
        .or_else(|| last(&|entry| owns(entry, "/f:spec")));
    match entry.and_then(|entry| entry.manager.as_deref()) {
        Some(FIELD_MANAGER) => Writer::Ours,
        Some(other) => Writer::Another(other.to_owned()),
        None => Writer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("demo", name)
    }

    fn autoscaler(name: &str, created: &str, mode: &str) -> Autoscaler {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "demo", "creationTimestamp": created},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}, "mode": mode,
                "maxReplicas": 5, "metrics": []},
        }))
        .expect("an Autoscaler")
    }

    #[test]
    fn the_younger_one_gives_way_until_the_older_one_does_not_write_any_more() {
        let mut siblings = Siblings::default();
        let (old, young) =
            (autoscaler("z", "2026-01-01T00:00:00Z", "Auto"), autoscaler("a", "2026-01-02T00:00:00Z", "Auto"));
        siblings.seen(&key("a"), None, &young);
        assert_eq!(siblings.elder(&key("a"), &young), None);
        siblings.seen(&key("z"), None, &old);
        assert_eq!(siblings.elder(&key("a"), &young), Some(key("z")));
        assert_eq!(siblings.elder(&key("z"), &old), None);
        let paused = autoscaler("z", "2026-01-01T00:00:00Z", "Recommend");
        siblings.seen(&key("z"), Some(&old), &paused);
        assert_eq!(siblings.elder(&key("a"), &young), None);
        siblings.gone(&key("a"), &young);
        assert!(siblings.by_workload.is_empty());
    }

    fn hpa(kind: &str) -> Hpa {
        serde_json::from_value(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "namespace": "demo"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "w"}, "maxReplicas": 3}}))
        .expect("an HPA")
    }

    #[test]
    fn what_is_known_holds_until_a_new_list_is_complete() {
        let hpas = Hpas::default();
        let target = autoscaler("a", "2026-01-01T00:00:00Z", "Auto").spec.scale_target_ref;
        let known = || hpas.of("demo", &target);
        for event in [Event::Init, Event::InitApply(hpa("Deployment")), Event::InitDone] {
            hpas.take(event);
        }
        assert_eq!(known().as_deref(), Some("h"));
        // A list that breaks off begins again.
        hpas.take(Event::Init);
        hpas.take(Event::Init);
        assert_eq!(known().as_deref(), Some("h"), "a list is on its way");
        hpas.take(Event::InitDone);
        assert_eq!(known(), None, "it is in no list any more");
    }

    #[test]
    fn an_hpa_is_known_by_what_it_scales() {
        let hpas = Hpas::default();
        let target = autoscaler("a", "2026-01-01T00:00:00Z", "Auto").spec.scale_target_ref;
        hpas.take(Event::Apply(hpa("Deployment")));
        assert_eq!(hpas.of("demo", &target).as_deref(), Some("h"));
        assert_eq!(hpas.of("other", &target), None);
        hpas.take(Event::Apply(hpa("StatefulSet")));
        assert_eq!(hpas.of("demo", &target), None, "it scales something else now");
        hpas.take(Event::Apply(hpa("Deployment")));
        hpas.take(Event::Delete(hpa("Deployment")));
        assert_eq!(hpas.of("demo", &target), None);
    }

    const OURS: &str = FIELD_MANAGER;

    /// What a manager owns, and through which subresource he wrote it.
    fn entry(manager: &str, second: u32, subresource: Option<&str>, fields: &serde_json::Value) -> serde_json::Value {
        json!({"manager": manager, "operation": "Update", "time": format!("2026-01-01T00:00:{second:02}Z"),
            "subresource": subresource, "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn written(entries: &[serde_json::Value]) -> Writer {
        writer(&serde_json::from_value(json!({"name": "w", "managedFields": entries})).expect("metadata"))
    }

    #[test]
    fn the_last_owner_of_the_count_wrote_it() {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let ours = entry(OURS, 0, Some("scale"), &replicas);
        let theirs = entry("argocd", 5, None, &replicas);
        let kubelet = entry("kubelet", 9, Some("status"), &json!({"f:status": {}}));
        let image = entry("kustomize", 8, None, &json!({"f:spec": {"f:template": {}}}));
        assert_eq!(written(&[ours.clone(), theirs, kubelet, image.clone()]), Writer::Another("argocd".to_owned()));
        assert_eq!(written(&[ours, image]), Writer::Ours);
    }

    /// The count is in `.spec.size`, and whoever made the object wrote the rest of its spec.
    #[rstest]
    #[case::we_did(&[("kubectl", 0, None), (OURS, 5, Some("scale"))], Writer::Ours)]
    #[case::another_through_the_scale(&[(OURS, 0, Some("scale")), ("kubectl", 5, Some("scale"))], Writer::Another("kubectl".to_owned()))]
    #[case::we_did_and_the_rest_is_written_since(&[(OURS, 5, Some("scale")), ("flux", 9, None)], Writer::Ours)]
    // Ours is gone: the API server takes the field from whoever owned it.
    #[case::another_in_the_spec(&[("kubectl", 0, None), ("flux", 9, None)], Writer::Another("flux".to_owned()))]
    #[case::nobody(&[], Writer::Unknown)]
    #[case::only_its_status_is_written(&[("operator", 9, Some("status"))], Writer::Unknown)]
    fn who_wrote_a_count_of_another_name_is_known_by_the_scale_or_by_the_spec(
        #[case] entries: &[(&str, u32, Option<&str>)],
        #[case] expected: Writer,
    ) {
        let entries = entries.iter().map(|&(manager, second, subresource)| {
            let part = if subresource == Some("status") { "f:status" } else { "f:spec" };
            entry(manager, second, subresource, &json!({part: {"f:size": {}}}))
        });
        assert_eq!(written(&entries.collect::<Vec<_>>()), expected);
    }
}
