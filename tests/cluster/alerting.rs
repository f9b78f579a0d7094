//! Alerts get to a receiver, and one that does not take them is named with its answer.

use std::{fs, process::Command, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::Value;

use crate::world::{Ran, World};

/// A receiver: busybox' web server, with a script that keeps what it is sent.
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
    command: [sh, -c, "mkdir -p /www/cgi-bin && cp /script/hook /www/cgi-bin/ && chmod +x /www/cgi-bin/hook && exec httpd -f -p 8080 -h /www"]
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
    fs::write(&settings, format!("{own}alerting:\n  webhookUrlFile: url\n")).unwrap();
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

    let tested = with_receiver(&["alert", "test"]).exits(0).says("default/webhook took it");
    println!("{}", tested.stdout);
    let answer: Value = serde_json::from_str(&with_receiver(&["alert", "test", "-o", "json"]).exits(0).stdout).unwrap();
    assert_eq!(answer["deliveries"][0]["outcome"], "delivered", "{answer:#}");
    let received = world.kubectl(["exec", "-n", "receiver", "receiver", "--", "cat", "/tmp/received"]);
    let id = answer["test"].as_str().unwrap();
    assert!(received.contains(id) && received.contains("this is a test"), "{received}");

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
