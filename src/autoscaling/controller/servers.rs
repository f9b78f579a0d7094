//! The Prometheus servers: each asked at most once for the same thing at the same time, by few at a
//! time, and left alone for a while when it does not answer.
//!
//! A question that is not answered is not asked again for a while, which grows. That one question is too slow, or that a
//! proxy refuses it, says nothing about the others: the server as a whole is left alone only when it does not answer the
//! cheapest question either. How long does not depend on who asked. A server that is not there at all, or that says at
//! once that it does not serve yet, as Prometheus does while it starts, is not made slower by being looked at: it is
//! asked the cheapest question every few seconds, and its answer ends the wait. Else, when a wait is over, one question goes
//! through, and all others are left alone until it is answered: each would wait in vain for as long as it does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::{
    Clock,
    answer::{Answer, Cause},
    backoff::{Backoff, Outage, Trial, USUAL_INTERVAL},
    source::{CHEAPEST, Connect, MetricSource, Question, ServerRef},
    telemetry::Telemetry,
};
use crate::{
    prometheus::{Error, Sample, Track},
    quantity::milli_from_f64,
};

/// How many questions a server gets at a time.
const CONCURRENCY: usize = 16;
/// How often to look whether a server that was not there, or did not serve yet, answers.
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// How long it counts whether there is something older than a question wants.
const OLDER_COUNTS: SignedDuration = SignedDuration::from_secs(60);
/// After how long without a question a server is forgotten: longer than the longest interval.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

type Asking = BoxFuture<'static, Result<Arc<[Sample]>, Error>>;
type Probing = BoxFuture<'static, bool>;
type Trying = BoxFuture<'static, Result<(), Cause>>;

struct Server {
    source: Arc<dyn MetricSource>,
    slots: Arc<Semaphore>,
    /// Held by those who wait for the answer: what nobody waits for any more is dropped, with its slot.
    in_flight: HashMap<Question, WeakShared<Asking>>,
    /// The cheapest question, while somebody waits for its answer.
    probe: Option<WeakShared<Probing>>,
    /// Questions that gave nothing lately: when, and whether there is something older.
    older: HashMap<Question, (Timestamp, bool)>,
    /// Questions that were not answered lately.
    unanswered: HashMap<Question, Backoff>,
    /// It does not answer anything.
    outage: Option<Outage>,
    used: Timestamp,
}

/// All servers that were asked lately.
pub struct Servers {
    connect: Box<Connect>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    known: Mutex<HashMap<ServerRef, Server>>,
    /// The server that is tried on demand, while somebody waits for its answer.
    tried: Mutex<Option<(ServerRef, WeakShared<Trying>)>>,
}

impl Servers {
    /// No server yet; `connect` makes the first connection to each.
    pub fn new(connect: Box<Connect>, clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        Self { connect, clock, telemetry, known: Mutex::default(), tried: Mutex::default() }
    }

    /// Asks `server`. `interval` is how often this is asked: a question that is not answered is asked again no sooner.
    pub async fn ask(&self, server: &ServerRef, what: &Question, interval: Duration) -> Answer {
        match self.series(server, what, interval).await {
            Ok(series) if series.is_empty() => match what.max_age {
                Some(most) if self.has_older(server, what, interval).await => Answer::Stale(most),
                _ => Answer::Values(Vec::new()),
            },
            Ok(series) => Answer::Values(milli(&series)),
            Err(answer) => answer,
        }
    }

    /// Whether there would be something if its age did not matter, as far as the server looks back of itself. That
    /// is another question, so its answer counts for a while.
    async fn has_older(&self, server: &ServerRef, what: &Question, interval: Duration) -> bool {
        let now = self.clock.now();
        let known = self.lock().get(server).and_then(|server| server.older.get(what).copied());
        if let Some((_, older)) = known.filter(|(asked, _)| now.duration_since(*asked) < OLDER_COUNTS) {
            return older;
        }
        let of_any_age = Question { max_age: None, ..what.clone() };
        // Without an answer nothing is known, and that is what is told.
        let older = self.series(server, &of_any_age, interval).await.is_ok_and(|series| !series.is_empty());
        if let Some(server) = self.lock().get_mut(server) {
            server.older.retain(|_, (asked, _)| now.duration_since(*asked) < OLDER_COUNTS);
            server.older.insert(what.clone(), (now, older));
        }
        older
    }

    /// The same with the labels of each series; anything but values is the error.
    pub async fn series(
        &self,
        server: &ServerRef,
        what: &Question,
        interval: Duration,
    ) -> Result<Arc<[Sample]>, Answer> {
        self.look_whether_it_is_back(server).await;
        let started = self.clock.now();
        // While it is held, no other question tries whether the server answers again.
        let (question, _trial) = self.question(server, what, started)?;
        let answer = question.await;
        match answer {
            Ok(series) => {
                self.answered(server, what);
                Ok(series)
            }
            Err(error) if error.is_outage() => Err(self.did_not_answer(server, what, &error, started, interval).await),
            // The server is well; it is the query that is not, or what is behind it.
            Err(error) => {
                self.answered(server, what);
                let cause = Cause::of(server, &error);
                if let Error::Partial { samples, .. } = &error {
                    return Err(Answer::Partial { values: milli(samples), message: cause.message });
                }
                Err(Answer::Failed(cause))
            }
        }
    }

    /// Forgets all servers, with what they are asked just now: nobody waits for it any more.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Asks `server` about a time that is past, for whoever wants to know why: not for a decision, so an outage is
    /// not remembered. Why there is no answer is a clause.
    pub async fn range(
        &self,
        server: &ServerRef,
        what: &Question,
        span: (i64, i64),
        step: Duration,
    ) -> Result<Vec<Track>, String> {
        let (source, slots) = self.way_to(server)?;
        let _slot = slots.acquire_owned().await;
        source.range(what, span, step).await.map_err(|error| format!("{}: {error}", server.address))
    }

    /// Asks `server` the cheapest question, for whoever wants to know whether it answers: not for a decision either, and beside
    /// the questions of those. However many want to know at the same time, it is asked once.
    pub async fn answers(&self, server: &ServerRef) -> Result<(), Cause> {
        let (source, _) = self.way_to(server).map_err(|message| Cause::new("InvalidServerAddress", message))?;
        let trying = {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            let known = tried.as_ref().filter(|(tried, _)| tried == server).and_then(|(_, trying)| trying.upgrade());
            known.filter(|trying| trying.peek().is_none()).unwrap_or_else(|| {
                let asked = server.clone();
                let trying: Shared<Trying> = async move {
                    source.query(CHEAPEST, None).await.map(drop).map_err(|error| Cause::of(&asked, &error))
                }
                .boxed()
                .shared();
                *tried = trying.downgrade().map(|trying| (server.clone(), trying));
                trying
            })
        };
        trying.await
    }

    fn way_to(&self, server: &ServerRef) -> Result<(Arc<dyn MetricSource>, Arc<Semaphore>), String> {
        let known = self.lock().get(server).map(|server| (server.source.clone(), server.slots.clone()));
        match known {
            Some(known) => Ok(known),
            None => Ok(((self.connect)(server)?, Arc::new(Semaphore::new(1)))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerRef, Server>> {
        // Nothing that can panic runs under the lock; a poisoned map is still a map.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accepts(&self, server: &ServerRef) -> bool {
        let source = self.lock().get(server).map(|server| server.source.clone());
        match source {
            Some(source) => source.accepts().await,
            None => false,
        }
    }

    /// Ends the wait for a server that was not there or did not serve, and does now. One at a time looks.
    async fn look_whether_it_is_back(&self, server: &ServerRef) {
        let now = self.clock.now();
        let is_time = |outage: &&mut Outage| {
            outage.at_once && outage.backoff.until > now && now.duration_since(outage.looked_at) >= PROBE_EVERY
        };
        match self.lock().get_mut(server).and_then(|server| server.outage.as_mut()).filter(is_time) {
            Some(outage) => outage.looked_at = now,
            None => return,
        }
        if self.is_well(server).await {
            tracing::info!(server = server.address, "Prometheus is there again");
            if let Some(server) = self.lock().get_mut(server) {
                // Its questions failed for the same reason.
                server.unanswered.clear();
                server.outage = None;
            }
        }
    }

    /// Whether the server answers at all. However many want to know at the same time, it is asked once.
    async fn is_well(&self, server: &ServerRef) -> bool {
        let probe = self.lock().get_mut(server).map(|server| {
            server.probe.as_ref().and_then(WeakShared::upgrade).filter(|probe| probe.peek().is_none()).unwrap_or_else(
                || {
                    let source = server.source.clone();
                    let probe: Shared<Probing> = async move { source.is_well().await }.boxed().shared();
                    server.probe = probe.downgrade();
                    probe
                },
            )
        });
        match probe {
            Some(probe) => probe.await,
            None => false,
        }
    }

    fn question(
        &self,
        server: &ServerRef,
        what: &Question,
        now: Timestamp,
    ) -> Result<(Shared<Asking>, Option<Trial>), Answer> {
        let mut servers = self.lock();
        if !servers.contains_key(server) {
            let source = (self.connect)(server)
                .map_err(|message| Answer::Failed(Cause::new("InvalidServerAddress", message)))?;
            let server_of_it = Server {
                source,
                slots: Arc::new(Semaphore::new(CONCURRENCY)),
                in_flight: HashMap::new(),
                probe: None,
                older: HashMap::new(),
                unanswered: HashMap::new(),
                outage: None,
                used: now,
            };
            // With every Secret that is changed a server becomes another one.
            servers.retain(|_, other| now.duration_since(other.used) < FORGOTTEN);
            servers.insert(server.clone(), server_of_it);
        }
        let Some(server) = servers.get_mut(server) else {
            let message = format!("{} is not known", server.address);
            return Err(Answer::Failed(Cause::new("InvalidServerAddress", message)));
        };
        server.used = now;
        let trial = match &mut server.outage {
            Some(outage) => Some(outage.may_try(now)?),
            None => match server.unanswered.get(what).filter(|backoff| backoff.until > now) {
                Some(backoff) => return Err(backoff.answer()),
                None => None,
            },
        };
        if let Some(question) = server.in_flight.get(what).and_then(WeakShared::upgrade) {
            return Ok((question, trial));
        }
        server.in_flight.retain(|_, question| question.upgrade().is_some_and(|question| question.peek().is_none()));
        let (source, slots, telemetry) = (server.source.clone(), server.slots.clone(), self.telemetry.clone());
        let (asked, clock) = (what.clone(), self.clock);
        let question = async move {
            let Ok(_slot) = slots.acquire_owned().await else {
                return Err(Error::Unreachable("it did not answer what was asked before".to_owned()));
            };
            let started = clock.now();
            let answer = source.query(&asked.query, asked.max_age).await.map(Arc::from);
            telemetry.query(&answer, clock.now().duration_since(started));
            answer
        }
        .boxed()
        .shared();
        if let Some(question) = question.downgrade() {
            server.in_flight.insert(what.clone(), question);
        }
        Ok((question, trial))
    }

    fn answered(&self, server: &ServerRef, what: &Question) {
        let outage = self.lock().get_mut(server).and_then(|server| {
            server.unanswered.remove(what);
            server.outage.take()
        });
        if let Some(outage) = outage {
            let failures = outage.backoff.failures;
            tracing::info!(server = server.address, failures, "Prometheus answers again");
        }
    }

    /// Leaves the question alone for a while, or, where the server answers nothing at all, the server. Of many questions
    /// that failed together only the first counts.
    async fn did_not_answer(
        &self,
        named: &ServerRef,
        what: &Question,
        error: &Error,
        started: Timestamp,
        interval: Duration,
    ) -> Answer {
        let cause = Cause::of(named, error);
        let known =
            self.lock().get(named).and_then(|server| server.outage.as_ref().map(|outage| outage.backoff.clone()));
        if let Some(backoff) = known.filter(|backoff| started < backoff.until) {
            return backoff.answer();
        }
        let is_well = self.is_well(named).await;
        let at_once = !is_well && (error.is_not_yet() || !self.accepts(named).await);
        let now = self.clock.now();
        let mut servers = self.lock();
        let Some(server) = servers.get_mut(named) else { return Answer::LeftAlone { cause, until: now } };
        let (before, interval) = if is_well {
            // What is asked every 5 minutes must not be left alone for longer by others that ask it every 15 seconds.
            (server.unanswered.get(what), interval.min(USUAL_INTERVAL))
        } else {
            (server.outage.as_ref().map(|outage| &outage.backoff), USUAL_INTERVAL)
        };
        if let Some(backoff) = before.filter(|backoff| started < backoff.until) {
            return backoff.answer();
        }
        let backoff = Backoff::next(before, cause, interval, now);
        let (answer, Backoff { failures, cause: Cause { message, .. }, .. }) = (backoff.answer(), backoff.clone());
        let seconds = backoff.until.duration_since(now).as_secs_f64();
        if is_well {
            server.unanswered.retain(|_, old| now.duration_since(old.until) < FORGOTTEN);
            server.unanswered.insert(what.clone(), backoff);
            // It was this question that tried whether it answers again, and it does.
            server.outage = server.outage.take().filter(|outage| outage.backoff.until > now);
        } else {
            server.outage = Some(Outage::of(backoff, at_once, now));
            // Who waits for a slot would only wait longer.
            std::mem::replace(&mut server.slots, Arc::new(Semaphore::new(CONCURRENCY))).close();
        }
        drop(servers);
        if is_well {
            tracing::warn!(
                server = named.address,
                query = what.query,
                failures,
                "{message}; only this query is left alone, next try in {seconds:.1} s"
            );
        } else {
            let server = &named.address;
            tracing::warn!(server, failures, "{message}; the replica counts are held, next try in {seconds:.1} s");
        }
        answer
    }
}

/// NaN does not get here: the client makes it an error.
fn milli(series: &[Sample]) -> Vec<i64> {
    series.iter().filter_map(|sample| milli_from_f64(sample.value)).collect()
}

#[cfg(test)]
#[path = "tests/servers.rs"]
mod tests;
