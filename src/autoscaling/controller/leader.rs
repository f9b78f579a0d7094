//! Leader election: of several controllers one acts.
//!
//! [`crate::lease::Candidate`] decides; here it is given clocks and an API server. The right to act is a [`Fence`] that
//! every write passes. It closes by itself when the lease could not be renewed, before another may take it, and
//! whatever is on its way then is refused by the version that it was decided on.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Clock, FIELD_MANAGER,
    http::Vitals,
    words::{ApiError, in_time_of},
};
use crate::{
    catalog,
    lease::{Answer, Ask, Candidate, Grant, Moment, Record, Terms},
};

/// The Lease, in the namespace of the controller.
pub const LEASE: &str = "scalekit-scaler";

/// Those of Kubernetes' own controllers.
pub const TERMS: Terms =
    Terms { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) };

/// How long one request may take: two fit between a renewal and the deadline.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);

/// How often to look whether the wall clock still agrees, while nothing else happens.
const LONGEST_BLINK: Duration = Duration::from_secs(1);

/// What every write passes.
#[derive(Clone)]
pub struct Fence(Option<(watch::Receiver<Option<Grant>>, Clock)>);

impl Fence {
    /// A fence that is always open: for a controller that is alone.
    #[cfg(test)]
    pub fn open() -> Self {
        Self(None)
    }

    /// A fence that is shut: for a controller that has lost the lead.
    #[cfg(test)]
    pub fn shut(clock: Clock) -> Self {
        Self(Some((watch::channel(None).1, clock)))
    }

    /// Whether this controller may write now.
    pub fn may_write(&self) -> bool {
        let Some((grants, clock)) = &self.0 else { return true };
        let grant = *grants.borrow();
        grant.is_some_and(|grant| grant.holds(clock.moment()))
    }

    /// Waits until this controller may write. Never ends when nobody stands for election any more.
    pub async fn opened(&mut self) {
        self.until(true).await;
    }

    /// Waits until this controller may no longer write.
    pub async fn closed(&mut self) {
        self.until(false).await;
    }

    async fn until(&mut self, open: bool) {
        while self.may_write() != open {
            let Some((grants, clock)) = &mut self.0 else { return std::future::pending().await };
            let left = (*grants.borrow_and_update()).map_or(LONGEST_BLINK, |grant| grant.left(clock.moment()));
            let blink = left.clamp(Duration::from_millis(1), LONGEST_BLINK);
            tokio::select! {
                changed = grants.changed() => if changed.is_err() && open {
                    // Nobody will ever open it.
                    return std::future::pending().await;
                } else if changed.is_err() {
                    tokio::time::sleep(blink).await;
                },
                () = tokio::time::sleep(blink) => {}
            }
        }
    }
}

/// Stands for election.
pub struct Elector {
    leases: Api<Lease>,
    namespace: String,
    candidate: Candidate,
    /// Between two attempts.
    retry: Duration,
    clock: Clock,
    grants: watch::Sender<Option<Grant>>,
    vitals: Arc<Vitals>,
}

/// How an elector ends.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Stop, and give the lease back: nothing is on its way any more.
    pub release: CancellationToken,
    /// Stop as it is: something may be on its way, and the lease runs out by itself.
    pub leave: CancellationToken,
}

impl Elector {
    /// An elector that signs as `instance` and a number of its own: what was granted to a process of the same
    /// name before is not granted to this one. The Lease is in the client's default namespace, which in a pod is
    /// the pod's.
    pub fn new(client: &Client, instance: &str, terms: Terms, clock: Clock, vitals: Arc<Vitals>) -> (Self, Fence) {
        let (grants, fence) = watch::channel(None);
        let identity = format!("{instance}_{:016x}", fastrand::u64(..));
        let elector = Self {
            leases: Api::default_namespaced(client.clone()),
            namespace: client.default_namespace().to_owned(),
            candidate: Candidate::new(identity, terms),
            retry: terms.retry,
            clock,
            grants,
            vitals,
        };
        (elector, Fence(Some((fence, clock))))
    }

    /// Takes the lease when it is free and keeps it, until told to stop.
    pub async fn run(mut self, stop: Stop) {
        let mut told = None;
        loop {
            let sent = self.clock.moment();
            let ask = self.candidate.ask(sent);
            let mut rests = ask != Ask::Read;
            if ask != Ask::Wait {
                let writes = matches!(ask, Ask::Write { .. });
                let answer = tokio::select! {
                    biased;
                    () = stop.leave.cancelled() => return,
                    // A write that is under way is waited for: without its answer nothing could be given back.
                    () = stop.release.cancelled(), if !writes => break,
                    answer = self.answer(&ask) => answer,
                };
                rests |= answer == Answer::Failed;
                self.candidate.answered(answer, sent, self.clock.moment());
                self.grants.send_replace(self.candidate.grant());
            }
            if rests {
                self.tell(&mut told);
                if self.rest(&stop, sent).await {
                    break;
                }
            }
        }
        if !stop.leave.is_cancelled() {
            self.release().await;
        }
    }

    async fn answer(&self, ask: &Ask) -> Answer {
        match self.send(ask).await {
            Ok(answer) => {
                self.vitals.standing(None);
                answer
            }
            Err(error) => {
                let problem = format!("Lease {}/{LEASE}: {error}", self.namespace);
                tracing::warn!("{problem}");
                self.vitals.standing(Some(problem));
                Answer::Failed
            }
        }
    }

    /// Waits for the next attempt; true when told to stop.
    async fn rest(&self, stop: &Stop, since: Moment) -> bool {
        let passed = self.clock.moment().monotonic.saturating_sub(since.monotonic);
        // A little jitter, so that candidates do not move in step.
        let rest = self.retry.mul_f64(1.0 + 0.1 * fastrand::f64()).saturating_sub(passed);
        tokio::select! {
            biased;
            () = stop.leave.cancelled() => true,
            () = stop.release.cancelled() => true,
            () = tokio::time::sleep(rest) => false,
        }
    }

    fn tell(&self, told: &mut Option<String>) {
        let holder = self.candidate.holder().map(str::to_owned);
        if *told != holder {
            if let Some(holder) = &holder {
                tracing::info!(holder, "the lease {}/{LEASE} is held", self.namespace);
            }
            *told = holder;
        }
    }

    async fn release(mut self) {
        let ask = self.candidate.release(self.clock.moment().wall);
        self.grants.send_replace(None);
        if let Some(ask) = ask {
            match self.send(&ask).await {
                Ok(_) => tracing::info!("the lease {}/{LEASE} is given back", self.namespace),
                Err(error) => tracing::warn!("the lease {}/{LEASE} was not given back: {error}", self.namespace),
            }
        }
    }

    async fn send(&self, ask: &Ask) -> Result<Answer, ApiError> {
        match ask {
            Ask::Wait => Ok(Answer::Failed),
            Ask::Read => Ok(match in_time_of(REQUEST_LIMIT, self.leases.get_opt(LEASE)).await? {
                None => Answer::Absent,
                Some(lease) => {
                    let (record, version) = read(&lease);
                    Answer::Found(record, version)
                }
            }),
            Ask::Write { record, version } => {
                let lease = self.lease(record.clone(), version.clone());
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                let written = if version.is_some() {
                    in_time_of(REQUEST_LIMIT, self.leases.replace(LEASE, &params, &lease)).await
                } else {
                    in_time_of(REQUEST_LIMIT, self.leases.create(&params, &lease)).await
                };
                match written {
                    Ok(lease) => {
                        let (record, version) = read(&lease);
                        Ok(Answer::Written(record, version))
                    }
                    // AlreadyExists is a conflict too: somebody was faster. NotFound: somebody deleted it.
                    Err(error) if error.is_conflict() || error.is_taken() || error.is_not_found() => {
                        Ok(Answer::Conflict)
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn lease(&self, record: Record, version: Option<String>) -> Lease {
        let labels = [
            (catalog::NAME, "scaler"),
            (catalog::COMPONENT, "autoscaler"),
            (catalog::PART_OF, "scalekit"),
            // What is ours must not look like somebody else's when the namespace is to go.
            (catalog::MANAGED_BY, "scalekit"),
        ];
        Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                namespace: Some(self.namespace.clone()),
                resource_version: version,
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            spec: Some(record.into()),
        }
    }
}

/// Times come back with the precision that they are stored in, so it is the answer that is remembered.
fn read(lease: &Lease) -> (Record, String) {
    let record = lease.spec.as_ref().map_or_else(
        || Record { holder: None, acquired: None, renewed: None, transitions: 0, duration: Duration::ZERO },
        Record::from,
    );
    (record, lease.metadata.resource_version.clone().unwrap_or_default())
}
