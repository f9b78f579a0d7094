//! What the API server said, in our words.

use kube::core::Status;

use crate::object::ObjectRef;

/// A request that failed. kube's own error prints the whole `Status` for debugging; this keeps its message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, a broken one, or a refused one.
    #[error("the API server does not answer: {cause}")]
    Unreachable {
        /// The network's or TLS' own words.
        cause: String,
    },
    /// The credentials are not accepted.
    #[error("the API server does not accept the credentials: {message}")]
    Unauthorized {
        /// The API server's words.
        message: String,
    },
    /// The credentials are accepted and the right is missing.
    #[error("not permitted: {message}")]
    Forbidden {
        /// The API server's words, which name verb, resource and user.
        message: String,
    },
    /// The object, or its kind, is not there.
    #[error("not found: {message}")]
    NotFound {
        /// The API server's words.
        message: String,
    },
    /// The namespace is on its way out, and takes nothing new.
    #[error("the namespace is being deleted: {message}")]
    Terminating {
        /// The API server's words.
        message: String,
    },
    /// Another field manager owns a field, or the object changed meanwhile.
    #[error("conflict: {message}")]
    Conflict {
        /// The API server's words.
        message: String,
        /// The fields that other managers own: field path and the server's sentence about its owner.
        fields: Vec<(String, String)>,
    },
    /// Any other answer that is not success.
    #[error("{message}")]
    Rejected {
        /// HTTP status.
        code: u16,
        /// The API's `reason`, such as `Invalid`.
        reason: String,
        /// The API server's words.
        message: String,
    },
    /// An answer that cannot be read.
    #[error("the API server's answer cannot be read: {cause}")]
    Unreadable {
        /// What was wrong with it.
        cause: String,
    },
    /// A kind that is not in the table of known kinds.
    #[error("{object} is of a kind that scalekit does not know")]
    UnknownKind {
        /// Which object.
        object: ObjectRef,
    },
}

/// Words of Kubernetes' authorization and of its escalation check. Admission (webhooks and policies, quotas, Pod Security, limits)
/// answers 403 too, `… is forbidden: …` and in many words: there the right is there, and the object is not taken.
const MISSING_RIGHT: [&str; 2] = [" cannot ", " is attempting to grant "];
/// How what stands before the object's name in such an answer ends, and how a webhook's begins.
const OF_AN_OBJECT: [&str; 2] = [" is forbidden: ", "admission webhook \""];

fn is_refusal(message: &str) -> bool {
    let has = |marks: &[&str]| marks.iter().any(|mark| message.contains(mark));
    let of_a_right = message.to_lowercase().contains("user \"") && has(&MISSING_RIGHT);
    // A gateway before the API server has words of its own.
    has(&OF_AN_OBJECT) && !of_a_right
}

impl Error {
    /// Whether trying again may well help: the server is overloaded, restarting, or not reachable just now.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Rejected { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }

    /// Whether somebody else was faster, and nobody's field is concerned: the object, or a quota's count, changed meanwhile.
    /// The same request may well do when it names no version of the object.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Self::Conflict { fields, .. } if fields.is_empty())
    }

    /// Whether the cluster cannot be reached, or the credentials are not accepted or not enough.
    pub fn is_about_access(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unauthorized { .. } | Self::Forbidden { .. })
    }

    /// Whether the object or its kind is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// What to do where the cluster does not let itself be used.
    pub fn access_hint(&self) -> Option<&'static str> {
        match self {
            // In rustls' words.
            Self::Unreachable { cause }
                if cause.contains("certificate expired") || cause.contains("certificate not valid yet") =>
            {
                Some("the server's certificate is out of its time, or this machine's clock is wrong: `date`")
            }
            Self::Unreachable { cause } if cause.contains("certificate not valid for name") => Some(
                "the server's certificate is for another address: use one of those, or name it as `tls-server-name` in the \
                 kubeconfig",
            ),
            Self::Unreachable { cause } if cause.contains("invalid peer certificate") => Some(
                "the kubeconfig does not trust the certificate that this server shows: was the cluster made anew since? \
                 fetch the kubeconfig anew",
            ),
            Self::Unreachable { .. } => {
                Some("is the cluster running, and is this the right context? `kubectl config get-contexts`")
            }
            Self::Unauthorized { .. } => {
                Some("the certificate or token of this context may have expired: fetch the kubeconfig anew")
            }
            Self::Forbidden { .. } => Some("use a context with more rights: `kubectl config get-contexts`"),
            _ => None,
        }
    }

    fn of_status(status: Status) -> Self {
        let Status { code, reason, message, details, .. } = status;
        let causes = details.map(|details| details.causes).unwrap_or_default();
        let terminating = causes.iter().any(|cause| cause.reason == "NamespaceTerminating");
        match code {
            401 => Self::Unauthorized { message },
            403 if terminating => Self::Terminating { message },
            403 if !is_refusal(&message) => Self::Forbidden { message },
            404 => Self::NotFound { message },
            409 => Self::Conflict {
                message,
                fields: causes
                    .into_iter()
                    .filter(|cause| cause.reason == "FieldManagerConflict")
                    .map(|cause| (cause.field, cause.message))
                    .collect(),
            },
            _ => Self::Rejected { code, reason, message },
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(*status),
            kube::Error::SerdeError(error) => Self::Unreadable { cause: error.to_string() },
            kube::Error::Service(error) => Self::Unreachable { cause: innermost(error.as_ref()) },
            // A port-forward that is refused comes without the API server's words.
            kube::Error::UpgradeConnection(kube::client::UpgradeConnectionError::ProtocolSwitch(
                http::StatusCode::FORBIDDEN,
            )) => Self::Forbidden { message: "this user may not create pods/portforward".to_owned() },
            kube::Error::HyperError(error) => Self::Unreachable { cause: innermost(&error) },
            other => Self::Unreachable { cause: innermost(&other) },
        }
    }
}

/// The last cause of the chain: the one that says `connection refused` where the others say `connect error`.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn status(value: serde_json::Value) -> Error {
        Error::of_status(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_field_conflict_names_the_fields() {
        let error = status(
            json!({"code": 409, "reason": "Conflict", "message": "Apply failed", "details": {"causes": [
            {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": "conflict with \"kubectl\" using apps/v1"}]}}),
        );
        assert!(matches!(&error, Error::Conflict { fields, .. } if fields[0].0 == ".spec.replicas"), "{error}");
    }

    #[test]
    fn who_was_overtaken_is_told_apart_from_who_meets_another_manager() {
        let overtaken = status(json!({"code": 409, "reason": "Conflict",
            "message": "Operation cannot be fulfilled on resourcequotas: the object has been modified"}));
        assert!(overtaken.is_overtaken() && !overtaken.is_transient());
        let managed = status(json!({"code": 409, "details": {"causes": [
            {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": "conflict"}]}}));
        assert!(!managed.is_overtaken());
    }

    #[test]
    fn a_terminating_namespace_is_not_a_missing_right() {
        let error = status(json!({"code": 403, "reason": "Forbidden", "message": "unable to create new content",
            "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace", "message": "x"}]}}));
        assert!(matches!(error, Error::Terminating { .. }));
        assert!(matches!(status(json!({"code": 403, "message": "no"})), Error::Forbidden { .. }));
    }

    #[rstest]
    #[case::webhook("admission webhook \"validate.kyverno.svc-fail\" denied the request: use labels", false)]
    #[case::policy(
        "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        false
    )]
    #[case::quota(
        "configmaps \"c\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: 3, limited: 3",
        false
    )]
    #[case::limit(
        "persistentvolumeclaims \"d\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi",
        false
    )]
    #[case::resize("persistentvolumeclaims \"d\" is forbidden: only dynamically provisioned pvc can be resized", false)]
    #[case::pod_security("pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot", false)]
    #[case::a_gateway("access to this cluster has been suspended", true)]
    #[case::authorization(
        "configmaps \"c\" is forbidden: User \"u\" cannot patch resource \"configmaps\" in API group \"\"",
        true
    )]
    #[case::escalation(
        "clusterroles \"r\" is forbidden: user \"u\" is attempting to grant RBAC permissions not currently held",
        true
    )]
    fn a_refusal_of_admission_is_not_a_missing_right(#[case] message: &str, #[case] right: bool) {
        let error = status(json!({"code": 403, "reason": "Forbidden", "message": message}));
        assert_eq!(error.is_about_access(), right, "{error}");
        assert!(!error.is_transient());
    }

    #[rstest]
    #[case::another_authority("invalid peer certificate: UnknownIssuer", "made anew")]
    #[case::another_key("invalid peer certificate: BadSignature", "made anew")]
    #[case::another_name("invalid peer certificate: certificate not valid for name \"x\"", "tls-server-name")]
    #[case::too_late("invalid peer certificate: certificate expired: verification time 1 (UNIX)", "`date`")]
    #[case::too_early("invalid peer certificate: certificate not valid yet: verification time 1 (UNIX)", "`date`")]
    #[case::nobody_there("Connection refused (os error 111)", "is the cluster running")]
    fn a_way_that_does_not_lead_there_has_its_hint(#[case] cause: &str, #[case] hint: &str) {
        let error = Error::Unreachable { cause: cause.to_owned() };
        assert!(error.access_hint().expect("a hint").contains(hint), "{error}");
    }

    #[test]
    fn a_port_forward_that_is_refused_is_a_missing_right() {
        let refused = kube::client::UpgradeConnectionError::ProtocolSwitch(http::StatusCode::FORBIDDEN);
        let error = Error::from(kube::Error::UpgradeConnection(refused));
        assert!(matches!(&error, Error::Forbidden { message } if message.contains("pods/portforward")), "{error}");
    }

    #[test]
    fn overload_is_transient_and_a_refusal_is_not() {
        assert!(status(json!({"code": 429, "message": "slow down"})).is_transient());
        assert!(status(json!({"code": 503, "message": "starting"})).is_transient());
        assert!(!status(json!({"code": 422, "message": "invalid"})).is_transient());
    }
}
