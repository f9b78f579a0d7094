//! What servers are asked, and when they are left alone.

use std::sync::atomic::{AtomicBool, Ordering};

use rstest::rstest;

use super::*;

#[rstest]
#[case::shortest(1, 0.0, 15)]
#[case::first(1, 1.0, 30)]
#[case::second(2, 1.0, 60)]
#[case::half_of_the_third(3, 0.5, 60)]
#[case::longest(30, 1.0, 300)]
fn the_wait_doubles_between_one_interval_and_five_minutes(
    #[case] failures: u32,
    #[case] jitter: f64,
    #[case] seconds: u64,
) {
    assert_eq!(wait(failures, Duration::from_secs(15), jitter), Duration::from_secs(seconds));
}

fn s() -> ServerRef {
    ServerRef { address: "s".to_owned(), access: None }
}

#[derive(Default)]
struct Fake {
    answers: Mutex<Vec<Result<Vec<f64>, Error>>>,
    accepts: AtomicBool,
}

impl MetricSource for Fake {
    fn query<'a>(&'a self, _: &'a str, _: Option<Duration>) -> BoxFuture<'a, Result<Vec<Sample>, Error>> {
        async {
            tokio::task::yield_now().await;
            let answer = self.answers.lock().expect("a lock").remove(0);
            let sample = |value| Sample { labels: std::collections::BTreeMap::new(), value, at: 0.0 };
            answer.map(|values| values.into_iter().map(sample).collect())
        }
        .boxed()
    }

    fn range<'a>(&'a self, _: &'a Question, _: (i64, i64), _: Duration) -> BoxFuture<'a, Result<Vec<Instant>, Error>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn accepts(&self) -> BoxFuture<'_, bool> {
        std::future::ready(self.accepts.load(Ordering::Relaxed)).boxed()
    }
}

fn servers(answers: Vec<Result<Vec<f64>, Error>>) -> Servers {
    servers_of(&Arc::new(Fake { answers: Mutex::new(answers), ..Fake::default() }))
}

fn servers_of(fake: &Arc<Fake>) -> Servers {
    let fake: Arc<dyn MetricSource> = fake.clone();
    Servers::new(Box::new(move |_| Ok(fake.clone())), Clock::start(), Arc::default())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_not_there_is_asked_as_soon_as_it_accepts_connections() {
    let answers = vec![Err(Error::Unreachable("refused".to_owned())), Ok(vec![1.0])];
    let fake = Arc::new(Fake { answers: Mutex::new(answers), ..Fake::default() });
    let servers = servers_of(&fake);
    servers.ask(&s(), &q("q"), INTERVAL).await;
    tokio::time::advance(Duration::from_secs(8)).await;
    assert!(matches!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::LeftAlone { .. }), "still not there");
    fake.accepts.store(true, Ordering::Relaxed);
    assert!(matches!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::LeftAlone { .. }), "looked at just now");
    tokio::time::advance(Duration::from_secs(8)).await;
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![1000]));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_does_not_answer_is_left_alone_for_the_whole_wait() {
    let answers = vec![Err(Error::Unreachable("no answer within 5s".to_owned()))];
    let fake = Arc::new(Fake { answers: Mutex::new(answers), accepts: AtomicBool::new(true) });
    let servers = servers_of(&fake);
    servers.ask(&s(), &q("q"), INTERVAL).await;
    tokio::time::advance(Duration::from_secs(14)).await;
    assert!(matches!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::LeftAlone { .. }));
}

fn q(query: &str) -> Question {
    Question { query: query.to_owned(), max_age: None }
}

const INTERVAL: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_same_question_at_the_same_time_is_asked_once() {
    let servers = servers(vec![Ok(vec![1.5])]);
    let q = q("q");
    let s = s();
    let (one, other) = tokio::join!(servers.ask(&s, &q, INTERVAL), servers.ask(&s, &q, INTERVAL));
    assert_eq!((one, other), (Answer::Values(vec![1500]), Answer::Values(vec![1500])));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_alone() {
    let servers = servers(vec![Err(Error::Unreachable("refused".to_owned()))]);
    let Answer::LeftAlone { reason, message, until } = servers.ask(&s(), &q("q"), INTERVAL).await else {
        panic!("it failed")
    };
    assert_eq!(reason, "PrometheusUnreachable");
    assert_eq!(message, "s: Prometheus did not answer: refused");
    // Asking again would panic: there is no second answer.
    assert_eq!(servers.ask(&s(), &q("other"), INTERVAL).await, Answer::LeftAlone { reason, message, until });
}

#[tokio::test]
async fn a_bad_query_does_not_count_against_the_server() {
    let refused = Error::Refused { kind: "bad_data".to_owned(), message: "no".to_owned() };
    let servers = servers(vec![Err(refused), Ok(vec![])]);
    assert!(matches!(servers.ask(&s(), &q("q("), INTERVAL).await, Answer::Failed { .. }));
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![]));
}

#[tokio::test]
async fn questions_that_fail_together_count_once() {
    let down = || Err(Error::Unreachable("refused".to_owned()));
    let servers = servers(vec![down(), down()]);
    let (a, b) = (q("a"), q("b"));
    let s = s();
    tokio::join!(servers.ask(&s, &a, INTERVAL), servers.ask(&s, &b, INTERVAL));
    let failures = servers.lock().get(&s).and_then(|server| server.outage.clone()).expect("an outage").failures;
    assert_eq!(failures, 1);
}
