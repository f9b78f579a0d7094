//! Why an installation or a removal did not get through.

use jiff::Timestamp;

use crate::{cluster, object::ObjectRef, plan};

/// One object that stopped a run, with its cause and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which object.
    pub object: ObjectRef,
    /// Why, one clause.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why a run stopped. What was written until then stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What is there could not be read.
    #[error("cannot read what is installed")]
    Read(#[source] cluster::Error),
    /// The inventory or the lock could not be written or read.
    #[error("cannot keep {object}")]
    Inventory {
        /// The ConfigMap, or the Lease.
        object: ObjectRef,
        /// Why.
        source: cluster::Error,
    },
    /// Another run is at work.
    #[error("another run is at work: {holder}{}", since.map(|since| format!(", since {since:.0}")).unwrap_or_default())]
    Locked {
        /// Who.
        holder: String,
        /// Since when, by that machine's clock.
        since: Option<Timestamp>,
    },
    /// Another run holds the lock by now, so this one stopped.
    #[error("the lock was lost: another run took over while this one was stopped, or could not reach the API server")]
    LockLost,
    /// The run was told to end. The lock was given back.
    #[error("interrupted; the next run goes on from here")]
    Interrupted,
    /// Objects of other owners stand where ours would go. Nothing was written.
    #[error("{} would be taken from their owners", plan::foreign_in_words(owned(objects)))]
    Foreign {
        /// The objects and who manages them, where that is said.
        objects: Vec<(ObjectRef, Option<String>)>,
    },
    /// Fields are owned by other field managers.
    #[error("somebody else manages fields of {}", counted(conflicts.len()))]
    Conflict {
        /// The objects, each with its fields and their owners.
        conflicts: Vec<Failure>,
    },
    /// The API server refused objects.
    #[error("{} could not be applied", counted(failures.len()))]
    Apply {
        /// Which, and why.
        failures: Vec<Failure>,
        /// Objects that were not tried, since what they need is among the failures.
        skipped: Vec<ObjectRef>,
        /// Whether all of it failed because the cluster could not be reached, or a right is missing.
        not_permitted: bool,
    },
    /// What is no longer wanted could not be deleted. Everything else was written.
    #[error("{} could not be deleted", counted(failures.len()))]
    Prune {
        /// Which, and why. They stay in the inventory.
        failures: Vec<Failure>,
        /// Whether all of it failed because the cluster could not be reached, or a right is missing.
        not_permitted: bool,
    },
    /// Objects will not become ready.
    #[error("{} will not become ready", counted(failures.len()))]
    Failed {
        /// Which, and why.
        failures: Vec<Failure>,
    },
    /// Time ran out.
    #[error("not ready in time")]
    TimedOut {
        /// What was still on the way, and why.
        waiting: Vec<Failure>,
    },
    /// Time ran out while something was on its way out.
    #[error("not gone in time")]
    NotGone {
        /// What is still there, and what holds it.
        waiting: Vec<Failure>,
    },
    /// An object could not be labelled as kept, or as in use again.
    #[error("cannot label {object}")]
    Label {
        /// Which.
        object: ObjectRef,
        /// Why.
        source: cluster::Error,
    },
    /// A workload could not be taken back to its lower bound.
    #[error("cannot scale {object}")]
    Reset {
        /// Which.
        object: ObjectRef,
        /// Why.
        source: cluster::Error,
    },
    /// An object could not be deleted.
    #[error("cannot delete {object}")]
    Delete {
        /// Which.
        object: ObjectRef,
        /// Why.
        source: cluster::Error,
    },
}

impl InstallError {
    /// The objects concerned, for a list below the error.
    pub fn failures(&self) -> &[Failure] {
        match self {
            Self::Conflict { conflicts } => conflicts,
            Self::Apply { failures, .. } | Self::Prune { failures, .. } | Self::Failed { failures } => failures,
            Self::TimedOut { waiting } | Self::NotGone { waiting } => waiting,
            Self::Read(_)
            | Self::Locked { .. }
            | Self::LockLost
            | Self::Interrupted
            | Self::Inventory { .. }
            | Self::Foreign { .. }
            | Self::Label { .. }
            | Self::Reset { .. }
            | Self::Delete { .. } => &[],
        }
    }

    /// What to do about the whole.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { objects } => Some(plan::foreign_hint(owned(objects))),
            Self::Conflict { .. } => {
                Some("take the fields over with --force-conflicts, or stop the other writer".to_owned())
            }
            Self::TimedOut { .. } => {
                Some("wait longer with --timeout, or look closer with `scalekit status`".to_owned())
            }
            Self::NotGone { .. } => Some(
                "run it again, it goes on from here; a finalizer goes when its controller has done its work: is that \
                 controller still running?"
                    .to_owned(),
            ),
            Self::Locked { .. } => Some("wait for it, or end it; a run that died is taken over after 15 s".to_owned()),
            Self::Prune { .. } => Some("everything else is written; the next run deletes what it can".to_owned()),
            Self::LockLost => Some("run it again: it goes on from where this one stopped".to_owned()),
            Self::Read(_)
            | Self::Interrupted
            | Self::Inventory { .. }
            | Self::Apply { .. }
            | Self::Failed { .. }
            | Self::Label { .. }
            | Self::Reset { .. }
            | Self::Delete { .. } => None,
        }
    }
}

fn owned(objects: &[(ObjectRef, Option<String>)]) -> impl Iterator<Item = (&ObjectRef, Option<&str>)> {
    objects.iter().map(|(object, owner)| (object, owner.as_deref()))
}

fn counted(objects: usize) -> String {
    if objects == 1 { "an object".to_owned() } else { format!("{objects} objects") }
}
