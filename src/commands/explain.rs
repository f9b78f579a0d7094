//! `scalekit explain`: why a workload has as many replicas as it has, as the scaler that leads tells it.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt};
use serde::Serialize;
use tokio::time::sleep;

use super::{CommandError, scaler, up::unusable, whereabouts};
use crate::{
    autoscaling::{
        api::{Autoscaler, ModeSpec, ScaleTargetRef},
        controller::{LEASE, SKEW},
        explain::Explanation,
    },
    catalog,
    cluster::{self, Cluster, Kind},
    settings::{At, Named, SettingsError},
};

/// The longest time without a leader, when the last one died.
const ELECTION: Duration = Duration::from_secs(18);

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
    let namespace = stack(cluster).await.map_err(|source| unusable(cluster, source))?;
    let began = Instant::now();
    loop {
        match scaler::ask(cluster, &namespace, path, scaler::PROXIED).await? {
            Some(explanation) => return Ok(explanation),
            None if began.elapsed() < ELECTION => sleep(Duration::from_secs(1)).await,
            None => {
                return Err(CommandError::Unexplained {
                    why: format!("no scaler in namespace {namespace} leads"),
                    hint: Some(format!("`kubectl get lease {LEASE} -n {namespace}` says which one led")),
                });
            }
        }
    }
}

/// The namespace of the stack. Who may not look everywhere is taken to have it where it usually is.
async fn stack(cluster: &Cluster) -> Result<String, cluster::Error> {
    let found = whereabouts::stacks(cluster).await?.into_iter().next();
    Ok(found.unwrap_or_else(|| catalog::DEFAULT_NAMESPACE.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use rstest::rstest;

    use super::*;

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
}
