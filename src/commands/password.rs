//! A new password for Grafana's `admin`.
//!
//! Grafana reads the password of the Secret once in the life of its database; afterwards only Grafana can change it, by
//! its HTTP API, for somebody who knows the old one
//! (<https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/user/#change-password>).

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;
use tokio::time::timeout;

use super::{
    CommandError, targets,
    up::{password, unusable},
    whereabouts::without_a_pod,
};
use crate::{
    catalog::{self, ADMIN_SECRET, Component, PASSWORD_KEY},
    cluster::{self, Cluster, ForwardError, PodTunnel, answered},
    event::Silent,
    install::Installer,
};

const PORT: u16 = 3000;
/// Grafana hashes a password slowly, on purpose; on a small board that takes seconds.
const QUESTION: Duration = Duration::from_secs(20);
/// In the Secret, while a change is under way: the password that is being set.
const NEXT: &str = "next";

/// Gives `admin` a new random password: in Grafana, then in the Secret. A run that dies in between loses neither: the new
/// one stands in the Secret, under another key, before Grafana is told.
///
/// # Errors
///
/// [`CommandError::NotInstalled`], [`CommandError::Elsewhere`] or [`CommandError::NotReady`] when no Grafana is ready; [`CommandError::PasswordUnknown`] when Grafana takes none of
/// those in the Secret; [`CommandError::UnexpectedAnswer`].
pub async fn reset_grafana_password(namespace: &str, cluster: &Cluster) -> Result<(), CommandError> {
    let failed = |source| unusable(cluster, source);
    let selector = format!("{}={}", catalog::NAME, Component::Grafana);
    let Some(pod) = targets::ready_pod(cluster, namespace, &selector).await.map_err(failed)? else {
        return Err(without_a_pod(cluster, namespace, Component::Grafana, "open grafana --reset-password").await);
    };
    let grafana = PodTunnel::new(cluster, namespace, &pod, PORT);
    let installer = Installer::new(cluster, &Silent, QUESTION);
    let new = password()?;
    let known = known(cluster, namespace).await.map_err(failed)?;
    for old in &known {
        installer.set_secret(namespace, ADMIN_SECRET, &[(NEXT, Some(&new))]).await.map_err(failed)?;
        if change(&grafana, namespace, old, &new).await? {
            let done = [(PASSWORD_KEY, Some(new.as_str())), (NEXT, None)];
            return installer.set_secret(namespace, ADMIN_SECRET, &done).await.map_err(failed);
        }
    }
    installer.set_secret(namespace, ADMIN_SECRET, &[(NEXT, None)]).await.map_err(failed)?;
    Err(CommandError::PasswordUnknown { namespace: namespace.to_owned() })
}

/// The passwords that the Secret holds: the one that counts, and one that an interrupted run may have set.
async fn known(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, cluster::Error> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client().clone(), namespace);
    let mut data = answered(secrets.get(ADMIN_SECRET)).await?.data.unwrap_or_default();
    let found = [PASSWORD_KEY, NEXT].into_iter().filter_map(|key| String::from_utf8(data.remove(key)?.0).ok());
    Ok(found.collect())
}

/// Whether Grafana took the new password in place of the old one.
async fn change(grafana: &PodTunnel, namespace: &str, old: &str, new: &str) -> Result<bool, CommandError> {
    const PATH: &str = "/api/user/password";
    let body = json!({"oldPassword": old, "newPassword": new, "confirmNew": new});
    let asked = grafana.request_as(("admin", old), http::Method::PUT, PATH, &body);
    let (status, answer) = timeout(QUESTION, asked).await.unwrap_or_else(|_| {
        Err(ForwardError::Http {
            pod: format!("{namespace}/{}", grafana.pod()),
            port: PORT,
            cause: format!("no answer within {} s", QUESTION.as_secs()),
        })
    })?;
    match status.as_u16() {
        200 => Ok(true),
        401 => Ok(false),
        status => Err(CommandError::UnexpectedAnswer {
            pod: grafana.pod().to_owned(),
            status,
            path: PATH.to_owned(),
            answer: String::from_utf8_lossy(&answer).into_owned(),
        }),
    }
}
