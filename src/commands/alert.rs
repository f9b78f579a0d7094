//! `scalekit alert test`: one alert through Alertmanager, and whether its receivers took it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    CommandError, targets,
    up::{now, unusable},
    whereabouts::without_a_pod,
};
use crate::{
    alerting::{self, Counters, Delivery, Outcome, Refusal, Routed, TEST_LABEL},
    catalog::{self, Component, TEST_ALERT},
    cluster::{Cluster, ForwardError, PodTunnel},
};

/// What came of a test. Its JSON form is documented in `docs/alerting.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertTested {
    /// Whether every channel of every receiver took it, there is at least one, and Prometheus sends its alerts there too.
    pub delivered: bool,
    /// Value of the label `test`, by which it can be found.
    pub test: String,
    /// Receivers that the configuration routes it to.
    pub receivers: Vec<String>,
    /// Each channel of theirs.
    pub deliveries: Vec<Delivery>,
    /// Why nothing is sent, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<&'static str>,
    /// Why Prometheus' own alerts do not get to Alertmanager, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlinked: Option<String>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 10.0).round() / 10.0)
}

const PORT: u16 = 9093;
/// One request through a port-forward.
const QUESTION: Duration = Duration::from_secs(5);
/// Alertmanager has no watch.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Sends an alert to Alertmanager, asks Prometheus whether it sends its own there, and waits until every receiver that it is
/// routed to has taken or refused it, at most `patience`.
///
/// # Errors
///
/// [`CommandError::NotInstalled`], [`CommandError::Elsewhere`] or [`CommandError::NotReady`] when there is no ready
/// Alertmanager; [`CommandError::Forward`] and [`CommandError::UnexpectedAnswer`] when it does not answer. That a receiver refuses is in the answer.
pub async fn alert_test(
    namespace: &str,
    severity: &str,
    patience: Duration,
    cluster: &Cluster,
) -> Result<AlertTested, CommandError> {
    let failed = |source| unusable(cluster, source);
    let selector = format!("{}={}", catalog::NAME, Component::Alertmanager);
    let Some(pod) = targets::ready_pod(cluster, namespace, &selector).await.map_err(failed)? else {
        return Err(without_a_pod(cluster, namespace, Component::Alertmanager, "alert test").await);
    };
    let unlinked = unlinked(cluster, namespace).await.map_err(failed)?;
    let began = Instant::now();
    let sent_at = now();
    let asked = Asked { tunnel: PodTunnel::new(cluster, namespace, &pod, PORT), cluster, namespace, began };
    let test = sent_at.as_millisecond().to_string();
    let before = asked.counters().await?;
    let alert = alerting::test_alert(&test, severity, cluster.context(), sent_at);
    asked.request(http::Method::POST, "/api/v2/alerts", Some(&alert)).await?;

    let mut routed = Routed::default();
    let mut deliveries = Vec::new();
    let mut looked_after = false;
    while began.elapsed() < patience {
        if let Some(found) = asked.routed(&test).await? {
            routed = found;
        }
        deliveries = alerting::outcomes(&routed.receivers, &before, &asked.counters().await?, &asked.refusals().await?);
        let decided = !routed.receivers.is_empty()
            && (deliveries.iter().all(|delivery| delivery.outcome != Outcome::Pending) || routed.suppressed.is_some());
        // A request is counted a moment before its failure is: what looks good is looked at once more.
        if decided && looked_after {
            break;
        }
        looked_after = decided;
        sleep(ASK_AGAIN).await;
    }
    let taken = !deliveries.is_empty() && deliveries.iter().all(|delivery| delivery.outcome == Outcome::Delivered);
    Ok(AlertTested {
        delivered: taken && unlinked.is_none(),
        test,
        receivers: routed.receivers,
        deliveries,
        suppressed: routed.suppressed,
        unlinked,
        took: began.elapsed(),
    })
}

/// The first link of the chain, which an alert that is sent to Alertmanager itself does not take.
async fn unlinked(cluster: &Cluster, namespace: &str) -> Result<Option<String>, crate::cluster::Error> {
    let Some(prometheus) = targets::prometheus(cluster, namespace).await? else {
        return Ok(Some("no pod of Prometheus is ready".to_owned()));
    };
    Ok(match prometheus.alertmanagers().await {
        Ok(urls) => alerting::unlinked(&urls, namespace),
        Err(error) => Some(format!("Prometheus cannot be asked where it sends its alerts: {error}")),
    })
}

/// Who is asked, and since when.
struct Asked<'a> {
    tunnel: PodTunnel,
    cluster: &'a Cluster,
    namespace: &'a str,
    began: Instant,
}

impl Asked<'_> {
    async fn counters(&self) -> Result<Counters, CommandError> {
        Ok(Counters::parse(&self.request(http::Method::GET, "/metrics", None).await?))
    }

    async fn routed(&self, test: &str) -> Result<Option<Routed>, CommandError> {
        let path = format!("/api/v2/alerts?filter=alertname%3D%22{TEST_ALERT}%22&filter={TEST_LABEL}%3D%22{test}%22");
        let answer = self.request(http::Method::GET, &path, None).await?;
        Ok(serde_json::from_str::<Value>(&answer).ok().and_then(|answer| alerting::routed(&answer)))
    }

    /// What the log has said since the alert was sent. The kubelet counts the seconds, by its own clock.
    async fn refusals(&self) -> Result<Vec<Refusal>, CommandError> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), self.namespace);
        let since = i64::try_from(self.began.elapsed().as_secs()).unwrap_or(i64::MAX).saturating_add(1);
        let params = LogParams { since_seconds: Some(since), ..LogParams::default() };
        let log = pods.logs(self.tunnel.pod(), &params).await.map_err(|error| unusable(self.cluster, error.into()))?;
        Ok(alerting::refusals(&log))
    }

    async fn request(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<String, CommandError> {
        let asked = self.tunnel.request_with(method, path, body);
        let (status, answer) = timeout(QUESTION, asked).await.unwrap_or_else(|_| {
            Err(ForwardError::Http {
                pod: format!("{}/{}", self.namespace, self.tunnel.pod()),
                port: PORT,
                cause: format!("no answer within {} s", QUESTION.as_secs()),
            })
        })?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if status.is_success() {
            return Ok(answer);
        }
        Err(CommandError::UnexpectedAnswer {
            pod: self.tunnel.pod().to_owned(),
            status: status.as_u16(),
            path: path.to_owned(),
            answer,
        })
    }
}
