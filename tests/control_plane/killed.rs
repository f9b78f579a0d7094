//! Death at a write.

use std::{collections::BTreeMap, fs};

use crate::{
    proxy::Plan,
    seed, soak,
    upgrade::unnumbered,
    world::{Ended, World},
};

/// How many kill points a quick run tries: the first ones, where little is on record, and some of the others.
const SAMPLE: usize = 4;

/// The kill points to try, of so many writes.
fn points(writes: usize) -> Vec<usize> {
    if soak() || writes <= SAMPLE {
        return (1..=writes).collect();
    }
    let mut random = fastrand::Rng::with_seed(seed());
    let mut points = vec![1, 2, writes];
    while points.len() < SAMPLE {
        let point = random.usize(3..writes);
        if !points.contains(&point) {
            points.push(point);
        }
    }
    points.sort_unstable();
    points
}

/// The same of a removal, where each costs the 5 s of the namespace controller: one in the middle, and the last write,
/// after which nothing is there that would tell of it.
fn points_of_a_removal(writes: usize) -> Vec<usize> {
    if soak() { points(writes) } else { vec![fastrand::Rng::with_seed(seed()).usize(2..writes), writes] }
}

/// A kill point a round, where the order of the writes is another one each time.
fn drawn(writes: usize, rounds: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed());
    (0..rounds).map(|_| random.usize(1..writes)).collect()
}

/// Compares what is there with what should be, object by object.
#[track_caller]
pub fn same(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>, when: &str) {
    let missing: Vec<&String> = expected.keys().filter(|name| !found.contains_key(*name)).collect();
    let more: Vec<&String> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    assert!(missing.is_empty() && more.is_empty(), "{when}: missing {missing:?}, too many {more:?}");
    for (name, text) in expected {
        assert_eq!(&found[name], text, "{when}: {name}");
    }
}

/// An undisturbed installation: what it leaves, and by how many writes.
async fn reference(world: &World) -> (BTreeMap<String, String>, usize) {
    world.runs(&World::up("in-reference")).await;
    let writes = world.proxy.writes();
    let expected = world.everything("in-reference").await;
    assert!(expected.len() > 35, "{:?}", expected.keys());
    world.clear().await;
    (expected, writes)
}

pub async fn an_installation_killed_at_any_write_is_finished_by_the_next_run(world: &World) {
    let (expected, writes) = reference(world).await;
    let points = points(writes);
    for &point in &points {
        let namespace = format!("in-up{point}");
        let plan = Plan { kill_at: Some(point), one_at_a_time: true, ..Plan::default() };
        let ended = world.run(plan, &World::up(&namespace)).await;
        assert!(matches!(ended, Ended::Killed), "write {point} of {writes}: {ended:?}");
        world.runs(&World::up(&namespace)).await;
        same(&world.everything(&namespace).await, &expected, &format!("after a death at write {point}"));
        // And what is finished is finished.
        world.runs(&World::up(&namespace)).await;
        assert_eq!(world.proxy.writes(), 0, "after a death at write {point} the third run wrote");
        world.clear().await;
    }
    println!("{} of {writes} kill points: {points:?}", points.len());
}

pub async fn an_installation_killed_with_sixteen_writes_in_flight_is_finished_by_the_next_run(world: &World) {
    let (expected, writes) = reference(world).await;
    for (round, point) in drawn(writes, if soak() { 25 } else { 2 }).into_iter().enumerate() {
        let namespace = format!("in-wide{round}");
        let ended = world.run(Plan { kill_at: Some(point), ..Plan::default() }, &World::up(&namespace)).await;
        assert!(matches!(ended, Ended::Killed), "write {point} of {writes}: {ended:?}");
        world.runs(&World::up(&namespace)).await;
        same(&world.everything(&namespace).await, &expected, &format!("seed {}, round {round}", seed()));
        world.clear().await;
    }
}

/// With an Alertmanager, which the update leaves out; and with other settings of what stays.
pub async fn an_update_killed_at_any_write_is_finished_by_the_next_run(world: &World) {
    let receiver = world.state().join("receiver");
    fs::write(&receiver, "https://hooks.example.org/services/x\n").unwrap();
    let more = |namespace| [&World::up(namespace)[..], &["--slack-webhook-file", receiver.to_str().unwrap()]].concat();
    let less = |namespace| [&World::up(namespace)[..], &["--scrape-interval", "30s"]].concat();
    world.runs(&more("in-reference")).await;
    let before = world.everything("in-reference").await;
    world.runs(&less("in-reference")).await;
    let writes = world.proxy.writes();
    let expected = unnumbered(world.everything("in-reference").await);
    let gone: Vec<&String> = before.keys().filter(|name| !expected.contains_key(*name)).collect();
    let changed = expected.keys().filter(|name| before.get(*name) != expected.get(*name));
    assert!(gone.len() > 2 && changed.count() > 2, "{gone:?}");
    world.clear().await;

    let points = points(writes);
    for &point in &points {
        world.runs(&more("in-next")).await;
        let plan = Plan { kill_at: Some(point), one_at_a_time: true, ..Plan::default() };
        let ended = world.run(plan, &less("in-next")).await;
        assert!(matches!(ended, Ended::Killed), "write {point} of {writes}: {ended:?}");
        world.runs(&less("in-next")).await;
        let when = format!("after a death at write {point} of {writes}");
        same(&unnumbered(world.everything("in-next").await), &expected, &when);
        world.runs(&less("in-next")).await;
        assert_eq!(world.proxy.writes(), 0, "{when} the third run wrote");
    }
    println!("{} of {writes} kill points: {points:?}", points.len());
}

async fn removal(world: &World, data: &str, one_at_a_time: bool, points: impl Fn(usize) -> Vec<usize>) {
    let down = ["down", data, "--yes", "--timeout", "400s"];
    // A removal looks at everything with our label, so nothing of an earlier step may still be on its way out.
    world.settled().await;
    world.runs(&World::up("in-gone")).await;
    world.runs(&down).await;
    let writes = world.proxy.writes();
    let expected = world.everything("in-gone").await;
    assert_eq!(expected.is_empty(), data == "--purge-data", "{:?}", expected.keys());
    let points = points(writes);
    for &point in &points {
        world.runs(&World::up("in-gone")).await;
        let plan = Plan { kill_at: Some(point), one_at_a_time, ..Plan::default() };
        let ended = world.run(plan, &down).await;
        assert!(matches!(ended, Ended::Killed), "write {point} of {writes}: {ended:?}");
        let words = world.runs(&down).await;
        let when = format!("seed {}, after a death at write {point} of {writes}", seed());
        same(&world.everything("in-gone").await, &expected, &when);
        assert!(words.contains("nothing left") || words.contains("not installed"), "{words}");
    }
    println!("{} of {writes} kill points: {points:?}", points.len());
    world.clear().await;
    world.settled().await;
}

pub async fn a_removal_killed_at_any_write_is_finished_by_the_next_run(world: &World) {
    removal(world, "--purge-data", true, points_of_a_removal).await;
}

pub async fn a_removal_killed_with_sixteen_writes_in_flight_is_finished_by_the_next_run(world: &World) {
    removal(world, "--purge-data", false, |writes| drawn(writes, if soak() { 10 } else { 1 })).await;
}

pub async fn a_removal_that_keeps_data_killed_at_any_write_is_finished_by_the_next_run(world: &World) {
    removal(world, "--keep-data", true, points_of_a_removal).await;
}
