//! What `--events ndjson` writes is what docs/events.md says, and it comes in an order that can be relied on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[allow(dead_code, reason = "the installer's tests use the rest of it")]
mod fake;
#[path = "events/schema.rs"]
mod schema;

use std::{sync::Mutex, time::Duration};

use kube::core::DynamicObject;
use scalekit::{
    catalog::{self, Component, Options},
    event::{Action, Claim, Event, Fate, Reporter, Step},
    health::{Finding, Severity},
    install::{Installer, Release},
    object::ObjectRef,
    plan, platform,
};
use schema::Schema;
use serde_json::Value;

#[derive(Default)]
struct Recorded(Mutex<Vec<Event>>);

impl Reporter for Recorded {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

fn lines(recorded: Recorded) -> Vec<Value> {
    recorded.0.into_inner().unwrap().iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

#[test]
fn every_event_that_there_is_is_documented() {
    let object = ObjectRef::new("apps/v1", "Deployment", Some("monitoring"), "grafana");
    let steps = [
        Step::Preflight,
        Step::Image,
        Step::Plan,
        Step::Apply,
        Step::Wait,
        Step::Reload,
        Step::Targets,
        Step::Delete,
        Step::Proof,
        Step::Unload,
        Step::Load,
        Step::Resolve,
        Step::Download,
        Step::Upload,
    ];
    let mut events: Vec<Event> = steps.iter().map(|step| Event::StepStarted { step: *step, total: Some(1) }).collect();
    for action in
        [Action::Created, Action::Configured, Action::Unchanged, Action::Deleted, Action::Kept, Action::Skipped]
    {
        events.push(serde_event(&object, action));
    }
    events.extend([
        Event::StepStarted { step: Step::Plan, total: None },
        Event::StepFinished { step: Step::Plan, took: Duration::from_millis(1), summary: "x".to_owned() },
        Event::InProgress { object: object.clone(), why: "x".to_owned() },
        Event::Current { object: object.clone() },
        Event::Claim(Claim {
            object: ObjectRef::new("v1", "PersistentVolumeClaim", Some("monitoring"), "prometheus-data"),
            size: "5Gi".to_owned(),
            class: "standard".to_owned(),
            policy: "Delete".to_owned(),
            fate: Fate::Kept,
        }),
        Event::Targets { up: 1, total: 2, waiting: vec!["a".to_owned()] },
        Event::Transfer { what: "x".to_owned(), bytes: 1, total: 2 },
        Event::Finding(Finding::new("nodes", Severity::Warning, "x").hint("y")),
        Event::Requests { count: 17 },
        Event::Note { message: "x".to_owned() },
        Event::Failed { object: Some(object), why: "x".to_owned(), hint: Some("y".to_owned()) },
        Event::Failed { object: None, why: "x".to_owned(), hint: None },
        Event::Finding(Finding::new("nodes", Severity::Error, "x")),
        Event::Error { code: 6, message: "x".to_owned(), hint: Some("y".to_owned()) },
    ]);
    // Whoever adds an event comes by here, and adds it above.
    let known = |event: &Event| match event {
        Event::StepStarted { .. }
        | Event::StepFinished { .. }
        | Event::Object { .. }
        | Event::InProgress { .. }
        | Event::Current { .. }
        | Event::Claim(_)
        | Event::Targets { .. }
        | Event::Transfer { .. }
        | Event::Requests { .. }
        | Event::Finding(_)
        | Event::Note { .. }
        | Event::Failed { .. }
        | Event::Error { .. } => true,
    };
    let schema = Schema::documented();
    for event in events {
        assert!(known(&event));
        let line = serde_json::to_value(&event).unwrap();
        assert_eq!(schema.refuse(&line), None, "{line}");
    }
    for step in steps {
        assert_eq!(serde_json::to_value(step).unwrap(), step.name());
    }
    let strange = serde_json::json!({"event": "note", "message": "x", "colour": "red"});
    assert!(schema.refuse(&strange).unwrap().contains("`colour` of note is not documented"));
}

fn serde_event(object: &ObjectRef, action: Action) -> Event {
    Event::Object { object: object.clone(), action, why: (action == Action::Skipped).then(|| "x".to_owned()) }
}

fn stack() -> Vec<DynamicObject> {
    let mut options = Options { scaler_pull_policy: "IfNotPresent".to_owned(), ..Options::new("secret", "0.1.0") };
    options.storage.class = Some("standard".to_owned());
    options.images.insert(Component::Scaler, "example.org/scalekit:1".to_owned());
    catalog::stack(&options, &platform::assume("kind".parse().unwrap(), &[], &[]))
}

async fn installed() -> Vec<Value> {
    let cluster = fake::FakeCluster::new().cluster();
    let recorded = Recorded::default();
    let desired = stack();
    let release = Release {
        inventory: catalog::INVENTORY.to_owned(),
        namespace: "monitoring".to_owned(),
        applyset: catalog::applyset_id(catalog::INVENTORY, "monitoring", "ConfigMap", ""),
        version: "0.1.0".to_owned(),
    };
    let installer = Installer::new(&cluster, &recorded, Duration::from_secs(300));
    let state = installer.read(&release, &desired).await.unwrap();
    let changes = plan::plan(&desired, &state.live, &state.inventory);
    installer.write(&release, &desired, &[], &changes, state).await.unwrap();
    let objects: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
    installer.wait(&release, &objects).await.unwrap();
    lines(recorded)
}

#[tokio::test(start_paused = true)]
async fn an_installation_says_what_is_documented_and_twice_the_same() {
    let (first, second) = (installed().await, installed().await);
    let schema = Schema::documented();
    for line in &first {
        assert_eq!(schema.refuse(line), None, "{line}");
    }
    let of = |lines: &[Value], kind: &str| -> Vec<Value> {
        lines.iter().filter(|line| line["event"] == kind).cloned().collect()
    };
    assert!(of(&first, "object").len() > 30, "{first:#?}");
    assert_eq!(of(&first, "object"), of(&second, "object"), "objects are told in another order");
    // What is needed is told before what needs it.
    let at = |kind: &str, name: &str| {
        of(&first, "object")
            .iter()
            .position(|line| line["object"]["kind"] == kind && line["object"]["name"] == name)
            .unwrap()
    };
    assert!(at("Namespace", "monitoring") < at("StatefulSet", "prometheus"));
    assert!(at("ServiceAccount", "prometheus") < at("StatefulSet", "prometheus"));
    assert!(at("PersistentVolumeClaim", "grafana-data") < at("Deployment", "grafana"));
}
