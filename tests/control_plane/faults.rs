//! Interruptions, an API server that is away, and one that stumbles.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::{
    api_server,
    killed::same,
    proxy::Plan,
    seed, soak,
    world::{Ended, LIMIT, World, finished, signal},
};

const AWAY: Duration = Duration::from_secs(20);

/// How long a run that is told to end tries to give back its lock.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);

/// Interrupts a run in the middle of its writes. Whether it gave its lock back, as it must where it took no longer than it may
/// try to.
async fn gives_its_lock_back(world: &World, arguments: &[&str], after: usize, namespace: &str) -> bool {
    let held = Plan { hold_after: Some(after), ..Plan::default() };
    let run = world.begun(held, arguments, after).await;
    let began = Instant::now();
    signal(&run, "INT");
    let Ended::Exited(code, words) = finished(run).await else { unreachable!("nobody killed it") };
    let took = began.elapsed();
    assert_eq!(code, 130, "{words}");
    assert!(words.contains("the next run goes on from here"), "{words}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), namespace);
    let given_back = leases.get_opt("scalekit-lock").await.unwrap().is_none();
    assert!(given_back || took >= LETS_GO_WITHIN, "the lock was not given back in {took:?}");
    given_back
}

pub async fn an_interrupted_run_says_so_and_the_next_one_goes_on(world: &World) {
    world.runs(&World::up("in-whole")).await;
    let expected = world.everything("in-whole").await;
    world.clear().await;

    // On a machine that does much else a second may be too short once.
    let mut namespaces = ["in-broken", "in-pieces", "in-shards"].into_iter();
    let namespace = loop {
        let namespace = namespaces.next().expect("the lock was not given back");
        if gives_its_lock_back(world, &World::up(namespace), 10, namespace).await {
            break namespace;
        }
        world.clear().await;
    };
    let words = world.runs(&World::up(namespace)).await;
    assert!(words.contains("going on where a run of scalekit"), "{words}");
    same(&world.everything(namespace).await, &expected, "after an interruption");
    let words = world.runs(&World::up(namespace)).await;
    assert!(!words.contains("going on"), "{words}");
}

/// Whether or not it gave its lock back: of a process that is gone it is taken over at once.
pub async fn an_interrupted_removal_says_so_and_the_next_one_goes_on(world: &World) {
    world.settled().await;
    world.runs(&World::up("in-undone")).await;
    let down = ["down", "--purge-data", "--yes", "--timeout", "400s"];
    gives_its_lock_back(world, &down, 4, "in-undone").await;
    let words = world.runs(&down).await;
    assert!(words.contains("nothing left"), "{words}");
    assert!(world.everything("in-undone").await.is_empty());
}

pub async fn an_api_server_that_is_away_for_twenty_seconds_is_waited_for(world: &World) {
    let slow = Plan { pause: Duration::from_millis(100), ..Plan::default() };
    let run = world.begun(slow, &World::up("in-patient"), 8).await;
    api_server::is_away(world.state(), AWAY).await;
    let Ended::Exited(code, words) = finished(run).await else { unreachable!("nobody killed it") };
    assert_eq!(code, 0, "{words}");
    world.runs(&World::up("in-patient")).await;
    assert_eq!(world.proxy.writes(), 0, "it was not finished");
}

/// The same when it has only just taken its lock, and reads what is there, and in the middle of its writes.
pub async fn a_removal_waits_for_an_api_server_that_is_away_for_twenty_seconds(world: &World) {
    world.settled().await;
    for written in [1, 6] {
        world.runs(&World::up("in-patience")).await;
        let slow = Plan { pause: Duration::from_millis(100), ..Plan::default() };
        let run = world.begun(slow, &["down", "--purge-data", "--yes", "--timeout", "400s"], written).await;
        api_server::is_away(world.state(), AWAY).await;
        let Ended::Exited(code, words) = finished(run).await else { unreachable!("nobody killed it") };
        assert!(code == 0 && words.contains("nothing left"), "after {written} writes: {code}: {words}");
        assert!(world.everything("in-patience").await.is_empty(), "after {written} writes");
    }
}

/// Kills this API server, and waits until the node has started another.
async fn crashes(world: &World, server: &str) {
    api_server::signal("KILL", server);
    let another = async {
        while api_server::found(world.state()).is_none_or(|process| process == server) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        while world.client.apiserver_version().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LIMIT, another).await.expect("the node starts another API server");
}

/// Not only stopped: connections break, for seconds nobody listens, and then somebody else does. Without the proxy, which
/// would have an answer meanwhile.
pub async fn an_api_server_that_crashes_is_waited_for_until_it_is_back(world: &World) {
    // A run that is quicker than this one is told of it has written everything by then.
    for round in 0..8 {
        let namespace = format!("in-crash-{round}");
        let server = api_server::process(world.state());
        let mut run = world.start_past_the_proxy(&[&World::up(&namespace)[..], &["--events", "ndjson"]].concat());
        let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
        let mut told: Vec<String> = Vec::new();
        let mut next = async || timeout(LIMIT, lines.next_line()).await.expect("it goes on, or ends").unwrap();
        let mut writes = false;
        while !writes && let Some(line) = next().await {
            writes = line.contains("\"step-started\"") && line.contains("\"apply\"");
            told.push(line);
        }
        if writes {
            crashes(world, &server).await;
        }
        while let Some(line) = next().await {
            told.push(line);
        }
        let ended = timeout(LIMIT, run.wait()).await.expect("it ends").unwrap();
        // What the machine is too slow for before the first write is begun again.
        let unanswered = !writes && told.iter().any(|line| line.contains("no answer within 4 s"));
        assert!(ended.success() || unanswered, "{ended:?}: {told:#?}");
        if told.iter().any(|line| line.contains("trying again: ")) {
            world.runs(&World::up(&namespace)).await;
            assert_eq!(world.proxy.writes(), 0, "it was not finished");
            return;
        }
        world.clear().await;
    }
    panic!("each time it had written everything before");
}

/// Nothing becomes ready here, so the run waits until its time is out: longer than the writes take, by far.
pub async fn a_wait_of_which_a_fifth_of_all_requests_fails_ends_when_its_time_is_out(world: &World) {
    let seed = seed();
    println!("seed {seed}");
    let waits = ["up", "-n", "in-trouble", "--image", "scaler=example.org/scalekit:1", "--timeout", "60s"];
    let began = Instant::now();
    let ended = world.run(Plan { faults: Some((20, seed)), ..Plan::default() }, &waits).await;
    let took = began.elapsed();
    let Ended::Exited(6, words) = ended else { panic!("seed {seed}: {ended:?}") };
    assert!(words.contains("error: not ready in time"), "seed {seed}: {words}");
    assert!(words.contains("deployment.apps/grafana -n in-trouble: "), "seed {seed}: {words}");
    assert!(took > Duration::from_secs(55), "seed {seed}: it did not wait: {took:?}: {words}");
    // All was written: what failed on the way was tried again.
    world.runs(&World::up("in-trouble")).await;
    assert_eq!(world.proxy.writes(), 0, "seed {seed}: it was not finished");
}

pub async fn a_fifth_of_all_requests_fails_and_the_run_gets_through(world: &World) {
    world.settled().await;
    for round in 0..if soak() { 10 } else { 1 } {
        let seed = seed() + round;
        let faults = || Plan { faults: Some((20, seed)), ..Plan::default() };
        let ended = world.run(faults(), &World::up("in-stumbles")).await;
        assert!(matches!(ended, Ended::Exited(0, _)), "seed {seed}: {ended:?}");
        world.runs(&World::up("in-stumbles")).await;
        assert_eq!(world.proxy.writes(), 0, "seed {seed}: it was not finished");
        let ended = world.run(faults(), &["down", "--purge-data", "--yes", "--timeout", "400s"]).await;
        assert!(matches!(ended, Ended::Exited(0, _)), "seed {seed}: {ended:?}");
        assert!(world.everything("in-stumbles").await.is_empty(), "seed {seed}");
    }
}
