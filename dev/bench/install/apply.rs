//! The install engine by itself, for benchmarks: brings what a file lists up to date as `up --no-wait` does with the stack.
//! It reads, plans, and writes under the lock, with an inventory.
//!
//! `apply FILE NAMESPACE`: the namespace is among the file's objects. They get the labels of an installation.

use std::{process::ExitCode, time::Duration};

use kube::core::DynamicObject;
use scalekit::{
    catalog::{APPLYSET_PART_OF, INVENTORY, MANAGED_BY, SCALEKIT, applyset_id},
    cluster::{Connection, connect},
    event::Silent,
    install::{Installer, Release},
    plan, yaml,
};

type Failure = Box<dyn std::error::Error>;

async fn apply(file: &str, namespace: &str) -> Result<(), Failure> {
    let mut desired: Vec<DynamicObject> = yaml::parse_all(&std::fs::read_to_string(file)?)?;
    let cluster = connect(&Connection::default()).await?;
    let installer = Installer::new(&cluster, &Silent, Duration::from_mins(5));
    let release = Release {
        inventory: INVENTORY.to_owned(),
        namespace: namespace.to_owned(),
        applyset: applyset_id(INVENTORY, namespace, "ConfigMap", ""),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    for object in &mut desired {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(MANAGED_BY.to_owned(), SCALEKIT.to_owned());
        labels.insert(APPLYSET_PART_OF.to_owned(), release.applyset.clone());
    }
    let state = installer.read(&release, &desired).await?;
    let changes = plan::plan(&desired, &state.live, &state.inventory);
    installer.write(&release, &desired, &[], &changes, state).await?;
    Ok(())
}

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, namespace] = &arguments[..] else { return Err("usage: apply FILE NAMESPACE".into()) };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(apply(file, namespace))?;
    Ok(ExitCode::SUCCESS)
}
