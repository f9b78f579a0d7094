//! Death at any write.

use rstest::rstest;
use scalekit::cluster::Cluster;
use scalekit::commands::CommandError;
use scalekit::object::ObjectRef;
use scalekit::plan::Data;
use serde_json::json;
use std::collections::BTreeMap;

use super::{down, down_with, fake::FakeCluster, installed, stack, stack_with, up};

/// What may become of the lock of a run that died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It runs out, and whoever has something to write takes it.
    ForTheNextWriter,
    Nowhere,
}

/// Runs `work` once for every write it makes, dying with that write, and then once more undisturbed.
async fn at_every_kill_point<W, R>(
    start: &FakeCluster,
    work: W,
    expected: &BTreeMap<String, String>,
    lock: Left,
) -> usize
where
    W: AsyncFn(&Cluster) -> Result<R, CommandError>,
{
    for writes in 1.. {
        let fake = start.fork();
        let cluster = fake.cluster();
        fake.kill_after(writes);
        tokio::select! {
            biased;
            () = fake.died() => {}
            ended = work(&cluster) => {
                assert!(ended.is_ok(), "{}", ended.err().map(|error| format!("{error:?}")).unwrap_or_default());
                return writes - 1;
            }
        }
        fake.revive();
        // A new process has a connection of its own.
        if let Err(error) = work(&fake.cluster()).await {
            panic!("the run after a death at write {writes}: {error:?}");
        }
        let mut found = fake.everything();
        if lock == Left::ForTheNextWriter {
            found.retain(|name, _| name != "Lease monitoring/scalekit-lock");
        }
        let differs: Vec<_> = expected.iter().filter(|(name, text)| found.get(*name) != Some(text)).collect();
        let more: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
        assert!(differs.is_empty() && more.is_empty(), "after a death at write {writes}: {differs:#?} {more:#?}");
    }
    unreachable!("the work ends")
}

#[tokio::test(start_paused = true)]
async fn an_installation_that_died_at_any_write_is_finished_by_the_next_one() {
    let (fake, _) = installed().await;
    let points = at_every_kill_point(
        &FakeCluster::new(),
        async |cluster| up(cluster, stack()).await.map_err(CommandError::from),
        &fake.everything(),
        Left::ForTheNextWriter,
    )
    .await;
    assert!(points >= stack().len() + 2, "{points}");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_died_at_any_write_is_finished_by_the_next_one() {
    let mut next = stack_with(|options| options.scrape_interval_seconds = 30);
    next.retain(|object| ObjectRef::of(object).kind != "NetworkPolicy");
    let (fake, cluster) = installed().await;
    let start = fake.fork();
    up(&cluster, &next).await.unwrap();
    let points = at_every_kill_point(
        &start,
        async |cluster| up(cluster, &next).await.map_err(CommandError::from),
        &fake.everything(),
        Left::ForTheNextWriter,
    )
    .await;
    assert!(points >= 3, "{points}");
}

#[rstest]
#[case::of_everything(Data::Purge)]
#[case::of_all_but_the_data(Data::Keep)]
#[tokio::test(start_paused = true)]
async fn a_removal_that_died_at_any_write_is_finished_by_the_next_one(#[case] data: Data) {
    let (fake, cluster) = installed().await;
    let start = fake.fork();
    down(&cluster, data).await.unwrap();
    let points =
        at_every_kill_point(&start, async |cluster| down(cluster, data).await, &fake.everything(), Left::Nowhere).await;
    assert!(points >= 5, "{points}");
}

#[tokio::test(start_paused = true)]
async fn data_that_was_kept_is_in_use_again_whenever_the_run_died() {
    let (fake, cluster) = installed().await;
    down(&cluster, Data::Keep).await.unwrap();
    let start = fake.fork();
    up(&cluster, stack()).await.unwrap();
    at_every_kill_point(
        &start,
        async |cluster| up(cluster, stack()).await.map_err(CommandError::from),
        &fake.everything(),
        Left::ForTheNextWriter,
    )
    .await;
}

/// By the Autoscalers the next run knows what was scaled, so they go when it is done.
#[tokio::test(start_paused = true)]
async fn workloads_go_back_to_their_lower_bound_whenever_the_removal_died() {
    let (fake, cluster) = installed().await;
    fake.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    fake.put(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 4}}));
    fake.put(json!({"apiVersion": "scalekit.dev/v1alpha1", "kind": "Autoscaler",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "scalekit"}},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 2},
        "status": {"currentReplicas": 4}}));
    let start = fake.fork();
    let resetting =
        async |cluster: &Cluster| down_with(cluster, Data::Purge, |options| options.reset_replicas = true).await;
    resetting(&cluster).await.unwrap();
    assert_eq!(fake.get("Deployment", "web").unwrap()["spec"]["replicas"], 2);
    let writes = fake.writes();
    let at = |wanted: &str| writes.iter().position(|write| write.starts_with(wanted)).expect(wanted);
    let scaler = at("delete /apis/apps/v1/namespaces/monitoring/deployments/scaler");
    let reset = at("patch /apis/apps/v1/namespaces/shop/deployments/web/scale");
    assert!(scaler < reset, "it may be scaled up again: {writes:#?}");
    let points = at_every_kill_point(&start, resetting, &fake.everything(), Left::Nowhere).await;
    assert!(points >= 5, "{points}");
}
