//! What a command that ends other than well tells a script.

use super::{CommandError, error::only_rights};
use crate::{
    cluster::{self, ConnectError},
    images::TransferError,
    install::InstallError,
};

impl CommandError {
    /// The exit code: part of the interface, documented in the README.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::UnknownDemo { .. }
            | Self::UnknownAlert { .. }
            | Self::NoAutoscaler { .. }
            | Self::Load(_)
            | Self::NeedsConsent
            | Self::NoPassword
            | Self::Elsewhere { .. }
            | Self::ImageUnnamed
            | Self::Connect(
                ConnectError::NoKubeconfig { .. }
                | ConnectError::UnknownContext { .. }
                | ConnectError::Kubeconfig { .. }
                | ConnectError::Unreadable { .. },
            ) => 2,
            Self::Unasked { source } => source.exit_code(),
            Self::Transfer(error) => transfer_code(error),
            Self::Preflight { findings } if only_rights(findings) => 4,
            Self::Preflight { .. } | Self::Image(_) => 3,
            Self::Connect(_)
            | Self::Cluster { .. }
            | Self::Forward(_)
            | Self::ServiceAccount(_)
            | Self::Modes { not_permitted: true, .. } => 4,
            Self::Install(error) => match error {
                InstallError::Foreign { .. } | InstallError::Conflict { .. } => 5,
                InstallError::Failed { .. } | InstallError::TimedOut { .. } | InstallError::NotGone { .. } => 6,
                InstallError::Read(source)
                | InstallError::Inventory { source, .. }
                | InstallError::Label { source, .. }
                | InstallError::Reset { source, .. }
                | InstallError::Delete { source, .. } => cluster_code(source),
                InstallError::Locked { .. } | InstallError::LockLost => 7,
                InstallError::Interrupted => 130,
                InstallError::Apply { not_permitted: true, .. } | InstallError::Prune { not_permitted: true, .. } => 4,
                InstallError::Apply { .. } | InstallError::Prune { .. } => 1,
            },
            Self::Reload { .. }
            | Self::Targets { .. }
            | Self::Unanswered { .. }
            | Self::NotInstalled { .. }
            | Self::NotReady { .. }
            | Self::Unexplained { .. } => 6,
            Self::LeftBehind { .. } => 8,
            Self::Modes { .. }
            | Self::Declined
            | Self::PasswordUnknown { .. }
            | Self::Unlocked { .. }
            | Self::UnexpectedAnswer { .. }
            | Self::Io { .. }
            | Self::Program { .. } => 1,
            Self::Interrupted => 130,
        }
    }
}

fn transfer_code(error: &TransferError) -> u8 {
    match error {
        error if error.is_about_input() => 2,
        TransferError::Image(_) => 3,
        TransferError::Registry(error) if error.is_about_access() => 4,
        _ => 1,
    }
}

fn cluster_code(error: &cluster::Error) -> u8 {
    match error {
        error if error.is_about_access() => 4,
        cluster::Error::Conflict { .. } => 5,
        _ => 1,
    }
}
