//! The events of real runs, against what is documented of them.

use std::collections::BTreeSet;

use scalekit::object::ObjectRef;
use serde_json::Value;

use crate::{
    proxy::Plan,
    schema::Schema,
    world::{TRIES, World},
};

/// The events of a run, which has to end with this code. Each line that it writes on stderr is one, and as documented.
pub async fn told(world: &World, arguments: &[&str], code: i32) -> Vec<Value> {
    let arguments = [arguments, &["--events", "ndjson"]].concat();
    let schema = Schema::documented();
    for _ in 0..TRIES {
        world.proxy.follow(Plan::default());
        let output = world.start(None, &arguments).wait_with_output().await.unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        let events: Vec<Value> = words.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let unanswered =
            |event: &Value| event["message"].as_str().is_some_and(|why| why.contains("no answer within 4 s"));
        if output.status.code() == Some(4) && events.last().is_some_and(unanswered) {
            continue;
        }
        assert_eq!(output.status.code(), Some(code), "{words}");
        for event in &events {
            assert_eq!(schema.refuse(event), None, "{event}");
        }
        return events;
    }
    panic!("{arguments:?}: never an answer")
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// The objects of events, by their names.
fn named(events: &[&Value]) -> BTreeSet<String> {
    let object = |event: &&Value| serde_json::from_value::<ObjectRef>(event["object"].clone()).unwrap().to_string();
    events.iter().map(object).collect()
}

/// Which steps began and ended, in their order.
fn steps(events: &[Value]) -> Vec<(&str, &str)> {
    events
        .iter()
        .filter_map(|event| Some((event["event"].as_str()?.strip_prefix("step-")?, event["step"].as_str()?)))
        .collect()
}

/// Everything that goes is told, or its namespace, in the steps of a removal and after the claims; and nothing is said but events.
pub async fn what_is_told_of_a_removal_is_what_is_documented(world: &World) {
    world.settled().await;
    let up = told(world, &World::up("in-told"), 0).await;
    let made: Vec<&Value> = of(&up, "object").into_iter().filter(|event| event["action"] == "created").collect();
    assert!(made.len() > 30 && of(&up, "error").is_empty(), "{up:#?}");
    let down = told(world, &["down", "--purge-data", "--yes", "--timeout", "400s"], 0).await;

    assert_eq!(
        steps(&down),
        [("started", "delete"), ("finished", "delete"), ("started", "proof"), ("finished", "proof")]
    );
    let gone: Vec<&Value> = of(&down, "object").into_iter().filter(|event| event["action"] == "deleted").collect();
    // What is in a namespace goes with it.
    let with_its_namespace = |name: &String| {
        let namespace = name.split_once(" -n ").map(|(_, namespace)| format!("namespace/{namespace}"));
        namespace.is_some_and(|namespace| named(&gone).contains(&namespace))
    };
    let untold: Vec<String> = named(&made).difference(&named(&gone)).cloned().collect();
    assert!(untold.iter().all(with_its_namespace), "{untold:?}");
    let claims = of(&down, "claim");
    assert!(claims.len() == 2 && claims.iter().all(|claim| claim["fate"] == "deleted"), "{claims:#?}");
    let at = |kind: &str| down.iter().position(|event| event["event"] == kind).unwrap();
    assert!(at("claim") < at("step-started") && at("step-started") < at("object"), "{down:#?}");
    let last = down.last().unwrap();
    assert!(last["event"] == "requests" && last["count"].as_u64().is_some_and(|count| count > 10), "{last}");
    assert!(world.found("in-told").await.is_empty());
}

/// Nothing becomes ready here: who reads nothing but the events learns what did not, why, and how the run ended.
pub async fn what_stops_a_run_is_told_with_its_cause_and_its_exit_code(world: &World) {
    world.runs(&World::up("in-stopped")).await;
    let waits = ["up", "-n", "in-stopped", "--image", "scaler=example.org/scalekit:1", "--timeout", "10s"];
    let events = told(world, &waits, 6).await;
    let failed = of(&events, "failed");
    assert!(named(&failed).contains("deployment.apps/grafana -n in-stopped"), "{failed:#?}");
    assert!(failed.iter().all(|event| event["why"].as_str().is_some_and(|why| !why.is_empty())), "{failed:#?}");
    assert_eq!(steps(&events).last(), Some(&("started", "wait")), "the step that failed is the one that did not end");
    // In this order, and nothing else.
    let end: Vec<&Value> = events.iter().skip_while(|event| event["event"] != "requests").collect();
    let kinds: Vec<&str> = end.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected: Vec<&str> = [&["requests"][..], &vec!["failed"; failed.len()], &["error"]].concat();
    assert_eq!(kinds, expected);
    let error = end.last().unwrap();
    assert_eq!((&error["code"], &error["message"]), (&6.into(), &"not ready in time".into()), "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("--timeout")), "{error}");
}
