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
mod prune;
mod put_back;
mod renewed;
mod retry;
mod run;
mod state;
mod volumes;
mod wait;
mod watches;

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

pub use error::{Failure, InstallError};
pub use lock::Lock;
pub use proof::Left;
pub use state::{Labelled, State, Survey};

use self::renewed::Renewed;
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
    /// When the lock, where one is held, was last known to be held. When that is too long ago nothing is sent.
    renewed: watch::Sender<Option<Renewed>>,
}

impl<'a> Installer<'a> {
    /// An installer that gives up `timeout` from now.
    pub fn new(cluster: &'a Cluster, reporter: &'a dyn Reporter, timeout: Duration) -> Self {
        Self {
            cluster,
            reporter,
            deadline: Instant::now() + timeout,
            force_conflicts: false,
            force_finalizers: false,
            renewed: watch::Sender::new(None),
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

    fn expired(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
