//! Two runs at once, and one after another that died where nobody sees that it did.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    proxy::Plan,
    world::{Ended, World, answered, finished, signal},
};

/// Arguments of `unshare` for what is another machine to a run: another host's name, and processes that do not see ours. All
/// that runs there ends with it.
const ELSEWHERE: [&str; 8] = [
    "--uts",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-c",
    "hostname elsewhere && exec \"$0\" \"$@\"",
];

pub async fn a_second_run_names_the_first_and_leaves_it_alone(world: &World) {
    // Its namespace and its lock; then it is held.
    let held = Plan { hold_after: Some(2), ..Plan::default() };
    let first = world.begun(held, &World::up("in-both"), 2).await;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let named =
        format!("another run is at work: host {}, process {}, since 20", host.trim(), first.id().expect("it runs"));

    let down = ["down", "--purge-data", "--yes", "--timeout", "400s"];
    for second in [&World::up("in-both")[..], &down] {
        let began = Instant::now();
        let ended = answered(async || finished(world.start(None, second)).await).await;
        let Ended::Exited(7, words) = ended else { panic!("{second:?}: {ended:?}") };
        assert!(words.contains(&named), "{named}: {words}");
        assert!(words.contains("hint: wait for it, or end it"), "{words}");
        // The first renews its lock every two seconds, so no longer than that passes before it is seen to live.
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
        assert_eq!(world.proxy.writes(), 2, "{second:?} wrote");
    }

    world.proxy.let_go();
    let ended = finished(first).await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    world.runs(&World::up("in-both")).await;
    assert_eq!(world.proxy.writes(), 0, "the first one did not finish");
}

pub async fn a_run_that_died_elsewhere_is_taken_over_when_its_lock_has_run_out(world: &World) {
    let mut run = world.command("unshare");
    run.args(ELSEWHERE).arg(world.binary()).args(world.through_the_proxy()).args(World::up("in-elsewhere"));
    let ended = answered(async || {
        world.proxy.follow(Plan { kill_at: Some(10), ..Plan::default() });
        world.to_its_end(run.spawn().unwrap()).await
    })
    .await;
    assert!(matches!(ended, Ended::Killed), "{ended:?}");

    let began = Instant::now();
    let words = world.runs(&World::up("in-elsewhere")).await;
    let took = began.elapsed();
    let named = "host elsewhere, process 1 holds it and does not answer; waiting until it has run out";
    assert!(words.contains(named), "{words}");
    // Not before its 15 seconds are over, in which nobody can tell a dead one from one whose network stumbles.
    assert!(took > Duration::from_secs(14), "{took:?}");
    world.runs(&World::up("in-elsewhere")).await;
    assert_eq!(world.proxy.writes(), 0, "it was not finished");
}

/// Stopped, and not ended: as by Ctrl-Z.
pub async fn a_run_that_was_stopped_and_taken_over_writes_no_more(world: &World) {
    let up = World::up("in-stopped");
    let held = Plan { hold_after: Some(10), ..Plan::default() };
    let first = world.begun(held, &up, 10).await;
    // By the second renewal it has long sent all that it may send at once, and only waits for answers.
    world.proxy.renewed(2).await;
    signal(&first, "STOP");

    let second = answered(async || finished(world.start_past_the_proxy(&up)).await).await;
    let Ended::Exited(0, words) = second else { panic!("{second:?}") };
    assert!(words.contains("holds it and does not answer; waiting until it has run out"), "{words}");

    // What was sent before the stop is carried out.
    let sent = world.proxy.writes() + world.proxy.held();
    assert!(sent > 10, "nothing was held");
    world.proxy.let_go();
    world.proxy.written(sent).await;
    signal(&first, "CONT");
    let ended = finished(first).await;
    let Ended::Exited(7, words) = ended else { panic!("{ended:?}") };
    assert!(words.contains("the lock was lost: another run took over"), "{words}");
    // The one is the attempt to give back a lock that the other run has given back.
    assert_eq!(world.proxy.writes(), sent + 1, "it wrote on: {words}");
    world.runs(&up).await;
}
