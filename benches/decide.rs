//! How long a decision takes: `cargo bench --bench decide`.

use std::hint::black_box;

use jiff::{SignedDuration, Timestamp};
use scalekit::autoscaling::decision::{
    Bounds, Memory, Observation, Policy, Reading, decide,
    memory::Recommendation,
    observation::Pods,
    policy::{Behavior, Metric, OnAbsent, Source, Target},
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn main() {
    divan::main();
}

fn policy(metrics: usize, behavior: bool) -> Policy {
    let metric = |place: usize| {
        Metric::new(format!("m{place}"), Source::Prometheus, Target::AverageValue(10_000), OnAbsent::Hold)
    };
    Policy {
        behavior: behavior.then(Behavior::default),
        ..Policy::new(Bounds::new(1, 100), (0..metrics).map(metric).collect())
    }
}

fn observation(metrics: usize) -> Observation {
    Observation {
        spec_replicas: 3,
        status_replicas: 3,
        pods: Pods::Unknown("they were not listed".to_owned()),
        distrust: None,
        readings: (0..metrics).map(|_| Reading::Series(vec![45_000])).collect(),
    }
}

/// Five minutes of proposals, one each 15 s.
fn memory() -> Memory {
    let at = |place: i32| NOW - SignedDuration::from_secs(i64::from(20 - place) * 15);
    let log = (0..20).map(|place| Recommendation { replicas: 3 + place % 2, at: at(place) }).collect();
    Memory { recommendations: Some(log), ..Memory::default() }
}

#[divan::bench(args = [1, 3, 10])]
fn without_behavior(bencher: divan::Bencher, metrics: usize) {
    let (policy, observation, memory) = (policy(metrics, false), observation(metrics), memory());
    bencher.bench_local(|| decide(black_box(&policy), black_box(&observation), black_box(&memory), NOW));
}

#[divan::bench(args = [1, 3, 10])]
fn with_behavior(bencher: divan::Bencher, metrics: usize) {
    let (policy, observation, memory) = (policy(metrics, true), observation(metrics), memory());
    bencher.bench_local(|| decide(black_box(&policy), black_box(&observation), black_box(&memory), NOW));
}
