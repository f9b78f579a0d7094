//! What holds for every input.

use proptest::prelude::*;

use super::*;
use crate::autoscaling::decision::{
    Memory, Mode, Path,
    caution::PendingPods,
    decide,
    memory::{ConditionType, Idle, Missing, Recommendation, ScaleEvent},
    observation::Distrust,
    policy::{Fallback, FromZero, PolicyKind, ScalingPolicy, SelectPolicy},
    schedule::Schedule,
    settle,
};

fn rules() -> impl Strategy<Value = Rules> {
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
fn a_users_tolerance() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(prop_oneof![Just(0.0), 0.0..2.0_f64, 0.0..1e15_f64])
}

fn resource() -> impl Strategy<Value = String> {
    prop_oneof![Just("cpu"), Just("memory"), Just("x")].prop_map(str::to_owned)
}

fn any_metric() -> impl Strategy<Value = Metric> {
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
        any::<i32>().prop_map(Target::Utilization),
        any::<i64>().prop_map(Target::AverageValue),
        any::<i64>().prop_map(Target::Value),
    ];
    let on_absent = prop_oneof![Just(OnAbsent::Hold), Just(OnAbsent::Zero), Just(OnAbsent::Error)];
    let activation = prop_oneof![Just(0), any::<i64>()];
    (source, proptest::option::of(target), on_absent, activation).prop_map(|(source, target, on_absent, activation)| {
        Metric { name: "m".to_owned(), source, target, on_absent, activation }
    })
}

fn any_fallback() -> impl Strategy<Value = Fallback> {
    (0..2000_i64, replicas(), any::<bool>()).prop_map(|(after, replicas, below_current)| Fallback {
        after: seconds(after),
        replicas,
        below_current,
    })
}

/// Some hold at the time of the tests, some do not.
fn any_schedule() -> impl Strategy<Value = Schedule> {
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
fn beyond(policy: Policy) -> impl Strategy<Value = Policy> {
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
fn with_other_settings(policy: Policy) -> impl Strategy<Value = Policy> {
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

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Auto), Just(Mode::Recommend), Just(Mode::Paused)]
}

fn any_pod(name: &'static str) -> impl Strategy<Value = Pod> {
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

fn any_pods() -> impl Strategy<Value = Pods> {
    prop_oneof![
        Just(Pods::Unknown("they were not listed".to_owned())),
        Just(Pods::Listed(Vec::new())),
        (any_pod("pod-0"), any_pod("pod-1"), any_pod("pod-2")).prop_map(|(a, b, c)| Pods::Listed(vec![a, b, c])),
    ]
}

/// Pods in any state, and perhaps a reason not to believe a scale-down.
fn any_observation(readings: impl Strategy<Value = Vec<Reading>>) -> impl Strategy<Value = Observation> {
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

fn any_reading() -> impl Strategy<Value = Reading> {
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
fn nothing() -> impl Strategy<Value = Reading> {
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

fn any_policy() -> impl Strategy<Value = Policy> {
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

fn any_memory() -> impl Strategy<Value = Memory> {
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

/// Nothing says that missing data may scale down.
fn without_leave(mut policy: Policy) -> Policy {
    for metric in &mut policy.metrics {
        if metric.on_absent == OnAbsent::Zero {
            metric.on_absent = OnAbsent::Hold;
        }
    }
    if let Some(fallback) = &mut policy.fallback {
        fallback.below_current = false;
    }
    policy
}

fn replicas() -> impl Strategy<Value = i32> {
    prop_oneof![0..10_i32, any::<i32>()]
}

proptest! {
    #[test]
    fn bounds_hold_except_at_zero_and_nothing_panics(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 0..3)),
        memory in any_memory(),
        mode in any_mode(),
    ) {
        let policy = Policy { mode, ..policy };
        let decision = decide(&policy, &observation, &memory, NOW);
        let bounds = decision.bounds;
        let within = (bounds.min()..=bounds.max()).contains(&decision.desired_replicas);
        let off = decision.current_replicas == 0 && decision.desired_replicas == 0;
        // A pause leaves the count as it is, wherever that is.
        let paused = mode == Mode::Paused && decision.desired_replicas == decision.current_replicas;
        prop_assert!(within || off || paused, "{decision:?}");
        prop_assert!(!policy.schedules.is_empty() || bounds == policy.bounds);
        settle(&policy, &decision, NOW);
        prop_assert!(serde_json::to_string(&decision).is_ok());
    }

    #[test]
    fn without_data_the_count_never_falls_except_to_the_maximum(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(nothing(), 3)),
        memory in any_memory(),
    ) {
        let policy = without_leave(policy);
        let decision = decide(&policy, &observation, &memory, NOW);
        if decision.desired_replicas < decision.current_replicas {
            prop_assert_eq!(decision.desired_replicas, decision.bounds.max());
            prop_assert_eq!(decision.path, Path::AboveMaximum);
        }
    }

    /// Neither is the last replica put to sleep by time alone.
    #[test]
    fn a_cooldown_does_not_run_without_data(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(nothing(), 3)),
        memory in any_memory(),
        hours in 0..100_i64,
        mode in any_mode(),
    ) {
        let mut policy = Policy { mode, ..without_leave(policy) };
        policy.metrics.push(ten_tasks());
        let first = decide(&policy, &observation, &memory, NOW);
        let later = NOW + SignedDuration::from_hours(hours);
        let second = decide(&policy, &observation, &first.memory, later);
        // Whatever was decided, on whichever path: what was not read does not count as idle.
        let lasted = |idle: Option<Idle>, now| idle.map(|idle| idle.lasted(now));
        let before = if [Path::Metrics, Path::NoData].contains(&second.path) && policy.cooldown.is_none() {
            None
        } else {
            lasted(first.memory.idle, NOW)
        };
        prop_assert_eq!(lasted(second.memory.idle, later), before);
    }

    /// Nor while nobody asks: paused, off, outside of the bounds.
    #[test]
    fn a_cooldown_runs_only_while_the_metrics_are_read(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 3)),
        memory in any_memory(),
        hours in 0..100_i64,
        mode in prop_oneof![Just(Mode::Auto), Just(Mode::Paused)],
    ) {
        let policy = Policy { mode, ..policy };
        let first = decide(&policy, &observation, &memory, NOW);
        let later = NOW + SignedDuration::from_hours(hours);
        let second = decide(&policy, &observation, &first.memory, later);
        let read = |path| [Path::Metrics, Path::NoData].contains(&path);
        if !read(first.path) && !read(second.path) {
            let lasted = |idle: Option<Idle>, now| idle.map(|idle| idle.lasted(now));
            prop_assert_eq!(lasted(second.memory.idle, later), lasted(first.memory.idle, NOW));
        }
    }

    /// While a rollout goes on there are more pods than were ordered. A value in all is divided by what one takes, not by
    /// them.
    #[test]
    fn outside_the_tolerance_the_pods_that_a_rollout_adds_call_for_nothing(spec in 1..100_i32, more in 1..50_i32, count in 0..2000_i64) {
        let of = |status_replicas| {
            let observation = Observation { status_replicas, ..seen(spec, vec![tasks(count)]) };
            decide(&plain(1, 200), &observation, &Memory::default(), NOW).desired_replicas
        };
        prop_assert_eq!(of(spec), of(spec + more));
    }

    #[test]
    fn with_some_data_missing_the_count_never_falls_except_to_the_maximum(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 3)),
        missing in nothing(),
        memory in any_memory(),
    ) {
        let mut policy = without_leave(policy);
        policy.metrics.push(ten_tasks());
        let place = policy.metrics.len() - 1;
        let mut observation = observation;
        observation.readings.truncate(place);
        observation.readings.push(missing);
        let decision = decide(&policy, &observation, &memory, NOW);
        if decision.desired_replicas < decision.current_replicas {
            prop_assert_eq!(decision.path, Path::AboveMaximum);
        }
    }

    #[test]
    fn a_decision_takes_no_more_than_the_largest_step(
        policy in any_policy(),
        observation in any_observation(proptest::collection::vec(any_reading(), 0..3)),
        memory in any_memory(),
        step in 1..10_i32,
    ) {
        let policy = Policy { largest_step: Some(step), ..policy };
        let decision = decide(&policy, &observation, &memory, NOW);
        if decision.path == Path::Metrics {
            let change = decision.desired_replicas.abs_diff(decision.current_replicas);
            // Awake again, it is outside of the bounds.
            let wakes = decision.current_replicas == 0 && decision.desired_replicas == decision.bounds.min();
            prop_assert!(change <= step.unsigned_abs() || wakes, "{decision:?}");
        }
    }

    #[test]
    fn more_load_never_gives_fewer_replicas(
        behavior in proptest::option::of((rules(), rules())),
        tolerances in (a_users_tolerance(), a_users_tolerance()),
        value: bool,
        target in 1..i64::MAX,
        (less, more) in (0..i64::MAX, 0..i64::MAX),
        spec in 0..40_i32,
        (min, max) in (0..20_i32, 1..40_i32),
        tolerance in 0.0..2.0_f64,
        memory in any_memory(),
        extra in beyond(Policy::new(Bounds::new(0, 0), Vec::new())),
        activation in prop_oneof![Just(0), any::<i64>()],
        distrust in proptest::option::of(Just(Distrust::ShortHistory("a minute".to_owned()))),
    ) {
        let target = if value { Target::Value(target) } else { Target::AverageValue(target) };
        let mut policy = Policy {
            tolerance,
            bounds: Bounds::new(min, max),
            metrics: vec![Metric { activation, ..metric(Source::Prometheus, target) }],
            ..extra
        };
        policy.behavior = behavior.map(|(up, down)| Behavior {
            scale_up: Rules { tolerance: tolerances.0, ..up },
            scale_down: Rules { tolerance: tolerances.1, ..down },
        });
        let of = |load: i64| {
            let observation = Observation { distrust: distrust.clone(), ..seen(spec, vec![Reading::Series(vec![load])]) };
            decide(&policy, &observation, &memory, NOW).desired_replicas
        };
        let (less, more) = (less.min(more), less.max(more));
        prop_assert!(of(less) <= of(more), "{} at {less}, {} at {more}", of(less), of(more));
    }

    #[test]
    fn more_usage_of_ready_pods_never_gives_fewer_replicas(
        percent in 1..200_i32,
        usages in proptest::collection::vec((0..1_000_000_i64, 0..1_000_000_i64), 1..8),
        tolerance in 0.0..0.9_f64,
        tolerances in (a_users_tolerance(), a_users_tolerance()),
        utilization: bool,
    ) {
        let target = if utilization { Target::Utilization(percent) } else { Target::AverageValue(percent.into()) };
        let source = Source::Resource { resource: "cpu".to_owned() };
        let with = |tolerance| Rules { tolerance, stabilization_window_s: Some(0), ..Rules::default() };
        let behavior = Behavior { scale_up: with(tolerances.0), scale_down: with(tolerances.1) };
        let policy = Policy {
            tolerance,
            behavior: Some(behavior),
            ..Policy::new(Bounds::new(1, 1000), vec![metric(source, target)])
        };
        let names: Vec<String> = (0..usages.len()).map(|place| format!("pod-{place}")).collect();
        let of = |usage: &dyn Fn(&(i64, i64)) -> i64| {
            let values: Vec<_> = names.iter().map(String::as_str).zip(usages.iter().map(usage)).collect();
            let replicas = i32::try_from(usages.len()).expect("few");
            decide(&policy, &seen(replicas, vec![samples(&values)]), &Memory::default(), NOW).desired_replicas
        };
        prop_assert!(of(&|(a, b)| *a.min(b)) <= of(&|(a, b)| *a.max(b)));
    }
}
