//! `scalekit explain`: why a workload has as many replicas as it has, as the scaler that leads tells it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::{Api, ResourceExt};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::{CommandError, targets, up::unusable, whereabouts};
use crate::{
    autoscaling::{
        api::{Autoscaler, ModeSpec, ScaleTargetRef},
        controller::{LEASE, SKEW},
        explain::Explanation,
    },
    catalog::{self, Component},
    cluster::{self, Cluster, Kind, PodTunnel},
    settings::{At, Named, SettingsError},
};

const PORT: u16 = 8080;
/// The longest time without a leader, when the last one died.
const ELECTION: Duration = Duration::from_secs(18);
/// One question through a port-forward. A decision that is made again takes a few questions to Prometheus.
const QUESTION: Duration = Duration::from_secs(20);

/// A decision, and what it is about. Its JSON form is documented in `docs/explain.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Namespace of Autoscaler and workload.
    pub namespace: String,
    /// The Autoscaler.
    pub autoscaler: String,
    /// What it scales: `Deployment/watcherbot`.
    pub target: String,
    /// Its mode.
    pub mode: ModeSpec,
    /// Other Autoscalers of the same workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// What else there is to know about the workload, as it is now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The decision.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Finds the Autoscaler of a workload, and asks the scaler that leads about it.
///
/// # Errors
///
/// [`CommandError::NoAutoscaler`], [`CommandError::NotInstalled`] when no scaler runs,
/// [`CommandError::Unexplained`] when none knows.
pub async fn explain(
    cluster: &Cluster,
    namespace: &str,
    named: &Named,
    at: Option<At>,
) -> Result<Explained, CommandError> {
    let now = super::up::now();
    if let Some(At::Instant(at)) = at
        && at.duration_since(now) > SKEW
    {
        return Err(
            SettingsError::Value { origin: "--at".to_owned(), reason: format!("{at} lies in the future") }.into()
        );
    }
    let all = autoscalers(cluster, namespace).await.map_err(|source| unusable(cluster, source))?;
    let mut found = all.iter().filter(|object| is_named(named, object));
    let Some(object) = found.next() else {
        let known = all.iter().map(|object| format!("{} (as/{})", target(object), object.name_any())).collect();
        return Err(CommandError::NoAutoscaler { named: named.to_string(), namespace: namespace.to_owned(), known });
    };
    let mut path = format!("/explain/{namespace}/{}?output=json", object.name_any());
    let notes = match at {
        None => notes(cluster, namespace, &object.spec.scale_target_ref).await,
        Some(_) => Vec::new(),
    };
    let at = at.map(|at| at.instant(now));
    if let Some(at) = at {
        path = format!("{path}&at={at}");
    }
    let made = object.creation_timestamp().map(|time| time.0);
    Ok(Explained {
        namespace: namespace.to_owned(),
        autoscaler: object.name_any(),
        target: target(object),
        mode: object.spec.mode,
        others: found.map(ResourceExt::name_any).collect(),
        notes,
        explanation: ask_until_one_leads(cluster, &path).await.map_err(|error| match (error, at, made) {
            (CommandError::Unexplained { why, hint: None }, Some(at), Some(made)) if at < made => {
                let hint = Some(format!("Autoscaler {namespace}/{} was made at {made}", object.name_any()));
                CommandError::Unexplained { why, hint }
            }
            (other, ..) => other,
        })?,
    })
}

fn is_named(named: &Named, object: &Autoscaler) -> bool {
    let target = &object.spec.scale_target_ref;
    (named.is_autoscaler() && object.name_any() == named.name())
        || named.is(&target.api_version, &target.kind, &target.name)
}

fn target(object: &Autoscaler) -> String {
    let target = &object.spec.scale_target_ref;
    format!("{}/{}", target.kind, target.name)
}

/// What of a workload makes its replicas other than one would think. Who may not read it learns nothing.
async fn notes(cluster: &Cluster, namespace: &str, target: &ScaleTargetRef) -> Vec<String> {
    let ScaleTargetRef { api_version, kind, name } = target;
    if (api_version.as_str(), kind.as_str()) != ("apps/v1", "Deployment") {
        return Vec::new();
    }
    let deployments: Api<Deployment> = Api::namespaced(cluster.client().clone(), namespace);
    match cluster::answered(deployments.get(name)).await {
        Ok(deployment) if deployment.spec.paused == Some(true) => vec![format!(
            "Deployment {name} is paused (spec.paused): its replicas are scaled, but a change of its pod template is not \
             rolled out before `kubectl rollout resume deployment/{name} -n {namespace}`"
        )],
        _ => Vec::new(),
    }
}

/// The oldest first: of two with the same target it is the one that scales.
async fn autoscalers(cluster: &Cluster, namespace: &str) -> Result<Vec<Autoscaler>, cluster::Error> {
    let Some(kind) = Kind::named("scalekit.dev", "Autoscaler") else { return Ok(Vec::new()) };
    let listed = cluster.list_kind(kind, Some(namespace), "").await?;
    // One that cannot be read is not scaled either.
    let mut all: Vec<Autoscaler> = listed.into_iter().filter_map(|object| object.try_parse().ok()).collect();
    all.sort_by_key(|object| (object.creation_timestamp().map(|time| time.0), object.name_any()));
    Ok(all)
}

/// Between two leaders there is none for a while, which passes.
async fn ask_until_one_leads(cluster: &Cluster, path: &str) -> Result<Explanation, CommandError> {
    let scaler = Component::Scaler.name();
    let namespace = stack(cluster).await.map_err(|source| unusable(cluster, source))?;
    let began = Instant::now();
    loop {
        match ask(cluster, &namespace, path).await? {
            Some(explanation) => return Ok(explanation),
            None if began.elapsed() < ELECTION => sleep(Duration::from_secs(1)).await,
            None => {
                return Err(CommandError::Unexplained {
                    why: format!("no {scaler} in namespace {namespace} leads"),
                    hint: Some(format!("`kubectl get lease {LEASE} -n {namespace}` says which one led")),
                });
            }
        }
    }
}

/// Asks whoever leads; `None` where nobody does. The Service first, whose proxy takes no right to forward ports; then every pod that might lead.
async fn ask(cluster: &Cluster, namespace: &str, path: &str) -> Result<Option<Explanation>, CommandError> {
    let scaler = Component::Scaler.name();
    match cluster.get_from_service(namespace, scaler, PORT, path).await {
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
fn answer(status: StatusCode, body: &Bytes) -> Option<Result<Explanation, CommandError>> {
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

/// The namespace of the stack. Who may not look everywhere is taken to have it where it usually is.
async fn stack(cluster: &Cluster) -> Result<String, cluster::Error> {
    let found = whereabouts::stacks(cluster).await?.into_iter().next();
    Ok(found.unwrap_or_else(|| catalog::DEFAULT_NAMESPACE.to_owned()))
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
    use rstest::rstest;

    use super::*;

    fn said(status: u16, body: &str) -> Option<Result<i32, String>> {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = answer(status, &Bytes::copy_from_slice(body.as_bytes()))?;
        Some(answer.map(|explanation| explanation.desired_replicas).map_err(|error| error.to_string()))
    }

    #[rstest]
    #[case::paused(200, r#"{"spec":{"paused":true,"selector":{},"template":{}}}"#, 1)]
    #[case::not_paused(200, r#"{"spec":{"selector":{},"template":{}}}"#, 0)]
    #[case::not_for_us_to_read(403, r#"{"kind":"Status","status":"Failure","code":403,"reason":"Forbidden"}"#, 0)]
    #[tokio::test]
    async fn a_deployment_that_is_paused_is_noted(#[case] code: u16, #[case] body: &str, #[case] notes: usize) {
        let (code, body) = (StatusCode::from_u16(code).expect("a status"), body.to_owned());
        let answer = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            assert_eq!(request.uri().path(), "/apis/apps/v1/namespaces/demo/deployments/w");
            let answer =
                http::Response::builder().status(code).body(kube::client::Body::from(body.clone().into_bytes()));
            std::future::ready(answer)
        });
        let cluster = Cluster::new(kube::Client::new(answer, "default"), "", "", "default");
        let target = |kind: &str| ScaleTargetRef {
            api_version: "apps/v1".to_owned(),
            kind: kind.to_owned(),
            name: "w".to_owned(),
        };
        let told = super::notes(&cluster, "demo", &target("Deployment")).await;
        assert_eq!(told.len(), notes, "{told:?}");
        assert!(told.iter().all(|note| note.contains("kubectl rollout resume deployment/w -n demo")), "{told:?}");
        // Of another kind nothing is asked.
        assert_eq!(super::notes(&cluster, "demo", &target("StatefulSet")).await, Vec::<String>::new());
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
