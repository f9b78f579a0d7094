//! The installer against an API server in memory, as scenarios. Time is tokio's, and passes by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod down;
mod dry_run;
#[path = "../fake/mod.rs"]
mod fake;
mod isolation;
mod killed;
mod lock;
mod pause;
mod prune;
mod put_back;
mod up;
mod waits;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{LazyLock, Mutex},
    time::Duration,
};

use kube::core::DynamicObject;
use scalekit::{
    catalog::{self, Component, Options},
    cluster::Cluster,
    commands::{self, CommandError, Consent, RemovalOptions},
    event::{Action, Event, Reporter, Silent},
    install::{Failure, InstallError, Installer, Release},
    object::ObjectRef,
    plan::{self, Data},
    platform,
};
use serde_json::{Value, json};

use self::fake::FakeCluster;

const TIMEOUT: Duration = Duration::from_secs(300);

fn stack_with(change: impl FnOnce(&mut Options)) -> Vec<DynamicObject> {
    let mut options = Options { scaler_pull_policy: "IfNotPresent".to_owned(), ..Options::new("secret", "0.1.0") };
    options.storage.class = Some("standard".to_owned());
    options.images.insert(Component::Scaler, "example.org/scalekit:1".to_owned());
    change(&mut options);
    let mut objects = catalog::stack(&options, &platform::assume("kind".parse().unwrap(), &[], &[]));
    // What a file or a schema says is nothing to the installer, and the long ones are most of the bytes.
    for object in &mut objects {
        let files = object.data.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten();
        for (_, file) in files.filter(|(_, file)| file.as_str().is_some_and(|text| text.len() > 500)) {
            let mut digest = DefaultHasher::new();
            file.hash(&mut digest);
            *file = json!(format!("{:016x}", digest.finish()));
        }
        if let Some(schema) = object.data.pointer_mut("/spec/versions/0/schema") {
            *schema = json!({"openAPIV3Schema": {"type": "object"}});
        }
    }
    objects
}

/// The stack as it is by default. Made once: it is installed some hundred times here.
fn stack() -> &'static [DynamicObject] {
    static STACK: LazyLock<Vec<DynamicObject>> = LazyLock::new(|| stack_with(|_| {}));
    &STACK
}

fn release() -> Release {
    Release {
        inventory: catalog::INVENTORY.to_owned(),
        namespace: "monitoring".to_owned(),
        applyset: catalog::applyset_id(catalog::INVENTORY, "monitoring", "ConfigMap", ""),
        version: "0.1.0".to_owned(),
    }
}

/// What `scalekit up` does between its checks and the scrape targets.
async fn up(cluster: &Cluster, desired: &[DynamicObject]) -> Result<(), InstallError> {
    up_telling(cluster, desired, &Silent).await
}

async fn up_telling(cluster: &Cluster, desired: &[DynamicObject], reporter: &dyn Reporter) -> Result<(), InstallError> {
    let installer = Installer::new(cluster, reporter, TIMEOUT);
    let release = release();
    let mut state = installer.read(&release, desired).await?;
    if installer.until_settled(&state.live).await? {
        state = installer.read(&release, desired).await?;
    }
    let changes = plan::plan(desired, &state.live, &state.inventory);
    installer.write(&release, desired, &[], &changes, state).await?;
    let objects: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
    installer.wait(&release, &objects).await
}

/// What was told.
#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Reporter for Told {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Told {
    /// The objects with which this was done, and why.
    fn of(&self, wanted: Action) -> Vec<(String, Option<String>)> {
        let told = self.0.lock().unwrap();
        let objects = told.iter().filter_map(|event| match event {
            Event::Object { object, action, why } if *action == wanted => Some((object.to_string(), why.clone())),
            _ => None,
        });
        objects.collect()
    }
}

/// What `scalekit down` does.
async fn down(cluster: &Cluster, data: Data) -> Result<commands::Downed, CommandError> {
    down_with(cluster, data, |_| {}).await
}

async fn down_with(
    cluster: &Cluster,
    data: Data,
    change: impl FnOnce(&mut RemovalOptions<'_>),
) -> Result<commands::Downed, CommandError> {
    let planned = commands::plan_removal(cluster, None, data, &Silent).await?;
    let mut options =
        RemovalOptions { containerd_socket: None, timeout: TIMEOUT, force_finalizers: false, reset_replicas: false };
    change(&mut options);
    commands::down(&planned, Consent::Given, options, cluster, &Silent).await
}

async fn installed() -> (FakeCluster, Cluster) {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    up(&cluster, stack()).await.unwrap();
    fake.forget_calls();
    (fake, cluster)
}

fn failures(error: &InstallError) -> Vec<String> {
    error.failures().iter().map(|Failure { object, why, .. }| format!("{object}: {why}")).collect()
}

const INVENTORY: &str = "apply /api/v1/namespaces/monitoring/configmaps/scalekit-inventory";

/// Kind, namespace and name of what the stored inventory lists, and whether it knows UID and hash of each.
fn inventory(body: &Value) -> BTreeMap<String, bool> {
    let text = body["data"]["inventory.json"].as_str().expect("an inventory");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let known = |entry: &Value| entry["uid"].is_string() && entry["hash"].is_string();
    entries
        .iter()
        .map(|entry| (format!("{}/{}/{}", entry["kind"], entry["namespace"], entry["name"]), known(entry)))
        .collect()
}
