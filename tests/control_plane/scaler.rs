//! The scaler as a process beside the control plane, and objects for it to scale of which nobody makes anything.

use std::{
    ffi::OsStr,
    fmt::Debug,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use scalekit::{
    autoscaling::api,
    catalog::{MANAGED_BY, SCALEKIT},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{process::Child, time::timeout};

use crate::{
    tanks::{NAMESPACE, autoscaler, definitions, metric},
    world::{LIMIT, World, finished, signal},
};

/// How long an answer is waited for before it is asked for again.
const ANSWERED: Duration = Duration::from_secs(20);

/// Where the scaler has its lease, as the kubeconfig has it.
const OF_THE_LEASE: &str = "default";

/// The scaler at work. It dies with this.
pub struct Scaler(Child);

impl Scaler {
    /// Starts it past the proxy.
    pub async fn start(world: &World, arguments: &[&str]) -> Self {
        let kubeconfig = world.state().join("kubeconfig");
        Self::start_by(world, &["--kubeconfig", kubeconfig.to_str().unwrap()], arguments).await
    }

    /// Starts it with these words about the way to the API server. What it says lies in the cluster's folder.
    pub async fn start_by<S: AsRef<OsStr>>(world: &World, way: &[S], arguments: &[&str]) -> Self {
        // Of one that was killed: it would have to run out.
        let leases: Api<Lease> = Api::namespaced(world.client.clone(), OF_THE_LEASE);
        let _was_none = leases.delete("scalekit-scaler", &DeleteParams::default()).await;
        let log = world.state().join("log");
        fs::create_dir_all(&log).unwrap();
        let log = fs::File::options().create(true).append(true).open(log.join("scaler.log")).unwrap();
        let mut command = world.command(world.binary());
        command.args(way).args(["run", "controller", "--listen", "127.0.0.1:0"]).args(arguments);
        Self(command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log)).spawn().unwrap())
    }

    /// It has done all this without a restart. It stops, and nothing is left of what it scaled.
    pub async fn end(mut self, world: &World) {
        assert_eq!(self.0.try_wait().unwrap(), None, "the scaler ended");
        self.stop().await;
        take_away(world).await;
    }

    /// Tells it to stop, which it does well.
    pub async fn stop(self) {
        signal(&self.0, "TERM");
        finished(self.0).await;
    }
}

/// The namespace and both definitions, and nothing in them.
pub async fn begin(world: &World) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    applied(&namespaces, NAMESPACE, &namespace).await;
    for definition in definitions() {
        define(world, &definition).await;
    }
    define_autoscalers(world).await;
    take_away(world).await;
}

/// Deletes all of them. What clears up between steps deletes definitions by the collection, and that leaves their objects to
/// who defines the kind again.
pub async fn take_away(world: &World) {
    for kind in ["Autoscaler", "Tank", "Cask"] {
        let every = objects(world, kind);
        every.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
        until(&format!("no {kind} is left"), async || {
            let left = every.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items.len();
            if left == 0 { Ok(()) } else { Err(left.to_string()) }
        })
        .await;
    }
}

/// The definition of Autoscalers, which goes before the next step.
pub async fn define_autoscalers(world: &World) {
    let mut definition = serde_json::to_value(api::crd()).unwrap();
    definition["metadata"]["labels"] = json!({MANAGED_BY: SCALEKIT});
    define(world, &definition).await;
}

/// Defines a kind, and waits until it is served.
pub async fn define(world: &World, definition: &Value) {
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = definition["metadata"]["name"].as_str().unwrap();
    applied(&definitions, name, definition).await;
    let established = await_condition(definitions, name, is_crd_established());
    tokio::time::timeout(LIMIT, established).await.expect("it is established").unwrap();
    let served = objects(world, definition["spec"]["names"]["kind"].as_str().unwrap());
    // What is established is served a moment later.
    until(name, async || served.list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())).await;
}

/// Takes a definition away, and all objects of it.
pub async fn undefine(world: &World, name: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.delete(name, &DeleteParams::default()).await.unwrap();
    until(&format!("{name} is gone"), async || match definitions.get_opt(name).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("it is there".to_owned()),
        Err(error) => Err(error.to_string()),
    })
    .await;
}

async fn applied<K>(api: &Api<K>, name: &str, object: &Value)
where
    K: Clone + DeserializeOwned + Debug,
{
    api.patch(name, &PatchParams::apply("scalekit-test").force(), &Patch::Apply(object)).await.unwrap();
}

/// Tanks, casks or Autoscalers.
pub fn objects(world: &World, kind: &str) -> Api<DynamicObject> {
    let (group, version) =
        if kind == "Autoscaler" { ("scalekit.dev", "v1alpha1") } else { ("scalekit-test.dev", "v1") };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(world.client.clone(), NAMESPACE, &resource)
}

/// Makes these, in this order.
pub async fn make(world: &World, all: impl IntoIterator<Item = Value>) {
    for object in all {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        objects(world, &kind).create(&PostParams::default(), &object).await.unwrap();
    }
}

/// An Autoscaler of the tank of its name that asks this server every second, and scales down at once; but for `changes`.
pub fn asks(name: &str, server: Option<&str>, changes: &Value) -> Value {
    let mut metric = metric(&format!("load_of_{}", name.replace('-', "_")));
    metric["prometheus"]["serverAddress"] = json!(server);
    let at_once = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    let mut object = autoscaler(name, &json!({"interval": "1s", "metrics": [metric], "behavior": at_once}));
    for (field, value) in changes.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

/// What a condition has to be: of which Autoscaler, its type and reason, and what its message says.
pub type Expected<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Waits until all of these are told.
pub async fn until_told(world: &World, expected: &[Expected<'_>]) {
    let autoscalers = objects(world, "Autoscaler");
    until("everything is told", async || {
        let listed = autoscalers.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        for (name, kind, reason, says) in expected {
            let found = listed.items.iter().find(|one| one.metadata.name.as_deref() == Some(name));
            let status = found.map(|one| one.data["status"].clone()).unwrap_or_default();
            let told = status["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == *kind);
            let is_told = told.is_some_and(|told| {
                told["reason"] == *reason && told["message"].as_str().is_some_and(|message| message.contains(says))
            });
            if !is_told {
                return Err(format!("{name}, {kind} {reason}, {says:?}: {status:#}"));
            }
        }
        Ok(())
    })
    .await;
}

/// Waits until each of these tanks is to have that many.
pub async fn until_ordered(world: &World, expected: &[(&str, i64)]) {
    let every = objects(world, "Tank");
    until("the counts follow", async || {
        let listed = every.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        for (name, count) in expected {
            let found = listed.items.iter().find(|one| one.metadata.name.as_deref() == Some(name));
            let ordered = found.and_then(|one| one.data["spec"]["replicas"].as_i64());
            if ordered != Some(*count) {
                return Err(format!("{name} is at {ordered:?}, not {count}"));
            }
        }
        Ok(())
    })
    .await;
}

/// How often the count of a tank was ordered, its making among them, and which it is.
pub async fn orders(world: &World, name: &str) -> (i64, i64) {
    let tank = objects(world, "Tank").get(name).await.unwrap();
    (tank.metadata.generation.unwrap(), tank.data["spec"]["replicas"].as_i64().unwrap())
}

/// Waits until that is so; else it says why not, at last.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Result<(), String>) {
    let began = Instant::now();
    let mut once = async || timeout(ANSWERED, is_so()).await.unwrap_or_else(|_| Err("no answer".to_owned()));
    while let Err(why) = once().await {
        assert!(began.elapsed() < LIMIT, "{what}: {why}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
