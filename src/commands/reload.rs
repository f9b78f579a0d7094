//! After a change of configuration: bringing it into the pods, and waiting until Prometheus has loaded it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams, core::DynamicObject};
use tokio::time::sleep;

use super::{CommandError, targets, up::now};
use crate::{
    catalog::{self, Component},
    cluster::{Cluster, PodTunnel, answered},
    event::{Event, Reporter, Step},
    install::{Installer, Release},
    object::ObjectRef,
    plan::{Change, ChangeSet},
    prometheus::{Client, Runtime},
};

const ASK_AGAIN: Duration = Duration::from_millis(500);
/// The kubelet may have looked before it heard of the change itself; by then it has.
const NUDGE_AGAIN: Duration = Duration::from_secs(10);

/// How long after the change a refusal may still be of what was loaded before it: the kubelet may bring the change only once it
/// is told again, takes its time over the files, and Prometheus looks every 5 s.
const STALE: Duration = NUDGE_AGAIN.saturating_add(Duration::from_secs(20));

const PUT_BACK_WITHIN: Duration = Duration::from_secs(20);
/// How far back the reason of an earlier refusal is looked for: Prometheus logs it once.
pub(super) const LOGGED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known before the change.
pub(super) struct Before {
    /// Components whose configuration changes under a pod that stays.
    components: Vec<Component>,
    /// What Prometheus says, if its configuration is among them.
    prometheus: Option<Runtime>,
    /// By what its new configuration is known.
    mark: Option<String>,
    /// What its configuration lies in, as it is, and what of it is new.
    lies_in: (Vec<DynamicObject>, Vec<ObjectRef>),
}

/// Looks at what is going to change.
pub(super) async fn before(
    desired: &[DynamicObject],
    changes: &ChangeSet,
    live: &[DynamicObject],
    cluster: &Cluster,
    namespace: &str,
) -> Before {
    let components = reconfigured(desired, changes);
    let prometheus =
        if components.contains(&Component::Prometheus) { runtime(cluster, namespace).await.ok() } else { None };
    let mark = catalog::content_mark(desired);
    Before { components, prometheus, mark, lies_in: configuration(desired, changes, live) }
}

/// What Prometheus' configuration lies in, of what changes: as it is, and what is new.
fn configuration(
    desired: &[DynamicObject],
    changes: &ChangeSet,
    live: &[DynamicObject],
) -> (Vec<DynamicObject>, Vec<ObjectRef>) {
    let (mut before, mut new) = (Vec::new(), Vec::new());
    for item in changes.items.iter().filter(|item| item.change.is_write()) {
        let is_it = |object: &&DynamicObject| ObjectRef::of(object) == item.object;
        let (wanted, found) = (desired.iter().find(is_it), live.iter().find(is_it));
        let of_prometheus = wanted.or(found).and_then(catalog::component_of) == Some(Component::Prometheus);
        if !of_prometheus || !["ConfigMap", "Secret"].contains(&item.object.kind.as_str()) {
            continue;
        }
        match found {
            Some(found) => before.push(found.clone()),
            None => new.push(item.object.clone()),
        }
    }
    (before, new)
}

/// Components of which a ConfigMap or Secret changes, and whose workload does not: a new pod reads it anyway.
fn reconfigured(desired: &[DynamicObject], changes: &ChangeSet) -> Vec<Component> {
    let written = |object: &DynamicObject| {
        let reference = ObjectRef::of(object);
        changes.items.iter().any(|item| item.object == reference && changes_content(&item.change))
    };
    let of = |kinds: &[&str]| -> Vec<Component> {
        let objects = desired.iter().filter(|object| {
            object.types.as_ref().is_some_and(|types| kinds.contains(&types.kind.as_str())) && written(object)
        });
        objects.filter_map(catalog::component_of).collect()
    };
    let pruned = changes
        .items
        .iter()
        .any(|item| item.object.name == catalog::SCRAPES_SECRET && matches!(item.change, Change::Delete { .. }));
    let workloads = of(&["Deployment", "StatefulSet", "DaemonSet"]);
    let mut components = of(&["ConfigMap", "Secret"]);
    components.extend(pruned.then_some(Component::Prometheus));
    components.sort();
    components.dedup();
    components.retain(|component| !workloads.contains(component));
    components
}

/// Whether the files that a ConfigMap or Secret becomes may change. Other labels alone do not: a version's, say.
fn changes_content(change: &Change) -> bool {
    match change {
        // Applied again because the manifest declares less than before; of what, nobody has kept.
        Change::Configure { fields } if fields.is_empty() => true,
        Change::Configure { fields } => fields.iter().any(|field| !field.field.starts_with("metadata.")),
        other => other.is_write(),
    }
}

async fn nudge(components: &[Component], installer: &Installer<'_>, namespace: &str) {
    for component in components {
        let selector = format!("{}={component}", catalog::NAME);
        let at = now().to_string();
        // Without it, it takes the kubelet longer, no more.
        if let Err(error) = installer.nudge(&component.namespace(namespace), &selector, &at).await {
            tracing::debug!("the kubelet is not told of {component}'s new configuration: {error}");
        }
    }
}

/// Brings what was changed into the pods, and waits until Prometheus says that it is what it has loaded, which may be so from
/// the beginning. All of it lies in one volume, whose files the kubelet exchanges at once. What it refuses is put back as it was
/// before: it could not start with it. Not where another run has `written` another version of the inventory since: what that one
/// wants is not known here.
///
/// # Errors
///
/// [`CommandError::Reload`] when Prometheus refuses its new configuration, with its own words, or does not look at it in time.
pub(super) async fn after(
    (before, written): (Before, Option<String>),
    installer: &Installer<'_>,
    release: &Release,
    cluster: &Cluster,
    deadline: Instant,
    reporter: &dyn Reporter,
) -> Result<(), CommandError> {
    let namespace = release.namespace.as_str();
    let Before { components, prometheus, mark, lies_in: (as_it_was, added) } = before;
    nudge(&components, installer, namespace).await;
    let (Some(before), Some(mark)) = (prometheus, mark) else { return Ok(()) };
    let failed = |waited, refusals, put_back| {
        let namespace = namespace.to_owned();
        CommandError::Reload { namespace, waited, refusals, put_back }
    };
    let began = Instant::now();
    let mut nudged = began;
    reporter.report(Event::StepStarted { step: Step::Reload, total: None });
    loop {
        if let Ok((runtime, config)) = loaded(cluster, namespace).await {
            if runtime.reload_config_success && config.contains(&mark) {
                let summary = "Prometheus has loaded its new configuration".to_owned();
                reporter.report(Event::StepFinished { step: Step::Reload, took: began.elapsed(), summary });
                return Ok(());
            }
            let new = before.reload_config_success || began.elapsed() > STALE;
            if !runtime.reload_config_success && new {
                let refusals = refusals(cluster, namespace, began.elapsed()).await;
                if !refusals.is_empty() {
                    let waited = began.elapsed();
                    // What it refused before as well is no better.
                    let worked = before.reload_config_success;
                    let put_back =
                        worked && installer.put_back(release, written.as_deref(), &as_it_was, &added).await?;
                    if put_back {
                        nudge(&[Component::Prometheus], installer, namespace).await;
                        until_loaded(cluster, namespace).await;
                    } else if worked {
                        let message = "nothing is put back: another run has written meanwhile".to_owned();
                        reporter.report(Event::Note { message });
                    }
                    return Err(failed(Some(waited), refusals, put_back));
                }
            }
        }
        if Instant::now() >= deadline {
            return Err(failed(Some(began.elapsed()), Vec::new(), false));
        }
        if nudged.elapsed() > NUDGE_AGAIN {
            nudge(&[Component::Prometheus], installer, namespace).await;
            nudged = Instant::now();
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Waits until Prometheus has taken what was put back, and for [`PUT_BACK_WITHIN`] at most: it runs either way.
async fn until_loaded(cluster: &Cluster, namespace: &str) {
    let until = Instant::now() + PUT_BACK_WITHIN;
    while Instant::now() < until && !runtime(cluster, namespace).await.is_ok_and(|now| now.reload_config_success) {
        sleep(ASK_AGAIN).await;
    }
}

/// That Prometheus does not refuse what an earlier run has written. Where it does not answer nothing is known of that.
///
/// # Errors
///
/// [`CommandError::Reload`] with its own words.
pub(super) async fn is_loaded(cluster: &Cluster, namespace: &str) -> Result<(), CommandError> {
    match runtime(cluster, namespace).await {
        Ok(runtime) if !runtime.reload_config_success => {
            let refusals = refusals(cluster, namespace, LOGGED).await;
            let namespace = namespace.to_owned();
            Err(CommandError::Reload { namespace, waited: None, refusals, put_back: false })
        }
        _ => Ok(()),
    }
}

async fn runtime(cluster: &Cluster, namespace: &str) -> Result<Runtime, String> {
    prometheus(cluster, namespace).await?.runtime().await.map_err(|error| error.to_string())
}

/// What Prometheus says of its configuration, and that itself.
async fn loaded(cluster: &Cluster, namespace: &str) -> Result<(Runtime, String), String> {
    let client = prometheus(cluster, namespace).await?;
    let config = client.config().await.map_err(|error| error.to_string())?;
    Ok((client.runtime().await.map_err(|error| error.to_string())?, config))
}

async fn prometheus(cluster: &Cluster, namespace: &str) -> Result<Client<PodTunnel>, String> {
    let client = targets::prometheus(cluster, namespace).await.map_err(|error| error.to_string())?;
    client.ok_or_else(|| "no pod of Prometheus is ready".to_owned())
}

/// Why Prometheus refuses, by the errors that it has logged since.
pub(super) async fn refusals(cluster: &Cluster, namespace: &str, since: Duration) -> Vec<String> {
    let selector = format!("{}={}", catalog::NAME, Component::Prometheus);
    let Ok(Some(pod)) = targets::ready_pod(cluster, namespace, &selector).await else { return Vec::new() };
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), namespace);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_add(2);
    let params = LogParams { since_seconds: Some(seconds), ..LogParams::default() };
    answered(pods.logs(&pod, &params)).await.map(|log| causes(&log)).unwrap_or_default()
}

/// The errors of a log in logfmt, each once, those that only say that there was another left out.
fn causes(log: &str) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    for line in log.lines().filter(|line| line.contains("level=ERROR")) {
        let Some((_, quoted)) = line.split_once(" err=") else { continue };
        let cause = quoted.trim().trim_matches('"').replace("\\\"", "\"").replace("\\n", " ");
        let says_nothing =
            cause.contains("previous rule set restored") || cause.contains("one or more errors occurred");
        if !says_nothing && !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::{FieldChange, Planned};

    fn object(kind: &str, name: &str, component: &str) -> DynamicObject {
        let api_version = if kind == "StatefulSet" { "apps/v1" } else { "v1" };
        serde_json::from_value(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name,
            "namespace": "monitoring", "labels": {"app.kubernetes.io/name": component}}}))
        .unwrap()
    }

    fn changes(desired: &[DynamicObject], written: &[&str]) -> ChangeSet {
        let planned = |object: &DynamicObject| {
            let reference = ObjectRef::of(object);
            let write = written.contains(&reference.name.as_str());
            let change = if write { Change::Configure { fields: vec![] } } else { Change::Unchanged };
            Planned { object: reference, change }
        };
        ChangeSet { items: desired.iter().map(planned).collect() }
    }

    #[test]
    fn a_pod_that_stays_is_told_of_its_new_configuration() {
        let desired = [
            object("ConfigMap", "prometheus-config", "prometheus"),
            object("StatefulSet", "prometheus", "prometheus"),
            object("Secret", "alertmanager-receivers", "alertmanager"),
        ];
        let found = |written: &[&str]| reconfigured(&desired, &changes(&desired, written));
        assert_eq!(found(&["prometheus-config"]), [Component::Prometheus]);
        assert_eq!(found(&["alertmanager-receivers"]), [Component::Alertmanager]);
        assert_eq!(found(&["prometheus-config", "prometheus"]), []);
        assert_eq!(found(&[]), []);
    }

    #[rstest]
    #[case::a_file(&["data[\"prometheus.yml\"]"], true)]
    #[case::a_file_and_a_label(&["metadata.labels[\"app.kubernetes.io/version\"]", "data[\"prometheus.yml\"]"], true)]
    #[case::labels_alone(&["metadata.labels[\"app.kubernetes.io/version\"]"], false)]
    fn only_other_content_is_waited_for(#[case] fields: &[&str], #[case] expected: bool) {
        let field =
            |name: &&str| FieldChange { field: (*name).to_owned(), live: None, desired: json!("x"), by: Vec::new() };
        assert_eq!(changes_content(&Change::Configure { fields: fields.iter().map(field).collect() }), expected);
    }

    #[test]
    fn a_refusal_is_said_once_and_in_prometheus_words() {
        let log = "time=x level=INFO msg=\"Loading configuration file\"\n\
                   time=x level=ERROR source=manager.go:1 msg=\"loading groups failed\" err=\"/etc/prometheus/config/extra-a.rules.yml: group \\\"g\\\", rule 1: function \\\"nope\\\" not defined\"\n\
                   time=x level=ERROR source=main.go:1 msg=\"Failed to apply configuration\" err=\"error loading rules, previous rule set restored\"\n\
                   time=x level=ERROR source=main.go:2 msg=\"Error reloading config\" err=\"one or more errors occurred while applying the new configuration (--config.file=\\\"x\\\")\"\n\
                   time=y level=ERROR source=manager.go:1 msg=\"loading groups failed\" err=\"/etc/prometheus/config/extra-a.rules.yml: group \\\"g\\\", rule 1: function \\\"nope\\\" not defined\"\n";
        assert_eq!(
            causes(log),
            ["/etc/prometheus/config/extra-a.rules.yml: group \"g\", rule 1: function \"nope\" not defined"]
        );
    }
}
