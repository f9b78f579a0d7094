//! Alerts get to a receiver, and one that does not take them is named with its answer.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::Value;

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
    cat >>/tmp/received
    printf 'Status: 200 OK\r\n\r\ntaken'
  slack: |
    #!/bin/sh
    cat >>/tmp/slack
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
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("receiver.yaml");
    fs::write(&manifest, RECEIVER).unwrap();
    world.kubectl(["apply", "-f", manifest.to_str().unwrap()]);
    world.kubectl(["wait", "-n", "receiver", "pod/receiver", "--for=condition=Ready", "--timeout=60s"]);

    let settings = folder.path().join("scalekit.yaml");
    let own = fs::read_to_string(world.settings()).unwrap();
    fs::write(&settings, format!("{own}alerting:\n  webhookUrlFile: url\n  slackWebhookFile: slack\n")).unwrap();
    fs::write(folder.path().join("slack"), "http://receiver.receiver.svc/cgi-bin/slack").unwrap();
    let receiver_is = |url: &str| fs::write(folder.path().join("url"), format!("{url}\n")).unwrap();
    let with_receiver = |arguments: &[&str]| {
        let mut command: Command = world.bare();
        command.arg("--kubeconfig").arg(world.kubeconfig()).arg("--config").arg(&settings).args(arguments);
        World::run(&mut command)
    };
    receiver_is("http://receiver.receiver.svc/cgi-bin/hook");
    let planned = with_receiver(&["plan"]).exits(10).says("deployment.apps/alertmanager -n monitoring");
    assert!(!format!("{}{}", planned.stdout, planned.stderr).contains("cgi-bin"), "the URL is a secret");
    with_receiver(&["up"]).exits(0).says("alertmanager");
    with_receiver(&["up"]).exits(0).says("nothing to change");
    assert!(!world.kubectl(["get", "configmaps,deployments,events", "-A", "-o", "yaml"]).contains("cgi-bin/hook\n"));

    let tested =
        with_receiver(&["alert", "test"]).exits(0).says("default/webhook took it").says("default/slack took it");
    println!("{}", tested.stdout);
    let answer: Value = serde_json::from_str(&with_receiver(&["alert", "test", "-o", "json"]).exits(0).stdout).unwrap();
    let delivered = answer["deliveries"].as_array().unwrap();
    assert!(delivered.len() == 2 && delivered.iter().all(|one| one["outcome"] == "delivered"), "{answer:#}");
    let received = |file: &str| world.kubectl(["exec", "-n", "receiver", "receiver", "--", "cat", file]);
    let id = answer["test"].as_str().unwrap();
    let (webhook, slack) = (received("/tmp/received"), received("/tmp/slack"));
    assert!(webhook.contains(id) && webhook.contains("this is a test"), "{webhook}");
    assert!(slack.contains("\"title\":\"ScalekitTest\"") && slack.contains("this is a test"), "{slack}");
    a_rule_that_fires_gets_to_both(&with_receiver, folder.path(), received).await;

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

/// The whole way: a rule, Prometheus, Alertmanager, its templates, the receivers.
async fn a_rule_that_fires_gets_to_both(
    up: &impl Fn(&[&str]) -> Ran,
    folder: &Path,
    received: impl Fn(&str) -> String,
) {
    let rules = folder.join("rules");
    fs::create_dir(&rules).unwrap();
    let rule = "groups:\n- name: mine\n  rules:\n  - alert: MineFires\n    expr: vector(7)\n    \
                labels: {severity: critical, namespace: shop}\n    \
                annotations: {summary: 'shop is closed', description: 'It says {{ $value }}.', runbook_url: 'https://example.org/shop'}\n";
    fs::write(rules.join("mine.yml"), rule).unwrap();
    up(&["up", "--rules", rules.to_str().unwrap()]).exits(0);
    // It is kept for half a minute, for what belongs with it.
    let began = Instant::now();
    while !(received("/tmp/slack").contains("MineFires") && received("/tmp/received").contains("MineFires")) {
        assert!(began.elapsed() < Duration::from_secs(90), "the alert does not arrive: {}", received("/tmp/slack"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("a rule's alert arrived after {:.0} s", began.elapsed().as_secs_f64());
    let text = received("/tmp/slack");
    for expected in
        ["\"title\":\"MineFires\"", "shop is closed", "It says 7.", "https://example.org/shop|what to do", "danger"]
    {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

/// The kubelet brings a changed Secret when it next looks at the pod.
async fn until_refused(test: impl Fn() -> Ran, cause: &str) -> Ran {
    for _ in 0..60 {
        let ran = test();
        if ran.code == 6 && ran.stdout.contains("refused it") && ran.stdout.contains(cause) {
            return ran;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    panic!("it is not refused with {cause}: {}", test().stdout)
}
