//! The scaler that leads, asked from outside.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::{CommandError, targets, up::unusable};
use crate::{
    autoscaling::controller::{Answered, LEASE},
    catalog::{self, Component},
    causes::causes,
    cluster::{self, Cluster, ForwardError, PodTunnel},
    event::{Event, Reporter, Step},
    health::{self, Silence},
    object::ObjectRef,
};

const PORT: u16 = 8080;
/// How long a decision may take to come through the API server's proxy: it is there, or made of a few answers.
pub(super) const PROXIED: Duration = Duration::from_secs(2);
/// The same where the scaler asks its Prometheus meanwhile: longer than it waits for one answer.
const SERVER_TRIED: Duration = Duration::from_secs(7);
/// One question through a port-forward. A decision that is made again takes a few questions to Prometheus.
const QUESTION: Duration = Duration::from_secs(20);
/// How long a Prometheus may take to answer a new scaler: a NetworkPolicy takes a moment to hold, and a proxy to know a pod.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The Prometheus that the scaler was given, as it answers the scaler now, or why that is not known; `None` where no scaler is
/// ready to be asked, or it is one of a version that does not say.
pub(super) async fn prometheus(cluster: &Cluster, namespace: &str) -> Option<Result<health::Server, Silence>> {
    match ask(cluster, namespace, "/prometheus", SERVER_TRIED).await {
        Ok(Some(Answered { address, why, hint })) => Some(Ok(health::Server { address, why, hint })),
        Ok(None) | Err(CommandError::NotInstalled { .. } | CommandError::Unexplained { .. }) => None,
        Err(
            error @ (CommandError::Cluster { source: cluster::Error::Forbidden { .. }, .. }
            | CommandError::Forward(ForwardError::Open { source: cluster::Error::Forbidden { .. }, .. })),
        ) => Some(Err(Silence::NotPermitted(causes(&error)))),
        Err(error) => Some(Err(Silence::NoAnswer(causes(&error)))),
    }
}

/// Waits until the Prometheus that the scaler was given answers it, but not for long: a server that is not there is told soon. Who
/// may not ask the scaler is told that.
///
/// # Errors
///
/// [`CommandError::Unanswered`].
pub(super) async fn until_answered(
    cluster: &Cluster,
    namespace: &str,
    deadline: Instant,
    reporter: &dyn Reporter,
) -> Result<(), CommandError> {
    let began = Instant::now();
    let deadline = deadline.min(began + ANSWERS_WITHIN);
    reporter.report(Event::StepStarted { step: Step::Server, total: None });
    let finished = |summary: String| Event::StepFinished { step: Step::Server, took: began.elapsed(), summary };
    let scaler = ObjectRef::new("apps/v1", "Deployment", Some(namespace), Component::Scaler.name());
    loop {
        let told = prometheus(cluster, namespace).await;
        let is_late = Instant::now() >= deadline;
        let unknown = |why: &str| finished(format!("whether Prometheus answers the scaler is unknown: {why}"));
        let why = match told {
            Some(Ok(health::Server { address, why: None, .. })) => {
                reporter.report(finished(format!("{address} answers the scaler")));
                return Ok(());
            }
            Some(Ok(health::Server { address, why: Some(why), hint })) if is_late => {
                return Err(CommandError::Unanswered { address, why, hint });
            }
            Some(Err(Silence::NotPermitted(why))) => {
                reporter.report(unknown(&why));
                return Ok(());
            }
            Some(Ok(health::Server { why: Some(why), .. }) | Err(Silence::NoAnswer(why))) => why,
            None => "no scaler says whether Prometheus answers it".to_owned(),
        };
        if is_late {
            reporter.report(unknown(&why));
            return Ok(());
        }
        reporter.report(Event::InProgress { object: scaler.clone(), why });
        sleep(ASK_AGAIN).await;
    }
}

/// Asks whoever leads; `None` where nobody does. The Service first, for as long as
/// `proxied`: its proxy takes no right to forward ports; then every pod that might lead.
///
/// # Errors
///
/// [`CommandError::NotInstalled`] where no scaler is ready, [`CommandError::Unexplained`] with what it says instead,
/// [`CommandError::Forward`] where it cannot be reached.
pub(super) async fn ask<T: DeserializeOwned>(
    cluster: &Cluster,
    namespace: &str,
    path: &str,
    proxied: Duration,
) -> Result<Option<T>, CommandError> {
    let scaler = Component::Scaler.name();
    match cluster.get_from_service(namespace, scaler, PORT, path, proxied).await {
        Ok((status, body)) => {
            if let Some(answer) = answer(status, &body) {
                return answer.map(Some);
            }
            tracing::debug!("the proxy of Service {scaler} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Err(error) => tracing::debug!("no answer through the proxy of Service {scaler}: {error}"),
    }
    let selector = format!("{}={scaler}", catalog::NAME);
    let failed = |source| unusable(cluster, source);
    let mut pods = targets::ready_pods(cluster, namespace, &selector).await.map_err(failed)?;
    if let Some(leader) = leader(cluster, namespace).await {
        pods.sort_by_key(|pod| *pod != leader);
    }
    if pods.is_empty() {
        return Err(CommandError::NotInstalled {
            what: format!("a scaler that runs in namespace {namespace}"),
            fix: "`scalekit status` says why it does not run; `scalekit up` installs it".to_owned(),
        });
    }
    let mut last = None;
    for pod in &pods {
        let tunnel = PodTunnel::new(cluster, namespace, pod, PORT);
        match timeout(QUESTION, tunnel.request(http::Method::GET, path)).await {
            Ok(Ok((status, body))) => {
                if let Some(answer) = answer(status, &body) {
                    return answer.map(Some);
                }
            }
            Ok(Err(error)) => last = Some(CommandError::Forward(error)),
            Err(_) => tracing::debug!("pod {pod} did not answer within {QUESTION:?}"),
        }
    }
    last.map_or(Ok(None), Err)
}

/// What the scaler said; `None` where it was not the scaler, or one that does not lead.
fn answer<T: DeserializeOwned>(status: StatusCode, body: &Bytes) -> Option<Result<T, CommandError>> {
    let text = String::from_utf8_lossy(body);
    // The API server speaks for itself in JSON, the scaler says what is wrong as text.
    let is_ours = !text.trim_start().starts_with('{');
    match status {
        StatusCode::OK => {
            let unreadable = |error: serde_json::Error| CommandError::Unexplained {
                why: format!("the scaler's answer cannot be read: {error}"),
                hint: Some("is the scaler of another version? `scalekit up` brings it up to date".to_owned()),
            };
            Some(serde_json::from_slice(body).map_err(unreadable))
        }
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY if is_ours => {
            Some(Err(CommandError::Unexplained { why: text.trim().to_owned(), hint: None }))
        }
        _ => None,
    }
}

/// The pod that leads, if the Lease may be read: its holder is the pod's name and a number.
async fn leader(cluster: &Cluster, namespace: &str) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(cluster.client().clone(), namespace);
    let lease = cluster::answered(leases.get(LEASE)).await.ok()?;
    let holder = lease.spec?.holder_identity?;
    Some(holder.rsplit_once('_').map_or(holder.as_str(), |(pod, _)| pod).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscaling::explain::Explanation;

    fn said(status: u16, body: &str) -> Option<Result<i32, String>> {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = answer::<Explanation>(status, &Bytes::copy_from_slice(body.as_bytes()))?;
        Some(answer.map(|explanation| explanation.desired_replicas).map_err(|error| error.to_string()))
    }

    #[test]
    fn the_scaler_is_told_apart_from_the_api_server() {
        let explanation = r#"{"from":"2026-11-25T14:05:00Z","to":"2026-11-25T14:05:00Z","currentReplicas":1,
            "desiredReplicas":3,"minReplicas":1,"maxReplicas":5,"metrics":[],"steps":[],"wouldChange":[]}"#;
        assert_eq!(said(200, explanation), Some(Ok(3)));
        assert_eq!(said(404, "no decision is known\n"), Some(Err("no decision is known".to_owned())));
        // The Service is not there; it has no endpoint; a user without the right; one that stands by.
        assert_eq!(said(404, r#"{"kind":"Status","code":404}"#), None);
        assert_eq!(said(503, r#"{"kind":"Status","code":503}"#), None);
        assert_eq!(said(403, r#"{"kind":"Status","code":403}"#), None);
        assert_eq!(said(503, "this scaler does not lead\n"), None);
        assert!(said(200, "<html>").is_some_and(|said| said.is_err()));
    }
}
