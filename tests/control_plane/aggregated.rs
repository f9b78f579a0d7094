//! A release with an aggregated API: when it comes, and when it goes.

use std::sync::Mutex;

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{Api, api::DynamicObject, runtime::wait::await_condition};
use scalekit::{
    catalog::{APPLYSET_PART_OF, MANAGED_BY, SCALEKIT},
    cluster::Cluster,
    event::{Action, Event, Reporter},
    install::{Installer, Release},
    object::ObjectRef,
    plan::{self, Change},
};
use serde_json::{Value, json};

use crate::world::{LIMIT, World};

const NAMESPACE: &str = "in-aggregated";
const API: &str = "v1.scalekit-test-ours.example";

/// Kinds in the order in which they were made.
#[derive(Default)]
struct Made(Mutex<Vec<String>>);

impl Reporter for Made {
    fn report(&self, event: Event) {
        if let Event::Object { object, action: Action::Created, .. } = event {
            self.0.lock().unwrap().push(object.kind);
        }
    }
}

/// The stack has none, so the release is made here. Nothing answers behind its Service: if the API did not go first, its
/// namespace, and every other of the cluster, would stay.
pub async fn an_aggregated_api_comes_after_its_service_and_goes_before_its_namespace(world: &World) {
    world.settled().await;
    let release = Release {
        inventory: "scalekit-inventory".to_owned(),
        namespace: NAMESPACE.to_owned(),
        applyset: "test-aggregated".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let member = |mut object: Value| -> DynamicObject {
        object["metadata"]["labels"] = json!({MANAGED_BY: SCALEKIT, APPLYSET_PART_OF: release.applyset});
        serde_json::from_value(object).unwrap()
    };
    let desired = [
        member(json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API},
            "spec": {"group": "scalekit-test-ours.example", "version": "v1", "groupPriorityMinimum": 100,
                "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": {"name": "api", "namespace": NAMESPACE, "port": 443}}})),
        member(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": NAMESPACE},
            "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}]}})),
        member(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})),
    ];
    let (cluster, made) = (Cluster::new(world.client.clone(), "", "", "default"), Made::default());
    let installer = Installer::new(&cluster, &made, LIMIT);
    let state = installer.read(&release, &desired).await.unwrap();
    let changes = plan::plan(&desired, &state.live, &state.inventory);
    installer.write(&release, &desired, &[], &changes, state).await.unwrap();
    assert_eq!(*made.0.lock().unwrap(), ["Namespace", "Service", "APIService"]);
    let services: Api<APIService> = Api::all(world.client.clone());
    let judged = await_condition(services, API, |service: Option<&APIService>| {
        let conditions = service.and_then(|service| service.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Available" && one.status == "False"))
    });
    tokio::time::timeout(LIMIT, judged).await.expect("it is judged").unwrap();

    let planned = |desired: Vec<DynamicObject>| {
        let (installer, release) = (&installer, &release);
        async move {
            let state = installer.read(release, &desired).await.unwrap();
            plan::plan(&desired, &state.live, &state.inventory)
        }
    };
    assert!(!planned(desired.to_vec()).await.has_changes(), "it is not settled");
    let without = planned(desired[1..].to_vec()).await;
    let goes = without.items.iter().filter(|item| matches!(item.change, Change::Delete { .. }));
    assert_eq!(goes.map(|item| &item.object).collect::<Vec<&ObjectRef>>(), [&ObjectRef::of(&desired[0])]);

    let words = world.runs(&["down", "--purge-data", "--yes", "--timeout", "400s"]).await;
    let told = |what: &str| words.find(&format!("  deleted {what}\n")).unwrap_or_else(|| panic!("{what}: {words}"));
    assert!(told(&format!("apiservice.apiregistration.k8s.io/{API}")) < told(&format!("namespace/{NAMESPACE}")));
    assert!(words.contains("nothing left"), "{words}");
}
