//! What a day of decisions takes of the memory of a process that remembers them: `cargo bench --bench history`, or
//! `cargo bench --bench history -- COUNT HOURS`.
//!
//! So many workloads (a hundred) whose load goes up and down over the day and never stands still, decided on every 15 s as the
//! controller does it, one after the other: each by two metrics, with the count and the memory that the decision before
//! left. It takes an hour more than a day, so that the oldest decisions are forgotten meanwhile.

#![expect(clippy::print_stdout, reason = "what was measured is told")]

use std::f64::consts::TAU;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use scalekit::autoscaling::{
    controller::{Held, History, Key},
    decision::{
        Bounds, Memory, Observation, Policy, Reading, decide,
        observation::Pods,
        policy::{Metric, OnAbsent, Source, Target},
        settle,
    },
};

const START: Timestamp = Timestamp::constant(1_800_000_000, 0);
const LOOK_S: u32 = 15;
const DAY_S: u32 = 24 * 3600;

struct Workload {
    key: Key,
    memory: Memory,
    /// How many replicas are ordered, and how many there were at the look before.
    ordered: i32,
    there: i32,
    /// Tasks at noon, and when that is, in parts of a day.
    most_tasks: f64,
    noon: f64,
}

impl Workload {
    fn new(place: u32, chance: &mut Rng) -> Self {
        Self {
            key: Key::new("demo", &format!("w-{place}")),
            memory: Memory::default(),
            ordered: 1,
            there: 1,
            most_tasks: 20.0 + 130.0 * chance.f64(),
            noon: chance.f64(),
        }
    }

    /// Tasks, of which there are whole ones, and the requests a second that come of them, each with a tenth of chance.
    fn load(&self, second: u32, chance: &mut Rng) -> [i64; 2] {
        let time = f64::from(second) / f64::from(DAY_S) - self.noon;
        let tasks = self.most_tasks * (0.55 + 0.45 * (TAU * time).cos());
        let mut about = |number: f64| number * (0.95 + 0.1 * chance.f64());
        [whole(about(tasks)) * 1000, whole(about(tasks * 9.0) * 1000.0)]
    }

    fn look(&mut self, policy: &Policy, history: &History, second: u32, chance: &mut Rng) {
        let now = START + SignedDuration::from_secs(second.into());
        let observation = Observation {
            spec_replicas: self.ordered,
            status_replicas: self.there,
            pods: Pods::Unknown(String::new()),
            readings: self.load(second, chance).map(|value| Reading::Series(vec![value])).to_vec(),
            distrust: None,
        };
        let decision = decide(policy, &observation, &self.memory, now);
        history.decided(&self.key, &decision, policy, None);
        self.there = self.ordered;
        self.ordered = decision.desired_replicas;
        self.memory = settle(policy, &decision, now);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a load is a small number")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// For how many hours back every workload's decision is known.
fn hours_held(history: &History, workloads: &[Workload], last: u32) -> f64 {
    let known = |second: u32| {
        let at = Some(START + SignedDuration::from_secs(second.into()));
        workloads.iter().all(|workload| history.explain(&workload.key, at).is_some())
    };
    let first = (0..=last).step_by(60).find(|second| known(*second)).expect("the last decision of each is known");
    f64::from(last - first) / 3600.0
}

/// A line of the kernel's account of this process, in MiB.
fn of_this_process(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line of that name");
    let kibibytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
    kibibytes.expect("a number of kB") / 1024.0
}

fn main() {
    // What cargo adds of its own is no number.
    let numbers: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (objects, hours) = match numbers[..] {
        [] => (100, 25),
        [objects, hours] => (objects, hours),
        _ => panic!("COUNT and HOURS, or neither"),
    };
    let looks = hours * 3600 / LOOK_S;
    let metric =
        |name, of_a_replica| Metric::new(name, Source::Prometheus, Target::AverageValue(of_a_replica), OnAbsent::Hold);
    let policy = Policy::new(Bounds::new(1, 20), vec![metric("active-tasks", 10_000), metric("requests", 100_000)]);
    // The same at every run.
    let mut chance = Rng::with_seed(1);
    let mut workloads: Vec<Workload> = (0..objects).map(|place| Workload::new(place, &mut chance)).collect();
    let history = History::default();
    let before = ["VmRSS", "RssAnon"].map(of_this_process);
    let mut changes = 0;
    for look in 0..looks {
        for workload in &mut workloads {
            let ordered = workload.ordered;
            workload.look(&policy, &history, look * LOOK_S, &mut chance);
            changes += u32::from(workload.ordered != ordered);
        }
    }
    let after = ["VmRSS", "RssAnon"].map(of_this_process);
    let Held { decisions, bytes } = history.held();
    println!("Autoscalers                            {objects}");
    println!("decided in all                         {}", looks * objects);
    println!("  of which changed the count           {changes}");
    println!("decisions held                         {decisions}");
    println!("hours held, of whom it is the fewest   {:.1}", hours_held(&history, &workloads, (looks - 1) * LOOK_S));
    println!("by its own account, MiB                {:.1}", mebibytes(bytes));
    println!("VmRSS before and after, MiB            {:.1} {:.1}", before[0], after[0]);
    println!("  of which anonymous, MiB              {:.1} {:.1}", before[1], after[1]);
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
