//! Why images did not get from one place to another.

use std::{io, path::PathBuf};

use super::{Error, registry::RegistryError};

/// Why images were not saved, loaded or pushed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A registry did not do what it was asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The image is not there for the processor that was asked for.
    #[error("{reference} is not there for {platform}, but for {}", known.join(", "))]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was asked for.
        platform: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Our own image can be made for this program's processor only.
    #[error("this program is for linux/{own}: it cannot make scalekit's image for {platform}")]
    OwnPlatform {
        /// What this program is for.
        own: &'static str,
        /// What was asked for.
        platform: String,
    },
    /// What a registry has is no image that can be kept.
    #[error("{reference}: {why}")]
    Unusable {
        /// The image.
        reference: String,
        /// Why.
        why: String,
    },
    /// A file is no archive of images.
    #[error("{} is no archive of `scalekit images save`: {why}", path.display())]
    NoArchive {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// `read`, `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such node, or no way to it alone.
    #[error("no way leads to node {node} alone")]
    Node {
        /// The node.
        node: String,
        /// Those that can be reached alone.
        known: Vec<String>,
    },
    /// Our own image, or the way to the nodes.
    #[error(transparent)]
    Image(#[from] Error),
}

impl TransferError {
    /// Whether what was asked for cannot be, whatever the world is like.
    pub fn is_about_input(&self) -> bool {
        matches!(self, Self::OwnPlatform { .. } | Self::NoArchive { .. } | Self::Node { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::OwnPlatform { .. } => {
                Some("run scalekit's build for that processor, or name an image with `--image scaler=REF`".to_owned())
            }
            Self::Node { known, .. } if known.is_empty() => None,
            Self::Node { known, .. } => Some(format!("nodes that can be reached alone: {}", known.join(", "))),
            Self::Image(error) => error.hint(),
            Self::NoPlatform { .. } | Self::Unusable { .. } | Self::NoArchive { .. } | Self::File { .. } => None,
        }
    }
}
