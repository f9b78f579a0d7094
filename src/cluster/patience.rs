//! Asking again what only reads, when the API server is overloaded or stumbles.
//!
//! A run reads some thirty times before its first write, and one 429 or 500 among them must not end it. Writes are not
//! asked again here: `install` does that, says so, and is bounded by the run's deadline. Nor is a server that cannot be
//! reached: who named a wrong address wants to know it soon. But a connection that is lost takes along all that is asked on
//! it, and the next one may well lead to a server that stays: those reads are asked once more.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use hyper_util::client::legacy;
use kube::client::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

/// Pauses between the tries, in milliseconds: six tries within three seconds.
const PAUSES: [u64; 5] = [50, 150, 400, 800, 1600];

/// Tries after which a server that asks for whole seconds is not heeded yet: it does so for the objects of a definition
/// that it has just taken, and is there after a few milliseconds.
const EARLY: usize = 2;

/// The longest that a server may ask to wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Puts [`Patient`] around a client's service.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatienceLayer;

impl<S> Layer<S> for PatienceLayer {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Patient { inner }
    }
}

/// A service that asks again.
#[derive(Clone, Debug)]
pub(super) struct Patient<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for Patient<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Each try waits until its own clone is ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        if !only_reads(request.method(), request.uri()) {
            return Box::pin(async move { inner.oneshot(request).await.map_err(Into::into) });
        }
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // A review is a few hundred bytes, and a GET has none.
            let body = body.collect_bytes().await?;
            let mut pauses = PAUSES.into_iter().map(Duration::from_millis).enumerate();
            let mut lost = false;
            loop {
                let request = Request::from_parts(head.clone(), Body::from(body.to_vec()));
                let answer = match inner.clone().oneshot(request).await.map_err(Into::into) {
                    Err(error) if !lost && is_loss(&*error) => {
                        tracing::debug!("{error}, asking {} again", head.uri.path());
                        lost = true;
                        continue;
                    }
                    answer => answer?,
                };
                let Some((tried, pause)) = pauses.next().filter(|_| passes(answer.status())) else { return Ok(answer) };
                tracing::debug!("{} to {}, asking again", answer.status(), head.uri.path());
                let asked_for = asked_for(&answer).filter(|_| tried >= EARLY);
                tokio::time::sleep(asked_for.unwrap_or(pause)).await;
            }
        })
    }
}

/// Whether a request changes nothing, and ends: a watch is begun anew by who watches.
fn only_reads(method: &Method, uri: &http::Uri) -> bool {
    let watches = uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("watch=")));
    (method == Method::GET && !watches) || (method == Method::POST && uri.path().ends_with("/selfsubjectaccessreviews"))
}

/// Whether there was a connection, and it broke.
fn is_loss(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|error| error.downcast_ref::<legacy::Error>()).is_some_and(|error| !error.is_connect())
}

fn passes(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// How long the server asks to wait, in whole seconds.
fn asked_for<B>(answer: &Response<B>) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_stumble(Method::GET, "/api/v1/nodes", 500, 3, 200, 4)]
    #[case::an_overload(Method::GET, "/api/v1/nodes", 429, 1, 200, 2)]
    #[case::a_review(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 503, 1, 200, 2)]
    #[case::for_good(Method::GET, "/api/v1/nodes", 503, 100, 503, 6)]
    #[case::a_refusal(Method::GET, "/api/v1/nodes", 403, 100, 403, 1)]
    #[case::a_write(Method::PATCH, "/api/v1/nodes/n", 500, 1, 500, 1)]
    #[case::a_watch(Method::GET, "/api/v1/nodes?watch=true", 500, 1, 500, 1)]
    #[tokio::test(start_paused = true)]
    async fn asks_again_what_reads_and_passes(
        #[case] method: Method,
        #[case] uri: &str,
        #[case] fault: u16,
        #[case] times: usize,
        #[case] expected: u16,
        #[case] tries: usize,
    ) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let code = if count.fetch_add(1, Ordering::Relaxed) < times { fault } else { 200 };
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                assert_eq!(&body[..], b"{}", "each try sends all of it");
                Ok::<_, Infallible>(Response::builder().status(code).body(()).unwrap())
            }
        });
        let request = Request::builder().method(method).uri(uri).body(Body::from(b"{}".to_vec())).unwrap();
        let answer = PatienceLayer.layer(service).oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), expected);
        assert_eq!(asked.load(Ordering::Relaxed), tries);
    }

    /// How long a read takes whose first answers ask for a second's patience.
    async fn took(answers: usize) -> Duration {
        let asked = Arc::new(AtomicUsize::new(0));
        let service = tower::service_fn(move |_: Request<Body>| {
            let code = if asked.fetch_add(1, Ordering::Relaxed) < answers { 429 } else { 200 };
            async move { Ok::<_, Infallible>(Response::builder().status(code).header(RETRY_AFTER, "1").body(()).unwrap()) }
        });
        let request = Request::builder().uri("/apis/scalekit.dev/v1alpha1/autoscalers").body(Body::empty()).unwrap();
        let began = tokio::time::Instant::now();
        PatienceLayer.layer(service).oneshot(request).await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn whole_seconds_are_heeded_when_it_is_not_there_soon() {
        assert_eq!(took(1).await, Duration::from_millis(50));
        assert_eq!(took(2).await, Duration::from_millis(200));
        assert_eq!(took(4).await, Duration::from_millis(2200));
    }
}
