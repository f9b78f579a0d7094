//! Whether the pod was given the credentials that it needs.

use std::{borrow::Cow, ffi::OsStr, path::Path};

/// Where the kubelet puts a pod's token.
pub const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The variable that the kubelet sets in every pod.
pub const SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";

/// This runs in a pod, and the pod has no ServiceAccount token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this pod has no ServiceAccount token: {TOKEN} does not exist")]
pub struct MissingServiceAccount;

impl MissingServiceAccount {
    /// What to do about it.
    pub fn hint(&self) -> Cow<'static, str> {
        "set `automountServiceAccountToken: true` on the pod, and `serviceAccountName` to an account that may \
         read Autoscalers and write scales"
            .into()
    }
}

/// Says at once when the pod's ServiceAccount is not mounted: without this, the first sign would be a
/// client that cannot be made, with an error about some other way to configure it.
///
/// `service_host` is the variable [`SERVICE_HOST`], `token` is [`TOKEN`]. Outside of a pod all is well.
///
/// # Errors
///
/// When this is a pod and the token is not there.
pub fn check_service_account(service_host: Option<&OsStr>, token: &Path) -> Result<(), MissingServiceAccount> {
    if service_host.is_some_and(|host| !host.is_empty()) && !token.exists() {
        return Err(MissingServiceAccount);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_token_is_said_at_once_with_the_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        let host = Some(OsStr::new("10.96.0.1"));
        let missing = check_service_account(host, &token).expect_err("it is not there");
        assert!(missing.hint().contains("automountServiceAccountToken: true"));
        assert_eq!(check_service_account(None, &token), Ok(()), "not a pod");
        std::fs::write(&token, "x").expect("a token");
        assert_eq!(check_service_account(host, &token), Ok(()));
    }
}
