//! Why a command did not do what was asked, with its exit code and its hint.

use std::{io, time::Duration};

use crate::{
    autoscaling::controller::MissingServiceAccount,
    catalog::Component,
    cluster::{self, ConnectError, ForwardError},
    health::Finding,
    images::{self, TransferError},
    install::{Failure, InstallError, Left},
    object::ObjectRef,
    samples::load::LoadError,
    settings::SettingsError,
};

/// The ways a command ends other than well.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster was reached and does not let itself be read.
    #[error("cannot use the cluster at {server}")]
    Cluster {
        /// URL of the API server.
        server: String,
        /// Why.
        source: cluster::Error,
    },
    /// `render` asks the cluster what it is, and got no answer.
    #[error("the cluster cannot be asked what it is")]
    Unasked {
        /// Why.
        source: Box<Self>,
    },
    /// `render` has no image for our own pods that a node could pull.
    #[error("the manifests need an image of scalekit that the nodes can pull")]
    ImageUnnamed,
    /// A check before the first write failed.
    #[error("{}; nothing was written", if only_rights(findings) { "a right is missing" } else { "this cluster is not ready for it" })]
    Preflight {
        /// The findings that stand in the way.
        findings: Vec<Finding>,
    },
    /// Our own image did not get to the nodes.
    #[error("the nodes do not get scalekit's image")]
    Image(#[from] images::Error),
    /// Images did not get from one place to another.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// Not every image has a digest.
    #[error("{} are not fixed by a digest", if *count == 1 { "1 image".to_owned() } else { format!("{count} images") })]
    Unlocked {
        /// How many.
        count: usize,
    },
    /// Installing or removing did not get through.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Prometheus goes on with its old configuration.
    #[error("Prometheus {}, and goes on with the old one", not_loaded(*waited))]
    Reload {
        /// Where it runs.
        namespace: String,
        /// How long was waited; `None` where nothing had to be written and it refuses what is there.
        waited: Option<Duration>,
        /// Prometheus' own words; none where it has not looked at it.
        refusals: Vec<String>,
        /// Whether the configuration of before is in its place again.
        put_back: bool,
    },
    /// Prometheus does not scrape everything in time.
    #[error("{} of {total} scrape targets are up after {} s", up, waited.as_secs())]
    Targets {
        /// Targets that are up.
        up: usize,
        /// All targets.
        total: usize,
        /// How long was waited.
        waited: Duration,
        /// What is wrong with the others.
        missing: Vec<String>,
    },
    /// The Prometheus that the scaler was given does not answer it.
    #[error("the scaler is installed, and Prometheus at {address} gives it no answer")]
    Unanswered {
        /// Its address.
        address: String,
        /// Why not.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Nothing that was asked for is installed.
    #[error("{what} is not installed")]
    NotInstalled {
        /// What.
        what: String,
        /// How to install it.
        fix: String,
    },
    /// No pod of what was asked for is ready.
    #[error("no pod of {component} is ready in namespace {namespace}")]
    NotReady {
        /// Of what.
        component: Component,
        /// Where.
        namespace: String,
    },
    /// The stack is not where it was said to be.
    #[error("{}", match installed {
        Some(installed) => format!("the stack is in namespace {installed}, not in {asked}"),
        None => format!("no stack is known to be in namespace {asked}"),
    })]
    Elsewhere {
        /// The namespace that was named.
        asked: String,
        /// The one in which it is, where that can be told.
        installed: Option<String>,
        /// The command that finds it.
        fix: String,
    },
    /// What is to be opened has no login.
    #[error("only Grafana has a password: --reset-password is for `open grafana`")]
    NoPassword,
    /// Grafana has another password than the one that is known.
    #[error("Grafana takes none of the passwords in Secret {}", crate::catalog::ADMIN_SECRET)]
    PasswordUnknown {
        /// Namespace of the stack.
        namespace: String,
    },
    /// There is no such sample.
    #[error("there is no sample `{name}`")]
    UnknownDemo {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No alert of ours has this name.
    #[error("there is no alert `{name}` among scalekit's own")]
    UnknownAlert {
        /// The name asked for.
        name: String,
        /// The alerts whose names contain it.
        alike: Vec<String>,
    },
    /// Nothing scales what was asked about.
    #[error("no Autoscaler in namespace {namespace} is {named} or scales it")]
    NoAutoscaler {
        /// What was asked about.
        named: String,
        /// Where was looked.
        namespace: String,
        /// The Autoscalers there are, by what they scale.
        known: Vec<String>,
    },
    /// The scaler cannot say why a count is what it is.
    #[error("{why}")]
    Unexplained {
        /// Why not.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Some Autoscalers could not be changed.
    #[error("{} Autoscalers could not be changed; {changed} were", failed.len())]
    Modes {
        /// How many were.
        changed: usize,
        /// Which could not be, and why.
        failed: Vec<(ObjectRef, String)>,
        /// Whether it is a matter of rights for all of them.
        not_permitted: bool,
    },
    /// The load cannot be spread.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A pod of the sample does not answer.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// A pod of the sample answered something else than expected.
    #[error("pod {pod} answered {status} to {path}: {answer}")]
    UnexpectedAnswer {
        /// Which.
        pod: String,
        /// HTTP status.
        status: u16,
        /// What was asked.
        path: String,
        /// The answer.
        answer: String,
    },
    /// Something of ours is still there.
    #[error("something is left: {} of it", left.len())]
    LeftBehind {
        /// Which, and why.
        left: Vec<Left>,
    },
    /// The user did not agree.
    #[error("nothing was deleted")]
    Declined,
    /// Deleting was not agreed to, and there is nobody to ask.
    #[error("deleting needs a yes, and there is no terminal to ask on")]
    NeedsConsent,
    /// A file or an address of this machine.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An in-cluster program has no account to ask the API server with.
    #[error(transparent)]
    ServiceAccount(#[from] MissingServiceAccount),
    /// An in-cluster program ended.
    #[error("{program} ended")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user interrupted the run.
    #[error("interrupted; the next run goes on from here")]
    Interrupted,
}

/// Whether nothing but the user's rights is in the way.
pub(super) fn only_rights(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.check == "permissions")
}

fn not_loaded(waited: Option<Duration>) -> String {
    match waited {
        Some(waited) => format!("has not loaded its new configuration after {} s", waited.as_secs()),
        None => "refuses its configuration".to_owned(),
    }
}

impl CommandError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Settings(error) => error.hint(),
            Self::Connect(error) => error.hint(),
            Self::Cluster { source, .. }
            | Self::Install(
                InstallError::Read(source)
                | InstallError::Inventory { source, .. }
                | InstallError::Label { source, .. }
                | InstallError::Reset { source, .. }
                | InstallError::Delete { source, .. },
            ) => source.access_hint().map(str::to_owned),
            Self::Unasked { .. } => {
                Some("name both, and no cluster is asked: --platform NAME --storage-class NAME".to_owned())
            }
            Self::ImageUnnamed => Some(
                "add --image scaler=REF, or `images: {scaler: REF}` to scalekit.yaml; `scalekit images push REGISTRY` \
                 puts the image of this build into a registry and prints its REF"
                    .to_owned(),
            ),
            Self::ServiceAccount(error) => Some(error.hint().to_string()),
            Self::Image(error) => error.hint(),
            Self::Transfer(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::Reload { namespace, refusals, .. } if refusals.is_empty() => {
                Some(format!("see its log: `kubectl logs -n {namespace} statefulset/prometheus`"))
            }
            Self::Reload { put_back: false, .. } => Some("mend what it names, and run `scalekit up` again".to_owned()),
            Self::Reload { .. } => {
                Some("mend what it names, and run `scalekit up` again; until then the configuration of before is in its place".to_owned())
            }
            Self::Targets { .. } => Some("`scalekit status` shows each with Prometheus' own error".to_owned()),
            Self::NotInstalled { fix, .. } | Self::Elsewhere { fix, .. } => Some(fix.clone()),
            Self::NotReady { namespace, .. } => Some(format!("`scalekit status -n {namespace}` says why")),
            Self::PasswordUnknown { namespace } => Some(format!(
                "somebody has changed it in Grafana; this makes the Secret's the right one again:\n  \
                 kubectl exec -n {namespace} deployment/grafana -- grafana cli admin reset-admin-password \
                 \"$(kubectl get secret -n {namespace} {} -o go-template='{{{{ .data.{} | base64decode }}}}')\"",
                crate::catalog::ADMIN_SECRET,
                crate::catalog::PASSWORD_KEY
            )),
            Self::UnknownAlert { alike, .. } if alike.is_empty() => {
                Some("`scalekit alert explain` lists them; one of a rule file of your own is explained there".to_owned())
            }
            Self::UnknownAlert { alike, .. } => Some(format!("is it {}?", alike.join(", "))),
            Self::NoAutoscaler { known, .. } if known.is_empty() => Some(
                "there is none in this namespace; another one by -n NAME, all of them by `kubectl get as -A`"
                    .to_owned(),
            ),
            Self::Unexplained { hint, .. } | Self::Unanswered { hint, .. } => hint.clone(),
            Self::Modes { .. } => Some("run it again: those that were changed stay as they are".to_owned()),
            Self::NoAutoscaler { known, .. } | Self::UnknownDemo { known, .. } => {
                Some(format!("there are: {}", known.join(", ")))
            }
            Self::LeftBehind { .. } => Some("run `scalekit down` again when the reasons are gone".to_owned()),
            Self::NeedsConsent => Some("add --yes".to_owned()),
            Self::NoPassword
            | Self::Preflight { .. }
            | Self::Load(_)
            | Self::Forward(_)
            | Self::UnexpectedAnswer { .. }
            | Self::Unlocked { .. }
            | Self::Declined
            | Self::Io { .. }
            | Self::Program { .. }
            | Self::Interrupted => None,
        }
    }

    /// Lines that belong below the error: an object or a check each, with its cause and its hint.
    pub fn details(&self) -> Vec<(String, Option<String>)> {
        match self {
            Self::Settings(SettingsError::Additions { mistakes }) => {
                mistakes.iter().map(|mistake| (mistake.to_string(), None)).collect()
            }
            Self::Reload { refusals, .. } => refusals.iter().map(|why| (why.clone(), None)).collect(),
            Self::Preflight { findings } => {
                findings.iter().map(|finding| (finding.message.clone(), finding.hint.clone())).collect()
            }
            Self::Install(error) => {
                let failed = error
                    .failures()
                    .iter()
                    .map(|Failure { object, why, hint }| (format!("{object}: {why}"), hint.clone()));
                let skipped = match error {
                    InstallError::Apply { skipped, .. } => skipped.as_slice(),
                    _ => &[],
                };
                failed
                    .chain(skipped.iter().map(|object| (format!("{object}: not tried, what it needs failed"), None)))
                    .collect()
            }
            Self::Modes { failed, .. } => {
                failed.iter().map(|(object, why)| (format!("{object}: {why}"), None)).collect()
            }
            Self::Unanswered { why, .. } => vec![(why.clone(), None)],
            Self::Targets { missing, .. } => missing.iter().map(|line| (line.clone(), None)).collect(),
            Self::LeftBehind { left } => {
                left.iter().map(|left| (format!("{}: {}", left.object, left.why), None)).collect()
            }
            _ => Vec::new(),
        }
    }
}
