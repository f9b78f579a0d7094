//! Decisions made again from what was seen: by the same code, in the same order, with the same memory between them.

use jiff::Timestamp;

use super::decision::{Action, Decision, Memory, Observation, Policy, decide, settle};

/// Decides about each observation in turn and gives the last decision; `None` where nothing was seen.
///
/// The first observation is met without a memory, as by a controller that has just started. Counts are not made up:
/// each observation says what was ordered then. A decision counts as carried out when the next observation has its
/// count.
pub fn replay(policy: &Policy, seen: impl IntoIterator<Item = (Timestamp, Observation)>) -> Option<Decision> {
    let mut last: Option<Decision> = None;
    for (now, observation) in seen {
        let memory = last.map_or_else(Memory::default, |decision| {
            let carried_out =
                decision.action() != Action::Hold && decision.desired_replicas == observation.spec_replicas;
            if carried_out { settle(policy, &decision, decision.at) } else { decision.memory }
        });
        last = Some(decide(policy, &observation, &memory, now));
    }
    last
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::autoscaling::decision::{
        Bounds, Reading,
        observation::Pods,
        policy::{Behavior, Metric, OnAbsent, Source, Target},
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn policy() -> Policy {
        let metric = Metric::new("tasks", Source::Prometheus, Target::AverageValue(10_000), OnAbsent::Hold);
        Policy { behavior: Some(Behavior::default()), ..Policy::new(Bounds::new(1, 50), vec![metric]) }
    }

    fn seen(ticks: &[(i32, i64)]) -> Vec<(Timestamp, Observation)> {
        let of = |(tick, (replicas, tasks)): (usize, &(i32, i64))| {
            let at = NOW + SignedDuration::from_secs(15 * i64::try_from(tick).expect("few"));
            let pods = Pods::Unknown(String::new());
            let readings = vec![Reading::Series(vec![tasks * 1000])];
            (at, Observation { spec_replicas: *replicas, status_replicas: *replicas, pods, readings, distrust: None })
        };
        ticks.iter().enumerate().map(of).collect()
    }

    #[test]
    fn windows_reach_back_over_what_was_seen() {
        // The load has fallen, and 30 s ago it still called for 4.
        let decision = replay(&policy(), seen(&[(4, 40), (4, 40), (4, 10)])).expect("a decision");
        assert_eq!((decision.desired_replicas, decision.stabilized.expect("a window").proposed), (4, 1));
    }

    #[test]
    fn what_was_carried_out_counts_against_the_rate() {
        // From 1 to 5 just now; within 15 s no more than 5 of the 40 are allowed.
        let mut ticks = seen(&[(1, 400), (5, 400)]);
        ticks[1].0 = NOW + SignedDuration::from_secs(5);
        let decision = replay(&policy(), ticks).expect("a decision");
        assert_eq!(decision.desired_replicas, 5);
        // Had somebody else ordered the 5, it would be no scale-up of ours.
        let mut ticks = seen(&[(5, 50), (5, 400)]);
        ticks[1].0 = NOW + SignedDuration::from_secs(5);
        assert_eq!(replay(&policy(), ticks).expect("a decision").desired_replicas, 10);
    }

    #[test]
    fn nothing_seen_is_no_decision() {
        assert_eq!(replay(&policy(), []), None);
    }
}
