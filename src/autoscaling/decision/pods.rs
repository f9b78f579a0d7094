//! Step one of a metric per pod: which pods count, and what they request.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::age,
    observation::{Container, Phase, Pod, Sample},
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

/// A container that runs before the others of its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitContainer {
    /// Requests by resource, in milli-units.
    pub requests: BTreeMap<String, i64>,
    /// Whether it keeps running beside what comes after it (KEP-753).
    pub lasts: bool,
}

/// What a pod requests as a whole, by resource, in milli-units, where it says so itself for any resource; else nothing. What it does
/// not say itself is what its containers do: all that run at once, or an init container with those that last if that is more.
///
/// Source: `PodRequests` of Kubernetes' `component-helpers`, without overhead; KEP-2837.
pub fn whole(
    own: &BTreeMap<String, i64>,
    containers: &[Container],
    init_containers: impl IntoIterator<Item = InitContainer>,
) -> BTreeMap<String, i64> {
    let is_of_pods = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    if !own.keys().any(|name| is_of_pods(name)) {
        return BTreeMap::new();
    }
    let (mut at_once, mut lasting, mut most) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for container in containers {
        merge(&mut at_once, &container.requests, i64::saturating_add);
    }
    for init in init_containers {
        let mut now = lasting.clone();
        merge(&mut now, &init.requests, i64::saturating_add);
        if init.lasts {
            merge(&mut at_once, &init.requests, i64::saturating_add);
            lasting.clone_from(&now);
        }
        merge(&mut most, &now, i64::max);
    }
    merge(&mut at_once, &most, i64::max);
    at_once.extend(own.iter().filter(|(name, _)| is_of_pods(name)).map(|(name, request)| (name.clone(), *request)));
    at_once
}

fn merge(into: &mut BTreeMap<String, i64>, requests: &BTreeMap<String, i64>, of_both: fn(i64, i64) -> i64) {
    for (name, request) in requests {
        into.entry(name.clone()).and_modify(|known| *known = of_both(*known, *request)).or_insert(*request);
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
    if container.is_none() && pod_level && !pod.requests.is_empty() {
        let missing = || format!("missing pod-level request for {resource} in Pod {}", pod.name);
        return pod.requests.get(resource).copied().ok_or_else(missing);
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(name: &str, request: Option<i64>) -> BTreeMap<String, i64> {
        request.map(|request| (name.to_owned(), request)).into_iter().collect()
    }

    /// What Kubernetes' own code answered for the same pods.
    #[rstest]
    #[case::of_it_itself(of("cpu", Some(300)), &[], Some(300))]
    #[case::of_another_resource(of("memory", Some(1)), &[], Some(500))]
    #[case::an_init_container_that_takes_more(of("memory", Some(1)), &[(900, false)], Some(900))]
    #[case::one_that_takes_less(of("memory", Some(1)), &[(400, false)], Some(500))]
    #[case::one_that_lasts(of("hugepages-2Mi", Some(1)), &[(100, true), (450, false)], Some(600))]
    #[case::and_one_after_it_that_takes_more(of("memory", Some(1)), &[(100, true), (800, false)], Some(900))]
    #[case::nothing(BTreeMap::new(), &[(900, false)], None)]
    #[case::nothing_that_a_pod_can_say(of("example.com/gpu", Some(1)), &[], None)]
    fn a_pod_that_says_anything_of_itself_is_asked_as_a_whole(
        #[case] own: BTreeMap<String, i64>,
        #[case] init_containers: &[(i64, bool)],
        #[case] expected: Option<i64>,
    ) {
        let container = |name: &str, request| Container { name: name.to_owned(), requests: of("cpu", request) };
        let containers = [container("main", Some(500)), container("beside", None)];
        let init =
            |(request, lasts): &(i64, bool)| InitContainer { requests: of("cpu", Some(*request)), lasts: *lasts };
        let whole = whole(&own, &containers, init_containers.iter().map(init));
        assert_eq!(whole.get("cpu").copied(), expected);
        assert_eq!(whole.is_empty(), expected.is_none());
    }
}
