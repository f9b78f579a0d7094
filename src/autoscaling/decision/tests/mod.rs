//! The rules that no vector pins, the plain formula, and the laws that hold for every input.

mod caution;
mod draws;
mod laws;
mod plain_formula;
mod rules;
mod stories;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    observation::{Container, Observation, Phase, Pod, Pods, Reading, ReadyCondition, Sample},
    policy::{Behavior, Bounds, Metric, OnAbsent, Policy, Rules, Source, Target},
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn ago(age: i64) -> Timestamp {
    NOW - seconds(age)
}

fn metric(source: Source, target: Target) -> Metric {
    Metric::new("active-tasks", source, target, OnAbsent::Hold)
}

/// Ten tasks for each replica.
fn ten_tasks() -> Metric {
    metric(Source::Prometheus, Target::AverageValue(10_000))
}

/// The plain formula: no tolerance either way, no scale-down window.
fn plain(min: i32, max: i32) -> Policy {
    let up = Rules { tolerance: Some(0.0), ..Rules::default() };
    let down = Rules { tolerance: Some(0.0), stabilization_window_s: Some(0), ..Rules::default() };
    Policy {
        behavior: Some(Behavior { scale_up: up, scale_down: down }),
        ..Policy::new(Bounds::new(min, max), vec![ten_tasks()])
    }
}

fn seen(replicas: i32, readings: Vec<Reading>) -> Observation {
    let pods = (0..replicas.clamp(0, 50)).map(|place| ready_pod(&format!("pod-{place}"))).collect();
    Observation {
        spec_replicas: replicas,
        status_replicas: replicas,
        pods: Pods::Listed(pods),
        readings,
        distrust: None,
    }
}

fn tasks(count: i64) -> Reading {
    Reading::Series(vec![count * 1000])
}

/// A pod that has been serving for an hour and requests 1000 milli-units of CPU and of memory.
fn ready_pod(name: &str) -> Pod {
    let requests = BTreeMap::from([("cpu".to_owned(), 1000), ("memory".to_owned(), 1000)]);
    Pod {
        name: name.to_owned(),
        phase: Phase::Running,
        ready: Some(ReadyCondition { status: Some(true), since: ago(3600) }),
        started: Some(ago(3600)),
        created: None,
        deleting: false,
        requests: BTreeMap::new(),
        containers: vec![Container { name: "main".to_owned(), requests }],
    }
}

fn unready_pod(name: &str) -> Pod {
    Pod { ready: Some(ReadyCondition { status: Some(false), since: ago(3600) }), ..ready_pod(name) }
}

fn samples(values: &[(&str, i64)]) -> Reading {
    let sample = |value| Sample { value, at: NOW, window: seconds(60) };
    Reading::PerPod(values.iter().map(|(pod, value)| ((*pod).to_owned(), sample(*value))).collect())
}
