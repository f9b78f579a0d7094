//! A stack that is not where it was looked for, is not ready, or may not be looked at.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use rstest::rstest;
use serde_json::{Value, json};

use super::{home::Home, servers};

/// What a cluster answers whose stack is in `monitoring`: Prometheus is ready, Grafana is not, and nobody named a receiver.
fn in_monitoring(request: &str, _: &Value) -> (u16, Value) {
    let object = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
    let list = |items: Vec<Value>| (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}));
    let there = |name: &str| {
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"namespace": "monitoring", "name": name}});
        (200, object)
    };
    let path = request.split_once(' ').map_or("", |(_, path)| path);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    match path {
        "/version" => version(),
        "/api/v1/nodes" => list(vec![json!({"metadata": {"name": "n"}})]),
        "/api/v1/services" if query.contains("name%3Dscaler") => list(vec![object("monitoring", "scaler")]),
        "/api/v1/namespaces/monitoring/pods" if query.contains("name%3Dprometheus") => {
            let mut pod = object("monitoring", "prometheus-0");
            pod["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
            list(vec![pod])
        }
        "/api/v1/namespaces/monitoring/services/grafana" => there("grafana"),
        path if path.contains("/services/") => refusal(404, "NotFound", "not found"),
        _ => list(vec![]),
    }
}

fn version() -> (u16, Value) {
    let version = json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
    (200, version)
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code});
    (code, status)
}

#[test]
fn status_names_the_namespace_that_the_stack_is_in() {
    let home = Home::new();
    let path = home.kubeconfig(&servers::answering(in_monitoring), None);
    let ran = home.run(["--kubeconfig", path.to_str().unwrap(), "status", "-n", "demo"]).exits(6);
    for said in ["the stack is in namespace monitoring, not in demo", "scalekit status -n monitoring"] {
        assert!(ran.stdout.contains(said), "`{said}` is not in:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("nothing is installed") && !ran.stdout.contains("scalekit up"), "{}", ran.stdout);
}

#[rstest]
#[case::grafana(&["open", "grafana"])]
#[case::alertmanager(&["open", "alertmanager"])]
#[case::an_alert(&["alert", "test"])]
fn what_is_elsewhere_is_named_with_the_command_that_finds_it(#[case] verb: &[&str]) {
    let home = Home::new();
    let path = home.kubeconfig(&servers::answering(in_monitoring), None);
    let arguments = ["--kubeconfig", path.to_str().unwrap()].into_iter().chain(verb.iter().copied());
    home.run(arguments.chain(["-n", "demo"]))
        .exits(2)
        .says("the stack is in namespace monitoring, not in demo")
        .says(&format!("scalekit {} -n monitoring", verb.join(" ")))
        .prints_nothing();
}

#[rstest]
#[case::no_receiver(&["open", "alertmanager"], "alertmanager in namespace monitoring is not installed", "--slack-webhook-file FILE")]
#[case::no_receiver_to_test(&["alert", "test"], "alertmanager in namespace monitoring is not installed", "--slack-webhook-file FILE")]
#[case::not_ready(&["open", "grafana"], "no pod of grafana is ready in namespace monitoring", "scalekit status -n monitoring")]
fn what_cannot_be_opened_is_told_with_what_helps(#[case] verb: &[&str], #[case] why: &str, #[case] hint: &str) {
    let home = Home::new();
    let path = home.kubeconfig(&servers::answering(in_monitoring), None);
    let arguments = ["--kubeconfig", path.to_str().unwrap()].into_iter().chain(verb.iter().copied());
    home.run(arguments).exits(6).says(why).says(hint).prints_nothing();
}

/// How it is meant to end.
#[test]
fn a_port_forward_that_is_told_to_end_is_no_error() {
    let home = Home::new();
    let path = home.kubeconfig(&servers::answering(in_monitoring), None);
    let mut command = home.scalekit();
    command.arg("--kubeconfig").arg(path).args(["open", "prometheus", "--no-browser", "--port", "0"]);
    let mut opened = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(opened.stdout.take().unwrap());
    let mut line = String::new();
    // The address is told when the port listens.
    while !line.contains("http://127.0.0.1:") {
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended before it listened: {line}");
    }
    Command::new("kill").args(["-INT", &opened.id().to_string()]).status().unwrap();
    let mut errors = String::new();
    opened.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((opened.wait().unwrap().code(), errors.as_str()), (Some(130), "Ctrl-C ends the port-forward\n"));
}

/// A user who may write Secrets and ConfigMaps, and may not even list the nodes.
fn to_who_may_little(request: &str, sent: &Value) -> (u16, Value) {
    if request.starts_with("GET /version") {
        return version();
    }
    if request.contains("/selfsubjectaccessreviews") {
        let asked = &sent["spec"]["resourceAttributes"];
        let allowed = ["secrets", "configmaps"].iter().any(|may| asked["resource"] == *may);
        return (201, json!({"metadata": {}, "spec": sent["spec"], "status": {"allowed": allowed}}));
    }
    refusal(403, "Forbidden", "nodes is forbidden: User \"u\" cannot list resource")
}

#[test]
fn who_may_not_even_look_is_told_every_right_that_is_missing() {
    let home = Home::new();
    let path = home.kubeconfig(&servers::answering(to_who_may_little), None);
    let ran = home.run(["--kubeconfig", path.to_str().unwrap(), "check"]);
    let ran = ran.exits(4).says("may not list nodes").says("clusterroles").says("hint:").prints_nothing();
    assert!(!ran.stderr.contains("secrets") && !ran.stderr.contains("configmaps"), "{}", ran.stderr);
}
