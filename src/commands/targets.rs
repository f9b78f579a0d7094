//! Waiting until Prometheus has scraped everything well.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt, api::ListParams};
use tokio::time::sleep;

use super::CommandError;
use crate::{
    cluster::{Cluster, PodTunnel, answered},
    event::{Event, Reporter, Step},
    health::unready_nodes,
    prometheus::{self, Client, TargetHealth, Transport},
};

const ASK_AGAIN: Duration = Duration::from_millis(500);
const PROMETHEUS_PORT: u16 = 9090;
/// One question through a port-forward.
const QUESTION: Duration = Duration::from_secs(5);

/// A way to the stack's Prometheus, if a pod of it is ready.
pub(super) async fn prometheus(
    cluster: &Cluster,
    namespace: &str,
) -> Result<Option<Client<PodTunnel>>, crate::cluster::Error> {
    let pod = ready_pod(cluster, namespace, "app.kubernetes.io/name=prometheus").await?;
    Ok(pod.map(|pod| client(tunnel(cluster, namespace, &pod))))
}

/// A way to Prometheus in this pod.
pub(super) fn tunnel(cluster: &Cluster, namespace: &str, pod: &str) -> PodTunnel {
    PodTunnel::new(cluster, namespace, pod, PROMETHEUS_PORT)
}

/// Prometheus at the end of some way.
pub(super) fn client<T: Transport>(way: T) -> Client<T> {
    Client::new(way, QUESTION)
}

/// Name of a ready pod with these labels.
pub(super) async fn ready_pod(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
) -> Result<Option<String>, crate::cluster::Error> {
    Ok(ready_pods(cluster, namespace, selector).await?.into_iter().next())
}

/// Names of all ready pods with these labels, sorted.
pub(super) async fn ready_pods(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
) -> Result<Vec<String>, crate::cluster::Error> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), namespace);
    let list = pods.list(&ListParams::default().labels(selector)).await?;
    let is_ready = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.status.as_ref().is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .flatten()
                    .any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
    };
    let mut names: Vec<String> = list.items.iter().filter(|pod| is_ready(pod)).map(ResourceExt::name_any).collect();
    names.sort();
    Ok(names)
}

/// Waits until every expected job has a target and each of those was scraped well. What users annotate is theirs: a pod
/// of theirs that does not answer is nothing to wait for, and nor is a target on a node that is not ready. Returns how
/// many are up.
///
/// Prometheus has no watch: it is asked twice a second.
pub(super) async fn wait(
    cluster: &Cluster,
    namespace: &str,
    expected: &[String],
    deadline: Instant,
    reporter: &dyn Reporter,
) -> Result<usize, CommandError> {
    let began = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Targets, total: None });
    loop {
        let looked = look(cluster, namespace, expected).await;
        if looked.missing.is_empty() {
            let Looked { up, lost, .. } = looked;
            let without =
                if lost == 0 { String::new() } else { format!(", and {lost} on nodes that are not ready are not") };
            let summary = format!("{up} scrape targets are up{without}");
            reporter.report(Event::StepFinished { step: Step::Targets, took: began.elapsed(), summary });
            return Ok(up);
        }
        if Instant::now() >= deadline {
            let Looked { up, total, missing, .. } = looked;
            return Err(CommandError::Targets { up, total, waited: began.elapsed(), missing });
        }
        reporter.report(Event::Targets { up: looked.up, total: looked.total, waiting: looked.waiting });
        sleep(ASK_AGAIN).await;
    }
}

struct Looked {
    up: usize,
    total: usize,
    /// Down with their nodes.
    lost: usize,
    /// Jobs that are not up yet.
    waiting: Vec<String>,
    /// What is wrong, a line each.
    missing: Vec<String>,
}

async fn look(cluster: &Cluster, namespace: &str, expected: &[String]) -> Looked {
    let silent = |why: String| Looked { up: 0, total: 0, lost: 0, waiting: Vec::new(), missing: vec![why] };
    let targets = match prometheus(cluster, namespace).await {
        Ok(Some(client)) => client.targets().await,
        Ok(None) => return silent("no pod of Prometheus is ready".to_owned()),
        Err(error) => return silent(error.to_string()),
    };
    match targets {
        Ok(targets) => {
            let nodes = if targets.iter().any(may_be_lost) { nodes(cluster).await } else { Vec::new() };
            judge(&targets, expected, &nodes)
        }
        Err(error) => silent(error.to_string()),
    }
}

/// Whether it is worth asking how its node is.
fn may_be_lost(target: &prometheus::Target) -> bool {
    target.health == TargetHealth::Down && target.node.is_some()
}

/// The nodes as they are now; none where they cannot be read, and then nothing is excused.
async fn nodes(cluster: &Cluster) -> Vec<Node> {
    let nodes: Api<Node> = Api::all(cluster.client().clone());
    answered(nodes.list(&ListParams::default())).await.map(|list| list.items).unwrap_or_default()
}

fn judge(targets: &[prometheus::Target], expected: &[String], nodes: &[Node]) -> Looked {
    let unready = unready_nodes(nodes);
    let is_lost = |target: &prometheus::Target| {
        may_be_lost(target) && target.node.as_ref().is_some_and(|node| unready.contains(node))
    };
    let all = targets.iter().filter(|target| expected.contains(&target.scrape_pool));
    let (lost, ours): (Vec<&prometheus::Target>, Vec<&prometheus::Target>) = all.partition(|target| is_lost(target));
    let up = ours.iter().filter(|target| target.health == TargetHealth::Up).count();
    let mut waiting = Vec::new();
    let mut missing = Vec::new();
    for target in ours.iter().filter(|target| target.health != TargetHealth::Up) {
        waiting.push(target.scrape_pool.clone());
        let why = if target.last_error.is_empty() { "not scraped yet" } else { &target.last_error };
        missing.push(format!("{} ({}): {why}", target.scrape_pool, target.scrape_url));
    }
    for job in expected.iter().filter(|job| !ours.iter().any(|target| target.scrape_pool == **job)) {
        waiting.push(job.clone());
        missing.push(format!("{job}: no target at all"));
    }
    waiting.sort();
    waiting.dedup();
    Looked { up, total: ours.len(), lost: lost.len(), waiting, missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(job: &str, health: TargetHealth) -> prometheus::Target {
        prometheus::Target {
            scrape_pool: job.to_owned(),
            scrape_url: "http://x".to_owned(),
            last_error: String::new(),
            health,
            node: None,
        }
    }

    #[test]
    fn done_means_every_target_up_and_no_expected_job_without_one() {
        let expected = ["a".to_owned(), "b".to_owned()];
        let of = |active: Vec<prometheus::Target>| judge(&active, &expected, &[]).missing;
        let (up, new) = (TargetHealth::Up, TargetHealth::Unknown);
        assert_eq!(of(vec![target("a", up), target("b", up)]), Vec::<String>::new());
        assert_eq!(of(vec![target("a", up), target("b", new)]), ["b (http://x): not scraped yet"]);
        assert_eq!(of(vec![target("a", up)]), ["b: no target at all"]);
        let theirs = target("annotated-pods", TargetHealth::Down);
        assert_eq!(of(vec![target("a", up), target("b", up), theirs]), Vec::<String>::new());
    }

    #[test]
    fn a_target_that_is_down_with_its_node_is_not_waited_for() {
        let node = |name: &str, ready: &str| {
            serde_json::from_value(serde_json::json!({"metadata": {"name": name},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let nodes = [node("well", "True"), node("lost", "Unknown")];
        let on = |node: &str, health| prometheus::Target { node: Some(node.to_owned()), ..target("kubelet", health) };
        let of = |active: Vec<prometheus::Target>| {
            let looked = judge(&active, &["kubelet".to_owned()], &nodes);
            (looked.up, looked.lost, looked.missing.len())
        };
        let (up, down, new) = (TargetHealth::Up, TargetHealth::Down, TargetHealth::Unknown);
        assert_eq!(of(vec![on("well", up), on("lost", down)]), (1, 1, 0));
        assert_eq!(of(vec![on("well", down), on("lost", down)]), (0, 1, 1));
        assert_eq!(of(vec![on("well", up), on("lost", new)]), (1, 0, 1), "it may still answer");
        // Without any other, the job has none.
        assert_eq!(of(vec![on("lost", down)]), (0, 1, 1));
    }
}
