//! How many requests a run makes, and how many at once.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    proxy::Plan,
    world::{Ended, World},
};

/// What the API server has logged of what people asked, from this byte on. The cluster's own programs ask all the time.
fn logged(world: &World, from: usize) -> Vec<String> {
    let log = fs::read(world.state().join("log/audit.log")).expect("the API server logs");
    let new = String::from_utf8_lossy(&log[from..]).into_owned();
    let events = new.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let asked = events.filter(|event| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        event["stage"] == "ResponseComplete" && !user.starts_with("system:")
    });
    asked.map(|event| format!("{} {}", event["verb"], event["requestURI"])).collect()
}

/// Of a run that finds nothing to do, where all requests have ended when it has: with watches it would be a guess.
pub async fn as_many_requests_are_told_as_the_api_server_logs(world: &World) {
    world.runs(&World::up("in-asked")).await;
    let mark = fs::metadata(world.state().join("log/audit.log")).unwrap().len().try_into().unwrap();
    let words = world.runs(&[&World::up("in-asked")[..], &["--events", "ndjson"]].concat()).await;
    let events = words.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<u64> =
        events.filter(|event| event["event"] == "requests").filter_map(|event| event["count"].as_u64()).collect();
    let [told] = told[..] else { panic!("it is told once: {words}") };
    let told = usize::try_from(told).unwrap();
    assert!((1..=20).contains(&told), "{told}: {words}");
    // The log may be a moment behind the answer.
    let began = Instant::now();
    while logged(world, mark).len() < told && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let logged = logged(world, mark);
    assert_eq!(logged.len(), told, "{logged:#?}");
    assert_eq!(world.proxy.writes(), 0);
}

pub async fn up_to_sixteen_writes_are_in_flight(world: &World) {
    // Long enough for all to meet that are sent at once.
    let slow = Plan { pause: Duration::from_millis(300), ..Plan::default() };
    let ended = world.run(slow, &World::up("in-flight")).await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    let most = world.proxy.most_in_flight();
    println!("{most} writes at once");
    // More than that may go as soon as the namespace is there, and nothing but the lock is written beside them.
    assert_eq!(most, 16);
}
