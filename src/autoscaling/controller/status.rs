//! The status: what is said, and what is kept over a restart.
//!
//! What is kept is cut to what a window or a rate can still see, and it names the last proposal without a
//! time: it is proposed still. So nothing in it moves while nothing changes, and after a restart that
//! proposal counts as made just now: a window may last longer by the time without a controller, never shorter.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::line;
use crate::{
    autoscaling::{
        api::{
            AutoscalerStatus, ConditionStatus, DecisionStatus, MemoryStatus, MetricStatus, MissingStatus, QuantityText,
            RecommendationStatus, RivalStatus, ScaleEventStatus,
        },
        decision::{
            Condition, Decision, Memory,
            memory::{ConditionType, Idle, Missing, Recommendation, ScaleEvent},
            metrics::MetricResult,
            policy::Target,
            rivalry::Rivalry,
        },
    },
    quantity::Quantity,
};

/// The status after a decision, and why it could not be carried out, if it could not. `before` is the last one, whose time is kept where nothing changed.
pub fn after(
    (decision, failed): (&Decision, Option<&str>),
    memory: &Memory,
    target_uid: &str,
    left_at: Option<i32>,
    look_back: (SignedDuration, Option<SignedDuration>),
    generation: Option<i64>,
    before: Option<&AutoscalerStatus>,
) -> AutoscalerStatus {
    let line = line::line(decision);
    let (reason, message) = match failed {
        Some(why) => ("FailedRescale", line::failed(&line, &why)),
        None => (line::reason(decision), line),
    };
    let current_metrics: Vec<_> =
        decision.metrics.iter().map(|result| metric(result, decision.status_replicas)).collect();
    // Another reading is another decision, whatever comes of it.
    let before = before.filter(|before| before.current_metrics == current_metrics);
    AutoscalerStatus {
        observed_generation: generation,
        current_replicas: Some(decision.current_replicas),
        desired_replicas: Some(decision.desired_replicas),
        current_metrics,
        conditions: memory.conditions.iter().map(condition).collect(),
        last_scale_time: memory.last_scale.map(Time),
        last_decision: Some(last_decision(reason.to_owned(), message, decision.at, before)),
        memory: Some(MemoryStatus { left_at, ..kept(memory, target_uid, look_back, decision.at) }),
    }
}

/// The status when no decision could be made: the counts are the last ones that were known.
pub fn without_decision(
    reason: &str,
    message: &str,
    memory: &Memory,
    left_at: Option<i32>,
    now: Timestamp,
    generation: Option<i64>,
    before: Option<&AutoscalerStatus>,
) -> AutoscalerStatus {
    let remembered = before.and_then(|status| status.memory.clone());
    AutoscalerStatus {
        observed_generation: generation,
        current_metrics: Vec::new(),
        conditions: memory.conditions.iter().map(condition).collect(),
        last_decision: Some(last_decision(reason.to_owned(), message.to_owned(), now, before)),
        memory: remembered.map(|remembered| MemoryStatus { left_at, ..remembered }),
        ..before.cloned().unwrap_or_default()
    }
}

/// Whether two are the same as they are stored: of a time that is its seconds.
pub fn is_stored_alike(before: &AutoscalerStatus, now: &AutoscalerStatus) -> bool {
    serde_json::to_value(before).ok() == serde_json::to_value(now).ok()
}

/// Whether all that is new in a status are readings, and the words about them, while those of `before` are younger than that.
pub fn can_wait(before: &AutoscalerStatus, now: &AutoscalerStatus, pace: SignedDuration) -> bool {
    let (Some(last), Some(next)) = (&before.last_decision, &now.last_decision) else { return false };
    // A clock that was put back must not hold it up.
    next.time.0.duration_since(last.time.0).abs() < pace
        && is_stored_alike(&without_readings(before), &without_readings(now))
}

fn without_readings(status: &AutoscalerStatus) -> AutoscalerStatus {
    let mut rest = status.clone();
    for metric in &mut rest.current_metrics {
        // That there is none any more is news.
        let values = [&mut metric.value, &mut metric.average_value];
        values.into_iter().flatten().for_each(|value| value.0.clear());
        metric.summary.clear();
    }
    if let Some(decision) = &mut rest.last_decision {
        decision.message.clear();
        decision.time = Time(Timestamp::UNIX_EPOCH);
    }
    rest
}

fn last_decision(reason: String, message: String, now: Timestamp, before: Option<&AutoscalerStatus>) -> DecisionStatus {
    match before.and_then(|status| status.last_decision.as_ref()) {
        Some(last) if last.reason == reason && last.message == message => last.clone(),
        _ => DecisionStatus { time: Time(now), reason, message },
    }
}

fn metric(metric: &MetricResult, status_replicas: i32) -> MetricStatus {
    let proposal = metric.outcome.as_ref().ok();
    let read = proposal.filter(|_| metric.failure().is_none());
    let quantity = |milli| QuantityText(Quantity::from_milli(milli).to_string());
    // Without a replica there is nothing to divide by, and 0 would look like no load.
    let average = matches!(metric.target, Some(Target::AverageValue(_))) && status_replicas > 0;
    MetricStatus {
        name: metric.name.clone(),
        value: read.map(|proposal| quantity(proposal.total)),
        average_value: read.filter(|_| average).map(|proposal| quantity(proposal.usage)),
        proposed_replicas: proposal.map(|proposal| proposal.replicas),
        summary: line::summary(metric),
    }
}

fn condition(condition: &Condition) -> ConditionStatus {
    ConditionStatus {
        kind: condition.kind.as_str().to_owned(),
        status: if condition.status { "True" } else { "False" }.to_owned(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: Time(condition.last_transition),
    }
}

fn kept(
    memory: &Memory,
    target_uid: &str,
    (look_back, cooldown): (SignedDuration, Option<SignedDuration>),
    now: Timestamp,
) -> MemoryStatus {
    let in_sight = |at: Timestamp| now.duration_since(at) <= look_back;
    let events = |events: &[ScaleEvent]| {
        let seen = events.iter().filter(|event| in_sight(event.at));
        seen.map(|event| ScaleEventStatus { change: event.change, time: MicroTime(event.at) }).collect()
    };
    let mut log = memory.recommendations.clone().unwrap_or_default();
    log.sort_by_key(|entry| entry.at);
    let newest = log.len().saturating_sub(1);
    let counts = log.iter().enumerate().filter(|(place, entry)| {
        // A window that sees an entry sees all later ones too: it matters only as a peak or a trough over them.
        let later = &log[place + 1..];
        let peak = later.iter().all(|other| other.replicas < entry.replicas);
        let trough = later.iter().all(|other| other.replicas > entry.replicas);
        *place == newest || (in_sight(entry.at) && (peak || trough))
    });
    MemoryStatus {
        target_uid: target_uid.to_owned(),
        left_at: None,
        recommendations: counts
            .map(|(place, entry)| RecommendationStatus {
                replicas: entry.replicas,
                time: (place != newest).then_some(MicroTime(entry.at)),
            })
            .collect(),
        scale_ups: events(&memory.scale_ups),
        scale_downs: events(&memory.scale_downs),
        idle_seconds: memory.idle.and_then(|idle| noted(idle, cooldown?, now)),
        rival: memory.rivalry.as_ref().map(|rivalry| RivalStatus {
            manager: rivalry.who.clone(),
            from: rivalry.from,
            to: rivalry.to,
            times: i32::try_from(rivalry.times).unwrap_or(i32::MAX),
            time: MicroTime(rivalry.at),
            until: MicroTime(rivalry.until),
        }),
        missing: memory
            .missing
            .iter()
            .map(|missing| MissingStatus { metric: missing.metric.clone(), since: MicroTime(missing.since) })
            .collect(),
    }
}

/// How much of a cooldown is kept over a restart, in seconds: eighths of it. So it is written eight times and then no more;
/// the time without a scaler does not count, nor does what is left of the last eighth.
fn noted(idle: Idle, cooldown: SignedDuration, now: Timestamp) -> Option<i64> {
    let (cooldown, lasted) = (cooldown.as_millis(), idle.lasted(now).as_millis());
    let eighths = lasted.min(cooldown).saturating_mul(8).checked_div(cooldown)?;
    i64::try_from(eighths * cooldown / 8 / 1000).ok()
}

/// What is remembered of a target, from the status of an earlier controller.
pub fn restore(status: &AutoscalerStatus, now: Timestamp) -> (Option<String>, Memory) {
    let memory = status.memory.as_ref();
    let events = |events: &[ScaleEventStatus]| {
        let of = |event: &ScaleEventStatus| ScaleEvent { change: event.change, at: event.time.0, outdated: false };
        events.iter().map(of).collect()
    };
    let conditions = status.conditions.iter().filter_map(|condition| {
        let known = [
            ConditionType::AbleToScale,
            ConditionType::ScalingActive,
            ConditionType::ScalingLimited,
            ConditionType::ScaledToZero,
            ConditionType::Conflict,
        ];
        Some(Condition {
            kind: known.into_iter().find(|kind| kind.as_str() == condition.kind)?,
            status: condition.status == "True",
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition: condition.last_transition_time.0,
        })
    });
    let memory_of_target = Memory {
        recommendations: memory.map(|memory| {
            let of = |entry: &RecommendationStatus| Recommendation {
                replicas: entry.replicas,
                at: entry.time.as_ref().map_or(now, |time| time.0),
            };
            memory.recommendations.iter().map(of).collect()
        }),
        scale_ups: memory.map(|memory| events(&memory.scale_ups)).unwrap_or_default(),
        scale_downs: memory.map(|memory| events(&memory.scale_downs)).unwrap_or_default(),
        conditions: conditions.collect(),
        last_scale: status.last_scale_time.as_ref().map(|time| time.0),
        idle: memory
            .and_then(|memory| memory.idle_seconds)
            .map(|seconds| Idle::For(SignedDuration::from_secs(seconds.max(0)))),
        rivalry: memory.and_then(|memory| memory.rival.as_ref()).map(|rival| Rivalry {
            who: rival.manager.clone(),
            from: rival.from,
            to: rival.to,
            times: u32::try_from(rival.times).unwrap_or(1).max(1),
            at: rival.time.0,
            until: rival.until.0,
        }),
        missing: memory.map_or_else(Vec::new, |memory| {
            let of = |missing: &MissingStatus| Missing { metric: missing.metric.clone(), since: missing.since.0 };
            memory.missing.iter().map(of).collect()
        }),
        unmade: None,
    };
    (memory.map(|memory| memory.target_uid.clone()), memory_of_target)
}

/// The memory of another target of the same name: conditions are of the Autoscaler and stay.
pub fn forget_target(memory: Memory) -> Memory {
    Memory {
        recommendations: None,
        scale_ups: Vec::new(),
        scale_downs: Vec::new(),
        idle: None,
        rivalry: None,
        unmade: None,
        ..memory
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::autoscaling::decision::{
        Bounds, Observation, Policy, Reading, decide,
        observation::Pods,
        policy::{self, OnAbsent, Source},
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn ago(seconds: i64) -> Timestamp {
        NOW - SignedDuration::from_secs(seconds)
    }

    fn log(entries: &[(i32, i64)]) -> Memory {
        let of = |(replicas, age): &(i32, i64)| Recommendation { replicas: *replicas, at: ago(*age) };
        Memory { recommendations: Some(entries.iter().map(of).collect()), ..Memory::default() }
    }

    fn round_trip(memory: &Memory, look_back: i64) -> Vec<Recommendation> {
        let status = AutoscalerStatus {
            memory: Some(kept(memory, "uid", (SignedDuration::from_secs(look_back), None), NOW)),
            ..AutoscalerStatus::default()
        };
        let text = serde_json::to_string(&status).expect("json");
        restore(&serde_json::from_str(&text).expect("a status"), NOW).1.recommendations.expect("a log")
    }

    /// There is nothing to divide by.
    #[test]
    fn without_a_replica_the_total_is_shown_and_no_average() {
        let known = policy::Metric::new("tasks", Source::Prometheus, Target::AverageValue(10_000), OnAbsent::Hold);
        let policy = Policy::new(Bounds::new(0, 5), vec![known]);
        let of = |replicas: i32| {
            let observation = Observation {
                spec_replicas: replicas,
                status_replicas: replicas,
                pods: Pods::Unknown(String::new()),
                readings: vec![Reading::Series(vec![25_000])],
                distrust: None,
            };
            let decision = decide(&policy, &observation, &Memory::default(), NOW);
            let shown = metric(&decision.metrics[0], replicas);
            (shown.value.map(|value| value.0), shown.average_value.map(|value| value.0))
        };
        assert_eq!(of(0), (Some("25".to_owned()), None));
        assert_eq!(of(5), (Some("25".to_owned()), Some("5".to_owned())));
    }

    fn told(value: &str, proposed: i32, seconds: i64) -> AutoscalerStatus {
        let metric = MetricStatus {
            name: "tasks".to_owned(),
            value: Some(QuantityText(value.to_owned())),
            average_value: None,
            proposed_replicas: Some(proposed),
            summary: format!("{value}/10 per replica"),
        };
        let message = format!("tasks={value}");
        let decision = DecisionStatus { time: Time(ago(-seconds)), reason: "Holding".to_owned(), message };
        AutoscalerStatus { current_metrics: vec![metric], last_decision: Some(decision), ..AutoscalerStatus::default() }
    }

    #[test]
    fn readings_alone_wait_until_those_before_are_old_and_nothing_else_does() {
        let waits = |now: &AutoscalerStatus| can_wait(&told("25", 3, 0), now, SignedDuration::from_secs(500));
        assert!(waits(&told("26", 3, 499)));
        assert!(!waits(&told("26", 3, 500)));
        assert!(!waits(&told("31", 4, 15)));
        let mut lost = told("26", 3, 15);
        lost.current_metrics[0].value = None;
        assert!(!waits(&lost));
        assert!(!waits(&AutoscalerStatus { observed_generation: Some(2), ..told("26", 3, 15) }));
        let failed =
            DecisionStatus { reason: "FailedRescale".to_owned(), ..told("26", 3, 15).last_decision.expect("one") };
        assert!(!waits(&AutoscalerStatus { last_decision: Some(failed), ..told("26", 3, 15) }));
        assert!(!can_wait(&AutoscalerStatus::default(), &told("26", 3, 15), SignedDuration::from_secs(500)));
        assert!(!can_wait(&told("25", 3, 0), &told("26", 3, 1), SignedDuration::ZERO));
    }

    #[test]
    fn nothing_moves_while_nothing_changes() {
        let of = |entries: &[(i32, i64)]| kept(&log(entries), "uid", (SignedDuration::from_secs(300), None), NOW);
        assert_eq!(of(&[(3, 45), (3, 30), (3, 15)]), of(&[(3, 60), (3, 45), (3, 30), (3, 15), (3, 0)]));
        assert_eq!(of(&[(3, 0)]).recommendations, [RecommendationStatus { replicas: 3, time: None }]);
    }

    #[test]
    fn of_a_cooldown_eighths_are_kept_and_the_time_without_a_scaler_is_none() {
        let of = |lasted: i64| noted(Idle::Since(ago(lasted)), SignedDuration::from_secs(300), NOW);
        assert_eq!([0, 37, 38, 75, 299, 300, 9000].map(of), [0, 0, 37, 75, 262, 300, 300].map(Some));
        assert_eq!(noted(Idle::Since(ago(5)), SignedDuration::ZERO, NOW), None);
        let memory = Memory { idle: Some(Idle::Since(ago(80))), ..Memory::default() };
        let kept = kept(&memory, "uid", (SignedDuration::ZERO, Some(SignedDuration::from_secs(300))), NOW);
        let status = AutoscalerStatus { memory: Some(kept), ..AutoscalerStatus::default() };
        let later = NOW + SignedDuration::from_hours(9);
        assert_eq!(restore(&status, later).1.idle, Some(Idle::For(SignedDuration::from_secs(75))));
    }

    #[test]
    fn what_no_window_can_see_is_dropped() {
        let entries = round_trip(&log(&[(9, 400), (5, 200), (3, 100), (4, 0)]), 300);
        assert_eq!(entries.iter().map(|entry| entry.replicas).collect::<Vec<_>>(), [5, 3, 4]);
    }

    proptest! {
        #[test]
        fn every_window_sees_the_same_after_a_restart(
            entries in proptest::collection::vec((0..10_i32, 1..600_i64), 0..12),
            last in 0..10_i32,
            window in 1..600_i64,
        ) {
            let mut entries = entries;
            entries.push((last, 0));
            let memory = log(&entries);
            let restored = round_trip(&memory, 600);
            let seen = |entries: &[Recommendation]| {
                let in_window = entries.iter().filter(|entry| NOW.duration_since(entry.at).as_secs() <= window);
                let replicas: Vec<i32> = in_window.map(|entry| entry.replicas).collect();
                (replicas.iter().min().copied(), replicas.iter().max().copied())
            };
            prop_assert_eq!(seen(&memory.recommendations.expect("a log")), seen(&restored));
        }
    }
}
