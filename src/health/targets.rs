//! Are the scrape targets up, and does every job have one.

use std::collections::BTreeMap;

use kube::core::DynamicObject;

use super::{Finding, Observed, Severity, Targets, preflight::unready_nodes};
use crate::{
    catalog,
    object::ObjectRef,
    platform::Part,
    prometheus::{self, TargetHealth},
};

/// What could be scraped and is not, because it was opened, or moved, since.
pub(super) fn unscraped(parts: &[Part]) -> Option<Finding> {
    let jobs: Vec<&str> = parts.iter().map(|part| part.job()).collect();
    (!jobs.is_empty()).then(|| {
        let message = format!("{} can be reached by pods now, and is not scraped there yet", jobs.join(", "));
        Finding::new("targets", Severity::Warning, message).hint("run `scalekit up`")
    })
}

/// Counts the targets, and says what is wrong with those that are not up, and with the jobs that have none.
pub(super) fn judge(targets: &[prometheus::Target], observed: &Observed) -> (Targets, Vec<Finding>) {
    let down: Vec<prometheus::Target> =
        targets.iter().filter(|target| target.health == TargetHealth::Down).cloned().collect();
    let empty_jobs: Vec<String> = observed
        .expected_jobs
        .iter()
        .filter(|job| !targets.iter().any(|target| target.scrape_pool == **job))
        .cloned()
        .collect();
    let unready = unready_nodes(&observed.around.nodes);
    let mut lost: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut findings = Vec::new();
    for target in &down {
        match target.node.as_ref().filter(|node| unready.contains(node)) {
            Some(node) => lost.entry(node).or_default().push(&target.scrape_pool),
            None => findings.push(alone(target)),
        }
    }
    // The stack is well without them.
    findings.extend(lost.into_iter().map(|(node, jobs)| {
        let targets = super::are(jobs.len(), "target");
        let message = format!("{targets} down with node {node}, which is not ready: {}", jobs.join(", "));
        Finding::new("targets", Severity::Warning, message)
    }));
    if !empty_jobs.is_empty() {
        let message = format!("no target at all for {}", empty_jobs.join(", "));
        let rights = missing_discovery_rights(observed);
        let services = missing_services(&empty_jobs, observed);
        let finding = |why: &str| Finding::new("targets", Severity::Error, format!("{message}{why}"));
        findings.push(if !rights.is_empty() {
            finding(&format!(": Prometheus has no right to list and watch {}", rights.join(", ")))
                .hint("`scalekit up --force-conflicts` gives it back")
        } else if !services.is_empty() {
            finding(&format!(": there is no {}", services.join(", no "))).hint("`scalekit up` makes it anew")
        } else {
            finding("").hint(
                "Prometheus may not have looked yet; its log says why discovery fails: `kubectl logs -n NAMESPACE prometheus-0`"
                    .replace("NAMESPACE", &observed.namespace),
            )
        });
    }
    let up = targets.iter().filter(|target| target.health == TargetHealth::Up).count();
    (Targets { up, total: targets.len(), down, empty_jobs }, findings)
}

/// A target that is down though its node is well.
fn alone(target: &prometheus::Target) -> Finding {
    // Worth a word, but the stack is well.
    let severity = if catalog::is_optional(&target.scrape_pool) { Severity::Warning } else { Severity::Error };
    let message = format!("{} of job {} is down: {}", target.scrape_url, target.scrape_pool, target.last_error);
    let finding = Finding::new("targets", severity, message);
    // What was assumed of a kubelet that could not be asked.
    if target.last_error.contains("x509") && catalog::is_of_the_kubelet(&target.scrape_pool) {
        finding.hint(
            "run `scalekit up` where port 10250 of the nodes can be reached, on a node say: there it is tried whether the \
             kubelets' certificates can be verified",
        )
    } else {
        finding
    }
}

/// Services of ours that are not there, and by whose endpoints the targets of these jobs are found: a job begins with the name
/// of its Service.
fn missing_services(jobs: &[String], observed: &Observed) -> Vec<String> {
    let service = |object: &DynamicObject| {
        let is_one = object.types.as_ref().is_some_and(|types| types.kind == "Service");
        is_one.then(|| object.metadata.name.clone()).flatten()
    };
    let live: Vec<String> = observed.live.iter().filter_map(service).collect();
    let gone = observed.desired.iter().filter(|desired| service(desired).is_some_and(|name| !live.contains(&name)));
    let of_these = gone.filter(|gone| service(gone).is_some_and(|name| jobs.iter().any(|job| job.starts_with(&name))));
    of_these.map(|gone| ObjectRef::of(gone).to_string()).collect()
}

/// The resources that Prometheus' ClusterRole should let it list and watch, and does not.
///
/// Without them a job has no target at all: no `up == 0`, no failed scrape, only silence.
fn missing_discovery_rights(observed: &Observed) -> Vec<String> {
    let granted = |objects: &[DynamicObject]| -> Vec<String> {
        objects
            .iter()
            .filter(|object| {
                object.types.as_ref().is_some_and(|types| types.kind == "ClusterRole")
                    && catalog::component_of(object) == Some(catalog::Component::Prometheus)
            })
            .flat_map(|role| role.data["rules"].as_array().cloned().unwrap_or_default())
            .filter(|rule| {
                ["list", "watch"]
                    .iter()
                    .all(|verb| rule["verbs"].as_array().is_some_and(|verbs| verbs.iter().any(|known| known == verb)))
            })
            .flat_map(|rule| rule["resources"].as_array().cloned().unwrap_or_default())
            .filter_map(|resource| resource.as_str().map(str::to_owned))
            .collect()
    };
    let live = granted(&observed.live);
    granted(&observed.desired).into_iter().filter(|resource| !live.contains(resource)).collect()
}
