//! A namespace in which one thing fails, and the wait that says so.

use std::{
    fmt::Debug,
    sync::OnceLock,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Namespace, Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use scalekit::{
    catalog::APPLYSET_PART_OF,
    cluster::{Cluster, Kind},
    event::Silent,
    install::{Failure, InstallError, Installer, Release},
    object::ObjectRef,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::world::World;

/// What the issue of a verdict may take once the cluster shows the failure.
pub const WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked at whether the machine keeps up, and what an answer of the API server may take for that.
const BEAT: Duration = Duration::from_millis(100);

/// The image with a shell that the node has.
static SHELL: OnceLock<String> = OnceLock::new();

/// A namespace with what is in it.
pub struct Place<'a> {
    pub world: &'a World,
    pub name: String,
}

impl<'a> Place<'a> {
    pub async fn new(world: &'a World, name: &str, labels: Value) -> Self {
        let name = format!("verdict-{name}");
        if SHELL.get().is_none() {
            let nodes: Api<Node> = Api::all(world.client.clone());
            let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
            let images = nodes.into_iter().filter_map(|node| node.status?.images).flatten();
            let shell = images.filter_map(|image| image.names).flatten().find(|name| name.contains("/busybox:"));
            SHELL.get_or_init(|| shell.unwrap());
        }
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        applied(&namespaces, &name, &namespace).await;
        Self { world, name }
    }

    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.world.client.clone(), "", "", "default")
    }

    pub fn release(&self) -> Release {
        Release {
            inventory: "inventory".to_owned(),
            namespace: self.name.clone(),
            applyset: format!("test-{}", self.name),
            version: "0.1.0".to_owned(),
        }
    }

    /// The object as one of this place's release.
    fn of_the_release(&self, mut object: Value) -> DynamicObject {
        object["metadata"]["namespace"] = json!(self.name);
        object["metadata"]["labels"] = json!({APPLYSET_PART_OF: self.release().applyset});
        serde_json::from_value(object).unwrap()
    }

    pub async fn put(&self, object: Value) -> ObjectRef {
        let object = self.of_the_release(object);
        let reference = ObjectRef::of(&object);
        let api = match Kind::of(&reference) {
            Some(_) => self.cluster().api_for(&reference).unwrap(),
            None => panic!("{reference} is of no kind that is installed"),
        };
        applied(&api, &reference.name, &object).await;
        reference
    }

    /// Waits as `up` does.
    pub async fn wait(&self, object: &ObjectRef, timeout: Duration) -> Result<(), InstallError> {
        let cluster = self.cluster();
        let installer = Installer::new(&cluster, &Silent, timeout);
        installer.wait(&self.release(), std::slice::from_ref(object)).await
    }

    /// Since when the cluster shows it.
    pub async fn shown(&self, shows: impl Fn(&[Pod], &[Event]) -> bool) -> Instant {
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), &self.name);
        let events: Api<Event> = Api::namespaced(self.world.client.clone(), &self.name);
        loop {
            let all = ListParams::default();
            if let (Ok(pods), Ok(events)) = (pods.list(&all).await, events.list(&all).await)
                && shows(&pods.items, &events.items)
            {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn go(self) {
        let namespaces: Api<Namespace> = Api::all(self.world.client.clone());
        namespaces.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }

    /// Since when an object shows it.
    pub async fn shown_of(&self, object: &ObjectRef, shows: impl Fn(&Value) -> bool) -> Instant {
        let api = self.cluster().api_for(object).unwrap();
        while !api.get(&object.name).await.is_ok_and(|found| shows(&found.data)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Instant::now()
    }

    /// Puts a workload there and waits for it: the verdict comes in time, with these words.
    pub async fn fails(self, object: Value, shows: impl Fn(&[Pod], &[Event]) -> bool, cause: &[&str], hint: &str) {
        let object = self.put(object).await;
        let wait = self.wait(&object, LIMIT);
        fails_once(self.world, &object, wait, self.shown(shows), cause, hint).await;
        self.go().await;
    }

    /// The same where the object itself shows it.
    pub async fn fails_by_itself(self, object: Value, shows: impl Fn(&Value) -> bool, cause: &[&str], hint: &str) {
        let object = self.put(object).await;
        let wait = self.wait(&object, LIMIT);
        fails_once(self.world, &object, wait, self.shown_of(&object, shows), cause, hint).await;
        self.go().await;
    }
}

/// Longer than a loaded machine takes until something is shown, or said.
const LIMIT: Duration = Duration::from_secs(300);

/// That a wait ends with this verdict on the object, in time from when it was shown.
pub async fn fails_once<T: Debug>(
    world: &World,
    object: &ObjectRef,
    wait: impl Future<Output = Result<T, InstallError>>,
    shown: impl Future<Output = Instant>,
    cause: &[&str],
    hint: &str,
) {
    let ((ended, clock), shown) = tokio::join!(clocked(world, wait), tokio::time::timeout(LIMIT, shown));
    let shown = shown.unwrap_or_else(|_| panic!("the cluster has not shown it; the wait ended with {ended:?}"));
    let Err(InstallError::Failed { failures }) = &ended else { panic!("{ended:?}") };
    said(failures, object, cause, hint);
    clock.ended_within(WITHIN, shown, &failures[0].why);
}

/// Applies an object; where that gets no answer, again.
pub async fn applied<K>(api: &Api<K>, name: &str, object: &(impl Serialize + Debug))
where
    K: Clone + Debug + DeserializeOwned,
{
    let (began, params) = (Instant::now(), PatchParams::apply("scalekit-test").force());
    while let Err(error) = api.patch(name, &params, &Patch::Apply(object)).await {
        assert!(began.elapsed() < Duration::from_secs(60), "{name}: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// When something began and ended, and when the machine was late meanwhile.
pub struct Clock {
    pub began: Instant,
    ended: Instant,
    /// By how much a beat was late, and when it came.
    late: Vec<(Instant, Duration)>,
}

/// What a future gives, with a clock beside it. The machine is late when it does not let this program run, or the API server
/// answer.
pub async fn clocked<T>(world: &World, future: impl Future<Output = T>) -> (T, Clock) {
    let mut future = Box::pin(future);
    let (began, mut late) = (Instant::now(), Vec::new());
    loop {
        let last = Instant::now();
        let beat = async {
            tokio::time::sleep(BEAT).await;
            world.client.apiserver_version().await.is_ok()
        };
        let given = tokio::select! {
            given = &mut future => Some(given),
            _ = beat => None,
        };
        let now = Instant::now();
        late.push((now, now.duration_since(last).saturating_sub(2 * BEAT)));
        if let Some(given) = given {
            return (given, Clock { began, ended: now, late });
        }
    }
}

impl Clock {
    /// That it ended in this time from then on, but for what the machine was late.
    #[track_caller]
    pub fn ended_within(&self, within: Duration, since: Instant, said: &str) {
        let took = self.ended.saturating_duration_since(since);
        // A beat that began before may have been late before.
        let late = self.late.iter().map(|(at, late)| at.saturating_duration_since(since).min(*late));
        let late: Duration = late.sum();
        println!("{took:.1?}, of which the machine was late {late:.1?}: {said}");
        assert!(took <= within + late, "{took:?}, of which the machine was late {late:?}");
    }
}

#[track_caller]
pub fn said(failures: &[Failure], object: &ObjectRef, cause: &[&str], hint: &str) {
    assert_eq!(failures.len(), 1, "{failures:#?}");
    let failure = &failures[0];
    assert_eq!(&failure.object, object);
    for words in cause {
        assert!(failure.why.contains(words), "{words:?} in {:?}", failure.why);
    }
    assert!(failure.hint.as_ref().is_some_and(|given| given.contains(hint)), "{hint:?} in {failure:?}");
}

/// A workload of this kind with this pod.
pub fn workload(kind: &str, pod: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}});
    if kind == "StatefulSet" {
        spec["serviceName"] = json!("x");
    }
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = json!(0);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
}

pub fn image(image: &str) -> Value {
    workload("StatefulSet", json!({"containers": [{"name": "c", "image": image}]}))
}

pub fn script(script: &str) -> Value {
    json!({"name": "c", "image": SHELL.get().unwrap(), "command": ["sh", "-c", script]})
}

/// Whether a container waits for this reason.
pub fn waits(reason: &'static str) -> impl Fn(&[Pod], &[Event]) -> bool {
    move |pods, _| {
        let waiting = |status: &ContainerStatus| {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
        };
        pods.iter().filter_map(|pod| pod.status.as_ref()).any(|status| {
            let (first, then) = (&status.init_container_statuses, &status.container_statuses);
            first.iter().chain(then).flatten().any(waiting)
        })
    }
}

/// Whether a container has ended, was started again and has ended again.
pub fn ended_again(pods: &[Pod], _: &[Event]) -> bool {
    let again = |status: &ContainerStatus| {
        let state = status.state.as_ref();
        status.restart_count > 0 && state.is_some_and(|state| state.terminated.is_some() || state.waiting.is_some())
    };
    pods.iter().filter_map(|pod| pod.status.as_ref()).any(|status| {
        let (first, then) = (&status.init_container_statuses, &status.container_statuses);
        first.iter().chain(then).flatten().any(again)
    })
}

/// Whether there is an event of this reason with these words.
pub fn event(reason: &'static str, words: &'static str) -> impl Fn(&[Pod], &[Event]) -> bool {
    move |_, events| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some(reason)
                && event.message.as_deref().is_some_and(|message| message.contains(words))
        })
    }
}
