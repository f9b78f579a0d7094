//! Step three and a half: what counts for a metric that is missing, and how long none has been positive.

use jiff::Timestamp;

use super::{
    memory::{Idle, Memory, Missing, age},
    metrics::MetricResult,
    policy::Policy,
    replicas::Proposal,
};

/// Remembers since when each metric is missing, and lets the fallback stand in for those that are for long.
///
/// It stands in for one metric, not for all: the others still call for what they call for. It is not below
/// the current count, unless the policy allows that.
pub fn fall_back(policy: &Policy, current: i32, memory: &mut Memory, results: &mut [MetricResult], now: Timestamp) {
    let Some(fallback) = policy.fallback else {
        memory.missing.clear();
        return;
    };
    let is_missing =
        |missing: &Missing| results.iter().any(|result| result.name == missing.metric && result.outcome.is_err());
    memory.missing.retain(is_missing);
    for result in results {
        let Err(failure) = &result.outcome else { continue };
        let known = memory.missing.iter().find(|missing| missing.metric == result.name).map(|missing| missing.since);
        let since = known.unwrap_or_else(|| {
            memory.missing.push(Missing { metric: result.name.clone(), since: now });
            now
        });
        if age(since, now) >= fallback.after {
            let least = if fallback.below_current { 0 } else { current };
            result.stands_in_for = Some(failure.clone());
            result.outcome = Ok(Proposal::fallback(fallback.replicas.max(least)));
        }
    }
}

/// Remembers how long no metric has been positive. That time stands still while one cannot be read.
pub fn note_activity(policy: &Policy, memory: &mut Memory, results: &[MetricResult], now: Timestamp) {
    memory.idle = if policy.cooldown.is_none() || results.iter().any(MetricResult::is_positive) {
        None
    } else if results.iter().all(|result| result.failure().is_none()) {
        let elapsed = match memory.idle {
            Some(Idle::Since(at)) => Ok(at),
            Some(Idle::For(elapsed)) => now.saturating_sub(elapsed),
            None => Ok(now),
        };
        Some(Idle::Since(elapsed.unwrap_or(now)))
    } else {
        memory.rest(now);
        memory.idle
    };
}
