//! The only writer of installed objects: the stack's, the samples'; and of the mode of all Autoscalers at once.
//!
//! Flow of an installation: [`Installer::read`] what is there, let `plan` decide, [`Installer::apply`] by edges,
//! [`Installer::wait`] until it works. Of a removal: [`Installer::survey`], let `plan::teardown` decide,
//! [`Installer::tear_down`], [`Installer::left`]. Every step can be run again: a run that died is finished by the
//! next one.

mod apply;
mod definition;
mod delete;
mod dry_run;
mod error;
mod finalizers;
mod lock;
pub mod mode;
mod nudge;
mod proof;
mod put_back;
mod retry;
mod run;
mod state;
mod volumes;
mod wait;
mod watches;

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

pub use error::{Failure, InstallError};
pub use lock::Lock;
pub use proof::Left;
pub use state::{Labelled, State, Survey};

use crate::{cluster::Cluster, event::Reporter};

/// What is installed as one, with an inventory of its own: the stack, or one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Name of the inventory's ConfigMap.
    pub inventory: String,
    /// Namespace of the inventory.
    pub namespace: String,
    /// Value of the `applyset.kubernetes.io/part-of` label that its objects carry.
    pub applyset: String,
    /// Version that installs.
    pub version: String,
}

/// Writes to one cluster, within one deadline, telling one reporter.
pub struct Installer<'a> {
    cluster: &'a Cluster,
    reporter: &'a dyn Reporter,
    deadline: Instant,
    force_conflicts: bool,
    force_finalizers: bool,
    /// Whether the lock, where one is held, is known to be held still. While it is not, nothing is sent.
    sure: watch::Sender<bool>,
}

impl<'a> Installer<'a> {
    /// An installer that gives up `timeout` from now.
    pub fn new(cluster: &'a Cluster, reporter: &'a dyn Reporter, timeout: Duration) -> Self {
        let (sure, _) = watch::channel(true);
        Self {
            cluster,
            reporter,
            deadline: Instant::now() + timeout,
            force_conflicts: false,
            force_finalizers: false,
            sure,
        }
    }

    /// Whether fields that other managers own are taken over.
    #[must_use]
    pub fn force_conflicts(mut self, force: bool) -> Self {
        self.force_conflicts = force;
        self
    }

    /// Whether finalizers of others are taken off our objects when nobody does what they are for.
    #[must_use]
    pub fn force_finalizers(mut self, force: bool) -> Self {
        self.force_finalizers = force;
        self
    }

    /// Waits while it is not known whether the lock is still held; the deadline ends that too.
    async fn until_sure(&self) {
        let mut sure = self.sure.subscribe();
        // The sender is here, so this ends by the deadline or by the news.
        let _ended = timeout_at(self.deadline, sure.wait_for(|sure| *sure)).await;
    }

    fn expired(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
