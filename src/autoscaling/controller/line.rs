//! A decision as one line, as it stands in the log and in the status.

use std::fmt::Write;

pub use crate::autoscaling::explain::decimal;

use crate::autoscaling::decision::{
    Action, Decision, Mode, Path, metrics::MetricResult, policy::Target, stabilization::Stabilized,
};

/// `active_tasks=25 current_replicas=1 desired_replicas=3 → scaling up`.
pub fn line(decision: &Decision) -> String {
    let mut line = String::new();
    for metric in &decision.metrics {
        // Writing to a string does not fail.
        let _ = write!(line, "{} ", reading(metric));
    }
    let _ = write!(
        line,
        "current_replicas={} desired_replicas={} → {}",
        decision.current_replicas,
        decision.desired_replicas,
        verdict(decision)
    );
    line
}

/// The line of a decision that could not be carried out.
pub fn failed(line: &str, why: &dyn std::fmt::Display) -> String {
    format!("{line} failed: {why}")
}

/// `active_tasks=25`.
pub fn reading(metric: &MetricResult) -> String {
    format!("{}={}", metric.name.replace('-', "_"), value(metric))
}

fn verdict(decision: &Decision) -> &'static str {
    if decision.yields_to.is_some() && decision.action() != Action::Hold {
        return "left alone, somebody else writes the count";
    }
    match (decision.path, decision.mode, decision.action()) {
        (Path::Paused, ..) => "paused",
        (Path::Disabled, ..) => "the target is off: holding",
        (Path::NoData, ..) => "no data: holding",
        (_, Mode::Recommend, Action::ScaleUp | Action::ScaleDown) => "recommend only",
        (_, _, Action::Hold) if decision.held.is_some() => "held back",
        (_, _, Action::Hold) => "holding",
        (_, _, Action::ScaleUp) => "scaling up",
        (_, _, Action::ScaleDown) => "scaling down",
    }
}

/// The metric's value in all, in the mean of the pods, or in per cent, or why there is none.
fn value(metric: &MetricResult) -> String {
    match metric.failure().map_or_else(|| metric.outcome.as_ref(), Err) {
        Ok(proposal) => match proposal.utilization {
            Some(percent) => format!("{percent}%"),
            None if metric.source.is_per_pod() => decimal(proposal.usage),
            None => decimal(proposal.total),
        },
        Err(failure) if failure.expected => "absent".to_owned(),
        Err(_) => "error".to_owned(),
    }
}

/// Value and target in a few characters: `25/10 per replica`.
pub fn summary(metric: &MetricResult) -> String {
    let value = value(metric);
    match metric.target {
        Some(Target::Utilization(percent)) => format!("{value}/{percent}%"),
        Some(Target::AverageValue(milli)) => format!("{value}/{} per replica", decimal(milli)),
        Some(Target::Value(milli)) => format!("{value}/{}", decimal(milli)),
        None => value,
    }
}

/// What decided, in one word, as the HPA spells it.
pub fn reason(decision: &Decision) -> &'static str {
    let held_back = |stabilized: &Stabilized| stabilized.held_back().then_some(stabilized.reason);
    match decision.path {
        Path::Paused => "Paused",
        Path::Disabled => "ScalingDisabled",
        Path::AboveMaximum => "TooManyReplicas",
        Path::BelowMinimum => "TooFewReplicas",
        Path::NoData => decision.failure.as_ref().map_or("NoData", |failure| failure.reason),
        Path::Metrics if decision.held.is_some() => decision.held.as_ref().map_or("", |held| held.reason),
        Path::Metrics if decision.cooling_down.is_some() => "CoolingDown",
        Path::Metrics => decision
            .stabilized
            .as_ref()
            .and_then(held_back)
            .or_else(|| decision.limited.map(|limited| limited.reason.as_str()))
            .unwrap_or("ValidMetricFound"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::decimal;

    #[rstest]
    #[case::whole(25_000, "25")]
    #[case::fraction(1_500, "1.5")]
    #[case::small(50, "0.05")]
    #[case::negative(-2_050, "-2.05")]
    #[case::least(i64::MIN, "-9223372036854775.808")]
    fn thousandths(#[case] milli: i64, #[case] expected: &str) {
        assert_eq!(decimal(milli), expected);
    }
}
