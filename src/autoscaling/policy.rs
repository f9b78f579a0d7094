//! From what users write to what is decided on.

mod metric;

use jiff::{SignedDuration, tz::TimeZone};
use std::time::Duration;

use super::{
    api::{
        AutoscalerSpec, ModeSpec, PolicyType, PrometheusMetric, QuantityText, ScalingRulesSpec, ScheduleSpec,
        SelectPolicySpec,
    },
    decision::{
        caution::PendingPods,
        cron::Cron,
        policy::{Behavior, Bounds, Fallback, Mode, Policy, PolicyKind, Rules, ScalingPolicy, SelectPolicy},
        schedule::Schedule,
    },
};

/// The field that cannot be decided on, and what to write instead. The API server refuses most of
/// these before; one that was stored under an older definition is met here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidSpec {
    /// The field, as a path.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidSpec {
    InvalidSpec { field: field.into(), problem: problem.into() }
}

impl TryFrom<&AutoscalerSpec> for Policy {
    type Error = InvalidSpec;

    fn try_from(spec: &AutoscalerSpec) -> Result<Self, InvalidSpec> {
        if spec.max_replicas < spec.min_replicas {
            return Err(invalid(
                "spec.maxReplicas",
                "it is less than minReplicas; raise it, or lower spec.minReplicas",
            ));
        }
        if spec.metrics.is_empty() {
            return Err(invalid("spec.metrics", "it is empty, so there is nothing to scale by; name a metric"));
        }
        let metrics = metric::metrics_of(&spec.metrics)?;
        let rules = |rules: Option<&ScalingRulesSpec>, direction: &str| {
            rules.map_or_else(|| Ok(Rules::default()), |rules| rules_of(rules, &format!("spec.behavior.{direction}")))
        };
        let behavior = spec.behavior.as_ref().map(|behavior| {
            Ok(Behavior {
                scale_up: rules(behavior.scale_up.as_ref(), "scaleUp")?,
                scale_down: rules(behavior.scale_down.as_ref(), "scaleDown")?,
            })
        });
        let policy = Self {
            mode: match spec.mode {
                ModeSpec::Auto => Mode::Auto,
                ModeSpec::Recommend => Mode::Recommend,
                ModeSpec::Paused => Mode::Paused,
            },
            behavior: behavior.transpose()?,
            cooldown: spec.cooldown.as_deref().map(|text| signed("spec.cooldown", text, COOLDOWNS)).transpose()?,
            fallback: spec
                .fallback
                .as_ref()
                .map(|fallback| {
                    Ok(Fallback {
                        after: signed("spec.fallback.after", &fallback.after, FALLBACKS)?,
                        replicas: fallback.replicas.max(0),
                        below_current: fallback.allow_scale_down,
                    })
                })
                .transpose()?,
            pending_pods: spec
                .pending_pods
                .as_ref()
                .map(|pending| {
                    Ok(PendingPods {
                        count: usize::try_from(pending.count.max(1)).unwrap_or(usize::MAX),
                        longer_than: signed("spec.pendingPods.longerThan", &pending.longer_than, FALLBACKS)?,
                    })
                })
                .transpose()?,
            schedules: spec
                .schedules
                .iter()
                .enumerate()
                .map(|(place, schedule)| schedule_of(place, schedule, spec))
                .collect::<Result<_, _>>()?,
            ..Self::new(Bounds::new(spec.min_replicas, spec.max_replicas), metrics)
        };
        match sleeps_without_waking(&policy) {
            Some(field) => Err(invalid(
                field,
                "no metric has a value when there is no pod, so nothing would wake the target; add one of type Prometheus, \
                 Object or External to spec.metrics, or write 1",
            )),
            None => Ok(policy),
        }
    }
}

/// The field that lets the target sleep, where no metric can wake it.
fn sleeps_without_waking(policy: &Policy) -> Option<String> {
    if policy.has_metric_without_pods() {
        return None;
    }
    if policy.bounds.min() == 0 {
        return Some("spec.minReplicas".to_owned());
    }
    let place = policy.schedules.iter().position(|schedule| schedule.min == Some(0))?;
    Some(format!("spec.schedules[{place}].minReplicas"))
}

/// The least and the greatest duration of a field.
type Range = (Duration, Duration);
const INTERVALS: Range = (Duration::from_secs(1), Duration::from_mins(5));
const COOLDOWNS: Range = (Duration::ZERO, Duration::from_hours(168));
const FALLBACKS: Range = (Duration::from_secs(1), Duration::from_hours(24));
const AGES: Range = (Duration::from_secs(1), Duration::from_hours(1));

/// How often to decide.
///
/// # Errors
///
/// When it is no duration, or not between 1 second and 5 minutes.
pub fn interval(spec: &AutoscalerSpec) -> Result<Duration, InvalidSpec> {
    duration("spec.interval", &spec.interval, INTERVALS)
}

/// How old the samples of a metric may be, where it says so.
///
/// # Errors
///
/// When it is no duration, or not between 1 second and 1 hour.
pub fn max_age(place: usize, metric: &PrometheusMetric) -> Result<Option<Duration>, InvalidSpec> {
    let field = || format!("spec.metrics[{place}].prometheus.maxAge");
    metric.max_age.as_deref().map(|text| duration(&field(), text, AGES)).transpose()
}

fn signed(field: &str, text: &str, range: Range) -> Result<SignedDuration, InvalidSpec> {
    Ok(SignedDuration::try_from(duration(field, text, range)?).unwrap_or(SignedDuration::MAX))
}

fn duration(field: &str, text: &str, (least, most): Range) -> Result<Duration, InvalidSpec> {
    let problem = || {
        let of = |duration: Duration| {
            format!("{:#}", SignedDuration::try_from(duration).unwrap_or_default()).replace(' ', "")
        };
        invalid(field, format!("it must be a duration between {} and {}, such as 15s or 2m", of(least), of(most)))
    };
    // Longer texts cannot be in range, and could overflow the parser.
    let parsed: kube::core::Duration =
        Some(text).filter(|text| text.len() <= 16).ok_or_else(problem)?.parse().map_err(|_| problem())?;
    let duration = Duration::from(parsed);
    let in_range = !parsed.is_negative() && (least..=most).contains(&duration);
    in_range.then_some(duration).ok_or_else(problem)
}

fn schedule_of(place: usize, schedule: &ScheduleSpec, spec: &AutoscalerSpec) -> Result<Schedule, InvalidSpec> {
    let field = |name: &str| format!("spec.schedules[{place}].{name}");
    let min = schedule.min_replicas.unwrap_or(spec.min_replicas);
    let max = schedule.max_replicas.unwrap_or(spec.max_replicas);
    if min > max {
        let (name, problem) = if schedule.min_replicas.is_some() {
            (
                "minReplicas",
                format!("{min} is more than the maxReplicas that holds meanwhile, {max}; set maxReplicas too"),
            )
        } else {
            (
                "maxReplicas",
                format!("{max} is less than the minReplicas that holds meanwhile, {min}; set minReplicas too"),
            )
        };
        return Err(invalid(field(name), problem));
    }
    let cron = |name: &str, text: &str| {
        text.parse::<Cron>().map_err(|error| invalid(field(name), format!("`{text}`: {error}")))
    };
    let zone = TimeZone::get(&schedule.time_zone).map_err(|_| {
        let problem = format!("there is no time zone `{}`; write one such as Europe/Berlin or UTC", schedule.time_zone);
        invalid(field("timeZone"), problem)
    })?;
    Ok(Schedule {
        name: schedule.name.clone(),
        zone,
        start: cron("start", &schedule.start)?,
        end: cron("end", &schedule.end)?,
        min: schedule.min_replicas,
        max: schedule.max_replicas,
    })
}

/// The longest time that any window or period of a policy looks back.
pub fn longest_look_back(policy: &Policy) -> SignedDuration {
    let of = |rules: &Rules| {
        let periods = rules.policies.iter().flatten().map(|policy| policy.period_s);
        periods.chain(rules.stabilization_window_s).max().unwrap_or(0)
    };
    let behavior = policy.behavior.as_ref().map_or(0, |behavior| of(&behavior.scale_up).max(of(&behavior.scale_down)));
    SignedDuration::from_secs(behavior.into()).max(policy.downscale_stabilization)
}

fn milli_of(text: &QuantityText, field: &str) -> Result<i64, InvalidSpec> {
    text.quantity()
        .and_then(crate::quantity::Quantity::milli)
        .map_err(|error| invalid(field, format!("`{}` is not a quantity: {error}", text.0)))
}

fn rules_of(rules: &ScalingRulesSpec, field: &str) -> Result<Rules, InvalidSpec> {
    let tolerance = rules.tolerance.as_ref().map(|text| {
        let quantity = text.quantity().map_err(|error| {
            invalid(format!("{field}.tolerance"), format!("`{}` is not a quantity: {error}", text.0))
        })?;
        Ok(quantity.as_f64())
    });
    Ok(Rules {
        stabilization_window_s: rules.stabilization_window_seconds,
        select_policy: rules.select_policy.map(|select| match select {
            SelectPolicySpec::Max => SelectPolicy::Max,
            SelectPolicySpec::Min => SelectPolicy::Min,
            SelectPolicySpec::Disabled => SelectPolicy::Disabled,
        }),
        policies: rules.policies.as_ref().map(|policies| {
            let of = policies.iter().map(|policy| ScalingPolicy {
                kind: match policy.kind {
                    PolicyType::Pods => PolicyKind::Pods,
                    PolicyType::Percent => PolicyKind::Percent,
                },
                value: policy.value,
                period_s: policy.period_seconds,
            });
            of.collect()
        }),
        tolerance: tolerance.transpose()?,
    })
}
