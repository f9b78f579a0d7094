//! The pods of a target at past times, by what kube-state-metrics told Prometheus of them then, and what they used.
//!
//! What it does not tell is not made up: whether a pod was ending, and what init containers that keep running and pods as a
//! whole request. When a pod started and became ready is known by when it was first seen so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{kubelets, pods, source::Question, tick::Context};
use crate::{
    autoscaling::{
        api::ScaleTargetRef,
        decision::{
            Reading,
            observation::{Container, Phase, Pod, ReadyCondition, Sample},
            policy::{Metric, Source, Target},
        },
    },
    prometheus::Track,
    quantity::milli_from_f64,
};

/// A time from its start to its end, in seconds since the epoch, and how far apart the looks in it are.
pub type Span = ((i64, i64), i64);

/// The pods that there were, by second.
pub type PastPods = BTreeMap<i64, Vec<Pod>>;

/// The resource and the container that a metric is about, if Prometheus keeps such.
pub fn resource(metric: &Metric) -> Option<(&str, Option<&str>)> {
    match &metric.source {
        Source::Resource { resource } => Some((resource, None)),
        Source::ContainerResource { resource, container } => Some((resource, Some(container))),
        _ => None,
    }
}

/// The pods of a target in each of these spans, which follow each other.
///
/// # Errors
///
/// When Prometheus does not answer, or kept nothing of them: a clause that says so and what to do.
pub async fn pods(
    context: &Context,
    namespace: &str,
    target: &ScaleTargetRef,
    spans: &[Span],
) -> Result<PastPods, String> {
    let server = context.credentials.default_server()?;
    let question = Question { query: question(namespace, target), max_age: None };
    let mut seen = Seen::default();
    for (span, step) in spans {
        seen.take(&context.servers.range(&server, &question, *span, seconds(*step)).await?);
    }
    if seen.0.is_empty() {
        return Err(format!(
            "{} kept no pods of {} {} of that time; let it scrape kube-state-metrics",
            server.address, target.kind, target.name
        ));
    }
    let looks =
        spans.iter().flat_map(|((begin, end), step)| (*begin..=*end).step_by(usize::try_from(*step).unwrap_or(1)));
    Ok(seen.dated(&looks.collect()))
}

/// What those pods used, at each second at which they are known.
///
/// # Errors
///
/// When Prometheus does not answer, or kept too little for any value: a clause that says so and what to do.
pub async fn readings(
    context: &Context,
    namespace: &str,
    metric: &Metric,
    pods: &PastPods,
    spans: &[Span],
) -> Result<BTreeMap<i64, Reading>, String> {
    let Some((resource, container)) = resource(metric) else { return Ok(BTreeMap::new()) };
    let server = context.credentials.default_server()?;
    let names: BTreeSet<&str> = pods.values().flatten().map(|pod| &*pod.name).collect();
    let Some(query) = kubelets::question(resource, namespace, names, container) else {
        return Err("of resources Prometheus is asked for cpu and memory only".to_owned());
    };
    let mut containers = pods.values().flatten().flat_map(|pod| &pod.containers);
    if matches!(metric.target, Some(Target::Utilization(_)))
        && !containers.any(|container| container.requests.contains_key(resource))
    {
        return Err(format!(
            "{} kept no request for {resource} of that time; let it keep kube_pod_container_resource_requests of \
             kube-state-metrics",
            server.address
        ));
    }
    let question = Question { query, max_age: None };
    let mut used: BTreeMap<i64, BTreeMap<String, Sample>> = BTreeMap::new();
    for (span, step) in spans {
        for Track { labels, values } in context.servers.range(&server, &question, *span, seconds(*step)).await? {
            let Some(pod) = labels.get("pod") else { continue };
            for (second, value) in values {
                let Some(value) = milli_from_f64(value) else { continue };
                let sample = Sample { value, at: instant(second), window: kubelets::RANGE };
                used.entry(second).or_default().insert(pod.clone(), sample);
            }
        }
    }
    let of_then = |(second, pods): (&i64, &Vec<Pod>)| {
        let mut samples = used.remove(second).unwrap_or_default();
        let there: BTreeSet<&str> = pods.iter().map(|pod| &*pod.name).collect();
        samples.retain(|name, _| there.contains(&**name));
        let lacks = || format!("{} has {}", server.address, kubelets::lacks(resource));
        (*second, if samples.is_empty() { Reading::Failed(lacks()) } else { Reading::PerPod(samples) })
    };
    Ok(pods.iter().map(of_then).collect())
}

/// Asks for each pod that the target owns, itself or by a ReplicaSet: its phase, its `Ready` condition, its containers, and
/// their requests, each of which is known by its labels.
fn question(namespace: &str, target: &ScaleTargetRef) -> String {
    let owner = format!("namespace={namespace:?},owner_kind={:?},owner_name={:?}", target.kind, target.name);
    format!(
        "({{__name__=~\"kube_pod_status_(phase|ready)\",namespace={namespace:?}}} == 1 \
         or {{__name__=~\"kube_pod_container_(resource_requests|status_restarts_total)\",namespace={namespace:?},\
         resource=~\"(cpu|memory)?\"}}) and on (pod) (kube_pod_owner{{{owner}}} \
         or kube_pod_owner{{namespace={namespace:?},owner_kind=\"ReplicaSet\"}} and on (owner_name) \
         label_replace(kube_replicaset_owner{{{owner}}}, \"owner_name\", \"$1\", \"replicaset\", \"(.+)\"))"
    )
}

/// Pods as they were told of, by second and name.
#[derive(Default)]
struct Seen(BTreeMap<i64, BTreeMap<String, Pod>>);

impl Seen {
    fn take(&mut self, tracks: &[Track]) {
        for track in tracks {
            let label = |name: &str| track.labels.get(name).map(String::as_str);
            let Some(name) = label("pod") else { continue };
            for (second, value) in &track.values {
                let pods = self.0.entry(*second).or_default();
                if !pods.contains_key(name) {
                    pods.insert(name.to_owned(), running(name));
                }
                let Some(pod) = pods.get_mut(name) else { continue };
                match (label("phase"), label("condition"), label("container")) {
                    (Some(phase), ..) => pod.phase = pods::phase(phase),
                    (_, Some(condition), _) => {
                        let status = if condition == "unknown" { None } else { Some(condition == "true") };
                        pod.ready = Some(ReadyCondition { status, since: Timestamp::MIN });
                    }
                    (.., Some(container)) => request(pod, container, label("resource"), *value),
                    _ => {}
                }
            }
        }
    }

    /// When each started and became ready, or unready: halfway between the look that first saw it so and the one before.
    /// As it was at the first look of all it is taken to have been for long.
    fn dated(mut self, looks: &BTreeSet<i64>) -> PastPods {
        let mut known: BTreeMap<String, (Timestamp, Option<ReadyCondition>)> = BTreeMap::new();
        let mut before: Option<i64> = None;
        let mut dated = PastPods::new();
        for second in looks.iter().copied() {
            let since = before.replace(second).map_or(Timestamp::MIN, |before| instant(before.midpoint(second)));
            let Some(mut pods) = self.0.remove(&second) else {
                known.clear();
                continue;
            };
            // Another pod may come by the same name.
            known.retain(|name, _| pods.contains_key(name));
            for (name, pod) in &mut pods {
                let (started, ready) = known.entry(name.clone()).or_insert((since, None));
                if ready.map(|ready| ready.status) != pod.ready.map(|ready| ready.status) {
                    *ready = pod.ready.map(|ready| ReadyCondition { since, ..ready });
                }
                (pod.started, pod.created, pod.ready) = (Some(*started), Some(*started), *ready);
            }
            dated.insert(second, pods.into_values().collect());
        }
        dated
    }
}

fn request(pod: &mut Pod, container: &str, resource: Option<&str>, value: f64) {
    let place = pod.containers.iter().position(|known| known.name == container).unwrap_or_else(|| {
        pod.containers.push(Container { name: container.to_owned(), requests: BTreeMap::new() });
        pod.containers.len() - 1
    });
    if let (Some(resource), Some(milli)) = (resource, milli_from_f64(value)) {
        pod.containers[place].requests.insert(resource.to_owned(), milli);
    }
}

/// A pod of which no more is known than that it runs.
pub fn running(name: &str) -> Pod {
    Pod {
        name: name.to_owned(),
        phase: Phase::Running,
        ready: None,
        started: None,
        created: None,
        deleting: false,
        requests: BTreeMap::new(),
        containers: Vec::new(),
    }
}

/// A second since the epoch.
pub fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

/// How far apart the looks of a span are.
pub fn seconds(step: i64) -> Duration {
    Duration::from_secs(step.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: &str) -> ScaleTargetRef {
        ScaleTargetRef { api_version: "apps/v1".to_owned(), kind: kind.to_owned(), name: "w".to_owned() }
    }

    fn track(labels: &[(&str, &str)], values: &[(i64, f64)]) -> Track {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Track { labels, values: values.to_vec() }
    }

    /// promtool runs them (`dev/test-rules`).
    #[test]
    fn what_is_asked_is_what_was_tried_on_a_real_prometheus() {
        for kind in ["Deployment", "StatefulSet"] {
            let question = question("demo", &target(kind));
            assert!(promql_parser::parser::parse(&question).is_ok(), "{question}");
            assert!(include_str!("../../../tests/rules/past_pods.yaml").contains(&question), "{question}");
        }
    }

    #[test]
    fn pods_are_put_together_from_what_is_told_of_them() {
        let mut seen = Seen::default();
        seen.take(&[
            track(&[("pod", "w-0"), ("phase", "Pending")], &[(15, 1.0)]),
            track(&[("pod", "w-0"), ("phase", "Running")], &[(30, 1.0)]),
            track(&[("pod", "w-0"), ("condition", "unknown")], &[(30, 1.0)]),
            track(&[("pod", "w-0"), ("container", "main")], &[(30, 0.0)]),
            track(&[("pod", "w-0"), ("container", "main"), ("resource", "cpu")], &[(15, 0.25), (30, 0.5)]),
            track(&[("pod", "w-0"), ("container", "side")], &[(30, 7.0)]),
        ]);
        let pods = seen.dated(&[15, 30].into());
        let [before, after] = [15, 30].map(|second| &pods[&second][0]);
        assert_eq!((before.phase, before.ready), (Phase::Pending, None));
        assert_eq!((after.phase, after.ready.map(|ready| ready.status)), (Phase::Running, Some(None)));
        let requests = |pod: &Pod| {
            let of = |container: &Container| (container.name.clone(), container.requests.get("cpu").copied());
            pod.containers.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(requests(before), [("main".to_owned(), Some(250))]);
        assert_eq!(requests(after), [("main".to_owned(), Some(500)), ("side".to_owned(), None)]);
    }

    #[test]
    fn what_is_new_is_dated_between_two_looks_and_what_was_there_is_old() {
        let mut seen = Seen::default();
        let ready = |pod, condition, values| track(&[("pod", pod), ("condition", condition)], values);
        seen.take(&[
            ready("old", "true", &[(100, 1.0), (120, 1.0), (140, 1.0), (160, 1.0)]),
            ready("young", "false", &[(120, 1.0)]),
            ready("young", "true", &[(140, 1.0)]),
            ready("again", "true", &[(100, 1.0), (140, 1.0)]),
            ready("w-0", "true", &[(200, 1.0), (240, 1.0)]),
        ]);
        // At one of them there was none at all: the count was 0.
        let pods = seen.dated(&[100, 120, 140, 160, 180, 200, 220, 240].into());
        let of = |second: i64, name: &str| {
            let pod = pods[&second].iter().find(|pod| pod.name == name).expect("a pod");
            (pod.started.expect("a start"), pod.ready.expect("a condition").since)
        };
        assert_eq!(of(160, "old"), (Timestamp::MIN, Timestamp::MIN));
        assert_eq!((of(120, "young"), of(140, "young")), ((instant(110), instant(110)), (instant(110), instant(130))));
        assert_eq!(of(140, "again"), (instant(130), instant(130)));
        assert_eq!((of(200, "w-0").0, of(240, "w-0").0), (instant(190), instant(230)), "from zero, twice");
    }
}
