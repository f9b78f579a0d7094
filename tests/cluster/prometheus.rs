//! The stack's Prometheus, asked by another way than the one under test.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use kube::Client;
use scalekit::prometheus::{Client as Prometheus, Error, Sample, Target, Transport};

use crate::world::{ANSWERED_WITHIN, World};

/// Where the API server has it.
pub const PROMETHEUS: &str = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy";

impl World {
    /// Asks it for a path, with the query behind it, for other threads: the JSON that it answers.
    pub fn prometheus_answers(&self) -> impl Fn(&str) -> Option<String> + Clone + Send + 'static {
        let (kubectl, kubeconfig) = (self.state().join("bin/kubectl"), self.kubeconfig());
        move |path| {
            let mut command = Command::new(&kubectl);
            command.arg("--kubeconfig").arg(&kubeconfig).args(["get", "--raw", &format!("{PROMETHEUS}{path}")]);
            let ran = Self::run(&mut command);
            (ran.code == 0).then_some(ran.stdout)
        }
    }

    /// A client of it, through the API server's proxy.
    pub fn prometheus(&self) -> Prometheus<ServiceProxy> {
        Prometheus::new(
            ServiceProxy { client: self.client.clone(), path: PROMETHEUS.to_owned() },
            Duration::from_secs(10),
        )
    }

    pub async fn query(&self, query: &str) -> Vec<Sample> {
        answered(query, async || self.prometheus().query(query).await).await
    }

    /// Waits until a query has this many samples. A target that is gone is told as gone two scrapes later, and an alert of
    /// it is seen an evaluation after that: a minute at the default interval, and more on a loaded machine.
    pub async fn until_samples(&self, query: &str, count: usize) {
        let began = Instant::now();
        loop {
            let samples = self.query(query).await;
            if samples.len() == count {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(240), "{query}: {samples:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    pub async fn targets(&self) -> Vec<Target> {
        answered("targets", async || self.prometheus().targets().await).await
    }
}

/// The answer to a question, which is asked again for a while where none comes.
async fn answered<T>(question: &str, ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(error.is_outage() && began.elapsed() < ANSWERED_WITHIN, "{question}: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

pub struct ServiceProxy {
    client: Client,
    path: String,
}

impl Transport for ServiceProxy {
    fn get<'a>(
        &'a self,
        path_and_query: &'a str,
    ) -> futures::future::BoxFuture<'a, Result<(http::StatusCode, bytes::Bytes), String>> {
        Box::pin(async move {
            let request = http::Request::get(format!("{}{path_and_query}", self.path))
                .body(Vec::new())
                .map_err(|error| error.to_string())?;
            let text = self.client.request_text(request).await.map_err(|error| error.to_string())?;
            Ok((http::StatusCode::OK, text.into()))
        })
    }
}
