//! The lock: who does not hold it any more writes nothing more.

use rstest::rstest;
use scalekit::{
    cluster,
    commands::CommandError,
    event::Silent,
    install::{InstallError, Installer},
    plan::Inventory,
};
use serde_json::json;
use std::time::Duration;

use super::{
    INVENTORY, TIMEOUT,
    fake::{FakeCluster, Fault},
    installed, release,
};

/// Longer than the lock lasts when nobody renews it.
const STOPPED: Duration = Duration::from_secs(20);

/// Time goes on, and nothing of the run does: its renewals no more than its writes.
async fn stopped() {
    tokio::time::advance(STOPPED).await;
}

fn is_held_by_another(fake: &FakeCluster) {
    fake.put(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "scalekit-lock", "namespace": "monitoring"},
        "spec": {"holderIdentity": "elsewhere/7/another-boot", "leaseDurationSeconds": 15}}));
}

fn was_given_back_by_another(fake: &FakeCluster) {
    fake.remove("Lease", "scalekit-lock");
}

#[rstest]
#[case::that_is_at_work(is_held_by_another)]
#[case::that_has_ended(was_given_back_by_another)]
#[tokio::test(start_paused = true)]
async fn who_was_stopped_while_another_run_took_over_writes_no_more(#[case] taken_over: fn(&FakeCluster)) {
    let (fake, cluster) = installed().await;
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let lock = installer.lock(&release()).await.unwrap();
    let work = async {
        installer.write_inventory(&release(), &Inventory::default()).await?;
        taken_over(&fake);
        // What the renewal asks first is lost too.
        fake.fault(Fault::on("get", "/leases/scalekit-lock").times(1));
        stopped().await;
        installer.write_inventory(&release(), &Inventory::default()).await
    };
    let error = lock.hold(work).await.unwrap_err();
    assert!(matches!(error, InstallError::LockLost), "{error}");
    assert_eq!(CommandError::from(error).exit_code(), 7);
    assert_eq!(fake.writes(), [INVENTORY], "it went on");
    let holder = fake.get("Lease", "scalekit-lock").map(|lease| lease["spec"]["holderIdentity"].clone());
    assert!(holder.is_none_or(|holder| holder == "elsewhere/7/another-boot"), "it took what was another's");
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_and_not_missed_renews_before_it_goes_on() {
    let (fake, cluster) = installed().await;
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let lock = installer.lock(&release()).await.unwrap();
    let work = async {
        stopped().await;
        installer.write_inventory(&release(), &Inventory::default()).await
    };
    lock.hold(work).await.unwrap();
    let calls: Vec<String> = fake.calls().iter().map(ToString::to_string).collect();
    let place =
        |ending: &str| calls.iter().position(|call| call.ends_with(ending)).unwrap_or_else(|| panic!("{ending}"));
    let renewed = calls.iter().position(|call| call.starts_with("replace ")).expect("it never renewed");
    assert!(renewed < place(INVENTORY), "{calls:#?}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_find_out_whose_the_lock_is_ends_in_time_and_without_a_write() {
    let (fake, cluster) = installed().await;
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let lock = installer.lock(&release()).await.unwrap();
    fake.fault(Fault::on("get", "/leases/scalekit-lock"));
    let work = async {
        tokio::time::advance(2 * TIMEOUT).await;
        installer.write_inventory(&release(), &Inventory::default()).await
    };
    let ended =
        tokio::time::timeout(2 * TIMEOUT + Duration::from_secs(10), lock.hold(work)).await.expect("its time is over");
    let error = ended.unwrap_err();
    assert!(matches!(&error, InstallError::Inventory { source: cluster::Error::Unreachable { .. }, .. }), "{error:?}");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_lock_went_with_its_namespace_goes_on() {
    let (fake, cluster) = installed().await;
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let lock = installer.lock(&release()).await.unwrap();
    fake.linger(100);
    fake.terminate("monitoring");
    fake.remove("Lease", "scalekit-lock");
    let work = async {
        tokio::time::sleep(STOPPED).await;
        installer.survey().await
    };
    let survey = lock.hold(work).await.unwrap();
    assert!(!survey.ours.is_empty());
}
