//! Trying again what fails because of something that passes, until the deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{InstallError, Installer};
use crate::{cluster, event::Event, object::ObjectRef};

/// How long one answer may take. Admission webhooks alone have ten seconds each.
const ANSWER: Duration = Duration::from_secs(30);
/// And at least, when the run's deadline is near: long enough for a server that is well.
const SHORTEST: Duration = Duration::from_secs(2);

impl Installer<'_> {
    /// Tries again what fails for a reason that passes (overload, a restart of the API server, a namespace on its
    /// way out), with a growing pause, until the deadline; says so after the first second.
    pub(super) async fn retrying<T, F>(
        &self,
        object: &ObjectRef,
        attempt: impl FnMut() -> F,
    ) -> Result<T, cluster::Error>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        self.retrying_if(object, passes, attempt).await
    }

    /// The same for what names no version: where somebody else was faster, it holds for what that one has left.
    pub(super) async fn retrying_overtaken<T, F>(
        &self,
        object: &ObjectRef,
        attempt: impl FnMut() -> F,
    ) -> Result<T, cluster::Error>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        self.retrying_if(object, |error| passes(error) || error.is_overtaken(), attempt).await
    }

    /// The same for the failures that pass as is told here.
    pub(super) async fn retrying_if<T, F>(
        &self,
        object: &ObjectRef,
        passes: impl Fn(&cluster::Error) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, cluster::Error>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        // A server that takes the request and says nothing is asked again; the run's deadline holds all the same.
        let answered = || {
            let patience = self.deadline.saturating_duration_since(Instant::now()).clamp(SHORTEST, ANSWER);
            let answer = timeout(patience, attempt());
            async move {
                let cause = || format!("no answer within {} s", patience.as_secs());
                answer.await.unwrap_or_else(|_| Err(cluster::Error::Unreachable { cause: cause() }))
            }
        };
        self.until_it_does(object, passes, answered).await
    }

    /// The same for a look at many things at once, each request of which has a time of its own.
    pub(super) async fn looking<T, F>(&self, look: impl FnMut() -> F) -> Result<T, InstallError>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        let whole = ObjectRef::new("v1", "Namespace", None, "*");
        self.until_it_does(&whole, passes, look).await.map_err(InstallError::Read)
    }

    async fn until_it_does<T, F>(
        &self,
        object: &ObjectRef,
        passes: impl Fn(&cluster::Error) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, cluster::Error>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        let mut pause = Duration::from_millis(100);
        loop {
            if !self.until_sure().await {
                return Err(cluster::Error::Unreachable { cause: "the lock could not be renewed".to_owned() });
            }
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !passes(&error) || Instant::now() + pause >= self.deadline {
                return Err(error);
            }
            if pause >= Duration::from_millis(800) {
                self.reporter
                    .report(Event::InProgress { object: object.clone(), why: format!("trying again: {error}") });
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

/// Whether the reason of a failure passes by itself.
pub(super) fn passes(error: &cluster::Error) -> bool {
    error.is_transient() || matches!(error, cluster::Error::Terminating { .. })
}
