//! What is told of a Secret that changes: which of its keys, never what is in them.

use std::{fmt::Write, fs};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    proxy::Plan,
    world::{Ended, World},
};

const NAMESPACE: &str = "in-secret";

/// Settings with receivers at these URLs, as a file.
fn settings(world: &World, name: &str, urls: &[(&str, &str)]) -> String {
    let mut settings = "alerting:\n".to_owned();
    for (key, url) in urls {
        let file = world.state().join(format!("{name}-{key}"));
        fs::write(&file, format!("https://hooks.example/{url}\n")).unwrap();
        writeln!(settings, "  {key}: {}", file.display()).unwrap();
    }
    let path = world.state().join(format!("{name}.yaml"));
    fs::write(&path, settings).unwrap();
    path.to_str().unwrap().to_owned()
}

pub async fn a_secret_that_changes_is_told_by_its_keys_alone(world: &World) {
    let old = settings(world, "receivers-old", &[("slackWebhookFile", "old-one")]);
    let new = settings(world, "receivers-new", &[("slackWebhookFile", "new-one")]);
    let two = settings(world, "receivers-two", &[("slackWebhookFile", "new-one"), ("webhookUrlFile", "new-one")]);
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), NAMESPACE);
    let stored = async || {
        let secret = secrets.get("alertmanager-receivers").await.unwrap();
        serde_json::to_value(secret).unwrap()["data"]["slack-url"].as_str().unwrap().to_owned()
    };
    let up = |settings: &str| -> Vec<String> {
        World::up(NAMESPACE).into_iter().chain(["--config", settings]).map(str::to_owned).collect()
    };
    let plan = |settings: &str, output: &str| -> Vec<String> {
        let options = up(settings).into_iter().skip(1).filter(|argument| argument != "--no-wait");
        ["plan", "-o", output].into_iter().map(str::to_owned).chain(options).collect()
    };
    let run = async |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match world.run(Plan::default(), &arguments).await {
            Ended::Exited(code, words) => (code, words),
            Ended::Killed => panic!("nobody kills it"),
        }
    };
    let (code, words) = run(up(&old)).await;
    assert_eq!(code, 0, "{words}");
    let before = stored().await;
    let hides = |words: &str| {
        for secret in [before.as_str(), "hooks.example"] {
            assert!(!words.contains(secret), "{secret}: {words}");
        }
    };

    let (code, words) = run(plan(&new, "text")).await;
    assert_eq!(code, 10, "{words}");
    assert!(words.contains("\n    data.slack-url: *** → ***\n"), "{words}");
    hides(&words);
    let (_, words) = run(plan(&two, "text")).await;
    assert!(words.contains("\n    data.webhook-url: (not set) → ***\n"), "{words}");
    hides(&words);
    let (_, words) = run(plan(&new, "json")).await;
    hides(&words);
    let answer: Value = serde_json::from_str(&words[words.find('{').unwrap()..=words.rfind('}').unwrap()]).unwrap();
    let changed =
        answer["objects"].as_array().unwrap().iter().find(|one| one["object"]["name"] == "alertmanager-receivers");
    let field = &changed.expect("the Secret is part of it")["fields"][0];
    assert_eq!(
        (&field["field"], &field["live"], &field["desired"]),
        (&json!("data.slack-url"), &json!("***"), &json!("***"))
    );

    let (code, words) = run(up(&new)).await;
    assert_eq!(code, 0, "{words}");
    assert_ne!(stored().await, before);
    let (code, words) = run(plan(&new, "text")).await;
    assert_eq!(code, 0, "{words}");

    // Somebody's own: seen without reading it, and not taken.
    let theirs = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let edited = Patch::Merge(json!({"data": {"slack-url": before}}));
    secrets.patch("alertmanager-receivers", &theirs, &edited).await.unwrap();
    let (code, words) = run(plan(&new, "text")).await;
    assert_eq!(code, 10, "{words}");
    assert!(words.contains("data.slack-url: *** → ***  (set by kubectl-edit)"), "{words}");
    hides(&words);
    let (code, words) = run(up(&new)).await;
    assert_eq!(code, 5, "{words}");
    assert!(words.contains("secret/alertmanager-receivers") && words.contains("kubectl-edit"), "{words}");
    hides(&words);
    assert_eq!(stored().await, before);
}
