//! Step one of a metric per pod: which pods count, and what they request.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::age,
    observation::{Phase, Pod, Sample},
    policy::Policy,
};

/// The target's pods, by what their samples are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// How many have a sample that counts.
    pub ready: usize,
    /// Not counted yet: pending, or (for CPU) not ready.
    pub unready: BTreeSet<String>,
    /// Running without a sample.
    pub missing: BTreeSet<String>,
    /// Never counted: deleted or ended.
    pub ignored: BTreeSet<String>,
}

/// How long after its start a pod is treated as starting.
#[derive(Clone, Copy, Debug)]
pub struct Startup {
    /// [`Policy::cpu_initialization_period`].
    pub cpu_initialization_period: SignedDuration,
    /// [`Policy::initial_readiness_delay`].
    pub initial_readiness_delay: SignedDuration,
}

impl From<&Policy> for Startup {
    fn from(policy: &Policy) -> Self {
        Self {
            cpu_initialization_period: policy.cpu_initialization_period,
            initial_readiness_delay: policy.initial_readiness_delay,
        }
    }
}

/// Groups pods; the first rule that matches wins. Readiness counts for `cpu` alone: a pod uses its
/// memory, and serves its requests, while it is unready.
pub fn group(
    pods: &[Pod],
    samples: &BTreeMap<String, Sample>,
    resource: Option<&str>,
    startup: Startup,
    now: Timestamp,
) -> Groups {
    let mut groups = Groups::default();
    for pod in pods {
        let group = if pod.deleting || matches!(pod.phase, Phase::Failed | Phase::Succeeded) {
            &mut groups.ignored
        } else if pod.phase == Phase::Pending {
            &mut groups.unready
        } else {
            match samples.get(&pod.name) {
                None => &mut groups.missing,
                Some(sample) if resource == Some("cpu") && cpu_is_unready(pod, sample, startup, now) => {
                    &mut groups.unready
                }
                Some(_) => {
                    groups.ready += 1;
                    continue;
                }
            }
        };
        group.insert(pod.name.clone());
    }
    groups
}

/// A starting pod burns CPU that says nothing about its load. While it may still be starting, its
/// sample counts once it is ready and the sample covers only time since then. Later it counts, unless
/// the pod never became ready; one that was ready once and is not now counts.
fn cpu_is_unready(pod: &Pod, sample: &Sample, startup: Startup, now: Timestamp) -> bool {
    let (Some(ready), Some(started)) = (pod.ready, pod.started) else { return true };
    let says_unready = ready.status == Some(false);
    if age(started, now) < startup.cpu_initialization_period {
        says_unready || sample.at.duration_since(ready.since) < sample.window
    } else {
        says_unready && ready.since.duration_since(started) < startup.initial_readiness_delay
    }
}

/// What each pod requests of a resource, in milli-units: of one container if it is named, else of the
/// pod as a whole if it says so, else of all containers together.
///
/// # Errors
///
/// When one of the pods, even an ignored one, lacks the request: a mean over the others would be a lie.
pub fn requests(
    pods: &[Pod],
    container: Option<&str>,
    resource: &str,
    pod_level: bool,
) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|pod| Ok((pod.name.clone(), request(pod, container, resource, pod_level)?))).collect()
}

fn request(pod: &Pod, container: Option<&str>, resource: &str, pod_level: bool) -> Result<i64, String> {
    if container.is_none()
        && pod_level
        && let Some(request) = pod.requests.get(resource)
    {
        return Ok(*request);
    }
    let missing = |name: &str| format!("missing request for {resource} in container {name} of Pod {}", pod.name);
    let mut sum = 0_i64;
    let mut found = container.is_none();
    for candidate in pod.containers.iter().filter(|candidate| container.is_none_or(|name| candidate.name == name)) {
        found = true;
        let request = candidate.requests.get(resource).ok_or_else(|| missing(&candidate.name))?;
        sum = sum.saturating_add(*request);
    }
    match container {
        Some(name) if !found => Err(format!("container {name} not found in Pod {}", pod.name)),
        _ => Ok(sum),
    }
}
