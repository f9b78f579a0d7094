//! Step two: from a metric's values to a replica count. All values are milli-units, all ratios floats.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    observation::{Pod, Sample},
    pods::Groups,
    policy::Tolerances,
};

/// What a metric proposes, and how it came to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// The count.
    pub replicas: i32,
    /// The usage that is reported: per replica for a target per replica, else in all.
    pub usage: i64,
    /// The sum over all series or samples.
    pub total: i64,
    /// In per cent of the requests, for such a target.
    pub utilization: Option<i32>,
    /// Usage by target, before anything was filled in.
    pub ratio: f64,
    /// The same with what is not known filled in, so as to dampen the change.
    pub filled_ratio: Option<f64>,
    /// What decided.
    pub basis: Basis,
    /// The pods that were counted, where any were: for metrics per pod, and by the ratio of a value in all.
    pub pods: Option<PodCounts>,
}

/// What decided on a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Basis {
    /// The ratio.
    Ratio,
    /// The ratio was close enough to 1.
    WithinTolerance,
    /// With what is not known filled in, the direction would turn.
    DirectionWouldTurn,
    /// The target sleeps, and the value is not above the activation.
    NotActivated,
    /// The metric has been missing for long: the fallback stands in for it.
    Fallback,
}

impl Proposal {
    /// The fallback's count, without a value.
    pub(super) fn fallback(replicas: i32) -> Self {
        Self {
            replicas,
            usage: 0,
            total: 0,
            utilization: None,
            ratio: 0.0,
            filled_ratio: None,
            basis: Basis::Fallback,
            pods: None,
        }
    }
}

/// How many pods were in which group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PodCounts {
    /// With a sample that counts.
    pub ready: usize,
    /// Pending, or not ready.
    pub unready: usize,
    /// Without a sample.
    pub missing: usize,
    /// Deleted or ended.
    pub ignored: usize,
}

/// Usage by request: a ratio of sums, in whole per cent before it becomes a ratio.
///
/// # Errors
///
/// When no sample belongs to a pod with a request.
pub fn by_utilization(
    samples: BTreeMap<String, Sample>,
    groups: &Groups,
    requests: &BTreeMap<String, i64>,
    target_percent: i32,
    current: i32,
    tolerances: Tolerances,
) -> Result<Proposal, String> {
    let known = |values: &BTreeMap<String, i64>| {
        let of_known = values.iter().filter_map(|(pod, value)| Some((*value, *requests.get(pod)?)));
        let (used, requested, pods) = of_known.fold((0_i128, 0_i128, 0_i128), |(used, requested, pods), (u, r)| {
            (used + i128::from(u), requested + i128::from(r), pods + 1)
        });
        if requested == 0 {
            return Err("no metrics returned matched known pods".to_owned());
        }
        let percent = saturate_i32(used * 100 / requested);
        Ok(Measure {
            ratio: f64::from(percent) / f64::from(target_percent),
            usage: saturate_i64(used / pods),
            total: saturate_i64(used),
            utilization: Some(percent),
        })
    };
    // At least the whole request: a pod that is silent may be as busy as can be.
    let busy = |pod: &str| {
        saturate_i64(i128::from(*requests.get(pod).unwrap_or(&0)) * i128::from(target_percent.max(100)) / 100)
    };
    per_pod(samples, groups, current, tolerances, known, busy)
}

/// Usage by a target per pod: the mean of the samples, truncated, by the target.
///
/// # Errors
///
/// When there is no sample of a pod that counts.
pub fn by_average_per_pod(
    samples: BTreeMap<String, Sample>,
    groups: &Groups,
    target: i64,
    current: i32,
    tolerances: Tolerances,
) -> Result<Proposal, String> {
    let mean = |values: &BTreeMap<String, i64>| {
        let total = values.values().map(|value| i128::from(*value)).sum::<i128>();
        let mean = saturate_i64(total / i128::try_from(values.len().max(1)).unwrap_or(i128::MAX));
        Ok(Measure { ratio: float(mean) / float(target), usage: mean, total: saturate_i64(total), utilization: None })
    };
    per_pod(samples, groups, current, tolerances, mean, |_| target)
}

struct Measure {
    ratio: f64,
    usage: i64,
    total: i64,
    utilization: Option<i32>,
}

/// The two passes of every metric per pod. The first takes what is known. If it is not all, the second
/// fills in what would dampen the change: silent pods are busy on the way down and idle on the way up,
/// unready ones are idle on the way up and left out on the way down.
fn per_pod(
    samples: BTreeMap<String, Sample>,
    groups: &Groups,
    current: i32,
    tolerances: Tolerances,
    measure: impl Fn(&BTreeMap<String, i64>) -> Result<Measure, String>,
    busy: impl Fn(&str) -> i64,
) -> Result<Proposal, String> {
    let mut values: BTreeMap<String, i64> = samples
        .into_iter()
        .filter(|(pod, _)| !groups.ignored.contains(pod) && !groups.unready.contains(pod))
        .map(|(pod, sample)| (pod, sample.value))
        .collect();
    if values.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let first = measure(&values)?;
    let pods = PodCounts {
        ready: groups.ready,
        unready: groups.unready.len(),
        missing: groups.missing.len(),
        ignored: groups.ignored.len(),
    };
    let propose = |replicas, basis, filled_ratio| Proposal {
        replicas,
        usage: first.usage,
        total: first.total,
        utilization: first.utilization,
        ratio: first.ratio,
        filled_ratio,
        basis,
        pods: Some(pods),
    };

    let up_with_unready = !groups.unready.is_empty() && first.ratio > 1.0;
    if !up_with_unready && groups.missing.is_empty() {
        return Ok(if tolerances.hold(first.ratio) {
            propose(current, Basis::WithinTolerance, None)
        } else {
            // The pods that are counted and not the current count, and whichever way that goes.
            propose(times(first.ratio, groups.ready), Basis::Ratio, None)
        });
    }

    // A ratio of exactly 1 has no direction to dampen, so nothing is filled in for the silent.
    for pod in &groups.missing {
        if first.ratio < 1.0 {
            values.insert(pod.clone(), busy(pod));
        } else if first.ratio > 1.0 {
            values.insert(pod.clone(), 0);
        }
    }
    if up_with_unready {
        values.extend(groups.unready.iter().map(|pod| (pod.clone(), 0)));
    }
    let ratio = measure(&values)?.ratio;
    if tolerances.hold(ratio) {
        return Ok(propose(current, Basis::WithinTolerance, Some(ratio)));
    }
    let replicas = times(ratio, values.len());
    let turned = (first.ratio < 1.0 && ratio > 1.0) || (first.ratio > 1.0 && ratio < 1.0);
    let against = (ratio < 1.0 && replicas > current) || (ratio > 1.0 && replicas < current);
    Ok(if turned || against {
        propose(current, Basis::DirectionWouldTurn, Some(ratio))
    } else {
        propose(replicas, Basis::Ratio, Some(ratio))
    })
}

/// A value in all (`Value` of Object, External, Prometheus): the ratio times the pods that serve.
/// With no replica there is nothing to multiply: the ratio itself, without tolerance.
///
/// # Errors
///
/// When the pods that serve are needed and not known.
pub fn by_value(
    series: &[i64],
    target: i64,
    current: i32,
    pods: Result<&[Pod], &str>,
    tolerances: Tolerances,
) -> Result<Proposal, String> {
    let usage = sum(series);
    let ratio = float(usage) / float(target);
    let (replicas, basis, pods) = if current == 0 {
        (ceil(ratio), Basis::Ratio, None)
    } else if tolerances.hold(ratio) {
        (current, Basis::WithinTolerance, None)
    } else {
        let pods = pods.map_err(|reason| format!("unable to calculate ready pods: {reason}"))?;
        if pods.is_empty() {
            return Err("unable to calculate ready pods: no pods returned by selector while calculating replica count"
                .to_owned());
        }
        let ready = pods.iter().filter(|pod| pod.serves()).count();
        (times(ratio, ready), Basis::Ratio, Some(PodCounts { ready, ..PodCounts::default() }))
    };
    Ok(Proposal { replicas, usage, total: usage, utilization: None, ratio, filled_ratio: None, basis, pods })
}

/// A value per replica (`AverageValue` of Object, External, Prometheus): no pod is looked at. Inside the
/// tolerance it is `status.replicas` that is proposed, so it can move `spec.replicas` to it.
pub fn by_average(series: &[i64], target: i64, status_replicas: i32, tolerances: Tolerances) -> Proposal {
    let total = sum(series);
    let ratio = float(total) / (float(target) * f64::from(status_replicas));
    let (replicas, basis) = if tolerances.hold(ratio) {
        (status_replicas, Basis::WithinTolerance)
    } else {
        (ceil(float(total) / float(target)), Basis::Ratio)
    };
    let usage = per_replica(total, status_replicas);
    Proposal { replicas, usage, total, utilization: None, ratio, filled_ratio: None, basis, pods: None }
}

/// A total per replica, rounded up; 0 when there is none to divide by.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
pub fn per_replica(total: i64, replicas: i32) -> i64 {
    if replicas == 0 { 0 } else { (float(total) / f64::from(replicas)).ceil() as i64 }
}

fn sum(series: &[i64]) -> i64 {
    saturate_i64(series.iter().map(|value| i128::from(*value)).sum())
}

#[expect(clippy::cast_precision_loss, reason = "ratios are floats, as in the HPA; a float holds any pod count")]
fn times(ratio: f64, pods: usize) -> i32 {
    ceil(ratio * pods as f64)
}

/// Rounds up and saturates; NaN is 0, as on the platforms of the HPA.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
fn ceil(replicas: f64) -> i32 {
    replicas.ceil() as i32
}

#[expect(clippy::cast_precision_loss, reason = "ratios are floats, as in the HPA")]
fn float(value: i64) -> f64 {
    value as f64
}

fn saturate_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn saturate_i32(value: i128) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}
