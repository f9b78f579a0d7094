//! A decision in words: what was read, what was made of it step by step, and what would change it.
//!
//! A decision is kept as a [`Run`]: numbers only, for as long as they stay the same, with what changes seldom in a
//! frame that many runs share. Those that are over are [`Packed`]: a day of one object's decisions takes 100 to 300 kB.

mod chain;
mod explanation;
mod fields;
mod outcome;
mod packed;
mod steps;

use std::sync::Arc;

use jiff::Timestamp;

use chain::Chain;
pub use explanation::{ExplainedMetric, Explanation};
use outcome::Trouble;
pub use packed::Packed;

use super::decision::{
    Decision, Mode, Path, Policy,
    policy::{Target, Tolerances},
    rate::LimitReason,
    replicas::Basis,
};

/// What the decisions know of a metric before it is read.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    name: String,
    target: Option<Target>,
    activation: i64,
    /// It has a value for each pod.
    per_pod: bool,
}

/// What many decisions have in common.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    metrics: Vec<Known>,
    tolerances: Tolerances,
    min: i32,
    max: i32,
    schedules: Vec<String>,
    mode: Mode,
}

/// One metric of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    /// In all; of a metric per pod the mean, or the per cent of the requests. In thousandths.
    value: i64,
    proposed: i32,
    basis: Option<Basis>,
    /// There was nothing to read, which counts as 0.
    absent: bool,
}

/// A decision that was made several times in a row, or that none could be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    frame: Arc<Frame>,
    points: Box<[Point]>,
    failure: Option<Arc<String>>,
    held: Option<Arc<String>>,
    trouble: Option<Arc<Trouble>>,
    chain: Option<Arc<Chain>>,
    from_s: u32,
    to_s: u32,
    current: i32,
    status: i32,
    desired: i32,
    /// The largest proposal, what was left of it after the windows, and after rates and bounds.
    proposed: i32,
    stabilized: i32,
    limited: i32,
    cooling_down_s: u32,
    path: Path,
    limit: LimitReason,
}

impl Run {
    /// A decision that was made once; it shares what it can with the one before.
    pub fn of(decision: &Decision, policy: &Policy, before: Option<&Self>) -> Self {
        let frame = Frame {
            metrics: policy
                .metrics
                .iter()
                .map(|metric| Known {
                    name: metric.name.clone(),
                    target: metric.target,
                    activation: metric.activation,
                    per_pod: metric.source.is_per_pod(),
                })
                .collect(),
            tolerances: policy.tolerances(),
            min: decision.bounds.min(),
            max: decision.bounds.max(),
            schedules: decision.schedules.clone(),
            mode: decision.mode,
        };
        let share = |text: Option<String>, before: Option<&Arc<String>>| match (text, before) {
            (Some(text), Some(before)) if **before == text => Some(before.clone()),
            (text, _) => text.map(Arc::new),
        };
        let failure = decision.failure.as_ref().map(|failure| failure.message.clone());
        let points = decision.metrics.iter().map(|metric| match &metric.outcome {
            Ok(proposal) => Point {
                value: match proposal.utilization {
                    Some(percent) => i64::from(percent) * 1000,
                    None if metric.source.is_per_pod() => proposal.usage,
                    None => proposal.total,
                },
                proposed: proposal.replicas,
                basis: Some(proposal.basis),
                absent: metric.absent_as_zero,
            },
            Err(_) => Point { value: 0, proposed: 0, basis: None, absent: false },
        });
        let seconds = u32::try_from(decision.at.as_second()).unwrap_or(0);
        let stabilized = decision.stabilized;
        Self {
            frame: before
                .map(|before| &before.frame)
                .filter(|known| ***known == frame)
                .cloned()
                .unwrap_or_else(|| Arc::new(frame)),
            points: points.collect(),
            failure: share(failure, before.and_then(|before| before.failure.as_ref())),
            held: share(
                decision.held.as_ref().map(|held| held.message.clone()),
                before.and_then(|before| before.held.as_ref()),
            ),
            trouble: decision.yields_to.clone().map(|who| outcome::shared(Trouble::Yields(who), before)),
            chain: Chain::of(decision).map(|chain| chain.shared(before)),
            from_s: seconds,
            to_s: seconds,
            current: decision.current_replicas,
            status: decision.status_replicas,
            desired: decision.desired_replicas,
            proposed: stabilized.map_or(decision.current_replicas, |stabilized| stabilized.proposed),
            stabilized: stabilized.map_or(decision.current_replicas, |stabilized| stabilized.replicas),
            limited: decision.limited.map_or(decision.desired_replicas, |limited| limited.replicas),
            cooling_down_s: decision.cooling_down.and_then(|left| u32::try_from(left.as_secs()).ok()).unwrap_or(0),
            path: decision.path,
            limit: decision.limited.map_or(LimitReason::DesiredWithinRange, |limited| limited.reason),
        }
    }

    /// Takes in the next decision, if it is the same one again.
    pub fn goes_on_with(&mut self, next: &Self) -> bool {
        // The time that is left of a cooldown changes by itself.
        let same = Self { from_s: self.from_s, to_s: self.to_s, cooling_down_s: self.cooling_down_s, ..next.clone() };
        if *self != same {
            return false;
        }
        (self.to_s, self.cooling_down_s) = (next.to_s, next.cooling_down_s);
        true
    }

    /// Whether it held at this time, or was the last before it.
    pub fn began_by(&self, second: i64) -> bool {
        i64::from(self.from_s) <= second
    }

    /// The decision in words.
    pub fn explain(&self) -> Explanation {
        let at = |seconds: u32| Timestamp::from_second(seconds.into()).unwrap_or_default();
        Explanation {
            from: at(self.from_s),
            to: at(self.to_s),
            current_replicas: self.current,
            desired_replicas: self.desired,
            min_replicas: self.frame.min,
            max_replicas: self.frame.max,
            metrics: self.metrics(),
            steps: self.steps(),
            chain: self.fields(),
            would_change: if self.is_blocked() { Vec::new() } else { self.would_change() },
            problem: self.trouble.as_ref().and_then(|trouble| trouble.problem()).map(str::to_owned),
            recomputed: false,
            assumed: Vec::new(),
        }
    }

    fn metrics(&self) -> Vec<ExplainedMetric> {
        let of = |(point, known): (&Point, &Known)| {
            let read = point.basis.is_some_and(|basis| basis != Basis::Fallback);
            ExplainedMetric {
                name: known.name.clone(),
                value: read.then(|| value(*point, known)),
                target: known.target.map(|target| match target {
                    Target::Utilization(percent) => format!("{percent}%"),
                    Target::AverageValue(milli) => format!("{} per replica", decimal(milli)),
                    Target::Value(milli) => decimal(milli),
                }),
                proposed_replicas: point.basis.map(|_| point.proposed),
            }
        };
        self.points.iter().zip(&self.frame.metrics).map(of).collect()
    }

    /// What each metric would have to be for another proposal, as far as it alone decides, once what was decided is
    /// there.
    fn would_change(&self) -> Vec<String> {
        let mut changes = Vec::new();
        if !matches!(self.path, Path::Metrics | Path::NoData) {
            return changes;
        }
        let Frame { metrics, tolerances, min, max, .. } = &*self.frame;
        for (point, known) in self.points.iter().zip(metrics) {
            let Known { name, target, activation, per_pod } = known;
            match target {
                Some(Target::Utilization(percent)) if point.basis.is_some() => {
                    let bound = scale(i64::from(*percent) * 1000, 1.0 + tolerances.up);
                    changes.push(format!("needs {name} above {} % of the requests to grow", decimal(bound)));
                }
                Some(Target::AverageValue(each)) if *per_pod => {
                    let bound = scale(*each, 1.0 + tolerances.up);
                    changes.push(format!("needs {name} above {} in the mean of the pods to grow", decimal(bound)));
                }
                Some(Target::AverageValue(each)) => {
                    let of = |count: i32, share: f64| scale(*each, f64::from(count) * share);
                    if self.desired < *max {
                        // Above both: what the replicas take, and what the tolerance bears.
                        let mut bound = of(self.desired, 1.0).max(of(self.desired, 1.0 + tolerances.up));
                        if self.current == 0 {
                            bound = bound.max(*activation);
                        }
                        let reached =
                            proposal(bound.saturating_add(1), *each).clamp(self.desired.saturating_add(1), *max);
                        // What is there already is not what it needs.
                        if point.basis.is_none() || point.value <= bound {
                            changes.push(format!("needs {} {name} to reach {reached}", above(bound, *each)));
                        }
                    }
                    if self.desired > *min && self.points.len() == 1 && self.desired > 0 {
                        let bound = of(self.desired - 1, 1.0).min(of(self.desired, 1.0 - tolerances.down));
                        let reached = proposal(bound, *each).clamp(*min, self.desired - 1);
                        if point.basis.is_none() || point.value > bound {
                            changes.push(format!("needs {} {name} or fewer to fall to {reached}", decimal(bound)));
                        }
                    }
                }
                Some(Target::Value(value)) if point.basis.is_some() => {
                    let bound = scale(*value, 1.0 + tolerances.up);
                    changes.push(format!("needs {name} above {} to grow", decimal(bound)));
                }
                _ => {}
            }
        }
        if self.stabilized > self.proposed {
            changes.push("falls when the higher proposals have left the stabilization window".to_owned());
        }
        if self.stabilized < self.proposed {
            changes.push("grows when the lower proposals have left the stabilization window".to_owned());
        }
        if self.limited != self.stabilized {
            match self.limit {
                LimitReason::ScaleUpLimit | LimitReason::ScaleDownLimit => {
                    changes.push(format!("goes on to {} as the rate allows it", self.stabilized.clamp(*min, *max)));
                }
                LimitReason::TooManyReplicas => {
                    changes.push(format!("maxReplicas of {} or more would let it grow", self.stabilized));
                }
                LimitReason::TooFewReplicas | LimitReason::DesiredWithinRange => {}
            }
        }
        if self.cooling_down_s > 0 {
            changes.push("falls to 0 when the cooldown is over".to_owned());
        }
        changes
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "`as` saturates, and words need no more"
)]
fn scale(milli: i64, by: f64) -> i64 {
    (milli as f64 * by).floor() as i64
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as in the formula")]
fn proposal(total: i64, each: i64) -> i32 {
    (total as f64 / each as f64).ceil() as i32
}

/// What a metric was, in words.
fn value(point: Point, known: &Known) -> String {
    let value = decimal(point.value);
    if matches!(known.target, Some(Target::Utilization(_))) { format!("{value} % of the requests") } else { value }
}

/// The least number above a bound, where the target is a whole number of things, else the bound.
fn above(bound: i64, each: i64) -> String {
    if each % 1000 == 0 { decimal((bound / 1000 + 1) * 1000) } else { format!("more than {}", decimal(bound)) }
}

/// Thousandths as a decimal number, without trailing zeros.
pub fn decimal(milli: i64) -> String {
    let sign = if milli < 0 { "-" } else { "" };
    let (whole, fraction) = (milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{fraction:03}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests;
