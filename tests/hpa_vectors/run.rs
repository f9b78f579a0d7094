//! Puts a vector to the decision, and says where the answer differs.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use scalekit::autoscaling::decision::{
    Action, Bounds, Memory, Observation, Policy, Reading, decide,
    memory::{Condition, ConditionType, Recommendation, ScaleEvent, change_within},
    metrics,
    observation::{Container, Phase, Pod, Pods, ReadyCondition, Sample},
    pods::{self, Startup},
    policy::{Behavior, Direction, FromZero, Metric, OnAbsent, Rules, Source, Target},
    rate::{self, Events},
    replicas, settle, stabilization,
};
use serde_json::{Value, json};

use crate::form;

/// Some instant; ages count back from it.
const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// What was answered, by the keys of `expect`.
type Answer = BTreeMap<&'static str, Value>;

pub fn differences(vector: &form::Vector) -> Vec<String> {
    let answer = match (vector.kind.as_deref(), vector.stage.as_deref()) {
        (Some("replicas"), _) => replica_count(vector),
        (Some("group_pods"), _) => group_pods(vector),
        (Some("calculate_requests"), _) => calculate_requests(vector),
        (Some("per_pod_usage"), _) => {
            let usage = replicas::per_replica(vector.usage, vector.status_replicas.unwrap_or(0));
            Answer::from([("usage", json!(usage)), ("error", Value::Null)])
        }
        (_, Some("rate" | "rate_no_behavior")) => rate(vector),
        (_, Some("scale_up_limit" | "scale_down_limit")) => rate_limit(vector),
        (_, Some("stabilize" | "stabilize_no_behavior")) => stabilize(vector),
        (_, Some("store_event")) => store_event(vector),
        (_, Some("default_rules")) => default_rules(vector),
        (_, Some("reconcile")) => reconcile(vector),
        (kind, stage) => return vec![format!("unknown kind {kind:?} or stage {stage:?}")],
    };
    let mut wrong = Vec::new();
    for (key, expected) in &vector.expect.0 {
        let actual = answer.get(key.as_str());
        let same = match (key.as_str(), expected, actual) {
            // A text is contained in the error; an empty one is in any.
            ("error", Value::String(part), Some(Value::String(error))) => error.contains(part),
            (_, expected, Some(actual)) => expected == actual,
            (_, _, None) => false,
        };
        if !same {
            wrong.push(format!("{key}: expected {expected}, got {}", actual.unwrap_or(&json!("no such answer"))));
        }
    }
    wrong
}

fn ago(seconds: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(seconds)
}

fn policy(vector: &form::Vector, metrics: Vec<Metric>) -> Policy {
    let gate = |name, unset| vector.gates.get(name).copied().unwrap_or(unset);
    Policy {
        tolerance: vector.tolerance.unwrap_or(0.1),
        behavior: vector.behavior.as_ref().map(behavior),
        cpu_initialization_period: SignedDuration::from_secs(120),
        initial_readiness_delay: SignedDuration::from_secs(10),
        downscale_stabilization: SignedDuration::from_secs(vector.downscale_stabilization_window_s.unwrap_or(300)),
        from_zero: if gate("HPAScaleToZero", false) { FromZero::IfScaledToZero } else { FromZero::Never },
        configurable_tolerance: gate("HPAConfigurableTolerance", true),
        ..Policy::new(Bounds::new(vector.min.unwrap_or(1), vector.max.unwrap_or(i32::MAX)), metrics)
    }
}

fn behavior(behavior: &form::Behavior) -> Behavior {
    let of = |side: &Option<form::Rules>| side.as_ref().map(rules).unwrap_or_default();
    Behavior { scale_up: of(&behavior.scale_up), scale_down: of(&behavior.scale_down) }
}

fn rules(rules: &form::Rules) -> Rules {
    let form::Rules { stabilization_window_s, select_policy, policies, tolerance } = rules.clone();
    Rules { stabilization_window_s, select_policy, policies, tolerance }
}

fn source(kind: &str, resource: Option<&String>, container: Option<&String>) -> Source {
    let resource = resource.cloned().unwrap_or_default();
    match kind {
        "Resource" => Source::Resource { resource },
        "ContainerResource" => {
            Source::ContainerResource { resource, container: container.cloned().unwrap_or_default() }
        }
        "Pods" => Source::Pods,
        "Object" | "ObjectPerPod" => Source::Object,
        "External" | "ExternalPerPod" => Source::External,
        other => Source::Unknown(other.to_owned()),
    }
}

fn target(target: form::Target) -> Target {
    match target {
        form::Target::Utilization(percent) => Target::Utilization(percent),
        form::Target::AverageValue(value) => Target::AverageValue(value),
        form::Target::Value(value) => Target::Value(value),
    }
}

fn pod(pod: &form::Pod, resource: &str) -> Pod {
    let requests = |request: Option<i64>| request.map(|milli| (resource.to_owned(), milli)).into_iter().collect();
    let container = |name: &str, request: Option<i64>| Container { name: name.to_owned(), requests: requests(request) };
    let containers = match (&pod.containers, &pod.container_requests_milli) {
        (Some(containers), _) => containers
            .iter()
            .chain(pod.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always")))
            .map(|c| container(&c.name, c.request_milli))
            .collect(),
        (None, Some(by_name)) => by_name.iter().map(|(name, request)| container(name, *request)).collect(),
        (None, None) => vec![container("all", pod.request_milli)],
    };
    Pod {
        name: pod.name.clone(),
        phase: match pod.phase.as_deref() {
            Some("Pending") => Phase::Pending,
            Some("Failed") => Phase::Failed,
            Some("Succeeded") => Phase::Succeeded,
            _ => Phase::Running,
        },
        ready: pod.ready.map(|ready| ReadyCondition {
            status: Some(ready),
            since: ago(pod.ready_transition_age_s.unwrap_or(86_400)),
        }),
        started: pod.start_age_s.map(ago),
        created: None,
        deleting: pod.deletion,
        requests: requests(pod.pod_level_request_milli),
        containers,
    }
}

fn sample(value: i64, age_s: Option<i64>, window_s: Option<i64>) -> Sample {
    let window = SignedDuration::from_secs(window_s.unwrap_or(60));
    Sample { value, at: ago(age_s.unwrap_or(0)), window }
}

fn samples<'a>(pods: impl IntoIterator<Item = &'a form::Pod>) -> BTreeMap<String, Sample> {
    let with = |pod: &form::Pod| Some((pod.name.clone(), sample(pod.metric?, pod.metric_age_s, pod.metric_window_s)));
    pods.into_iter().filter_map(with).collect()
}

fn replica_count(vector: &form::Vector) -> Answer {
    let kind = vector.metric_type.as_deref().unwrap_or_default();
    let metric = Metric {
        name: "metric".to_owned(),
        source: source(kind, vector.resource.as_ref(), vector.container.as_ref()),
        target: vector.target.map(target),
        on_absent: OnAbsent::Error,
        activation: 0,
    };
    let side = |tolerance| Rules { tolerance, ..Rules::default() };
    let policy = Policy {
        behavior: Some(Behavior { scale_up: side(vector.tolerance_up), scale_down: side(vector.tolerance_down) }),
        ..policy(vector, vec![metric])
    };
    let per_pod = matches!(kind, "Resource" | "ContainerResource" | "Pods");
    let resource = vector.resource.as_deref().unwrap_or_default();
    let observation = Observation {
        spec_replicas: vector.current_replicas,
        status_replicas: vector.current_replicas,
        pods: Pods::Listed(vector.pods.iter().map(|p| pod(p, resource)).collect()),
        distrust: None,
        readings: vec![if per_pod {
            Reading::PerPod(samples(vector.pods.iter().chain(&vector.extra_metrics)))
        } else {
            Reading::Series(vector.metric_values.clone())
        }],
    };
    match metrics::evaluate(&policy, &observation, NOW).remove(0).outcome {
        Ok(proposal) => Answer::from([
            ("replicas", json!(proposal.replicas)),
            ("usage", json!(proposal.usage)),
            ("utilization", json!(proposal.utilization)),
            ("error", Value::Null),
        ]),
        Err(failure) => Answer::from([("replicas", Value::Null), ("error", json!(failure.message))]),
    }
}

fn group_pods(vector: &form::Vector) -> Answer {
    let pods: Vec<Pod> = vector.pods.iter().map(|p| pod(p, "cpu")).collect();
    let startup = Startup::from(&policy(vector, Vec::new()));
    let groups = pods::group(&pods, &samples(&vector.pods), vector.resource.as_deref(), startup, NOW);
    Answer::from([
        ("ready_count", json!(groups.ready)),
        ("unready", json!(groups.unready)),
        ("missing", json!(groups.missing)),
        ("ignored", json!(groups.ignored)),
        ("error", Value::Null),
    ])
}

fn calculate_requests(vector: &form::Vector) -> Answer {
    let resource = vector.resource.as_deref().unwrap_or_default();
    let pods: Vec<Pod> = vector.pods.iter().map(|p| pod(p, resource)).collect();
    match pods::requests(&pods, vector.container.as_deref(), resource, vector.pod_level_resources_gate) {
        Ok(requests) => Answer::from([("requests_milli", json!(requests)), ("error", Value::Null)]),
        Err(error) => Answer::from([("requests_milli", Value::Null), ("error", json!(error))]),
    }
}

fn events(events: &[form::Event]) -> Vec<ScaleEvent> {
    let of = |event: &form::Event| ScaleEvent { change: event.change, at: ago(event.age_s), outdated: event.outdated };
    events.iter().map(of).collect()
}

fn recommendations(entries: &[form::Recommendation]) -> Vec<Recommendation> {
    entries.iter().map(|entry| Recommendation { replicas: entry.replicas, at: ago(entry.age_s) }).collect()
}

fn rate(vector: &form::Vector) -> Answer {
    let bounds = Bounds::new(vector.min.unwrap_or(1), vector.max.unwrap_or(i32::MAX));
    let (current, desired) = (vector.current_replicas, vector.desired_replicas.unwrap_or(0));
    let limited = match vector.behavior.as_ref().map(behavior) {
        None => rate::without_behavior(current, desired, bounds),
        Some(behavior) => rate::with_behavior(
            current,
            desired,
            bounds,
            &behavior.scale_up.defaulted(Direction::Up),
            &behavior.scale_down.defaulted(Direction::Down),
            Events { ups: &events(&vector.scale_up_events), downs: &events(&vector.scale_down_events) },
            NOW,
        ),
    };
    Answer::from([
        ("replicas", json!(limited.replicas)),
        ("reason", json!(limited.reason.as_str())),
        ("error", Value::Null),
    ])
}

fn rate_limit(vector: &form::Vector) -> Answer {
    let behavior = vector.behavior.as_ref().map(behavior).unwrap_or_default();
    let (ups, downs) = (events(&vector.scale_up_events), events(&vector.scale_down_events));
    let (current, events) = (vector.current_replicas, Events { ups: &ups, downs: &downs });
    let limit = if vector.stage.as_deref() == Some("scale_up_limit") {
        rate::scale_up_limit(current, &behavior.scale_up.defaulted(Direction::Up), events, NOW)
    } else {
        rate::scale_down_limit(current, &behavior.scale_down.defaulted(Direction::Down), events, NOW)
    };
    Answer::from([("replicas", json!(limit)), ("error", Value::Null)])
}

fn stabilize(vector: &form::Vector) -> Answer {
    let mut log = recommendations(vector.recommendations.as_deref().unwrap_or_default());
    let proposed = vector.desired_replicas.unwrap_or(0);
    let seconds = SignedDuration::from_secs;
    let stabilized = if vector.stage.as_deref() == Some("stabilize") {
        let up = seconds(vector.scale_up_stabilization_window_s);
        let down = seconds(vector.scale_down_stabilization_window_s);
        stabilization::with_behavior(&mut log, proposed, vector.current_replicas, up, down, NOW)
    } else {
        let window = seconds(vector.downscale_stabilization_window_s.unwrap_or(300));
        stabilization::without_behavior(&mut log, proposed, window, NOW)
    };
    Answer::from([
        ("replicas", json!(stabilized.replicas)),
        ("recommendations", json!(log.iter().map(|entry| entry.replicas).collect::<Vec<_>>())),
        ("recommendations_len", json!(log.len())),
        ("error", Value::Null),
    ])
}

fn store_event(vector: &form::Vector) -> Answer {
    let up = vector.direction.as_deref() == Some("up");
    let mut memory = Memory::default();
    let before = events(&vector.events);
    let change = change_within(&before, 60, NOW);
    *(if up { &mut memory.scale_ups } else { &mut memory.scale_downs }) = before;
    let behavior = vector.behavior.as_ref().map(behavior);
    memory.store_event(behavior.as_ref(), vector.prev_replicas, vector.new_replicas, NOW);
    let after = if up { memory.scale_ups } else { memory.scale_downs };
    let after: Vec<Value> =
        after.iter().map(|event| json!({"change": event.change, "outdated": event.outdated})).collect();
    Answer::from([("change_in_last_60s", json!(change)), ("events", json!(after)), ("error", Value::Null)])
}

fn default_rules(vector: &form::Vector) -> Answer {
    let direction = if vector.direction.as_deref() == Some("up") { Direction::Up } else { Direction::Down };
    let rules = vector.rules.as_ref().map(rules).unwrap_or_default().defaulted(direction);
    let rules = json!({
        "stabilization_window_s": rules.stabilization_window_s,
        "select_policy": rules.select_policy,
        "policies": rules.policies,
    });
    Answer::from([("rules", rules), ("error", Value::Null)])
}

fn reading(metric: &form::Metric) -> Reading {
    match (&metric.fetch_error, &metric.pod_metrics, &metric.metric_values) {
        (Some(error), _, _) => Reading::Failed(error.clone()),
        (None, Some(values), _) => {
            let of = |(pod, value): (&String, &i64)| {
                (pod.clone(), sample(*value, metric.metric_age_s, metric.metric_window_s))
            };
            Reading::PerPod(values.iter().map(of).collect())
        }
        (None, None, Some(values)) => Reading::Series(values.clone()),
        (None, None, None) => Reading::Absent,
    }
}

fn reconcile(vector: &form::Vector) -> Answer {
    let metric = |metric: &form::Metric| Metric {
        name: metric.metric_type.clone(),
        source: source(&metric.metric_type, metric.resource.as_ref(), metric.container.as_ref()),
        target: metric.target.map(target),
        on_absent: OnAbsent::Error,
        activation: 0,
    };
    let policy = policy(vector, vector.metrics.iter().map(metric).collect());
    let resource = vector.metrics.iter().find_map(|metric| metric.resource.as_deref()).unwrap_or("cpu");
    let observation = Observation {
        spec_replicas: vector.current_replicas,
        status_replicas: vector.status_replicas.unwrap_or(vector.current_replicas),
        pods: Pods::Listed(vector.pods.iter().map(|p| pod(p, resource)).collect()),
        distrust: None,
        readings: vector.metrics.iter().map(reading).collect(),
    };
    let memory = Memory {
        recommendations: vector.recommendations.as_deref().map(recommendations),
        scale_ups: events(&vector.scale_up_events),
        scale_downs: events(&vector.scale_down_events),
        conditions: vector.conditions.iter().map(condition).collect(),
        last_scale: None,
        ..Memory::default()
    };
    let decision = decide(&policy, &observation, &memory, NOW);
    let after = settle(&policy, &decision, NOW);
    let status = |status| if status { "True" } else { "False" };
    let conditions: Vec<Value> = after
        .conditions
        .iter()
        .map(|c| json!({"type": c.kind.as_str(), "status": status(c.status), "reason": c.reason}))
        .collect();
    let action = match decision.action() {
        Action::Hold => "none",
        Action::ScaleUp => "scale_up",
        Action::ScaleDown => "scale_down",
    };
    let utilization = decision.metrics.iter().find_map(|metric| metric.outcome.as_ref().ok()?.utilization);
    let log: Vec<i32> = after.recommendations.iter().flatten().map(|entry| entry.replicas).collect();
    Answer::from([
        ("replicas", json!(decision.desired_replicas)),
        ("scale_updated", json!(decision.is_to_be_written())),
        ("action", json!(action)),
        ("utilization", json!(utilization)),
        ("conditions", json!(conditions)),
        ("recommendations", json!(log)),
        ("recommendations_len", json!(log.len())),
        ("reason", json!(decision.limited.map(|limited| limited.reason.as_str()))),
        ("error", decision.failure.map_or(Value::Null, |failure| json!(failure.message))),
    ])
}

fn condition(condition: &form::Condition) -> Condition {
    Condition {
        kind: match condition.kind.as_str() {
            "AbleToScale" => ConditionType::AbleToScale,
            "ScalingActive" => ConditionType::ScalingActive,
            "ScalingLimited" => ConditionType::ScalingLimited,
            "ScaledToZero" => ConditionType::ScaledToZero,
            other => panic!("unknown condition {other}"),
        },
        status: condition.status == "True",
        reason: condition.reason.clone(),
        message: String::new(),
        last_transition: NOW,
    }
}
