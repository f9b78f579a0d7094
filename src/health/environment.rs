//! What is around the stack and is not scalekit's: clocks, DNS, the provisioner of volumes, aggregated APIs, another
//! monitoring. None of it stops an installation; all of it is what people look for, hours later, when something does
//! not work.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
        storage::v1::{CSINode, StorageClass},
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};

use super::{Extent, Finding, Severity};
use crate::{
    catalog::is_ours,
    plan,
    platform::{Platform, PlatformKind, StorageChoice},
};

/// What was looked at, or why it could not be.
pub type Looked<T> = Result<T, String>;

/// What one look around the cluster gives.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The API server's clock and ours.
    pub clock: Looked<Clock>,
    /// The Leases by which the nodes say that they live.
    pub heartbeats: Looked<Vec<Lease>>,
    /// The cluster's DNS Services, and the endpoints behind them.
    pub dns: Looked<(Vec<Service>, Vec<EndpointSlice>)>,
    /// Deployments that are known to make volumes, and the drivers of each node.
    pub provisioners: Looked<(Vec<Deployment>, Vec<CSINode>)>,
    /// Every aggregated API.
    pub api_services: Looked<Vec<APIService>>,
    /// Pods that are not of this installation.
    pub others: Looked<Vec<Pod>>,
    /// Whether the definitions of the Prometheus Operator are there.
    pub operator: Looked<bool>,
}

/// One reading of two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The API server's, to the second, rounded down.
    pub server: Timestamp,
    /// Ours, when its answer came.
    pub here: Timestamp,
    /// How long the answer took.
    pub took: Duration,
}

/// Clocks that are further apart than this are worth a word. Certificates, tokens and logs bear minutes, but who
/// compares times by eye does not.
const APART: SignedDuration = SignedDuration::from_secs(10);

/// Judges everything around the stack. `class` is the StorageClass that was asked for by name.
pub fn environment(
    seen: &Environment,
    platform: &Platform,
    class: Option<&StorageClass>,
    extent: Extent,
) -> Vec<Finding> {
    let mut findings = vec![clocks(&seen.clock, &seen.heartbeats), dns(&seen.dns, platform)];
    if extent == Extent::Stack {
        findings.push(provisioner(&seen.provisioners, platform, class));
    }
    findings.push(api_services(&seen.api_services));
    if extent == Extent::Stack {
        findings.push(other_monitoring(&seen.others, &seen.operator, platform));
    }
    findings
}

/// What could not be looked at: no reason to stop, but not well either.
pub(super) fn unseen(check: &'static str, what: &str, why: &str) -> Finding {
    Finding::new(check, Severity::Info, format!("{what} cannot be seen: {why}"))
}

fn clocks(clock: &Looked<Clock>, heartbeats: &Looked<Vec<Lease>>) -> Finding {
    const CHECK: &str = "clock";
    let mut apart = Vec::new();
    if let Ok(clock) = clock {
        // The answer was made some time between the question and its arrival, and its time is cut to the second.
        let here = clock.here - clock.took / 2;
        let ahead = clock.server.duration_since(here) + SignedDuration::from_millis(500);
        apart.extend(differs("the API server", ahead, "this machine"));
    }
    for lease in heartbeats.as_deref().unwrap_or_default() {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        // A node writes its own time into its Lease, and the API server notes when by its own clock.
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let written =
            lease.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref()).map(|time| time.0);
        if let (Some(renewed), Some(written)) = (renewed, written.max()) {
            apart.extend(differs(&format!("node {name}"), renewed.duration_since(written), "the API server"));
        }
    }
    match (apart.is_empty(), clock, heartbeats) {
        (false, ..) => Finding::new(CHECK, Severity::Warning, format!("clocks differ: {}", apart.join("; ")))
            .hint("set them by a time server, with chrony or systemd-timesyncd: `timedatectl set-ntp true`"),
        (true, Ok(_), Ok(leases)) => {
            let nodes = super::count(leases.len(), "node");
            let who = if leases.is_empty() {
                // A node that has only just come has no Lease yet.
                "this machine and the API server".to_owned()
            } else {
                format!("this machine, the API server and {nodes}")
            };
            let message = format!("{who} are within {} s", APART.as_secs());
            Finding::new(CHECK, Severity::Ok, message)
        }
        (true, Err(why), _) => unseen(CHECK, "the API server's clock", why),
        (true, _, Err(why)) => unseen(CHECK, "the nodes' clocks", why),
    }
}

fn differs(whose: &str, ahead: SignedDuration, of: &str) -> Option<String> {
    if ahead.abs() <= APART {
        return None;
    }
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    Some(format!("{whose} is {} s {direction} {of}", ahead.abs().as_secs()))
}

fn dns(seen: &Looked<(Vec<Service>, Vec<EndpointSlice>)>, platform: &Platform) -> Finding {
    const CHECK: &str = "dns";
    let (services, slices) = match seen {
        Ok(seen) => seen,
        Err(why) => return unseen(CHECK, "the cluster's DNS", why),
    };
    let without = |message: &str| {
        let finding = Finding::new(CHECK, Severity::Warning, format!("{message}: no pod finds a Service by its name"));
        match platform.kind {
            PlatformKind::MicroK8s => finding.hint("microk8s enable dns"),
            _ => finding.hint("look at its pods: `kubectl get pods -n kube-system -l k8s-app=kube-dns -o wide`"),
        }
    };
    if services.is_empty() {
        return without("there is no Service with the label k8s-app=kube-dns");
    }
    let ready = slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false))
        .count();
    if ready == 0 {
        return without("no pod of the cluster's DNS is ready");
    }
    let verb = if ready == 1 { "is" } else { "are" };
    Finding::new(CHECK, Severity::Ok, format!("{} of the cluster's DNS {verb} ready", super::count(ready, "pod")))
}

/// Deployments that make volumes for a provisioner that is no CSI driver.
pub const PROVISIONERS: [(&str, &str); 2] =
    [("rancher.io/local-path", "local-path-provisioner"), ("microk8s.io/hostpath", "hostpath-provisioner")];

fn provisioner(
    seen: &Looked<(Vec<Deployment>, Vec<CSINode>)>,
    platform: &Platform,
    class: Option<&StorageClass>,
) -> Finding {
    const CHECK: &str = "provisioner";
    let (deployments, nodes) = match seen {
        Ok(seen) => seen,
        Err(why) => return unseen(CHECK, "what makes the volumes", why),
    };
    let Some(class) = class else {
        let why = match platform.storage {
            StorageChoice::Class(_) => "its StorageClass is not there",
            StorageChoice::None | StorageChoice::SeveralDefaults(_) => "no StorageClass is chosen",
        };
        return unseen(CHECK, "what makes the volumes", why);
    };
    let name = class.provisioner.as_str();
    if let Some((_, known)) = PROVISIONERS.iter().find(|(provisioner, _)| *provisioner == name) {
        let found: Vec<&Deployment> =
            deployments.iter().filter(|deployment| deployment.metadata.name.as_deref() == Some(*known)).collect();
        let ready = |deployment: &&&Deployment| {
            deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) > 0
        };
        if let Some(deployment) = found.iter().find(ready) {
            let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
            let message = format!("{name} makes the volumes: deployment/{known} in {namespace} is ready");
            return Finding::new(CHECK, Severity::Ok, message);
        }
        let what = if found.is_empty() { "is not there" } else { "has no ready pod" };
        let message = format!("deployment/{known}, which makes the volumes of {name}, {what}: claims wait until it is");
        return Finding::new(CHECK, Severity::Warning, message).hint(match platform.kind {
            PlatformKind::MicroK8s => "microk8s enable hostpath-storage".to_owned(),
            _ => format!("look at its pods: `kubectl get pods -A | grep {known}`"),
        });
    }
    if name == "kubernetes.io/no-provisioner" {
        let message = "this StorageClass makes no volumes: each claim waits until somebody makes one by hand";
        return Finding::new(CHECK, Severity::Warning, message)
            .hint("name a class with a provisioner: --storage-class NAME");
    }
    let with = nodes.iter().filter(|node| node.spec.drivers.iter().any(|driver| driver.name == name)).count();
    match with {
        0 => Finding::new(CHECK, Severity::Info, format!("whether {name} makes volumes cannot be seen from here")),
        _ => Finding::new(CHECK, Severity::Ok, format!("the CSI driver {name} is on {}", super::count(with, "node"))),
    }
}

/// Aggregated APIs that do not answer. While there is one, the namespace controller cannot list what is in a
/// namespace, and **no** namespace of the cluster can go.
pub fn unavailable(services: &[APIService]) -> Vec<Finding> {
    services
        .iter()
        .filter_map(|service| {
            let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
            let available = conditions.into_iter().flatten().find(|condition| condition.type_ == "Available")?;
            if available.status == "True" {
                return None;
            }
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let backend = service.spec.as_ref().and_then(|spec| spec.service.as_ref());
            let backend = backend.map_or_else(
                || "its server".to_owned(),
                |backend| {
                    let part = |part: &Option<String>| part.clone().unwrap_or_default();
                    format!("service/{} in {}", part(&backend.name), part(&backend.namespace))
                },
            );
            let cause = available.message.as_deref().or(available.reason.as_deref()).unwrap_or("it does not say why");
            Some(
                Finding::new(
                    "api-services",
                    Severity::Warning,
                    format!("APIService {name} does not answer, so no namespace can be deleted: {cause}"),
                )
                .hint(format!(
                    "bring {backend} back, or, when it is gone for good: `kubectl delete apiservice {name}`"
                )),
            )
        })
        .collect()
}

fn api_services(seen: &Looked<Vec<APIService>>) -> Finding {
    const CHECK: &str = "api-services";
    let services = match seen {
        Ok(services) => services,
        Err(why) => return unseen(CHECK, "whether every aggregated API answers", why),
    };
    let mut found = unavailable(services);
    match found.len() {
        0 => Finding::new(CHECK, Severity::Ok, "every aggregated API answers"),
        1 => found.remove(0),
        _ => {
            let all: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
            let hints: Vec<&str> = found.iter().filter_map(|finding| finding.hint.as_deref()).collect();
            Finding::new(CHECK, Severity::Warning, all.join("; ")).hint(hints.join("; "))
        }
    }
}

/// Programs that do what the stack does.
const SAME: [&str; 3] = ["prometheus", "node-exporter", "prometheus-operator"];

fn other_monitoring(others: &Looked<Vec<Pod>>, operator: &Looked<bool>, platform: &Platform) -> Finding {
    const CHECK: &str = "other-monitoring";
    let pods = match others {
        Ok(pods) => pods,
        Err(why) => return unseen(CHECK, "whether there is another monitoring", why),
    };
    let same: Vec<&Pod> = pods
        .iter()
        // Those of an installation that is being taken away scrape nothing any more.
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers.filter_map(|container| container.image.as_deref()).any(|image| SAME.contains(&program(image)))
        })
        .collect();
    let scalekits = !same.is_empty() && same.iter().all(|pod| is_ours(*pod));
    let mut found: Vec<String> = same
        .iter()
        .map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            format!("{}/{name}", pod.metadata.namespace.as_deref().unwrap_or_default())
        })
        .collect();
    let addon = platform.kind == PlatformKind::MicroK8s && found.iter().any(|pod| pod.starts_with("observability/"));
    if found.is_empty() && operator.as_ref().is_ok_and(|there| *there) {
        found.push("the definitions of the Prometheus Operator".to_owned());
    }
    if found.is_empty() {
        return Finding::new(CHECK, Severity::Ok, "there is no other Prometheus and no other node-exporter");
    }
    let message = format!("there is another monitoring, and both would scrape the same: {}", shortened(&found));
    let finding = Finding::new(CHECK, Severity::Warning, message);
    if scalekits {
        finding.hint(plan::ONE_A_CLUSTER)
    } else if addon {
        finding.hint("microk8s disable observability")
    } else {
        finding.hint("keep one of them; two do no harm but cost twice, and only one node-exporter gets port 9100")
    }
}

/// The last part of an image's path: what it is, whoever's it is.
fn program(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(':').next().unwrap_or(last)
}

/// The first few of many.
pub(super) fn shortened(items: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
