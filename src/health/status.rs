//! Is what is installed healthy: judged from what was read.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::{
    Finding, Series, Server, Severity,
    drift::{Drifted, changed, drifted},
    server, targets, wal,
};
use crate::{
    catalog,
    object::ObjectRef,
    plan,
    platform::{self, Platform},
    prometheus,
    readiness::{self, Readiness, Surroundings},
};

/// Everything that the judgement is made of.
pub struct Observed {
    /// What the cluster is, in words.
    pub platform: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Namespace of the stack.
    pub namespace: String,
    /// The namespace in which there is a stack, where this one holds nothing of it.
    pub elsewhere: Option<String>,
    /// What should be there.
    pub desired: Vec<DynamicObject>,
    /// What is there with our label.
    pub live: Vec<DynamicObject>,
    /// Pods, events, nodes and classes around it.
    pub around: Surroundings,
    /// How the metrics of Kubernetes itself are scraped here.
    pub scraping: Scraping,
    /// Parts of the control plane that could be scraped and are not.
    pub unscraped: Vec<platform::Part>,
    /// What the stack's Prometheus says of its targets, or why it says nothing; `None` where it is not part of the stack.
    pub targets: Option<Result<Vec<prometheus::Target>, Silence>>,
    /// The Prometheus that the scaler alone was given, or why nothing is known of it; `None` where it is part of the stack, or no
    /// scaler is ready.
    pub server: Option<Result<Server, Silence>>,
    /// That Prometheus refuses the configuration that is mounted, with its own words.
    pub refused: Option<Vec<String>>,
    /// Jobs that should have a target on this platform.
    pub expected_jobs: Vec<String>,
    /// Every Autoscaler of the cluster.
    pub autoscalers: Vec<DynamicObject>,
    /// How many series there are, where that was asked for, or why Prometheus does not say.
    pub series: Option<Result<Series, String>>,
}

/// Why nothing is known of the scrape targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Prometheus did not answer: something is wrong.
    NoAnswer(String),
    /// Who asks may not reach it: nothing is wrong, and nothing is known.
    NotPermitted(String),
}

impl From<String> for Silence {
    fn from(why: String) -> Self {
        Self::NoAnswer(why)
    }
}

/// The state of an installation. Its JSON form is documented in `docs/status.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// Whether anything is installed.
    pub installed: bool,
    /// What the cluster is.
    pub platform: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Namespace of the stack.
    pub namespace: String,
    /// Every workload and claim.
    pub components: Vec<Component>,
    /// Scrape targets; absent when Prometheus did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// The Prometheus that the scaler alone was given; absent when the scaler did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Server>,
    /// Series per job and the largest metrics, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// How the metrics of Kubernetes itself are scraped; absent where no Prometheus of the stack does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scraping: Option<Scraping>,
    /// Every Autoscaler.
    pub autoscalers: Vec<Autoscaler>,
    /// Objects that are not as these settings have them.
    pub drift: Vec<Drifted>,
    /// What is wrong or worth knowing, the worst first.
    pub findings: Vec<Finding>,
}

/// One workload or claim of the stack.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Component it belongs to.
    pub name: String,
    /// The object.
    pub object: ObjectRef,
    /// Image of its first container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether it works.
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// Scrape targets in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    /// Scraped well.
    pub up: usize,
    /// All.
    pub total: usize,
    /// Those that were not, with Prometheus' error.
    pub down: Vec<prometheus::Target>,
    /// Jobs without any target.
    pub empty_jobs: Vec<String>,
}

/// How the metrics of Kubernetes itself are scraped on this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scraping {
    /// Whether Prometheus verifies the kubelets' certificates; else it takes them unseen.
    pub kubelets_verified: bool,
    /// Whether one page has the metrics of the whole control plane, so that one job scrapes it for all.
    pub one_process: bool,
    /// Parts of Kubernetes that are not scraped.
    pub not_scraped: Vec<NotScraped>,
}

/// A part of Kubernetes that is not scraped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotScraped {
    /// The job that it would be.
    pub job: &'static str,
    /// Why, one clause.
    pub reason: &'static str,
}

impl Scraping {
    /// What was made of the platform.
    pub fn of(platform: &Platform) -> Self {
        let left_out = platform.not_scraped().into_iter();
        Self {
            kubelets_verified: platform.kubelet_verifies,
            one_process: platform.one_process,
            not_scraped: left_out.map(|platform::NotScraped { job, reason }| NotScraped { job, reason }).collect(),
        }
    }
}

/// One Autoscaler and its last decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaler {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What it scales: `deployment/watcherbot`.
    pub target: String,
    /// Lower bound.
    pub min: i64,
    /// Upper bound.
    pub max: i64,
    /// Replicas that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<i64>,
    /// Replicas that were decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i64>,
    /// The last decision in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<String>,
    /// What decided, in one word: `TooManyReplicas` where more are called for than there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Conditions that say that it cannot do its work.
    pub problems: Vec<String>,
}

/// Prometheus' Service as the API server's proxy names it, and so as a right to it has to.
pub const PROXIED_SERVICE: &str = "prometheus:9090";

/// Judges an installation.
pub fn status(observed: &Observed, now: Timestamp) -> Status {
    let installed = !observed.live.is_empty();
    let alone = alone(observed);
    let mut findings = Vec::new();
    let components: Vec<Component> = observed
        .live
        .iter()
        .filter(|object| is_shown(object))
        .map(|object| component(object, &observed.around, now))
        .collect();
    if installed {
        let former = |component: &&Component| {
            plan::is_data(&component.object) && !observed.desired.iter().any(|it| ObjectRef::of(it) == component.object)
        };
        findings.extend(components.iter().filter(|component| !former(component)).filter_map(unready));
        findings.extend(wal::replay_loop(&observed.around.pods));
        match &alone {
            Some(finding) => findings.push(finding.clone()),
            None => findings.extend(missing(observed)),
        }
    } else {
        findings.push(not_installed(observed));
    }
    let drift = if installed { drifted(observed) } else { Vec::new() };
    findings.extend(drift.iter().map(changed));
    let targets = match &observed.targets {
        Some(Ok(targets)) => {
            let (targets, found) = targets::judge(targets, observed);
            findings.extend(found);
            Some(targets)
        }
        Some(Err(Silence::NoAnswer(why))) if installed && alone.is_none() => {
            findings.push(Finding::new("targets", Severity::Error, format!("the scrape targets are not known: {why}")));
            None
        }
        Some(Err(Silence::NotPermitted(why))) if installed && alone.is_none() => {
            let message = format!("whether the scrape targets are up is unknown: {why}");
            let hint = format!(
                "it takes `get` and `create` on pods/portforward in namespace {}, or `get` on services/proxy of {PROXIED_SERVICE} there",
                observed.namespace
            );
            findings.push(Finding::new("targets", Severity::Warning, message).hint(hint));
            None
        }
        Some(Err(_)) | None => None,
    };
    findings.extend(observed.server.as_ref().and_then(server::server));
    findings.extend(targets::unscraped(&observed.unscraped));
    findings.extend(observed.refused.as_ref().map(|words| {
        let message = "Prometheus refuses its configuration, and goes on with the one before".to_owned();
        let message = if words.is_empty() { message } else { format!("{message}: {}", words.join("; ")) };
        Finding::new("configuration", Severity::Error, message)
            .hint("mend what it names, and run `scalekit up` again: its next start would find nothing that it can load")
    }));
    let series = match &observed.series {
        Some(Ok(series)) => Some(series.clone()),
        Some(Err(why)) => {
            findings.push(Finding::new("series", Severity::Error, format!("the series are not known: {why}")));
            None
        }
        None => None,
    };
    let autoscalers: Vec<Autoscaler> = observed.autoscalers.iter().map(autoscaler).collect();
    findings.extend(autoscalers.iter().flat_map(|autoscaler| {
        autoscaler.problems.iter().map(|problem| {
            Finding::new(
                "autoscaler",
                Severity::Error,
                format!("{}/{}: {problem}", autoscaler.namespace, autoscaler.name),
            )
        })
    }));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Status {
        healthy: !findings.iter().any(|finding| finding.severity == Severity::Error),
        installed,
        platform: observed.platform.clone(),
        kubernetes: observed.kubernetes.clone(),
        namespace: observed.namespace.clone(),
        components,
        targets,
        prometheus: observed.server.as_ref().and_then(|found| found.as_ref().ok().cloned()),
        series,
        // Another Prometheus is its owners' to configure.
        scraping: (installed && observed.targets.is_some()).then(|| observed.scraping.clone()),
        autoscalers,
        drift,
        findings,
    }
}

fn not_installed(Observed { namespace, elsewhere, .. }: &Observed) -> Finding {
    let finding = |message: &str| Finding::new("installed", Severity::Error, message);
    match elsewhere {
        Some(installed) => finding(&format!("the stack is in namespace {installed}, not in {namespace}"))
            .hint(format!("scalekit status -n {installed}")),
        None => finding("nothing is installed").hint("scalekit up"),
    }
}

fn is_shown(object: &DynamicObject) -> bool {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "PersistentVolumeClaim")
}

fn component(object: &DynamicObject, around: &Surroundings, now: Timestamp) -> Component {
    let image = object.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    Component {
        name: object.metadata.labels.as_ref().and_then(|labels| labels.get(catalog::NAME)).cloned().unwrap_or_default(),
        object: ObjectRef::of(object),
        image: image.map(str::to_owned),
        readiness: readiness::of(object, around, now),
    }
}

fn unready(component: &Component) -> Option<Finding> {
    match &component.readiness {
        Readiness::Current => None,
        Readiness::InProgress { why } => {
            Some(Finding::new("ready", Severity::Error, format!("{}: {why}", component.object)))
        }
        Readiness::Failed { why, hint } => {
            let finding = Finding::new("ready", Severity::Error, format!("{}: {why}", component.object));
            Some(match hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            })
        }
    }
}

/// The live object that belongs to a desired one.
pub(super) fn live_one<'a>(observed: &'a Observed, desired: &DynamicObject) -> Option<&'a DynamicObject> {
    let object = ObjectRef::of(desired);
    observed.live.iter().find(|live| ObjectRef::of(live) == object)
}

/// That the scaler alone is installed where these settings are the whole stack's: all that is not there then is not missing.
fn alone(observed: &Observed) -> Option<Finding> {
    let has_server =
        |objects: &[DynamicObject]| objects.iter().any(|object| ObjectRef::of(object).kind == "StatefulSet");
    let url = catalog::prometheus_of_scaler(&observed.live)?;
    let is_alone = has_server(&observed.desired)
        && !has_server(&observed.live)
        && catalog::prometheus_of_scaler(&observed.desired).is_some_and(|desired| desired != url);
    is_alone.then(|| {
        let message =
            format!("the scaler alone is installed, on top of {url}, and these settings are the whole stack's");
        Finding::new("missing", Severity::Error, message)
            .hint(format!("give `--prometheus-url {url}` here too, or put prometheusUrl into scalekit.yaml"))
    })
}

/// What should be there and is not.
fn missing(observed: &Observed) -> impl Iterator<Item = Finding> {
    observed.desired.iter().filter(|desired| live_one(observed, desired).is_none()).map(|desired| {
        let message = format!("{} is not there", ObjectRef::of(desired));
        Finding::new("missing", Severity::Error, message).hint("scalekit up")
    })
}

fn autoscaler(object: &DynamicObject) -> Autoscaler {
    let text = |path: &str| object.data.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let number = |path: &str| object.data.pointer(path).and_then(Value::as_i64);
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let problems = conditions
        .into_iter()
        .flatten()
        .filter(|condition| {
            // At zero, or paused, it is inactive on purpose.
            (condition["type"] == "AbleToScale" || condition["type"] == "ScalingActive")
                && condition["status"] == "False"
                && condition["reason"] != "ScalingDisabled"
                && condition["reason"] != "Paused"
        })
        .map(|condition| {
            format!(
                "{}: {}",
                condition["reason"].as_str().unwrap_or_default(),
                condition["message"].as_str().unwrap_or_default()
            )
        })
        .collect();
    Autoscaler {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        target: format!(
            "{}/{}",
            text("/spec/scaleTargetRef/kind").unwrap_or_default().to_lowercase(),
            text("/spec/scaleTargetRef/name").unwrap_or_default()
        ),
        min: number("/spec/minReplicas").unwrap_or(1),
        max: number("/spec/maxReplicas").unwrap_or(0),
        current: number("/status/currentReplicas"),
        desired: number("/status/desiredReplicas"),
        last_decision: text("/status/lastDecision/message"),
        reason: text("/status/lastDecision/reason"),
        problems,
    }
}

#[cfg(test)]
mod tests;
