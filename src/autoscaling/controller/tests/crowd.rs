//! Who is held when many begin to want fewer replicas.

use rstest::rstest;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn after(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn look(wants: Wants, interval: i64) -> Look {
    Look { wants, in_vain: false, interval: SignedDuration::from_secs(interval) }
}

/// So many objects, of which the first `fewer` want fewer replicas; how many of those are believed.
fn tick(crowd: &Crowd, objects: usize, fewer: usize, second: i64) -> usize {
    tick_with(crowd, objects, fewer, Wants::FewerNow, second)
}

fn tick_with(crowd: &Crowd, objects: usize, fewer: usize, how: Wants, second: i64) -> usize {
    let believed = |place: usize| {
        let key = Key::new("demo", &format!("w-{place}"));
        let wants = if place < fewer { how } else { Wants::NoFewer };
        crowd.note(&key, &["http://prometheus"], look(wants, 15), after(second)).is_none()
    };
    // All of them are looked at, whatever the first ones want.
    let all: Vec<bool> = (0..objects).map(believed).collect();
    all.into_iter().take(fewer).filter(|believed| *believed).count()
}

#[test]
fn when_most_begin_to_shrink_at_once_it_is_held_and_after_a_while_believed() {
    let crowd = Crowd::new(0.5);
    assert_eq!(tick(&crowd, 20, 0, 0), 0);
    // The first half goes unnoticed.
    assert_eq!(tick(&crowd, 20, 20, 15), 10);
    assert_eq!(tick(&crowd, 20, 20, 30), 0);
    assert_eq!(tick(&crowd, 20, 20, 300), 0);
    assert_eq!(tick(&crowd, 20, 20, 316), 20);
}

#[test]
fn the_hold_begins_when_the_window_is_over() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    for second in (15..315).step_by(15) {
        tick_with(&crowd, 20, 20, Wants::Fewer, second);
    }
    // Nothing was scaled down before it was known, so none goes unnoticed.
    assert_eq!(tick(&crowd, 20, 20, 315), 0);
    assert_eq!(tick(&crowd, 20, 20, 600), 0);
    assert_eq!(tick(&crowd, 20, 20, 615), 20);
}

#[test]
fn what_comes_back_within_the_window_is_forgiven() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    tick_with(&crowd, 20, 20, Wants::Fewer, 15);
    tick(&crowd, 20, 0, 60);
    for fewer in 1..=5 {
        assert_eq!(tick(&crowd, 20, fewer, 316 + i64::try_from(fewer).expect("few") * 31), fewer);
    }
}

#[test]
fn a_new_lead_begins_without_suspicion() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    tick(&crowd, 20, 20, 15);
    crowd.clear();
    assert_eq!(tick(&crowd, 20, 1, 30), 1);
}

#[test]
fn what_comes_back_meanwhile_was_a_mistake() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    tick(&crowd, 20, 20, 15);
    tick(&crowd, 20, 0, 60);
    // One that really shrinks is held as long as the others.
    assert_eq!((tick(&crowd, 20, 1, 75), tick(&crowd, 20, 1, 330)), (0, 1));
}

#[test]
fn load_that_ebbs_away_is_believed() {
    let crowd = Crowd::new(0.5);
    for (step, fewer) in (0..=20).enumerate() {
        let second = i64::try_from(step).expect("few") * 15;
        assert_eq!(tick(&crowd, 20, fewer, second), fewer);
    }
}

#[test]
fn a_few_objects_are_no_crowd_and_those_that_are_gone_do_not_count() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 9, 0, 0);
    assert_eq!(tick(&crowd, 9, 9, 15), 9);
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    for place in 5..20 {
        crowd.forget(&Key::new("demo", &format!("w-{place}")));
    }
    assert_eq!(tick(&crowd, 5, 5, 15), 5);
}

/// Most are fed by something else now, and the server before loses what it had.
#[rstest]
#[case::another(&["http://a"], &["http://b"])]
#[case::one_of_two(&["http://a", "http://b"], &["http://b"])]
fn who_gets_another_source_does_not_count_for_the_one_before(#[case] before: &[&str], #[case] after_it: &[&str]) {
    let crowd = Crowd::new(0.5);
    let key = |place: usize| Key::new("demo", &format!("w-{place}"));
    for place in 0..100 {
        crowd.note(&key(place), before, look(Wants::NoFewer, 15), after(0));
    }
    for place in 15..100 {
        crowd.note(&key(place), after_it, look(Wants::NoFewer, 15), after(15));
    }
    let believed = |place: usize| crowd.note(&key(place), before, look(Wants::FewerNow, 15), after(30)).is_none();
    assert_eq!((0..15).filter(|place| believed(*place)).count(), 7, "the first half goes unnoticed");
    for place in 0..15 {
        crowd.note(&key(place), after_it, look(Wants::NoFewer, 15), after(45));
    }
    assert_eq!(crowd.sources.lock().expect("a lock").keys().collect::<Vec<_>>(), after_it);
}

#[test]
fn a_share_of_one_switches_it_off() {
    let crowd = Crowd::new(1.0);
    tick(&crowd, 20, 0, 0);
    assert_eq!(tick(&crowd, 20, 20, 15), 20);
}

#[test]
fn one_source_does_not_speak_for_another() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    tick(&crowd, 20, 20, 15);
    let key = Key::new("demo", "other");
    assert_eq!(crowd.note(&key, &["metrics.k8s.io"], look(Wants::FewerNow, 15), after(16)), None);
}

/// Looks at one object; whether it is believed.
fn note(crowd: &Crowd, name: String, look: Look, second: i64) -> bool {
    let key = Key::new("demo", &name);
    crowd.note(&key, &["http://prometheus"], look, after(second)).is_none()
}

/// Each is looked at at a phase of its own, so that it takes a whole interval until all have been.
#[rstest]
#[case::every_minute(60)]
#[case::every_two_minutes(120)]
#[case::every_five_minutes(300)]
fn those_that_are_looked_at_seldom_have_an_interval_to_begin_at_once(#[case] interval: i64) {
    let crowd = Crowd::new(0.5);
    let round = |wants: Wants, start: i64| {
        let believed =
            |place: i64| note(&crowd, format!("w-{place}"), look(wants, interval), start + place * interval / 20);
        (0..20).map(believed).filter(|believed| *believed).count()
    };
    assert_eq!(round(Wants::NoFewer, 0), 20);
    assert_eq!(round(Wants::FewerNow, interval), 10, "the first half goes unnoticed");
    assert_eq!(round(Wants::FewerNow, 2 * interval + HOLD.as_secs()), 20);
}

#[test]
fn slow_ones_and_fast_ones_begin_at_once_when_there_is_a_moment_for_all_of_them() {
    let crowd = Crowd::new(0.5);
    for (name, count, interval) in [("fast", 8, 15), ("slow", 12, 300)] {
        for place in 0..count {
            note(&crowd, format!("{name}-{place}"), look(Wants::NoFewer, interval), 0);
        }
    }
    for place in 0..8 {
        assert!(note(&crowd, format!("fast-{place}"), look(Wants::FewerNow, 15), 15));
    }
    // A minute later the wishes of the fast ones are old, and may still have begun in the same moment.
    let believed = [(0, 25), (1, 50), (2, 75), (3, 100)]
        .map(|(place, second)| note(&crowd, format!("slow-{place}"), look(Wants::FewerNow, 300), second));
    assert_eq!(believed, [true, true, false, false]);
}

/// Load that ebbs away over a quarter of an hour, beside one that is looked at every five minutes.
#[test]
fn one_that_is_looked_at_seldom_does_not_make_a_crowd_of_all_others() {
    let crowd = Crowd::new(0.5);
    tick(&crowd, 20, 0, 0);
    note(&crowd, "seldom".to_owned(), look(Wants::NoFewer, 300), 0);
    for (step, fewer) in (0..=20).enumerate() {
        let second = i64::try_from(step).expect("few") * 45;
        assert_eq!(tick(&crowd, 20, fewer, second), fewer);
        if second % 315 == 0 {
            let wants = if second < 630 { Wants::NoFewer } else { Wants::FewerNow };
            assert!(note(&crowd, "seldom".to_owned(), look(wants, 300), second));
        }
    }
}

/// Their wishes last for ever, since nobody carries them out.
#[test]
fn old_wishes_in_vain_do_not_make_the_share_of_the_others_smaller() {
    let crowd = Crowd::new(0.5);
    let vain = |second: i64| {
        for place in 0..30 {
            let look = Look { in_vain: true, ..look(Wants::FewerNow, 15) };
            note(&crowd, format!("vain-{place}"), look, second);
        }
    };
    tick(&crowd, 12, 0, 0);
    vain(0);
    tick(&crowd, 12, 0, 600);
    vain(600);
    assert_eq!(tick(&crowd, 12, 12, 615), 6);
}

#[test]
fn a_wish_in_vain_says_as_much_as_another_when_it_begins() {
    let crowd = Crowd::new(0.5);
    let all = |wants: Wants, second: i64| {
        for place in 0..15 {
            note(&crowd, format!("vain-{place}"), Look { in_vain: true, ..look(wants, 15) }, second);
        }
    };
    tick(&crowd, 5, 0, 0);
    all(Wants::NoFewer, 0);
    all(Wants::FewerNow, 15);
    assert_eq!(tick(&crowd, 5, 5, 15), 0);
}
