//! Replicas, an API server and a network that lose, delay and refuse: never may two of them act, and of what is on its way
//! when the lead is lost nothing undoes what the next one wrote.
//!
//! The lease alone does not promise the latter: who loses it stops to write 5 s before another may begin, and a request is
//! waited for twice as long. A count is written on the version that it was decided on, so that it is refused once another
//! has written.
//!
//! A step is 100 ms. The clocks of each machine run up to 5 % fast or slow, its wall clock jumps, it freezes, is
//! suspended (its monotonic clock stands still), crashes, and stops in an orderly way.

use jiff::SignedDuration;
use std::env;

use super::{
    Record, Terms,
    candidate::{Answer, Ask, Candidate, Moment},
};
use std::time::Duration;

const STEP_MS: u64 = 100;
/// How long a request is waited for.
const LIMIT_MS: u64 = 4_000;
/// How long a write of a replica count may be on its way: longer than anybody waits for its answer, which recalls nothing.
const LONGEST_WAY_MS: u64 = 30_000;

const TERMS: Terms =
    Terms { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) };

struct Request {
    id: u64,
    replica: usize,
    ask: Ask,
    carried_out_at: Option<u64>,
    answered_at: Option<u64>,
    answer: Answer,
}

struct Replica {
    candidate: Candidate,
    identity: u64,
    /// In tenths of a per cent of the true speed.
    speed: u64,
    monotonic_us: u64,
    wall_us: i64,
    asked: Option<(u64, Ask, Moment, u64)>,
    rests_until: u64,
    frozen_until: u64,
    suspended_until: u64,
    /// The version of the replica count as it was last seen.
    read: u64,
}

/// A replica count on its way.
struct Write {
    by: u64,
    /// The version that it was decided on.
    read: u64,
    arrives_at: u64,
}

impl Replica {
    fn now(&self) -> Moment {
        let start = jiff::Timestamp::constant(1_800_000_000, 0);
        Moment {
            monotonic: Duration::from_micros(self.monotonic_us),
            wall: start + SignedDuration::from_micros(self.wall_us),
        }
    }

    fn may_act(&self) -> bool {
        self.candidate.grant().is_some_and(|grant| grant.holds(self.now()))
    }
}

struct World {
    random: fastrand::Rng,
    terms: Terms,
    t: u64,
    lease: Option<(Record, u64)>,
    versions: u64,
    ids: u64,
    replicas: Vec<Replica>,
    network: Vec<Request>,
    writes: Vec<Write>,
    /// The version of the replica count.
    count: u64,
    /// Who wrote the last versions.
    writers: Vec<(u64, u64)>,
    /// Whether the API server looks at the version.
    looks_at_versions: bool,
    /// Writes that arrived while another one might act, and those of them that were refused.
    late: u64,
    late_and_refused: u64,
    outage_until: u64,
    led_steps: u64,
    changes: u64,
    last_leader: Option<u64>,
}

impl World {
    fn new(seed: u64, replicas: usize, terms: Terms) -> Self {
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            terms,
            t: 0,
            lease: None,
            versions: 0,
            ids: 0,
            replicas: Vec::new(),
            network: Vec::new(),
            writes: Vec::new(),
            count: 0,
            writers: Vec::new(),
            looks_at_versions: true,
            late: 0,
            late_and_refused: 0,
            outage_until: 0,
            led_steps: 0,
            changes: 0,
            last_leader: None,
        };
        for _ in 0..replicas {
            let replica = world.started();
            world.replicas.push(replica);
        }
        world
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.u64(..one_in) == 0
    }

    fn started(&mut self) -> Replica {
        let identity = self.id();
        Replica {
            candidate: Candidate::new(format!("replica-{identity}"), self.terms),
            identity,
            speed: self.random.u64(950..=1050),
            monotonic_us: self.random.u64(..1_000_000_000),
            wall_us: self.random.i64(-3_600_000_000..3_600_000_000),
            asked: None,
            rests_until: self.t,
            frozen_until: 0,
            suspended_until: 0,
            read: self.count,
        }
    }

    fn carry_out(&mut self, ask: &Ask) -> Answer {
        match (ask, &self.lease) {
            (Ask::Wait, _) => Answer::Failed,
            (Ask::Read, None) => Answer::Absent,
            (Ask::Read, Some((record, version))) => Answer::Found(record.clone(), version.to_string()),
            (Ask::Write { record, version }, lease) => {
                if lease.as_ref().map(|(_, version)| version.to_string()) != *version {
                    return Answer::Conflict;
                }
                self.versions += 1;
                self.lease = Some((record.clone(), self.versions));
                Answer::Written(record.clone(), self.versions.to_string())
            }
        }
    }

    /// A way through the network, mostly short.
    fn way(&mut self) -> u64 {
        if self.chance(20) { self.random.u64(..20_000) } else { self.random.u64(..300) }
    }

    fn send(&mut self, replica: usize, ask: Ask) -> u64 {
        let (there, back) = (self.way(), self.way());
        let id = self.id();
        let down = self.t < self.outage_until;
        let lost = down || self.chance(25);
        let answer_lost = self.chance(25);
        let carried_out_at = (!lost).then_some(self.t + there);
        // A refusal (500) is an answer, and leaves open whether the write was carried out.
        let answered_at = (!answer_lost && !lost).then_some(self.t + there + back);
        self.network.push(Request { id, replica, ask, carried_out_at, answered_at, answer: Answer::Failed });
        id
    }

    /// # Panics
    ///
    /// When two replicas may act, or a write undoes what another has written since it was decided on.
    fn step(&mut self) {
        self.t += STEP_MS;
        let t = self.t;
        if self.chance(3_000) {
            self.outage_until = t + self.random.u64(..60_000);
        }
        for place in 0..self.replicas.len() {
            self.clocks(place);
        }
        self.deliver();
        for place in 0..self.replicas.len() {
            self.fate(place);
            self.run(place);
        }
        let acting: Vec<usize> = (0..self.replicas.len()).filter(|place| self.replicas[*place].may_act()).collect();
        assert!(acting.len() <= 1, "at {t} ms {acting:?} may act");
        let leader = acting.first().map(|leader| self.replicas[*leader].identity);
        for write in std::mem::take(&mut self.writes) {
            if write.arrives_at > t {
                self.writes.push(write);
            } else {
                self.order(&write, leader.is_some_and(|leader| leader != write.by));
            }
        }
        if let Some(leader) = acting.first() {
            self.led_steps += 1;
            let identity = self.replicas[*leader].identity;
            if self.last_leader.replace(identity) != Some(identity) {
                self.changes += 1;
            }
            let awake = self.replicas[*leader].frozen_until <= t && self.replicas[*leader].suspended_until <= t;
            if awake && self.chance(5) {
                // What was read a while ago counts for some looks.
                if self.chance(2) {
                    self.replicas[*leader].read = self.count;
                }
                let arrives_at = t + self.random.u64(..LONGEST_WAY_MS);
                self.writes.push(Write { by: identity, read: self.replicas[*leader].read, arrives_at });
            }
        }
    }

    fn order(&mut self, write: &Write, is_late: bool) {
        let refused = self.looks_at_versions && write.read != self.count;
        self.late += u64::from(is_late);
        self.late_and_refused += u64::from(is_late && refused);
        if !refused {
            let undone = self.writers.iter().find(|(version, by)| *version > write.read && *by != write.by);
            assert!(undone.is_none(), "at {} ms a write of {} undoes what {undone:?} wrote", self.t, write.by);
            self.count += 1;
            self.writers.push((self.count, write.by));
            if self.writers.len() > 100 {
                self.writers.remove(0);
            }
        }
        if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.identity == write.by) {
            replica.read = self.count;
        }
    }

    fn clocks(&mut self, place: usize) {
        let jump = self.chance(2_000).then(|| self.random.i64(-3_600_000_000..3_600_000_000));
        let replica = &mut self.replicas[place];
        let passed = STEP_MS * replica.speed;
        if replica.suspended_until <= self.t {
            replica.monotonic_us += passed;
        }
        replica.wall_us += i64::try_from(passed).expect("short") + jump.unwrap_or(0);
    }

    fn deliver(&mut self) {
        let t = self.t;
        let mut waiting = std::mem::take(&mut self.network);
        waiting.sort_by_key(|request| request.carried_out_at);
        for mut request in waiting {
            if request.carried_out_at.is_some_and(|at| at <= t) {
                request.carried_out_at = None;
                // 500 before or after the write was carried out.
                request.answer = match self.random.u64(..40) {
                    0 => Answer::Failed,
                    1 => {
                        self.carry_out(&request.ask);
                        Answer::Failed
                    }
                    _ => self.carry_out(&request.ask),
                };
            }
            if request.carried_out_at.is_none() && request.answered_at.is_some_and(|at| at <= t) {
                let replica = &mut self.replicas[request.replica];
                let asleep = replica.frozen_until > t || replica.suspended_until > t;
                if !asleep && replica.asked.as_ref().is_some_and(|(id, ..)| *id == request.id) {
                    let (_, ask, sent, _) = replica.asked.take().expect("it was just there");
                    let now = replica.now();
                    replica.candidate.answered(request.answer, sent, now);
                    if ask != Ask::Read {
                        replica.rests_until = t + 2_000;
                    }
                    continue;
                }
                if !asleep {
                    continue; // Nobody waits for it any more.
                }
            }
            if request.carried_out_at.is_some() || request.answered_at.is_some() {
                self.network.push(request);
            }
        }
    }

    fn fate(&mut self, place: usize) {
        let t = self.t;
        match self.random.u64(..20_000) {
            0 => self.replicas[place] = self.started(),
            1 => self.replicas[place].frozen_until = t + self.random.u64(..40_000),
            2 => self.replicas[place].suspended_until = t + self.random.u64(..60_000),
            3 if self.replicas[place].frozen_until <= t && self.replicas[place].suspended_until <= t => {
                // An orderly stop: nothing is on its way any more when the lease is given back.
                let identity = self.replicas[place].identity;
                let wall = self.replicas[place].now().wall;
                if !self.writes.iter().any(|write| write.by == identity)
                    && let Some(ask) = self.replicas[place].candidate.release(wall)
                {
                    self.send(place, ask);
                }
                self.replicas[place] = self.started();
            }
            _ => {}
        }
    }

    fn run(&mut self, place: usize) {
        let t = self.t;
        let replica = &mut self.replicas[place];
        if replica.frozen_until > t || replica.suspended_until > t || replica.rests_until > t {
            return;
        }
        let now = replica.now();
        if let Some((_, _, sent, until)) = &replica.asked {
            if *until <= t {
                let sent = *sent;
                replica.asked = None;
                replica.candidate.answered(Answer::Failed, sent, now);
                replica.rests_until = t + 2_000;
            }
            return;
        }
        match replica.candidate.ask(now) {
            Ask::Wait => replica.rests_until = t + 2_000,
            ask => {
                let id = self.send(place, ask.clone());
                self.replicas[place].asked = Some((id, ask, now, t + LIMIT_MS));
            }
        }
    }
}

fn steps() -> u64 {
    env::var("LEASE_MODEL_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(1_000_000)
}

#[test]
fn never_do_two_replicas_act_and_no_late_write_undoes_what_the_next_one_wrote() {
    let steps = steps();
    for (seed, replicas) in [(1, 2), (2, 3), (3, 2), (4, 3)] {
        let mut world = World::new(seed, replicas, TERMS);
        for _ in 0..steps / 4 {
            world.step();
        }
        let led = world.led_steps * 100 / (steps / 4);
        assert!(led >= 50, "seed {seed}: led in {led} % of the steps only");
        assert!(world.changes >= steps / 20_000, "seed {seed}: it changed hands {} times only", world.changes);
        assert!(world.late_and_refused > 0, "seed {seed}: none of {} late writes was refused", world.late);
    }
}

/// Whether something is found to be wrong in one of some worlds.
fn is_found(world: impl Fn(u64) -> World + std::panic::RefUnwindSafe) -> bool {
    (0..20).any(|seed| {
        let run = std::panic::catch_unwind(|| {
            let mut world = world(seed);
            for _ in 0..30_000 {
                world.step();
            }
        });
        run.is_err()
    })
}

#[test]
fn the_model_finds_a_holder_that_stops_too_late() {
    let late = Terms { renew_deadline: Duration::from_secs(25), ..TERMS };
    assert!(is_found(|seed| World::new(seed, 3, late)), "a deadline beyond the lease's duration went unnoticed");
}

#[test]
fn the_model_finds_a_late_write_that_nobody_refuses() {
    let unguarded = |seed| World { looks_at_versions: false, ..World::new(seed, 3, TERMS) };
    assert!(is_found(unguarded), "a count that was written without a version went unnoticed");
}
