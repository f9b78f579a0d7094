use jiff::SignedDuration;
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const SERVER: &str = "http://prometheus";

fn key() -> Key {
    Key::new("demo", "w")
}

fn kept(_: &Autoscaler) -> Kept {
    Kept::default()
}

fn object(uid: &str, generation: i64) -> Autoscaler {
    let object = json!({
        "apiVersion": "scalekit.dev/v1alpha1",
        "kind": "Autoscaler",
        "metadata": {"name": "w", "namespace": "demo", "uid": uid, "generation": generation},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"},
            "maxReplicas": 5,
            "metrics": [],
        },
    });
    serde_json::from_value(object).expect("an Autoscaler")
}

fn after(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

/// A new object, looked at once.
fn looked_at_once() -> Schedule {
    let mut schedule = Schedule::default();
    schedule.seen(key(), object("1", 1), SERVER, NOW, kept);
    let due = schedule.take_due(NOW).expect("a new object is looked at at once");
    schedule.looked_at(&due, Kept::default(), None, NOW);
    schedule
}

#[test]
fn an_object_comes_again_at_its_next_tick() {
    let mut schedule = looked_at_once();
    let next = schedule.next().expect("a next time");
    assert!(next > NOW && next <= after(15), "{next}");
    assert!(schedule.take_due(NOW).is_none());
    assert_eq!(schedule.take_due(next).map(|due| due.at), Some(next));
}

#[test]
fn what_is_there_at_the_start_is_spread_over_an_interval() {
    let mut schedule = Schedule::default();
    schedule.list_begins();
    for place in 0..100 {
        let key = Key::new("demo", &format!("w-{place}"));
        schedule.seen(key, object("1", 1), SERVER, NOW, kept);
    }
    assert_eq!(schedule.list_ends(), []);
    let due = [0, 5, 10, 15].map(|second| std::iter::from_fn(|| schedule.take_due(after(second))).count());
    assert_eq!((due[0], due.iter().sum::<usize>()), (0, 100), "{due:?}");
    assert!(due[1..].iter().all(|count| (20..=50).contains(count)), "{due:?}");
}

/// A new object that asks these servers.
fn asks(schedule: &mut Schedule, name: String, servers: &[&str]) {
    let mut object = object("1", 1);
    let metric = |server: &&str| {
        json!({"type": "Prometheus", "prometheus": {"name": "m", "query": "q", "serverAddress": server,
            "target": {"type": "AverageValue", "averageValue": "10"}}})
    };
    object.spec.metrics = servers.iter().map(|it| serde_json::from_value(metric(it)).expect("a metric")).collect();
    schedule.seen(Key::new("demo", &name), object, SERVER, NOW, kept);
}

fn take_all(schedule: &mut Schedule) -> Vec<Due> {
    std::iter::from_fn(|| schedule.take_due(NOW)).collect()
}

fn of(looks: &[Due], letter: char) -> usize {
    looks.iter().filter(|due| due.key.name.starts_with(letter)).count()
}

#[test]
fn a_server_that_does_not_answer_leaves_looks_to_all_others() {
    let mut schedule = Schedule::default();
    (0..MOST_OF_ONE_SERVER + 180).for_each(|place| asks(&mut schedule, format!("a-{place:03}"), &["http://hangs"]));
    (0..10).for_each(|place| asks(&mut schedule, format!("b-{place}"), &["http://answers"]));
    let mut looks = take_all(&mut schedule);
    assert_eq!((of(&looks, 'a'), of(&looks, 'b')), (MOST_OF_ONE_SERVER, 10));
    // Each that ends makes room for one more; one that is gone meanwhile takes no place.
    schedule.remove(&Key::new("demo", &format!("a-{MOST_OF_ONE_SERVER:03}")));
    let mut looked_at = 0;
    while let Some(due) = looks.pop() {
        schedule.looked_at(&due, Kept::default(), None, NOW);
        looked_at += 1;
        looks.extend(take_all(&mut schedule));
        assert!(of(&looks, 'a') <= MOST_OF_ONE_SERVER);
    }
    assert_eq!((looked_at, schedule.lanes.len()), (MOST_OF_ONE_SERVER + 189, 0), "each once");
}

#[test]
fn the_default_server_is_the_same_whether_it_is_named_or_not_and_who_is_paused_waits_for_none() {
    let mut schedule = Schedule::default();
    (0..MOST_OF_ONE_SERVER).for_each(|place| asks(&mut schedule, format!("a-{place}"), &[SERVER]));
    let mut unnamed = object("1", 1);
    let metric = json!({"type": "Prometheus", "prometheus": {"name": "m", "query": "q",
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    unnamed.spec.metrics = vec![serde_json::from_value(metric).expect("a metric")];
    let mut paused = unnamed.clone();
    paused.spec.mode = ModeSpec::Paused;
    schedule.seen(Key::new("demo", "unnamed"), unnamed, SERVER, NOW, kept);
    schedule.seen(Key::new("demo", "paused"), paused, SERVER, NOW, kept);
    let looks = take_all(&mut schedule);
    assert_eq!((of(&looks, 'a'), of(&looks, 'u'), of(&looks, 'p')), (MOST_OF_ONE_SERVER, 0, 1));
}

#[test]
fn a_metrics_api_that_does_not_answer_leaves_requests_to_all_else() {
    let mut schedule = Schedule::default();
    for place in 0..=MOST_OF_ONE_METRICS_API {
        let mut object = object("1", 1);
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 60}}});
        object.spec.metrics = vec![serde_json::from_value(cpu).expect("a metric")];
        schedule.seen(Key::new("demo", &format!("c-{place}")), object, SERVER, NOW, kept);
    }
    assert_eq!(take_all(&mut schedule).len(), MOST_OF_ONE_METRICS_API);
}

#[test]
fn who_waits_for_two_servers_keeps_no_place_of_the_one_free() {
    // The one that has room again is the first that is looked at.
    let (slow, hangs) = ("http://a-slow", "http://b-hangs");
    let mut schedule = Schedule::default();
    for place in 0..MOST_OF_ONE_SERVER {
        asks(&mut schedule, format!("a-{place}"), &[slow]);
        asks(&mut schedule, format!("b-{place}"), &[hangs]);
    }
    let looks = take_all(&mut schedule);
    // More than there are looks to end.
    (0..=MOST_OF_ONE_SERVER).for_each(|place| asks(&mut schedule, format!("c-{place}"), &[slow, hangs]));
    asks(&mut schedule, "d".to_owned(), &[slow]);
    assert_eq!(take_all(&mut schedule).len(), 0);
    for due in looks.iter().filter(|due| due.key.name.starts_with('a')) {
        schedule.looked_at(due, Kept::default(), None, NOW);
    }
    let names: Vec<_> = take_all(&mut schedule).into_iter().map(|due| due.key.name).collect();
    assert_eq!(names, ["d".into()]);
}

#[test]
fn a_status_that_was_written_does_not_bring_it_forward_and_a_spec_does() {
    let mut schedule = looked_at_once();
    schedule.seen(key(), object("1", 1), SERVER, NOW, kept);
    assert!(schedule.take_due(NOW).is_none());
    schedule.seen(key(), object("1", 2), SERVER, NOW, kept);
    assert!(schedule.take_due(NOW).is_some());
}

#[test]
fn nobody_looks_at_an_object_twice_at_the_same_time() {
    let mut schedule = looked_at_once();
    schedule.seen(key(), object("1", 2), SERVER, after(1), kept);
    let due = schedule.take_due(after(1)).expect("its spec has changed");
    schedule.seen(key(), object("1", 3), SERVER, after(2), kept);
    assert!(schedule.take_due(after(2)).is_none(), "somebody still looks");
    schedule.looked_at(&due, Kept::default(), None, after(3));
    let again = schedule.take_due(after(3)).expect("its spec has changed meanwhile");
    assert_eq!(again.object.metadata.generation, Some(3));
}

#[test]
fn what_a_list_does_not_hold_is_gone() {
    let mut schedule = looked_at_once();
    schedule.list_begins();
    assert_eq!(schedule.list_ends(), [key()]);
    assert!(schedule.take_due(after(60)).is_none());
}

#[test]
fn an_object_made_anew_keeps_nothing_of_the_one_before() {
    let mut schedule = looked_at_once();
    schedule.seen(key(), object("1", 2), SERVER, after(1), kept);
    let due = schedule.take_due(after(1)).expect("its spec has changed");
    schedule.seen(key(), object("2", 1), SERVER, after(2), kept);
    let kept = Kept { target_uid: Some("of the first".to_owned()), ..Kept::default() };
    schedule.looked_at(&due, kept, None, after(3));
    let due = schedule.take_due(after(3)).expect("the second is new");
    assert_eq!((due.object.metadata.uid.as_deref(), due.kept.target_uid), (Some("2"), None));
}

#[test]
fn waking_up_is_before_the_next_tick_and_never_after() {
    for (wake, expected) in [(after(-5), NOW), (after(3600), after(15))] {
        let mut schedule = Schedule::default();
        schedule.seen(key(), object("1", 1), SERVER, NOW, kept);
        let due = schedule.take_due(NOW).expect("it is new");
        schedule.looked_at(&due, Kept::default(), Some(wake), NOW);
        assert!(schedule.next().is_some_and(|next| next <= expected));
    }
}
