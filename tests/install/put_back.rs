//! Putting back what turned out wrong.

use kube::core::DynamicObject;
use rstest::rstest;
use scalekit::{event::Silent, install::Installer, plan};

use super::{TIMEOUT, installed, release, stack_with, up};

/// What Prometheus refuses is put back, a while after it was written.
#[rstest]
#[case::nobody(false)]
#[case::another_run(true)]
#[tokio::test(start_paused = true)]
async fn what_was_written_is_put_back_only_where_nobody_has_written_since(#[case] another: bool) {
    let (fake, cluster) = installed().await;
    let installer = Installer::new(&cluster, &Silent, TIMEOUT);
    let old = fake.get("ConfigMap", "prometheus-config").unwrap();
    let before: Vec<DynamicObject> = vec![serde_json::from_value(old.clone()).unwrap()];
    let next = stack_with(|options| options.scrape_interval_seconds = 30);
    let state = installer.read(&release(), &next).await.unwrap();
    let changes = plan::plan(&next, &state.live, &state.inventory);
    let version = installer.write(&release(), &next, &[], &changes, state).await.unwrap();
    if another {
        up(&cluster, &stack_with(|options| options.scrape_interval_seconds = 60)).await.unwrap();
    }
    let written = fake.get("ConfigMap", "prometheus-config").unwrap();
    assert_ne!(written["data"], old["data"]);
    fake.forget_calls();
    let put_back = installer.put_back(&release(), version.as_deref(), &before, &[]).await.unwrap();
    assert_eq!(put_back, !another);
    let left = fake.get("ConfigMap", "prometheus-config").unwrap();
    assert_eq!(left["data"], if another { written["data"].clone() } else { old["data"].clone() });
    assert_eq!(fake.writes().len(), usize::from(!another), "{:#?}", fake.writes());
    assert_eq!(fake.get("Lease", "scalekit-lock"), None);
}
