//! What happens during a run, as values: the contract between the work and whoever shows it.
//!
//! The work reports; only `report` prints. An event says what happened, never how it should look.

use std::time::Duration;

use serde::Serialize;

use crate::{health::Finding, object::ObjectRef};

/// A part of a run that a user would name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Looking at the cluster before anything is written.
    Preflight,
    /// Making our own image and sending it to the nodes.
    Image,
    /// Comparing what is wanted with what is there.
    Plan,
    /// Writing objects.
    Apply,
    /// Waiting until what was written works.
    Wait,
    /// Waiting until Prometheus has loaded its new configuration.
    Reload,
    /// Waiting until Prometheus has scraped every target.
    Targets,
    /// Waiting until the Prometheus that the scaler alone was given answers it.
    Server,
    /// Deleting objects.
    Delete,
    /// Looking for what is left.
    Proof,
    /// Taking our own image off the nodes.
    Unload,
    /// Sending load to a sample workload.
    Load,
    /// Asking registries what images they have.
    Resolve,
    /// Fetching images from registries.
    Download,
    /// Sending images to a registry.
    Upload,
}

impl Step {
    /// Its name in events and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Image => "image",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Wait => "wait",
            Self::Reload => "reload",
            Self::Targets => "targets",
            Self::Server => "server",
            Self::Delete => "delete",
            Self::Proof => "proof",
            Self::Unload => "unload",
            Self::Load => "load",
            Self::Resolve => "resolve",
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// What was done to one object, as kubectl says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was as it should be, and nothing was sent.
    Unchanged,
    /// It is gone.
    Deleted,
    /// It was left alone, on purpose.
    Kept,
    /// It was not tried, since what it needs failed.
    Skipped,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step began; `total` is the number of things it will go through, where that is known.
    StepStarted {
        /// Which.
        step: Step,
        /// How many things.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<usize>,
    },
    /// A step ended well.
    StepFinished {
        /// Which.
        step: Step,
        /// How long it took.
        took: Duration,
        /// What came of it, in a few words.
        summary: String,
    },
    /// Something was done to an object.
    Object {
        /// Which.
        object: ObjectRef,
        /// What.
        action: Action,
        /// Why it was kept or skipped.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// An object is not yet what it should be.
    InProgress {
        /// Which.
        object: ObjectRef,
        /// Why, as a clause: `2 of 3 replicas are ready`.
        why: String,
    },
    /// An object is what it should be.
    Current {
        /// Which.
        object: ObjectRef,
    },
    /// A claim, and what a removal does with it.
    Claim(Claim),
    /// How far the scrape targets are.
    Targets {
        /// Targets that were scraped well.
        up: usize,
        /// All targets.
        total: usize,
        /// Jobs that are not up yet.
        waiting: Vec<String>,
    },
    /// How far a download or an upload is.
    Transfer {
        /// The image that is under way.
        what: String,
        /// Bytes of all images that are done.
        bytes: u64,
        /// Bytes of all images.
        total: u64,
    },
    /// How many requests the run has made to the API server, at its end.
    Requests {
        /// Watches, port-forwards and what was asked again included.
        count: u64,
    },
    /// Something that a check found.
    Finding(Finding),
    /// Something worth saying that is neither progress nor a finding.
    Note {
        /// One sentence.
        message: String,
    },
    /// One of the things that stopped the run, told when all that could be done is done.
    Failed {
        /// Which object, where it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<ObjectRef>,
        /// Why, one clause.
        why: String,
        /// What to do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The run did not do what was asked. Nothing comes after it.
    Error {
        /// The exit code.
        code: u8,
        /// Why, with its causes.
        message: String,
        /// What to do about the whole.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// A claim that holds data, before a removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Which.
    pub object: ObjectRef,
    /// Size that was asked for.
    pub size: String,
    /// `StorageClass`.
    pub class: String,
    /// Reclaim policy of its volume.
    pub policy: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What a removal does with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It stays, with its data.
    Kept,
    /// It goes, and its data with it.
    Deleted,
}

/// Where events go. Reporting never fails and never blocks the work.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn report(&self, event: Event);
}

/// A reporter that keeps nothing, for callers that only want the result.
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: Event) {}
}
