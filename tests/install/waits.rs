//! Waiting: what ends it, and with which words.

use rstest::rstest;
use scalekit::cluster;
use scalekit::install::InstallError;
use scalekit::object::ObjectRef;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

use super::{
    failures,
    fake::{FakeCluster, Fault},
    stack, stack_with, up,
};

fn pod(name: &str, of: &Value, container: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "monitoring",
            "labels": of["spec"]["selector"]["matchLabels"]},
        "spec": {"containers": []}, "status": {"phase": "Pending", "containerStatuses": [container]}})
}

#[rstest]
#[case::an_image_that_is_not_on_the_node(
    json!({"name": "c", "image": "example.org/scalekit:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImageNeverPull"}}}),
    "image example.org/scalekit:1 is not on the node"
)]
#[case::a_crash_with_its_last_words(
    json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 7, "reason": "Error"}}}),
    "exit code 7), 3 restarts; it said:\n    no such flag"
)]
#[tokio::test(start_paused = true)]
async fn a_pod_that_will_not_start_fails_the_wait_within_seconds(#[case] container: Value, #[case] cause: &str) {
    let fake = FakeCluster::new();
    fake.hold("scaler");
    let desired = stack();
    let scaler = desired
        .iter()
        .find(|object| ObjectRef::of(object).name == "scaler" && ObjectRef::of(object).kind == "Deployment")
        .unwrap();
    fake.log_of("scaler-1", "no such flag\n");
    let began = Instant::now();
    let comes_up = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fake.put(pod("scaler-1", &scaler.data, &container));
        std::future::pending::<()>().await;
    };
    let cluster = fake.cluster();
    let error = tokio::select! {
        ended = up(&cluster, desired) => ended.unwrap_err(),
        () = comes_up => unreachable!(),
    };
    assert!(matches!(error, InstallError::Failed { .. }), "{error}");
    assert!(
        failures(&error).iter().any(|line| line.starts_with("deployment.apps/scaler") && line.contains(cause)),
        "{:#?}",
        failures(&error)
    );
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

/// An init container's words are asked for as any other's.
#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_init_container_are_told() {
    let fake = FakeCluster::new();
    fake.hold("scaler");
    fake.log_of("scaler-1", "no such table\n");
    let cluster = fake.cluster();
    let comes_up = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut crashing = pod("scaler-1", &fake.get("Deployment", "scaler").unwrap(), &json!({}));
        crashing["status"] = json!({"phase": "Pending", "initContainerStatuses": [{"name": "migrate", "image": "i",
            "imageID": "", "ready": false, "restartCount": 1, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]});
        fake.put(crashing);
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        ended = up(&cluster, stack()) => ended.unwrap_err(),
        () = comes_up => unreachable!(),
    };
    let expected = "container migrate ends again and again (exit code 3), 1 restart; it said:\n    no such table";
    assert!(failures(&error)[0].contains(expected), "{error:?}");
}

/// A controller that is refused asks again after minutes: what it said before the wait counts once the API server says that
/// it would say so now, and nothing else is a word on it: no answer, or one about something else.
#[rstest]
#[case::still(&[(403, "Forbidden", usize::MAX)], Some(6))]
#[case::still_in_other_words(&[(422, "Invalid", usize::MAX)], Some(6))]
#[case::still_when_it_has_an_answer_again(&[(500, "InternalError", 2), (403, "Forbidden", usize::MAX)], Some(16))]
#[case::no_more(&[], None)]
#[case::no_more_when_it_has_an_answer_again(&[(503, "ServiceUnavailable", 1)], None)]
#[case::it_is_overloaded(&[(429, "TooManyRequests", usize::MAX)], None)]
#[case::it_does_not_know_who_asks(&[(401, "Unauthorized", usize::MAX)], None)]
#[case::it_says_nothing(&[(0, "", usize::MAX)], None)]
#[tokio::test(start_paused = true)]
async fn a_refusal_of_before_counts_while_the_api_server_says_the_same(
    #[case] answers: &[(u16, &str, usize)],
    #[case] within: Option<u64>,
) {
    let fake = FakeCluster::new();
    fake.hold("node-exporter");
    let cluster = fake.cluster();
    up(&cluster, stack()).await.unwrap_err();
    let set = fake.get("DaemonSet", "node-exporter").unwrap();
    fake.put(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "monitoring-nodes"},
        "type": "Warning", "reason": "FailedCreate", "message": "pods is forbidden: exceeded quota: q",
        "involvedObject": {"kind": "DaemonSet", "name": "node-exporter", "uid": set["metadata"]["uid"]}}));
    for (code, reason, times) in answers {
        let pods = Fault::on("create", "/namespaces/monitoring-nodes/pods").times(*times);
        fake.fault(if *code == 0 { pods } else { pods.answers(*code, reason, "exceeded quota: q") });
    }
    let began = Instant::now();
    let error = up(&cluster, stack()).await.unwrap_err();
    if let Some(within) = within {
        assert!(matches!(error, InstallError::Failed { .. }), "{error}");
        assert!(
            failures(&error)[0].contains("its pods are refused: pods is forbidden: exceeded quota: q"),
            "{error:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(within), "{:?}", began.elapsed());
    } else {
        assert!(matches!(error, InstallError::TimedOut { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_that_heals_is_no_verdict() {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    fake.hold("scaler");
    let desired = stack();
    let heals = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut scaler = fake.get("Deployment", "scaler").unwrap();
        let crashing = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        fake.put(pod("scaler-1", &scaler, &crashing));
        tokio::time::sleep(Duration::from_secs(2)).await;
        fake.remove("Pod", "scaler-1");
        scaler["status"] = json!({"observedGeneration": scaler["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
            "availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
        fake.put(scaler);
    };
    let (ended, ()) = tokio::join!(up(&cluster, desired), heals);
    ended.unwrap();
}

/// While it lasts, nothing is seen: what has become ready meanwhile is seen afterwards.
#[rstest]
#[case::it_stumbles(500, "InternalError", 40)]
#[case::it_is_overloaded(429, "TooManyRequests", 40)]
#[case::it_does_not_know_the_roles_yet(403, "Forbidden", 6)]
#[case::it_does_not_know_who_asks_yet(401, "Unauthorized", 6)]
#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_for_a_while_does_not_end_a_wait(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] seconds: u64,
) {
    let lasts = Duration::from_secs(seconds);
    let fake = FakeCluster::new();
    fake.hold("scaler");
    let cluster = fake.cluster();
    let stumbles = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // By then it is waited for.
        tokio::time::sleep(Duration::from_secs(5)).await;
        for verb in ["list", "watch"] {
            fake.fault(Fault::on(verb, "").answers(code, reason, "not now"));
        }
        fake.break_watches();
        fake.forget_history();
        let refused = fake.calls().len();
        let mut scaler = fake.get("Deployment", "scaler").unwrap();
        scaler["status"] = json!({"observedGeneration": scaler["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": 1, "availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
        fake.put(scaler);
        tokio::time::sleep(lasts).await;
        let asked = fake.calls().split_off(refused);
        assert!(
            asked.iter().any(|call| call.verb == "list") || asked.iter().any(|call| call.verb == "watch"),
            "{asked:?}"
        );
        fake.heal();
    };
    let (began, desired) = (Instant::now(), stack());
    let timed = async { (up(&cluster, desired).await, began.elapsed()) };
    let ((ended, took), ()) = tokio::join!(timed, stumbles);
    ended.unwrap();
    assert!(took > lasts, "it saw what nobody told: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_ends_a_wait() {
    let fake = FakeCluster::new();
    fake.hold("scaler");
    fake.fault(Fault::on("watch", "/pods").answers(403, "Forbidden", "pods is forbidden"));
    let began = Instant::now();
    let error = up(&fake.cluster(), stack()).await.unwrap_err();
    assert!(matches!(&error, InstallError::Read(cluster::Error::Forbidden { .. })), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_meanwhile_is_waited_for_no_longer() {
    let fake = FakeCluster::new();
    let cluster = fake.cluster();
    fake.hold("node-exporter");
    let node = |ready: &str| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    };
    fake.put(node("True"));
    let loses_its_node = async {
        while fake.get("DaemonSet", "node-exporter").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut set = fake.get("DaemonSet", "node-exporter").unwrap();
        set["status"] = json!({"observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": 1,
            "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 0, "updatedNumberScheduled": 1});
        let waiting = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}}});
        let mut lost = pod("node-exporter-1", &set, &waiting);
        lost["metadata"]["namespace"] = json!("monitoring-nodes");
        lost["spec"] = json!({"nodeName": "n", "containers": []});
        fake.put(set);
        fake.put(lost);
        tokio::time::sleep(Duration::from_secs(20)).await;
        fake.put(node("Unknown"));
    };
    let (began, desired) = (Instant::now(), stack());
    let timed = async { (up(&cluster, desired).await, began.elapsed()) };
    let ((ended, took), ()) = tokio::join!(timed, loses_its_node);
    ended.unwrap();
    assert!((20..40).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_an_unknown_class_fails_with_the_classes_there_are() {
    let fake = FakeCluster::new();
    let began = Instant::now();
    let error =
        up(&fake.cluster(), &stack_with(|options| options.storage.class = Some("fast".to_owned()))).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(failures(&error).iter().any(|line| line.contains("there is no StorageClass `fast`")), "{error:?}");
    assert!(
        error
            .failures()
            .iter()
            .any(|failure| failure.hint.as_deref().is_some_and(|hint| hint.contains("there are: standard"))),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_get_ready_is_told_when_time_runs_out() {
    let fake = FakeCluster::new();
    fake.hold("grafana");
    let error = up(&fake.cluster(), stack()).await.unwrap_err();
    assert!(matches!(error, InstallError::TimedOut { .. }), "{error}");
    assert!(failures(&error).iter().all(|line| line.contains("grafana")), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_vanished_while_no_watch_saw_it_is_forgotten() {
    let fake = FakeCluster::new();
    fake.hold("scaler");
    let cluster = fake.cluster();
    let vanishes = async {
        while fake.get("Deployment", "scaler").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let scaler = fake.get("Deployment", "scaler").unwrap();
        let starting = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}});
        fake.put(pod("scaler-1", &scaler, &starting));
        // It has been seen by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        fake.break_watches();
        fake.remove("Pod", "scaler-1");
        fake.forget_history();
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        ended = up(&cluster, stack()) => ended.unwrap_err(),
        () = vanishes => unreachable!(),
    };
    assert!(matches!(error, InstallError::TimedOut { .. }), "{error}: {:#?}", failures(&error));
    assert!(failures(&error).iter().all(|line| line.contains("scaler") && !line.contains("scaler-1")), "{error:?}");
}
