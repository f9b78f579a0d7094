//! How a decision came about, in order.

use jiff::{SignedDuration, Timestamp};

use super::{
    Basis, Frame, Known, LimitReason, Mode, Path, Point, Run, Target, Trouble, chain::Counted, decimal, value,
};
use crate::autoscaling::decision::{
    policy::{PolicyKind, ScalingPolicy},
    rate::Rate,
    replicas::PodCounts,
};

impl Run {
    pub(super) fn steps(&self) -> Vec<String> {
        if let Some(Trouble::Blocked(why)) = self.trouble.as_deref() {
            return vec![format!("nothing was decided: {why}")];
        }
        let Frame { min, max, schedules, mode, .. } = &*self.frame;
        let mut steps = vec![format!("ordered: {}, there: {}", self.current, self.status)];
        if !schedules.is_empty() {
            steps.push(format!("schedule {} holds: the bounds are {min} and {max}", schedules.join(", ")));
        }
        match self.path {
            Path::Paused => steps.push("the autoscaler is paused".to_owned()),
            Path::Disabled => steps.push("0 replicas with minReplicas above 0 mean off: nothing is decided".to_owned()),
            Path::AboveMaximum => steps.push(format!("that is more than maxReplicas {max}: down to it at once")),
            Path::BelowMinimum => steps.push(format!("that is less than minReplicas {min}: up to it at once")),
            Path::NoData | Path::Metrics => self.metric_steps(&mut steps),
        }
        steps.push(match (self.desired.cmp(&self.current), mode, self.trouble.as_deref()) {
            (std::cmp::Ordering::Equal, ..) => format!("it stays at {}", self.desired),
            (_, Mode::Recommend, _) => format!("{} would be right; mode Recommend writes nothing", self.desired),
            (_, _, Some(Trouble::Yields(who))) => {
                format!("{} would be right; {who} set the count and is left alone for a while", self.desired)
            }
            (_, _, Some(trouble)) => {
                format!("{} would be right, but it could not be ordered: {}", self.desired, trouble.message())
            }
            _ => format!("{} instead of {} is ordered", self.desired, self.current),
        });
        steps
    }

    fn metric_steps(&self, steps: &mut Vec<String>) {
        for (place, (point, known)) in self.points.iter().zip(&self.frame.metrics).enumerate() {
            steps.push(self.metric_step(place, *point, known));
        }
        let why = self.failure.as_deref().map_or("", String::as_str);
        if self.path == Path::NoData {
            steps.push(format!("without it the count does not fall, and nothing calls for more: {why}"));
            return;
        }
        if self.points.iter().any(|point| point.basis.is_none()) {
            steps.push(format!("without it the count could only grow: {why}"));
        }
        if self.points.len() > 1 {
            let of = self.largest().map_or_else(String::new, |name| format!(", of {name}"));
            steps.push(format!("the largest proposal is {}{of}", self.proposed));
        }
        if self.stabilized != self.proposed {
            steps.push(self.window_step());
        }
        if self.limited != self.stabilized {
            steps.push(self.limit_step());
        }
        if let Some(why) = &self.held {
            steps.push(format!("held back: {why}"));
        }
        if self.cooling_down_s > 0 {
            steps.push(format!("the last one stays for another {} s without load (cooldown)", self.cooling_down_s));
        }
    }

    /// The metric whose proposal is the largest.
    pub(super) fn largest(&self) -> Option<&str> {
        let mut metrics = self.points.iter().zip(&self.frame.metrics);
        let by = metrics.find(|(point, _)| point.basis.is_some() && point.proposed.max(0) == self.proposed);
        by.map(|(_, known)| known.name.as_str())
    }

    /// The rate that decided.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.chain.as_ref().and_then(|chain| chain.rate)
    }

    /// The pods that the metric at this place counted.
    pub(super) fn counted(&self, place: usize) -> Option<Counted> {
        self.chain.as_ref().and_then(|chain| chain.pods.get(place).copied().flatten())
    }

    fn window_step(&self) -> String {
        let which = if self.stabilized > self.proposed { "higher" } else { "lower" };
        let held = format!("a {which} proposal within the stabilization window holds it at {}", self.stabilized);
        match self.chain.as_ref().and_then(|chain| chain.window) {
            Some(window) => {
                let at = |second| Timestamp::from_second(second).unwrap_or_default();
                let ends = at(window.at_s.saturating_add(window.seconds));
                let length = SignedDuration::from_secs(window.seconds);
                format!("{held}: {} at {}, which counts for {length:#}, until {ends}", window.replicas, at(window.at_s))
            }
            None => held,
        }
    }

    fn limit_step(&self) -> String {
        let rate = self.rate().map_or_else(String::new, rate);
        let limited = self.limited;
        match self.limit {
            LimitReason::ScaleUpLimit => format!("the rate upwards{rate} allows no more than {limited}"),
            LimitReason::ScaleDownLimit => format!("the rate downwards{rate} allows no fewer than {limited}"),
            LimitReason::TooManyReplicas => format!("maxReplicas is {limited}"),
            LimitReason::TooFewReplicas => format!("minReplicas is {limited}"),
            LimitReason::DesiredWithinRange => format!("within the bounds it is {limited}"),
        }
    }

    fn metric_step(&self, place: usize, point: Point, known: &Known) -> String {
        let (name, value) = (&known.name, value(point, known));
        let calls_for = format!("calls for {}", point.proposed);
        let mean = if known.per_pod && !matches!(known.target, Some(Target::Utilization(_))) {
            " in the mean of the pods"
        } else {
            ""
        };
        let is = if point.absent { "gives no series, which counts as" } else { "is" };
        let pods = self.counted(place);
        match (point.basis, known.target) {
            (None, _) => format!("{name} could not be read"),
            (Some(Basis::Fallback), _) => format!("{name} could not be read for long: the fallback {calls_for}"),
            (Some(Basis::NotActivated), _) => {
                format!("{name} {is} {value}, not above its activation {}: {calls_for}", decimal(known.activation))
            }
            (Some(Basis::WithinTolerance), Some(target)) => {
                let ratio = self.ratio(point, known, target, pods);
                let target = self.target(target, known.per_pod);
                format!("{name} {is} {value}{mean}, close enough to its target {target}{ratio}: {calls_for}")
            }
            (Some(Basis::DirectionWouldTurn), Some(target)) => {
                let ratio = self.ratio(point, known, target, pods);
                let target = self.target(target, known.per_pod);
                format!(
                    "{name} {is} {value}{mean}, its target {target}{ratio}: the pods that are not known might turn the \
                     direction, so it {calls_for}"
                )
            }
            (Some(Basis::Ratio), Some(Target::AverageValue(each))) if !known.per_pod => {
                let each = decimal(each);
                format!("{name} {is} {value}, a replica takes {each}: {value} / {each} rounded up {calls_for}")
            }
            (Some(_), Some(target)) => {
                let ratio = self.ratio(point, known, target, pods);
                format!(
                    "{name} {is} {value}{mean}, its target {}{ratio}: {calls_for}",
                    self.target(target, known.per_pod)
                )
            }
            (Some(_), None) => format!("{name} {is} {value}: {calls_for}"),
        }
    }

    /// The value by its target, how that was borne, and the pods behind it.
    fn ratio(&self, point: Point, known: &Known, target: Target, pods: Option<Counted>) -> String {
        let Some(ratio) = self.quotient(point, known, target) else { return String::new() };
        let mut parts = vec![format!("ratio {}", thousandths(ratio))];
        if point.basis == Some(Basis::WithinTolerance) {
            let bears = if ratio > 1.0 { self.frame.tolerances.up } else { self.frame.tolerances.down };
            parts.push(format!("tolerance {}", thousandths(bears)));
        }
        if let Some((counts, filled)) = pods {
            let PodCounts { ready, unready, missing, ignored } = counts;
            let of = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
            let counted = [
                Some(format!("{ready} ready")),
                of(missing, "without a sample"),
                of(unready, "not ready yet"),
                of(ignored, "that end or failed"),
            ];
            parts.push(format!("pods: {}", counted.into_iter().flatten().collect::<Vec<_>>().join(", ")));
            if let Some(filled) = filled {
                parts.push(format!("with what those are taken for the ratio is {}", thousandths(filled)));
            }
        }
        format!(" ({})", parts.join("; "))
    }

    /// The value by its target; `None` where that is nothing to divide by.
    #[expect(clippy::cast_precision_loss, reason = "words need no more")]
    pub(super) fn quotient(&self, point: Point, known: &Known, target: Target) -> Option<f64> {
        let target = match target {
            Target::Utilization(percent) => i64::from(percent) * 1000,
            Target::AverageValue(each) if !known.per_pod => each.saturating_mul(self.status.into()),
            Target::AverageValue(milli) | Target::Value(milli) => milli,
        };
        (target > 0).then(|| point.value as f64 / target as f64)
    }

    fn target(&self, target: Target, per_pod: bool) -> String {
        match target {
            Target::Utilization(percent) => format!("{percent} %"),
            Target::AverageValue(milli) if per_pod => decimal(milli),
            Target::AverageValue(milli) => format!("{} for each of {}", decimal(milli), self.status),
            Target::Value(milli) => decimal(milli),
        }
    }
}

/// Which rate, and what of it is used.
fn rate(rate: Rate) -> String {
    match rate {
        Rate::Double => " (twice the count, at least 4)".to_owned(),
        Rate::Disabled => " (selectPolicy Disabled)".to_owned(),
        Rate::Policy { policy: ScalingPolicy { kind, value, period_s }, used } => {
            let unit = match kind {
                PolicyKind::Pods if value == 1 => "pod",
                PolicyKind::Pods => "pods",
                PolicyKind::Percent => "%",
            };
            format!(" ({value} {unit} in {period_s} s; {used} replicas of it used)")
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and words need no more")]
pub(super) fn thousandths(number: f64) -> String {
    decimal((number * 1000.0).round() as i64)
}
