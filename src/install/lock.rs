//! One writer at a time: a Lease in the release's namespace, held from before its first object is written or deleted, but
//! for that namespace itself, until after the last. Checks, images, waiting and the proof of a removal are outside.
//!
//! A holder that lives renews its lease, and is named to whoever comes second. One that died is taken over: at
//! once where it can be seen that its process is gone, else after the lease has stood unchanged for its whole
//! duration.

use std::{
    fs, process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::{Lease, LeaseSpec},
    core::v1::Namespace,
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{InstallError, Installer, Release, renewed::Renewed};
use crate::{
    catalog::{MANAGED_BY, NAME, PART_OF, SCALEKIT},
    cluster::{self, Held, Interruption},
    event::Event,
    lease::{Decision, Observed, Record, Terms, decide},
    object::ObjectRef,
};

/// Name of the Lease.
pub(super) const LOCK: &str = "scalekit-lock";

/// Short enough that a run after a crash elsewhere does not wait for long, long enough for a slow API server.
pub(super) const TERMS: Terms =
    Terms { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) };

/// A holder that has renewed while it was watched lives. It renews every [`Terms::retry`], so this long is enough
/// to see it.
const SEEN_ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// A held lock, renewed in the background until it is released or dropped.
pub struct Lock {
    leases: Api<Lease>,
    /// The lease as this run wrote it last.
    written: Written,
    heartbeat: JoinHandle<()>,
    lost: Arc<Notify>,
    renewed: watch::Sender<Option<Renewed>>,
    interruption: Interruption,
    _held: Held,
}

/// A lease in one version, to be deleted in no other.
type Written = Arc<Mutex<Preconditions>>;

fn version(lease: &Lease) -> Preconditions {
    Preconditions { uid: lease.metadata.uid.clone(), resource_version: lease.metadata.resource_version.clone() }
}

impl Lock {
    fn keep(
        leases: Api<Lease>,
        (acquired, asked): (&Lease, Renewed),
        identity: String,
        renewed: watch::Sender<Option<Renewed>>,
        interruption: &Interruption,
    ) -> Self {
        let lost = Arc::new(Notify::new());
        let written = Arc::new(Mutex::new(version(acquired)));
        renewed.send_replace(Some(asked));
        let renewal = renew(leases.clone(), Arc::clone(&written), identity, Arc::clone(&lost), renewed.clone());
        let heartbeat = tokio::spawn(renewal);
        let interruption = interruption.clone();
        let held = interruption.holding();
        Self { leases, written, heartbeat, lost, renewed, interruption, _held: held }
    }

    /// Does the work while the lock is held, and gives the lock back however it ends.
    ///
    /// # Errors
    ///
    /// The work's own; [`InstallError::LockLost`] as soon as somebody else holds the lock; [`InstallError::Interrupted`] as
    /// soon as the run is told to end.
    pub async fn hold<T>(self, work: impl Future<Output = Result<T, InstallError>>) -> Result<T, InstallError> {
        let done = tokio::select! {
            // In this order: whoever has to end writes no more, also when answers wait.
            biased;
            () = self.lost() => Err(InstallError::LockLost),
            () = self.interruption.stopped() => Err(InstallError::Interrupted),
            done = work => done,
        };
        self.release().await;
        done
    }

    /// Completes when somebody else holds the lock: the run must stop.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Gives the lock back, so that the next run need not wait.
    pub async fn release(self) {
        self.heartbeat.abort();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Not worth an error: a lease that stays runs out by itself.
        if let Err(kube::Error::Api(status)) = self.delete(written).await
            && status.code == 409
            && let Ok(Some(lease)) = self.leases.get_opt(LOCK).await
            && holder(&lease) == Some(identity().as_str())
        {
            // A renewal was under way, and nobody read its answer.
            let _gone_or_running_out = self.delete(version(&lease)).await;
        }
    }

    async fn delete(&self, version: Preconditions) -> Result<(), kube::Error> {
        let params = DeleteParams { preconditions: Some(version), ..DeleteParams::default() };
        self.leases.delete(LOCK, &params).await.map(|_| ())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.heartbeat.abort();
        self.renewed.send_replace(None);
    }
}

impl Installer<'_> {
    /// Takes the lock of a release, whose namespace must exist.
    ///
    /// # Errors
    ///
    /// [`InstallError::Locked`] with who holds it, once that holder was seen to be alive.
    pub async fn lock(&self, release: &Release) -> Result<Lock, InstallError> {
        let leases: Api<Lease> = Api::namespaced(self.cluster.client().clone(), &release.namespace);
        let object = ObjectRef::new("coordination.k8s.io/v1", "Lease", Some(&release.namespace), LOCK);
        let failed = |source| InstallError::Inventory { object: object.clone(), source };
        let identity = identity();
        let began = Instant::now();
        let mut observed: Option<Observed> = None;
        let mut first_renewal = None;
        loop {
            let read = self
                .retrying(&object, || async { leases.get_opt(LOCK).await.map_err(cluster::Error::from) })
                .await
                .map_err(failed)?;
            let now = began.elapsed();
            let record = read.as_ref().map(|lease| Record::from(&lease.spec.clone().unwrap_or_default()));
            observed = match (record, observed) {
                (Some(record), Some(observed)) => Some(observed.next(record, now)),
                (Some(record), None) => Some(Observed { record, since: now }),
                (None, _) => None,
            };
            let abandoned = observed.as_ref().and_then(|seen| seen.record.holder.as_deref()).is_some_and(is_gone);
            let seen = if abandoned { None } else { observed.as_ref() };
            match decide(&identity, TERMS, seen, now, wall()) {
                Decision::Acquire(record) | Decision::Renew(record) => {
                    let mut asked = Renewed::now();
                    let written = self
                        .retrying_if(&object, cluster::Error::is_transient, || {
                            asked = Renewed::now();
                            write(&leases, read.clone(), record.clone())
                        })
                        .await;
                    match written {
                        Ok(acquired) => {
                            let (renewed, interruption) = (self.renewed.clone(), self.cluster.interruption());
                            return Ok(Lock::keep(leases, (&acquired, asked), identity, renewed, interruption));
                        }
                        // Somebody was faster, or this one was, and the answer was lost: look again.
                        Err(cluster::Error::Conflict { .. }) if !self.expired() => {}
                        Err(error) => return Err(failed(error)),
                    }
                }
                Decision::Yield { holder, since, .. } => {
                    let renewed = observed.as_ref().and_then(|seen| seen.record.renewed);
                    let alive = *first_renewal.get_or_insert(renewed) != renewed;
                    if alive || self.expired() {
                        return Err(InstallError::Locked { holder: readable(&holder), since });
                    }
                    if now >= SEEN_ALIVE_WITHIN {
                        let why =
                            format!("{} holds it and does not answer; waiting until it has run out", readable(&holder));
                        self.reporter.report(Event::InProgress { object: object.clone(), why });
                    }
                }
            }
            sleep(TERMS.retry / 2).await;
        }
    }

    /// As [`Installer::lock`], but goes on without one where it cannot be had any more: in a namespace that an earlier
    /// removal has already begun to delete, and which takes nothing new.
    ///
    /// # Errors
    ///
    /// As [`Installer::lock`].
    pub async fn lock_for_removal(&self, release: &Release) -> Result<Option<Lock>, InstallError> {
        match self.lock(release).await {
            Ok(lock) => Ok(Some(lock)),
            Err(InstallError::Inventory {
                source: cluster::Error::Terminating { .. } | cluster::Error::NotFound { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Renews until it finds that the lease is not ours any more.
///
/// When the last renewal is longer ago than the deadline, nobody knows whose the lock is: a server that is away is away for
/// all, and then it is still ours; or only this machine is cut off, or this process was stopped, and another run may have
/// taken over. So the run stands still until the lease has been read and renewed once more, by the version that was read.
async fn renew(
    leases: Api<Lease>,
    written: Written,
    identity: String,
    lost: Arc<Notify>,
    renewed: watch::Sender<Option<Renewed>>,
) {
    let mut last = Renewed::now();
    loop {
        sleep(TERMS.retry).await;
        let asked = Renewed::now();
        // A server that takes the question and says nothing leaves no doubt for longer than the deadline allows.
        let patience = TERMS.renew_deadline.saturating_sub(last.age(asked)).max(TERMS.retry);
        match timeout(patience, renew_once(&leases, &written, &identity)).await {
            Ok(Ok(true)) => {
                last = asked;
                // A lock that is given back at this moment stays given back.
                renewed.send_if_modified(|held| {
                    let is_held = held.is_some();
                    *held = held.map(|_| asked);
                    is_held
                });
            }
            Ok(Ok(false)) => break,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    lost.notify_one();
}

/// Whether the lease is still ours after this; `false` when it is not, an error when nobody knows.
async fn renew_once(leases: &Api<Lease>, written: &Written, identity: &str) -> Result<bool, cluster::Error> {
    let Some(lease) = leases.get_opt(LOCK).await? else {
        // It goes with its namespace, when our own removal deletes that. From one that stays another run has taken it, and
        // given it back.
        let namespaces: Api<Namespace> = Api::all(leases.clone().into_client());
        let namespace = namespaces.get_metadata_opt(leases.namespace().unwrap_or_default()).await?;
        return Ok(namespace.is_none_or(|found| found.metadata.deletion_timestamp.is_some()));
    };
    if holder(&lease) != Some(identity) {
        return Ok(false);
    }
    let record = Record::from(&lease.spec.clone().unwrap_or_default());
    let record = Record { renewed: Some(wall()), ..record };
    match write(leases, Some(lease), record).await {
        Ok(renewed) => {
            *written.lock().unwrap_or_else(PoisonError::into_inner) = version(&renewed);
            Ok(true)
        }
        Err(cluster::Error::NotFound { .. } | cluster::Error::Terminating { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Creates the lease, or replaces the very one that was read.
async fn write(leases: &Api<Lease>, read: Option<Lease>, record: Record) -> Result<Lease, cluster::Error> {
    let params = PostParams { field_manager: Some(SCALEKIT.to_owned()), ..PostParams::default() };
    let spec = Some(LeaseSpec::from(record));
    let written = if let Some(lease) = read {
        leases.replace(LOCK, &params, &Lease { spec, ..lease }).await
    } else {
        let labels = [(NAME, "lock"), (PART_OF, SCALEKIT), (MANAGED_BY, SCALEKIT)];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let metadata = ObjectMeta { name: Some(LOCK.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
        leases.create(&params, &Lease { metadata, spec }).await
    };
    Ok(written?)
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// Who this process is: host, process, and the machine's boot and process namespace, by which a later process on
/// the same machine can tell that this one is gone.
fn identity() -> String {
    format!("{}/{}/{}", host(), process::id(), place())
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

fn place() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    let digits: String = namespace.chars().filter(char::is_ascii_digit).collect();
    format!("{}-{digits}", boot.trim().split('-').next().unwrap_or_default())
}

/// Whether a holder can be seen to be gone: it ran where this runs, and there is no such process any more.
fn is_gone(holder: &str) -> bool {
    let mut parts = holder.splitn(3, '/');
    let (Some(_), Some(pid), Some(there)) = (parts.next(), parts.next(), parts.next()) else { return false };
    there == place()
        && pid
            .parse::<u32>()
            .is_ok_and(|pid| pid != process::id() && !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
}

/// `host laptop, process 4711`.
fn readable(holder: &str) -> String {
    let mut parts = holder.splitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some(host), Some(pid)) => format!("host {host}, process {pid}"),
        _ => holder.to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: what is written into the lease")]
pub(super) fn wall() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_this_place_that_is_not_there_is_gone() {
        assert!(is_gone(&format!("host/4294967294/{}", place())));
        assert!(!is_gone(&identity()), "this one lives");
        assert!(!is_gone("elsewhere/1/another-boot"), "nobody knows");
        assert!(!is_gone("not an identity"));
    }

    #[test]
    fn a_holder_is_named_as_people_name_it() {
        assert_eq!(readable("laptop/4711/x-1"), "host laptop, process 4711");
    }
}
