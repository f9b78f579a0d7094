//! Objects that the API server does not take.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::ConfigMap,
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams},
};

use serde_json::Value;

use crate::{
    events::told,
    killed::same,
    proxy::Plan,
    world::{Ended, World},
};

/// Refuses one object of the stack, in two namespaces: the one where it is to be refused, and one to see whether the policy
/// is in force.
const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: scalekit-test-house}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}
  matchConditions:
  - {name: one, expression: "request.namespace in ['in-refused', 'default'] && object.metadata.name == 'prometheus-config'"}
  validations: [{expression: "false", message: "no such thing in this house", reason: Forbidden}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: scalekit-test-house}
spec: {policyName: scalekit-test-house, validationActions: [Deny]}
"#;
const NAME: &str = "scalekit-test-house";

/// The API server looks at its policies a moment after they change.
const LIMIT: Duration = Duration::from_secs(180);

/// Waits until the object is refused, or taken.
async fn until_refused(world: &World, refused: bool) {
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let metadata = ObjectMeta { name: Some("prometheus-config".to_owned()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let began = Instant::now();
    while maps.create(&dry, &map).await.is_err() != refused {
        assert!(began.elapsed() < LIMIT, "the policy does not come into force, or stays in it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn a_refused_object_stops_what_needs_it_and_nothing_else(world: &World) {
    world.runs(&World::up("in-reference")).await;
    let expected = world.everything("in-reference").await;
    world.clear().await;

    world.kubectl_apply(POLICY);
    until_refused(world, true).await;
    let ended = world.run(Plan::default(), &World::up("in-refused")).await;
    let there = world.found("in-refused").await;
    let events = told(world, &World::up("in-refused"), 1).await;
    // Before anything is judged: the steps that follow have nothing to do with it.
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
    bindings.delete(NAME, &DeleteParams::default()).await.unwrap();
    policies.delete(NAME, &DeleteParams::default()).await.unwrap();
    until_refused(world, false).await;

    // Not 4, though the API server answers 403: no right is missing.
    let Ended::Exited(1, words) = ended else { panic!("{ended:?}") };
    let failed = words.lines().find(|line| line.contains("configmap/prometheus-config -n in-refused: ")).expect(&words);
    assert!(failed.contains(NAME) && failed.contains("no such thing in this house"), "{failed}");
    for said in [
        "  skipped statefulset.apps/prometheus -n in-refused: it needs configmap/prometheus-config -n in-refused\n",
        "statefulset.apps/prometheus -n in-refused: not tried, what it needs failed",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert_eq!(words.matches("not tried").count(), 1, "{words}");
    let names: BTreeSet<&String> = there.keys().collect();
    let missing: Vec<&String> = expected.keys().filter(|name| !names.contains(name)).collect();
    assert_eq!(missing, ["ConfigMap NS/prometheus-config", "StatefulSet NS/prometheus"], "{words}");

    // And to who reads nothing but events.
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["event"] == kind).collect() };
    let (failed, error) = (of("failed"), of("error"));
    assert_eq!((failed.len(), error.len()), (1, 1), "{events:#?}");
    assert_eq!(failed[0]["object"]["name"], "prometheus-config", "{events:#?}");
    assert!(failed[0]["why"].as_str().unwrap().contains("no such thing in this house"), "{events:#?}");
    assert_eq!((&error[0]["code"], &error[0]["message"]), (&1.into(), &"an object could not be applied".into()));
    let skipped: Vec<_> = of("object").into_iter().filter(|event| event["action"] == "skipped").collect();
    assert!(skipped.len() == 1 && skipped[0]["object"]["name"] == "prometheus", "{events:#?}");

    world.runs(&World::up("in-refused")).await;
    same(&world.everything("in-refused").await, &expected, "after what was refused is taken");
    world.runs(&World::up("in-refused")).await;
    assert_eq!(world.proxy.writes(), 0, "it was not finished");
}
