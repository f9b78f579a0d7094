//! The chain of a decision in fields, for programs: the numbers of [`Run::steps`].

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Basis, Frame, Known, Mode, Path, Point, Run, Target, Trouble, decimal, steps::thousandths};
use crate::autoscaling::decision::{rate::Rate, replicas::per_replica};

impl Run {
    /// Step by step, without what a step does not have; `None` where nothing was decided. Documented in `docs/explain.md`.
    pub(super) fn fields(&self) -> Option<Value> {
        if self.is_blocked() {
            return None;
        }
        let Frame { metrics, tolerances, min, max, schedules, mode } = &*self.frame;
        let metrics = self.points.iter().zip(metrics).enumerate();
        let by_metrics = self.path == Path::Metrics;
        let yields_to = match self.trouble.as_deref() {
            Some(Trouble::Yields(who)) => Some(who),
            _ => None,
        };
        let mut fields = json!({
            "path": self.path,
            "statusReplicas": self.status,
            "schedules": schedules,
            "bounds": {"min": min, "max": max},
            "tolerances": tolerances,
            "metrics": metrics.map(|(place, (point, known))| self.metric_fields(place, *point, known)).collect::<Vec<_>>(),
            "failure": self.failure.as_deref(),
            "largest": by_metrics.then(|| json!({"replicas": self.proposed, "metric": self.largest()})),
            "stabilization": by_metrics.then(|| json!({"replicas": self.stabilized, "window": self.window_fields()})),
            "limit": by_metrics.then(|| {
                json!({"replicas": self.limited, "reason": self.limit, "rate": self.rate().map(rate_fields)})
            }),
            "held": self.held.as_deref(),
            "cooldownSeconds": Some(self.cooling_down_s).filter(|left| *left > 0),
            "yieldsTo": yields_to,
            "written": *mode == Mode::Auto && self.trouble.is_none() && self.desired != self.current,
        });
        forget_nulls(&mut fields);
        Some(fields)
    }

    fn metric_fields(&self, place: usize, point: Point, known: &Known) -> Value {
        // Where the fallback stands in, nothing was read.
        let read = point.basis.is_some_and(|basis| basis != Basis::Fallback);
        let usage = match known.target {
            Some(Target::AverageValue(_)) if !known.per_pod => {
                Some(per_replica(point.value, self.status)).filter(|_| self.status > 0)
            }
            _ => Some(point.value),
        };
        let target = known.target.map(|target| match target {
            Target::Utilization(percent) => json!({"type": "Utilization", "value": percent.to_string()}),
            Target::AverageValue(milli) => json!({"type": "AverageValue", "value": decimal(milli)}),
            Target::Value(milli) => json!({"type": "Value", "value": decimal(milli)}),
        });
        let ratio = known.target.and_then(|target| self.quotient(point, known, target));
        let (pods, filled) = self.counted(place).map_or((None, None), |(pods, filled)| (Some(pods), filled));
        json!({
            "name": known.name,
            "value": (read && !known.per_pod).then(|| decimal(point.value)),
            "usage": usage.filter(|_| read).map(decimal),
            "target": target,
            "ratio": ratio.filter(|_| read).map(thousandths),
            "filledRatio": filled.map(thousandths),
            "pods": pods,
            "absentAsZero": point.absent,
            "basis": point.basis,
            "proposedReplicas": point.basis.map(|_| point.proposed),
        })
    }

    /// The earlier proposal that holds the count.
    fn window_fields(&self) -> Option<Value> {
        let window = self.chain.as_ref()?.window?;
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        Some(json!({
            "replicas": window.replicas,
            "at": at(window.at_s),
            "seconds": window.seconds,
            "until": at(window.at_s.saturating_add(window.seconds)),
        }))
    }
}

fn rate_fields(rate: Rate) -> Value {
    match rate {
        Rate::Double => json!({"type": "Double"}),
        Rate::Disabled => json!({"type": "Disabled"}),
        Rate::Policy { policy, used } => json!({
            "type": policy.kind, "value": policy.value, "periodSeconds": policy.period_s, "usedReplicas": used,
        }),
    }
}

/// What is not there has no field.
fn forget_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(forget_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_nulls),
        _ => {}
    }
}
