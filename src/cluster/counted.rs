//! How many requests a run has made: each one that goes to the API server, one that is sent again too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tower::{Layer, Service};

/// The count of a run. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<AtomicU64>);

impl Requests {
    pub(super) fn made(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted { inner, requests: self.clone() }
    }
}

/// A service that counts what it is asked.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<R, S: Service<R>> Service<R> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.requests.0.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn all_clones_count_together() {
        let requests = Requests::default();
        let service = requests.layer(tower::service_fn(async |(): ()| Ok::<_, Infallible>(())));
        for _ in 0..3 {
            service.clone().oneshot(()).await.unwrap();
        }
        assert_eq!(requests.made(), 3);
    }
}
