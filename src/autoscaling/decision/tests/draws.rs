//! Policies, observations and memories, drawn at random.

use proptest::prelude::*;

use super::*;
use crate::autoscaling::decision::{
    Memory, Mode,
    caution::PendingPods,
    memory::{ConditionType, Idle, Missing, Recommendation, ScaleEvent},
    observation::Distrust,
    policy::{Fallback, FromZero, PolicyKind, ScalingPolicy, SelectPolicy},
    schedule::Schedule,
};

pub fn rules() -> impl Strategy<Value = Rules> {
    let select = prop_oneof![Just(SelectPolicy::Max), Just(SelectPolicy::Min), Just(SelectPolicy::Disabled)];
    let kind = prop_oneof![Just(PolicyKind::Pods), Just(PolicyKind::Percent)];
    let one =
        (kind, any::<i32>(), any::<i32>()).prop_map(|(kind, value, period_s)| ScalingPolicy { kind, value, period_s });
    let some = proptest::option::of(proptest::collection::vec(one, 0..3));
    let tolerance = proptest::option::of(proptest::num::f64::ANY);
    (proptest::option::of(any::<i32>()), proptest::option::of(select), some, tolerance).prop_map(
        |(stabilization_window_s, select_policy, policies, tolerance)| Rules {
            stabilization_window_s,
            select_policy,
            policies,
            tolerance,
        },
    )
}

/// What the API lets somebody write for one direction: a quantity, 0 or more.
pub fn a_users_tolerance() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(prop_oneof![Just(0.0), 0.0..2.0_f64, 0.0..1e15_f64])
}

pub fn resource() -> impl Strategy<Value = String> {
    prop_oneof![Just("cpu"), Just("memory"), Just("x")].prop_map(str::to_owned)
}

/// Of which some are such as people write.
pub fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![1..10_000_i64, any::<i64>()]
}

pub fn any_metric() -> impl Strategy<Value = Metric> {
    let source = prop_oneof![
        Just(Source::Prometheus),
        Just(Source::Object),
        Just(Source::External),
        Just(Source::Pods),
        resource().prop_map(|resource| Source::Resource { resource }),
        (resource(), prop_oneof![Just("main"), Just("gone")])
            .prop_map(|(resource, container)| Source::ContainerResource { resource, container: container.to_owned() }),
        Just(Source::Unknown("x".to_owned())),
    ];
    let target = prop_oneof![
        prop_oneof![1..300_i32, any::<i32>()].prop_map(Target::Utilization),
        amount().prop_map(Target::AverageValue),
        amount().prop_map(Target::Value),
    ];
    let on_absent = prop_oneof![Just(OnAbsent::Hold), Just(OnAbsent::Zero), Just(OnAbsent::Error)];
    let activation = prop_oneof![Just(0), any::<i64>()];
    (source, proptest::option::of(target), on_absent, activation).prop_map(|(source, target, on_absent, activation)| {
        Metric { name: "m".to_owned(), source, target, on_absent, activation }
    })
}

pub fn any_fallback() -> impl Strategy<Value = Fallback> {
    (0..2000_i64, replicas(), any::<bool>()).prop_map(|(after, replicas, below_current)| Fallback {
        after: seconds(after),
        replicas,
        below_current,
    })
}

/// Some hold at the time of the tests, some do not.
pub fn any_schedule() -> impl Strategy<Value = Schedule> {
    let cron = prop_oneof![Just("* * * * *"), Just("0 0 * * *"), Just("0 23 * * *"), Just("30 12 * 6 *")];
    let bound = || proptest::option::of(replicas());
    (cron.clone(), cron, bound(), bound()).prop_map(|(start, end, min, max)| Schedule {
        name: "s".to_owned(),
        zone: jiff::tz::TimeZone::UTC,
        start: start.parse().expect("a cron expression"),
        end: end.parse().expect("a cron expression"),
        min,
        max,
    })
}

/// What the HPA does not have.
pub fn beyond(policy: Policy) -> impl Strategy<Value = Policy> {
    let pending =
        (0..5_usize, 0..7200_i64).prop_map(|(count, longer)| PendingPods { count, longer_than: seconds(longer) });
    (
        proptest::option::of((0..2000_i64).prop_map(seconds)),
        proptest::option::of(any_fallback()),
        proptest::collection::vec(any_schedule(), 0..3),
        proptest::option::of(pending),
        proptest::option::of(any::<i32>()),
    )
        .prop_map(move |(cooldown, fallback, schedules, pending_pods, largest_step)| Policy {
            cooldown,
            fallback,
            schedules,
            pending_pods,
            largest_step,
            ..policy.clone()
        })
}

/// What a cluster sets for all.
pub fn with_other_settings(policy: Policy) -> impl Strategy<Value = Policy> {
    let span = || (0..2000_i64).prop_map(seconds);
    (span(), span(), span(), any::<bool>(), any::<bool>()).prop_map(
        move |(downscale_stabilization, cpu_initialization_period, initial_readiness_delay, tolerance, pod_level)| {
            Policy {
                downscale_stabilization,
                cpu_initialization_period,
                initial_readiness_delay,
                configurable_tolerance: tolerance,
                pod_level_resources: pod_level,
                ..policy.clone()
            }
        },
    )
}

pub fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Auto), Just(Mode::Recommend), Just(Mode::Paused)]
}

pub fn any_pod(name: &'static str) -> impl Strategy<Value = Pod> {
    let phase = prop_oneof![Just(Phase::Pending), Just(Phase::Running), Just(Phase::Succeeded), Just(Phase::Failed)];
    let at = || proptest::option::of((-10_i64..10_000).prop_map(ago));
    let ready = proptest::option::of((proptest::option::of(any::<bool>()), -10_i64..10_000));
    let requests = || proptest::collection::btree_map(resource(), any::<i64>(), 0..3);
    (phase, ready, at(), at(), any::<bool>(), (requests(), requests())).prop_map(
        move |(phase, ready, started, created, deleting, (of_pod, of_container))| {
            let mut pod = Pod { requests: of_pod, ..ready_pod(name) };
            pod.containers[0].requests = of_container;
            let ready = ready.map(|(status, age)| ReadyCondition { status, since: ago(age) });
            Pod { phase, ready, started, created, deleting, ..pod }
        },
    )
}

pub fn any_pods() -> impl Strategy<Value = Pods> {
    prop_oneof![
        Just(Pods::Unknown("they were not listed".to_owned())),
        Just(Pods::Listed(Vec::new())),
        (any_pod("pod-0"), any_pod("pod-1"), any_pod("pod-2")).prop_map(|(a, b, c)| Pods::Listed(vec![a, b, c])),
    ]
}

/// Pods in any state, and perhaps a reason not to believe a scale-down.
pub fn any_observation(readings: impl Strategy<Value = Vec<Reading>>) -> impl Strategy<Value = Observation> {
    let distrust = proptest::option::of(Just(Distrust::ShortHistory("a minute".to_owned())));
    (readings, replicas(), replicas(), any_pods(), distrust).prop_map(
        |(readings, spec_replicas, status_replicas, pods, distrust)| Observation {
            spec_replicas,
            status_replicas,
            pods,
            readings,
            distrust,
        },
    )
}

pub fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        proptest::collection::vec(any::<i64>(), 0..4).prop_map(Reading::Series),
        proptest::collection::vec((any::<i64>(), -100..10_000_i64, 0..1000_i64), 0..4).prop_map(|values| {
            let names = ["pod-0", "pod-1", "pod-2", "stray"].map(str::to_owned);
            let of = |(value, age, window)| Sample { value, at: ago(age), window: seconds(window) };
            Reading::PerPod(names.into_iter().zip(values.into_iter().map(of)).collect())
        }),
        proptest::collection::vec(any::<i64>(), 0..3)
            .prop_map(|series| Reading::Partial { series, message: "a store is gone".to_owned() }),
        nothing(),
    ]
}

/// What tells nothing.
pub fn nothing() -> impl Strategy<Value = Reading> {
    prop_oneof![
        Just(Reading::Absent),
        (0..1000_i64).prop_map(|most| Reading::Stale(seconds(most))),
        Just(Reading::Series(Vec::new())),
        Just(Reading::PerPod(BTreeMap::new())),
        Just(Reading::Failed("it is down".to_owned())),
        Just(Reading::Unusable { reason: "NotANumber", message: "it is NaN".to_owned() }),
        Just(Reading::Partial { series: Vec::new(), message: "a store is gone".to_owned() }),
    ]
}

pub fn any_policy() -> impl Strategy<Value = Policy> {
    let from_zero = prop_oneof![Just(FromZero::Never), Just(FromZero::IfScaledToZero), Just(FromZero::IfMinimumIsZero)];
    let behavior =
        proptest::option::of((rules(), rules()).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down }));
    let bounds = (any::<i32>(), any::<i32>());
    (bounds, proptest::collection::vec(any_metric(), 0..3), behavior, from_zero, proptest::num::f64::ANY)
        .prop_map(|((min, max), metrics, behavior, from_zero, tolerance)| {
            let named = metrics.into_iter().enumerate();
            let metrics = named.map(|(place, metric)| Metric { name: format!("m-{place}"), ..metric }).collect();
            Policy { behavior, tolerance, from_zero, ..Policy::new(Bounds::new(min, max), metrics) }
        })
        .prop_flat_map(beyond)
        .prop_flat_map(with_other_settings)
}

pub fn any_memory() -> impl Strategy<Value = Memory> {
    let at = (-1000_i64..10_000).prop_map(ago);
    let log = proptest::collection::vec((any::<i32>(), at.clone()), 0..4).prop_map(|entries| {
        entries.into_iter().map(|(replicas, at)| Recommendation { replicas, at }).collect::<Vec<_>>()
    });
    let events = proptest::collection::vec((any::<i32>(), at), 0..4).prop_map(|entries| {
        entries.into_iter().map(|(change, at)| ScaleEvent { change, at, outdated: false }).collect::<Vec<_>>()
    });
    let idle = prop_oneof![
        (-1000_i64..10_000).prop_map(|age| Idle::Since(ago(age))),
        (0..10_000_i64).prop_map(|lasted| Idle::For(seconds(lasted))),
    ];
    let missing = proptest::collection::vec((0..3_usize, -1000_i64..10_000), 0..3).prop_map(|entries| {
        let of = |(place, age)| Missing { metric: format!("m-{place}"), since: ago(age) };
        entries.into_iter().map(of).collect::<Vec<_>>()
    });
    let put_to_sleep = proptest::option::of(any::<bool>());
    (proptest::option::of(log), events.clone(), events, proptest::option::of(idle), missing, put_to_sleep).prop_map(
        |(recommendations, scale_ups, scale_downs, idle, missing, put_to_sleep)| {
            let mut memory = Memory { recommendations, scale_ups, scale_downs, idle, missing, ..Memory::default() };
            if let Some(asleep) = put_to_sleep {
                memory.set(ConditionType::ScaledToZero, asleep, "x", "x", NOW);
            }
            memory
        },
    )
}

pub fn replicas() -> impl Strategy<Value = i32> {
    prop_oneof![0..10_i32, any::<i32>()]
}

/// Something that is measured, and the same with at least as much of it.
pub fn load_and_more() -> impl Strategy<Value = (i64, i64)> {
    let load = prop_oneof![0..3000_i64, 0..1_000_000_i64, 0..=i64::MAX];
    (load.clone(), load).prop_map(|(one, other)| (one.min(other), one.max(other)))
}

/// So many pods that have been serving for an hour, each with requests of its own.
pub fn serving_pods(count: usize) -> impl Strategy<Value = Vec<Pod>> {
    let request = prop_oneof![Just(0), 1..5000_i64];
    let of_pod = proptest::option::of(request.clone());
    proptest::collection::vec((request.clone(), request, of_pod), count).prop_map(|requests| {
        let of = |(place, (cpu, memory, of_pod)): (usize, (i64, i64, Option<i64>))| {
            let mut pod = ready_pod(&format!("pod-{place}"));
            pod.containers[0].requests = [("cpu".to_owned(), cpu), ("memory".to_owned(), memory)].into();
            pod.requests = of_pod.map(|request| ("cpu".to_owned(), request)).into_iter().collect();
            pod
        };
        requests.into_iter().enumerate().map(of).collect()
    })
}

/// A policy that people can write: tolerances are 0 or more.
pub fn a_users_policy() -> impl Strategy<Value = Policy> {
    (any_policy(), any_mode(), (0..20_i32, 1..40_i32), 0.0..2.0_f64, a_users_tolerance(), a_users_tolerance()).prop_map(
        |(mut policy, mode, (min, max), tolerance, up, down)| {
            if let Some(behavior) = &mut policy.behavior {
                (behavior.scale_up.tolerance, behavior.scale_down.tolerance) = (up, down);
            }
            Policy { mode, tolerance, bounds: Bounds::new(min, max), ..policy }
        },
    )
}
