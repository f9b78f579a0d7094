//! How many requests a run makes, and how many at once.

use std::{
    cell::Cell,
    fs,
    time::{Duration, Instant},
};

use http::Version;
use serde_json::Value;

use crate::{
    proxy::Plan,
    world::{Ended, LIMIT, World, answered, finished},
};

/// For so long nothing more is logged when all is.
const QUIET: Duration = Duration::from_secs(2);

/// What the API server has logged of what people asked, from this byte on. The cluster's own programs ask all the time.
fn logged(world: &World, from: usize) -> Vec<String> {
    let log = fs::read(world.state().join("log/audit.log")).expect("the API server logs");
    let new = String::from_utf8_lossy(&log[from..]).into_owned();
    let events = new.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let asked = events.filter(|event| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        event["stage"] == "ResponseComplete" && !user.starts_with("system:")
    });
    let words = |event: Value| {
        ["verb", "requestURI"].map(|field| event[field].as_str().unwrap_or_default().to_owned()).join(" ")
    };
    asked.map(words).collect()
}

/// How long the log is when nothing more comes of what was asked before: the last of it, such as a renewal of the lock that
/// was given up, may be logged behind the end of its run.
async fn mark(world: &World) -> usize {
    let length = || usize::try_from(fs::metadata(world.state().join("log/audit.log")).unwrap().len()).unwrap();
    let (from, began) = (length(), Instant::now());
    let (mut count, mut since) = (0, began);
    while since.elapsed() < QUIET {
        assert!(began.elapsed() < LIMIT, "somebody asks all the time: {:#?}", logged(world, from));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = logged(world, from).len();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    length()
}

/// Runs it to the end, which has to have this exit code, and gives what the API server has logged of it, as many requests as
/// are told. With watches that would be a guess: when it has ended, all of them have to have.
async fn asked(world: &World, arguments: &[&str], code: i32) -> Vec<String> {
    let arguments = [arguments, &["--events", "ndjson"]].concat();
    let from = Cell::new(0);
    let ended = answered(async || {
        from.set(mark(world).await);
        world.once(Plan::default(), &arguments).await
    })
    .await;
    let Ended::Exited(found, words) = ended else { panic!("{ended:?}") };
    assert_eq!(found, code, "{words}");
    let events = words.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told: Vec<u64> =
        events.filter(|event| event["event"] == "requests").filter_map(|event| event["count"].as_u64()).collect();
    let [told] = told[..] else { panic!("it is told once: {words}") };
    let told = usize::try_from(told).unwrap();
    // The log may be a moment behind the answer.
    let began = Instant::now();
    while logged(world, from.get()).len() < told && began.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let logged = logged(world, from.get());
    assert_eq!(logged.len(), told, "{logged:#?}");
    logged
}

pub async fn as_many_requests_are_told_as_the_api_server_logs(world: &World) {
    world.runs(&World::up("in-asked")).await;
    let asked = asked(world, &World::up("in-asked"), 0).await;
    assert!((1..=20).contains(&asked.len()), "{asked:#?}");
    assert_eq!(world.proxy.writes(), 0);
}

/// What is more than a look, a dry run or a review of rights.
fn writes(asked: &[String]) -> Vec<&String> {
    let reads = |asked: &&String| {
        let (verb, path) = asked.split_once(' ').expect("a verb and a path");
        ["get", "list", "watch"].contains(&verb)
            || path.contains("dryRun=All")
            || (verb == "create" && path.contains("accessreviews"))
    };
    asked.iter().filter(|asked| !reads(asked)).collect()
}

/// Of what is installed, with and without a change: some objects would be others, and some would go.
pub async fn what_is_asked_to_plan_a_change_writes_nothing(world: &World) {
    let receiver = world.state().join("receiver");
    fs::write(&receiver, "https://hooks.example.org/services/x\n").unwrap();
    let with_receiver = ["--slack-webhook-file", receiver.to_str().unwrap()];
    world.runs(&[&World::up("in-planned")[..], &with_receiver].concat()).await;
    let plan = ["plan", "-n", "in-planned", "--image", "scaler=example.org/scalekit:1"];
    let unchanged = asked(world, &[&plan[..], &with_receiver].concat(), 0).await;
    assert_eq!(writes(&unchanged), Vec::<&String>::new());
    let change = ["--scrape-interval", "30s"];
    let changed = asked(world, &[&plan[..], &change].concat(), 10).await;
    assert_eq!(writes(&changed), Vec::<&String>::new());
    assert!(changed.iter().any(|asked| asked.contains("dryRun=All")), "{changed:#?}");

    // In the same log the real one is seen to write.
    let from = mark(world).await;
    world.runs(&[&World::up("in-planned")[..], &change].concat()).await;
    mark(world).await;
    let written = logged(world, from);
    for verb in ["create ", "patch ", "delete "] {
        assert!(writes(&written).iter().any(|asked| asked.starts_with(verb)), "{verb}: {written:#?}");
    }
}

pub async fn up_to_sixteen_writes_are_in_flight(world: &World) {
    // Long enough for all to meet that are sent at once.
    let slow = Plan { pause: Duration::from_secs(2), ..Plan::default() };
    let ended = world.run(slow, &World::up("in-flight")).await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    let most = world.proxy.most_in_flight();
    println!("{most} writes at once");
    // More than that may go as soon as the namespace is there, and nothing but the lock is written beside them.
    assert_eq!(most, 16);
}

/// As a run goes to every API server, and so do those of the other steps; and over as many as it takes.
pub async fn a_run_shares_one_connection_but_where_there_is_no_tls(world: &World) {
    let up = World::up("in-shared");
    let ended = answered(async || {
        world.proxy.follow(Plan::default());
        let run = world.command(world.binary()).args(world.plainly_through_the_proxy()).args(&up).spawn();
        finished(run.unwrap()).await
    })
    .await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    let connections = world.proxy.connections();
    assert!(connections > 1 && world.proxy.spoken() == [Version::HTTP_11], "{connections}, {:?}", world.proxy.spoken());

    world.runs(&up).await;
    assert_eq!(world.proxy.writes(), 0, "it was not finished");
    assert_eq!((world.proxy.connections(), world.proxy.spoken()), (1, vec![Version::HTTP_2]));
}
