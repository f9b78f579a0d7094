//! Alerts get to a receiver, grouped and without what a graver one says already, and one that does not take them is named
//! with its answer.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};

use crate::world::{Ran, World};

/// Receivers: busybox' web server, with scripts that keep what they are sent. Slack answers with two letters.
const RECEIVER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: receiver}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: script, namespace: receiver}
data:
  hook: |
    #!/bin/sh
    cat >/tmp/hook.$$; cat /tmp/hook.$$ >>/tmp/received
    printf 'Status: 200 OK\r\n\r\ntaken'
  slack: |
    #!/bin/sh
    cat >/tmp/slack.$$; cat /tmp/slack.$$ >>/tmp/slack
    printf 'Status: 200 OK\r\nContent-Type: text/html\r\n\r\nok'
---
apiVersion: v1
kind: Pod
metadata: {name: receiver, namespace: receiver, labels: {app: receiver}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: httpd
    image: docker.io/library/busybox:1.35.0
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "mkdir -p /www/cgi-bin && cp /script/* /www/cgi-bin/ && chmod +x /www/cgi-bin/* && exec httpd -f -p 8080 -h /www"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: script, mountPath: /script}]
  volumes: [{name: script, configMap: {name: script}}]
---
apiVersion: v1
kind: Service
metadata: {name: receiver, namespace: receiver}
spec: {selector: {app: receiver}, ports: [{port: 80, targetPort: 8080}]}
"#;

pub async fn a_test_alert_arrives_and_a_receiver_that_refuses_it_is_quoted(world: &World) {
    world.apply(RECEIVER);
    world.kubectl(["wait", "-n", "receiver", "pod/receiver", "--for=condition=Ready", "--timeout=180s"]);

    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("scalekit.yaml");
    let own = fs::read_to_string(world.settings()).unwrap();
    fs::write(&settings, format!("{own}alerting:\n  webhookUrlFile: url\n  slackWebhookFile: slack\n")).unwrap();
    fs::write(folder.path().join("slack"), "http://receiver.receiver.svc/cgi-bin/slack").unwrap();
    let receiver_is = |url: &str| fs::write(folder.path().join("url"), format!("{url}\n")).unwrap();
    let with_receiver = |arguments: &[&str]| {
        let mut command: Command = world.bare();
        command.arg("--kubeconfig").arg(world.kubeconfig()).arg("--config").arg(&settings).args(arguments);
        World::run_answered(&mut command)
    };
    receiver_is("http://receiver.receiver.svc/cgi-bin/hook");
    let planned = with_receiver(&["plan"]).exits(10).says("deployment.apps/alertmanager -n monitoring");
    assert!(!format!("{}{}", planned.stdout, planned.stderr).contains("cgi-bin"), "the URL is a secret");
    with_receiver(&["up"]).exits(0).says("alertmanager");
    with_receiver(&["up"]).exits(0).says("nothing to change");
    // The receiver's own objects name the paths and no address.
    let kinds = "configmaps,deployments,statefulsets,pods,events";
    let told = world.kubectl(["get", kinds, "-A", "--field-selector=metadata.namespace!=receiver", "-o", "yaml"]);
    assert!(told.contains("name: alertmanager-config"), "{told}");
    for path in ["cgi-bin/hook", "cgi-bin/slack"] {
        let at = told.lines().find(|line| line.contains(path));
        assert_eq!(at, None, "a receiver's URL stands where many may read it");
    }

    let tested = until_delivered(|| with_receiver(&["alert", "test"])).await;
    let tested = tested
        .says("default/webhook took it")
        .says("default/slack took it")
        .says("Prometheus sends its alerts to this Alertmanager");
    println!("{}", tested.stdout);
    let tested = until_delivered(|| with_receiver(&["alert", "test", "-o", "json"])).await;
    let answer: Value = serde_json::from_str(&tested.stdout).unwrap();
    let delivered = answer["deliveries"].as_array().unwrap();
    assert!(delivered.len() == 2 && delivered.iter().all(|one| one["outcome"] == "delivered"), "{answer:#}");
    let received = |file: &str| world.kubectl(["exec", "-n", "receiver", "receiver", "--", "cat", file]);
    let id = answer["test"].as_str().unwrap();
    let (webhook, slack) = (received("/tmp/received"), received("/tmp/slack"));
    assert!(webhook.contains(id) && webhook.contains("this is a test"), "{webhook}");
    assert!(slack.contains("\"title\":\"ScalekitTest\"") && slack.contains("this is a test"), "{slack}");
    a_configuration_of_the_users_own_groups_inhibits_and_resolves(world, folder.path(), &received).await;

    for (url, cause) in [
        ("http://receiver.receiver.svc/cgi-bin/wrong", "404"),
        // No endpoint behind that port, and nothing that says so.
        ("http://receiver.receiver.svc:9/hook", "context deadline exceeded"),
        ("http://nowhere.invalid/hook", "no such host"),
    ] {
        receiver_is(url);
        with_receiver(&["up"]).exits(0);
        let tested = until_refused(|| with_receiver(&["alert", "test", "--timeout", "20s"]), cause).await;
        println!("{}", tested.stdout);
        assert!(!tested.stdout.contains("/hook") && !tested.stdout.contains("/cgi-bin"), "{}", tested.stdout);
    }

    // What `up` is given is what there is.
    world.scalekit(["up"]).exits(0);
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "monitoring");
    assert!(deployments.get_opt("alertmanager").await.unwrap().is_none());
    world.scalekit(["alert", "test"]).exits(6).says("--slack-webhook-file");
    world.kubectl(["delete", "namespace", "receiver", "--wait=true"]);
}

/// The whole way: rules, Prometheus, Alertmanager, its templates, the receivers. The configuration is our own, only that it
/// does not wait so long, given as one of the user's: a broken one is refused in Alertmanager's words, this one is taken.
async fn a_configuration_of_the_users_own_groups_inhibits_and_resolves(
    world: &World,
    folder: &Path,
    received: &impl Fn(&str) -> String,
) {
    let (settings, given) = (folder.join("own.yaml"), folder.join("alertmanager.yml"));
    let cluster = fs::read_to_string(world.settings()).unwrap();
    fs::write(&settings, format!("{cluster}alerting: {{configFile: alertmanager.yml}}\n")).unwrap();
    let up = || {
        let mut command = world.bare();
        command.arg("--kubeconfig").arg(world.kubeconfig()).arg("--config").arg(&settings).arg("up");
        if folder.join("rules").exists() {
            command.arg("--rules").arg(folder.join("rules"));
        }
        World::run_answered(&mut command)
    };
    let path = "jsonpath={.data.alertmanager\\.yml}";
    let text = world.kubectl(["get", "configmap", "-n", "monitoring", "alertmanager-config", "-o", path]);
    let mut config: Value = scalekit::yaml::parse(&text).unwrap();
    config["route"]["group_wait"] = "2s".into();
    config["route"]["group_interval"] = "2s".into();
    let receiver = &mut config["receivers"][0];
    receiver["webhook_configs"] = json!([{"url": "http://receiver.receiver.svc/cgi-bin/hook", "send_resolved": true}]);
    receiver["slack_configs"][0].as_object_mut().unwrap().remove("api_url_file").unwrap();
    receiver["slack_configs"][0]["api_url"] = "http://receiver.receiver.svc/cgi-bin/slack".into();

    // E-mail is the user's own affair, and so are its mistakes.
    let mut broken = config.clone();
    broken["receivers"][0]["email_configs"] = json!([{"to": "somebody@example.org"}]);
    fs::write(&given, broken.to_string()).unwrap();
    // A log that is not had in time is left out of what is said.
    let words = "no global SMTP smarthost set";
    let mut refused = up().exits(6);
    for _ in 0..2 {
        if refused.stderr.contains(words) || refused.stdout.contains(words) {
            break;
        }
        refused = up().exits(6);
    }
    println!("{}", refused.says(words).stderr);
    fs::write(&given, config.to_string()).unwrap();
    up().exits(0);

    // A node that is lost is slow as well, which nobody needs to be told; another one is slow in two ways, and that something
    // else on it is broken says nothing about that.
    let rules = |lost: &str, slow: &str| {
        let fires = |alert: &str, expr: &str, severity: &str, node: &str| {
            json!({"alert": alert, "expr": expr, "labels": {"severity": severity, "node": node},
                "annotations": {"summary": format!("{alert} {node}"), "description": "It says {{ $value }}.",
                    "first_step": "`df` of disk {{ $labels.disk }}",
                    "runbook_url": format!("{}{}", if node == "two" { "docs/runbooks.md#" } else { "https://example.org/" },
                        alert.to_lowercase())}})
        };
        let two = "label_replace(vector(1), \"disk\", \"a\", \"\", \"\") or label_replace(vector(2), \"disk\", \"b\", \"\", \"\")";
        let rules = [
            fires("NodeLost", lost, "critical", "one"),
            fires("NodeSlow", slow, "warning", "one"),
            fires("DiskSlow", two, "warning", "two"),
            fires("PageBroken", "vector(1)", "critical", "two"),
        ];
        let file = json!({"groups": [{"name": "nodes-of-mine", "interval": "1s", "rules": rules}]});
        fs::write(folder.join("rules/nodes.yml"), file.to_string()).unwrap();
    };
    let (yes, no) = ("vector(1)", "vector(1) > 2");
    // Not before Alertmanager is there: what Prometheus has told nobody, it tells again after a minute.
    fs::create_dir(folder.join("rules")).unwrap();
    rules(yes, no);
    up().exits(0);
    let told = |alert: &str, status: &str| -> Option<Value> {
        let text = received("/tmp/received");
        let messages = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok);
        let mut of_it = messages.filter(|message| message["groupLabels"]["alertname"] == alert);
        of_it.find(|message| message["status"] == status)
    };
    let all = || told("DiskSlow", "firing").and(told("PageBroken", "firing")).and(told("NodeLost", "firing"));
    until("a group of two and two critical alerts", all).await;
    let group = told("DiskSlow", "firing").unwrap();
    assert_eq!(group["alerts"].as_array().unwrap().len(), 2, "{group:#}");
    // Only what Alertmanager has of the lost node can hold another alert back, and a request of Prometheus may be lost.
    rules(yes, yes);
    up().exits(0);
    let suppressed = || alert(world, "NodeSlow").filter(|alert| alert["status"]["state"] == "suppressed");
    let slow = until("the warning about the lost node, held back", suppressed).await;
    assert_eq!(slow["status"]["inhibitedBy"].as_array().unwrap().len(), 1, "{slow:#}");
    assert_eq!(told("NodeSlow", "firing"), None);

    rules(no, yes);
    up().exits(0);
    let resolved = until("that the node is back", || told("NodeLost", "resolved")).await;
    assert_eq!(resolved["alerts"][0]["annotations"]["runbook_url"], "https://example.org/nodelost", "{resolved:#}");
    until("that it is slow, now that nothing is worse", || told("NodeSlow", "firing")).await;
    let told_slack = || Some(received("/tmp/slack")).filter(|text| text.contains("\"resolved: NodeLost\""));
    let text = until("that Slack is told the same", told_slack).await;
    let messages = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok);
    let shown: Vec<Value> = messages.map(|message| message["attachments"][0].clone()).collect();
    let titled = |title: &str| shown.iter().find(|shown| shown["title"] == title).unwrap_or_else(|| panic!("{text}"));
    let slow = titled("DiskSlow (2)");
    for expected in ["It says 2.", "first: `df` of disk b", "what to do: `scalekit alert explain DiskSlow`"] {
        assert!(slow["text"].as_str().unwrap().contains(expected), "{expected} is not in {slow:#}");
    }
    let (lost, back) = (titled("NodeLost"), titled("resolved: NodeLost"));
    let said = lost["text"].as_str().unwrap();
    for expected in ["NodeLost one", "It says 1.", "first: ", "<https://example.org/nodelost|what to do>"] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    let said = back["text"].as_str().unwrap();
    assert!(!said.contains("first: ") && said.contains("|what to do>"), "{said}");
    assert_eq!((&lost["color"], &back["color"]), (&json!("danger"), &json!("good")));
    assert_eq!(back["title_link"], "https://example.org/nodelost");
}

/// An alert as Alertmanager has it, once that answers.
fn alert(world: &World, name: &str) -> Option<Value> {
    let path = "/api/v1/namespaces/monitoring/services/alertmanager:9093/proxy/api/v2/alerts";
    world.raw(path)?.as_array()?.iter().find(|alert| alert["labels"]["alertname"] == name).cloned()
}

async fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(240), "waited for {what}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One attempt that a receiver did not take counts as refused, and Alertmanager goes on.
async fn until_delivered(test: impl Fn() -> Ran) -> Ran {
    until_told(test, "delivered", |ran| ran.code == 0).await
}

/// The kubelet brings a changed Secret when it next looks at the pod.
async fn until_refused(test: impl Fn() -> Ran, cause: &str) -> Ran {
    let refused = |ran: &Ran| ran.code == 6 && ran.stdout.contains("refused it") && ran.stdout.contains(cause);
    until_told(test, &format!("refused with {cause}"), refused).await
}

async fn until_told(test: impl Fn() -> Ran, what: &str, is_told: impl Fn(&Ran) -> bool) -> Ran {
    let began = Instant::now();
    loop {
        let ran = test();
        if is_told(&ran) {
            return ran;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "it is not {what}: {}{}", ran.stdout, ran.stderr);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
