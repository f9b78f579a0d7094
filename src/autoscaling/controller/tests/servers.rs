//! What servers are asked, and when they are left alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rstest::rstest;

use super::{super::source::QUERY_LIMIT, *};

fn s() -> ServerRef {
    ServerRef { address: "s".to_owned(), access: None }
}

#[derive(Default)]
struct Fake {
    answers: Mutex<Vec<Result<Vec<f64>, Error>>>,
    accepts: AtomicBool,
    /// It answers the cheapest question.
    well: AtomicBool,
    probed: AtomicUsize,
    /// What it never answers.
    hangs: Option<&'static str>,
}

impl MetricSource for Fake {
    fn query<'a>(&'a self, query: &'a str, _: Option<Duration>) -> BoxFuture<'a, Result<Vec<Sample>, Error>> {
        async move {
            tokio::task::yield_now().await;
            if self.hangs == Some(query) {
                tokio::time::sleep(QUERY_LIMIT).await;
                return Err(Error::Timeout(QUERY_LIMIT));
            }
            let answer = self.answers.lock().expect("a lock").remove(0);
            let sample = |value| Sample { labels: std::collections::BTreeMap::new(), value, at: 0.0 };
            answer.map(|values| values.into_iter().map(sample).collect())
        }
        .boxed()
    }

    fn range<'a>(&'a self, _: &'a Question, _: (i64, i64), _: Duration) -> BoxFuture<'a, Result<Vec<Track>, Error>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn accepts(&self) -> BoxFuture<'_, bool> {
        std::future::ready(self.accepts.load(Ordering::Relaxed)).boxed()
    }

    fn is_well(&self) -> BoxFuture<'_, bool> {
        self.probed.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::task::yield_now().await;
            self.well.load(Ordering::Relaxed)
        }
        .boxed()
    }
}

fn servers(answers: Vec<Result<Vec<f64>, Error>>) -> Servers {
    servers_of(&Arc::new(Fake { answers: Mutex::new(answers), ..Fake::default() }))
}

fn servers_of(fake: &Arc<Fake>) -> Servers {
    let fake: Arc<dyn MetricSource> = fake.clone();
    Servers::new(Box::new(move |_| Ok(fake.clone())), Clock::start(), Arc::default())
}

#[rstest]
#[tokio::test(start_paused = true)]
#[case::gone(Error::Unreachable("refused".to_owned()))]
#[case::starting(Error::Http(http::StatusCode::SERVICE_UNAVAILABLE))]
async fn a_server_that_was_not_there_is_asked_as_soon_as_it_is_well(#[case] error: Error) {
    let starting = error.is_not_yet();
    let answers = vec![Err(error), Ok(vec![1.0])];
    let fake = Arc::new(Fake { answers: Mutex::new(answers), ..Fake::default() });
    fake.accepts.store(starting, Ordering::Relaxed);
    let servers = servers_of(&fake);
    servers.ask(&s(), &q("q"), INTERVAL).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    // It listens, and does not serve yet: a question now would only be one more failure.
    fake.accepts.store(true, Ordering::Relaxed);
    assert!(matches!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::LeftAlone { .. }), "not yet");
    fake.well.store(true, Ordering::Relaxed);
    assert!(matches!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::LeftAlone { .. }), "looked at just now");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![1000]));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_does_not_answer_is_left_alone_for_the_whole_wait() {
    let answers = vec![Err(Error::Unreachable("no answer within 5s".to_owned()))];
    let fake = Arc::new(Fake { answers: Mutex::new(answers), accepts: AtomicBool::new(true), ..Fake::default() });
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
    let Answer::LeftAlone { cause, until } = servers.ask(&s(), &q("q"), INTERVAL).await else { panic!("it failed") };
    let expected = "s: Prometheus did not answer: refused".to_owned();
    assert_eq!(cause, Cause::new("PrometheusUnreachable", expected));
    // Asking again would panic: there is no second answer.
    assert_eq!(servers.ask(&s(), &q("other"), INTERVAL).await, Answer::LeftAlone { cause, until });
}

#[tokio::test]
async fn a_bad_query_does_not_count_against_the_server() {
    let refused = Error::Refused { kind: "bad_data".to_owned(), message: "no".to_owned() };
    let servers = servers(vec![Err(refused), Ok(vec![])]);
    assert!(matches!(servers.ask(&s(), &q("q("), INTERVAL).await, Answer::Failed(_)));
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![]));
}

#[tokio::test]
async fn questions_that_fail_together_count_once() {
    let down = || Err(Error::Unreachable("refused".to_owned()));
    let servers = servers(vec![down(), down()]);
    let (a, b) = (q("a"), q("b"));
    let s = s();
    tokio::join!(servers.ask(&s, &a, INTERVAL), servers.ask(&s, &b, INTERVAL));
    let outage = servers.lock().get(&s).and_then(|server| server.outage.clone()).expect("an outage");
    assert_eq!(outage.backoff.failures, 1);
}

fn well(answers: Vec<Result<Vec<f64>, Error>>) -> Arc<Fake> {
    let yes = || AtomicBool::new(true);
    Arc::new(Fake { answers: Mutex::new(answers), accepts: yes(), well: yes(), hangs: Some("slow"), ..Fake::default() })
}

#[tokio::test(start_paused = true)]
async fn one_slow_question_blinds_nobody_else() {
    let fake = well(vec![Ok(vec![1.0]), Ok(vec![2.0])]);
    let servers = servers_of(&fake);
    let slow = servers.ask(&s(), &q("slow"), Duration::from_mins(5)).await;
    let Answer::LeftAlone { cause, until } = &slow else { panic!("{slow:?}") };
    assert_eq!(cause.reason, "PrometheusTimeout");
    // However seldom it is asked, who else asks it is not held up by that.
    let wait = until.duration_since(servers.clock.now());
    assert!((15..=30).contains(&wait.as_secs()), "{wait}");
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![1000]));
    // It is not asked again meanwhile, and answers to others do not change that.
    assert_eq!(servers.ask(&s(), &q("slow"), INTERVAL).await, slow);
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![2000]));
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_answers_to_one_question_is_about_that_question() {
    let too_long = Error::Http(http::StatusCode::URI_TOO_LONG);
    let servers = servers_of(&well(vec![Err(too_long), Ok(vec![1.0])]));
    let answer = servers.ask(&s(), &q("long"), INTERVAL).await;
    let Answer::LeftAlone { cause, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!((cause.reason, answer.status()), ("PrometheusHttpError", Some(http::StatusCode::URI_TOO_LONG)));
    // While it is left alone, others are told the same.
    assert_eq!(servers.ask(&s(), &q("long"), INTERVAL).await.status(), answer.status());
    assert_eq!(servers.ask(&s(), &q("q"), INTERVAL).await, Answer::Values(vec![1000]));
}

#[tokio::test(start_paused = true)]
async fn how_long_a_server_is_left_alone_does_not_depend_on_who_asked() {
    let servers = servers(vec![Err(Error::Unreachable("refused".to_owned()))]);
    let Answer::LeftAlone { until, .. } = servers.ask(&s(), &q("q"), Duration::from_mins(5)).await else {
        panic!("it failed")
    };
    assert!(until.duration_since(servers.clock.now()) <= SignedDuration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn when_a_server_hangs_who_waits_for_a_slot_is_told_soon() {
    let fake = Arc::new(Fake { accepts: AtomicBool::new(true), hangs: Some("slow"), ..Fake::default() });
    let servers = servers_of(&fake);
    let started = servers.clock.now();
    let (server, questions): (_, Vec<Question>) = (
        s(),
        (0..100).map(|age| Question { query: "slow".to_owned(), max_age: Some(Duration::from_secs(age)) }).collect(),
    );
    let answers =
        futures::future::join_all(questions.iter().map(|question| servers.ask(&server, question, INTERVAL))).await;
    let timed_out =
        |answer: &Answer| matches!(answer, Answer::LeftAlone { cause, .. } if cause.reason == "PrometheusTimeout");
    assert!(answers.iter().all(timed_out));
    // As many as there are slots are on their way by the time that it is known.
    assert!(servers.clock.now().duration_since(started) < SignedDuration::from_secs(11));
    assert!(fake.probed.load(Ordering::Relaxed) < 10, "asked once by all who want to know");
}

/// So many different ones, of which none is ever answered.
fn slow_questions(number: u64) -> Vec<Question> {
    (0..number).map(|age| Question { query: "slow".to_owned(), max_age: Some(Duration::from_secs(age)) }).collect()
}

#[tokio::test(start_paused = true)]
async fn when_a_wait_is_over_one_question_tries_and_nobody_else_waits_for_its_answer() {
    let fake = Arc::new(Fake { accepts: AtomicBool::new(true), hangs: Some("slow"), ..Fake::default() });
    let servers = servers_of(&fake);
    let server = s();
    let Answer::LeftAlone { until, .. } = servers.ask(&server, &q("slow"), INTERVAL).await else { panic!("it hangs") };
    tokio::time::advance(until.duration_since(servers.clock.now()).unsigned_abs()).await;
    let (retried, questions) = (servers.clock.now(), slow_questions(100));
    let asked = questions.iter().map(async |question| {
        let answer = servers.ask(&server, question, INTERVAL).await;
        (answer, servers.clock.now().duration_since(retried))
    });
    let mut answers = futures::future::join_all(asked).await;
    let (answer, took) = answers.remove(0);
    let Answer::LeftAlone { until, .. } = answer else { panic!("{answer:?}") };
    assert!(took >= SignedDuration::try_from(QUERY_LIMIT).expect("short"), "{took}");
    let mut others = std::collections::BTreeSet::new();
    for (answer, took) in answers {
        let Answer::LeftAlone { cause: Cause { reason: "PrometheusTimeout", .. }, until } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(took, SignedDuration::ZERO, "none of them waits");
        others.insert(until);
    }
    // They do not come again all at once, and find the next wait then.
    let (first, last) = (others.first().expect("one"), others.last().expect("one"));
    assert!(others.len() > 90 && last.duration_since(*first) > SignedDuration::from_secs(2), "{first} {last}");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(
        servers.ask(&server, &questions[1], INTERVAL).await,
        Answer::LeftAlone {
            cause: Cause::new("PrometheusTimeout", format!("s: {}", Error::Timeout(QUERY_LIMIT))),
            until
        }
    );
}

/// Whoever tried is gone, or it was his question that is too slow.
#[tokio::test(start_paused = true)]
async fn a_trial_that_says_nothing_of_the_server_holds_nobody_up() {
    let answers = vec![Ok(vec![1.0]), Ok(vec![1.0])];
    let yes = || AtomicBool::new(true);
    let fake = Arc::new(Fake { answers: Mutex::new(answers), accepts: yes(), hangs: Some("slow"), ..Fake::default() });
    let servers = servers_of(&fake);
    let (server, slow) = (s(), q("slow"));
    servers.ask(&server, &slow, INTERVAL).await;
    tokio::time::advance(Duration::from_secs(31)).await;
    let left = tokio::time::timeout(Duration::from_secs(1), servers.ask(&server, &slow, INTERVAL)).await;
    assert!(left.is_err(), "whoever asked is gone");
    fake.well.store(true, Ordering::Relaxed);
    assert!(matches!(servers.ask(&server, &slow, INTERVAL).await, Answer::LeftAlone { .. }), "it is slow still");
    let (a, b) = (q("a"), q("b"));
    let both = tokio::join!(servers.ask(&server, &a, INTERVAL), servers.ask(&server, &b, INTERVAL));
    assert_eq!(both, (Answer::Values(vec![1000]), Answer::Values(vec![1000])), "none of them is a trial any more");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_waits_for_any_more_gives_its_slot_back_and_is_asked_anew() {
    let fake = well(vec![Ok(vec![1.0])]);
    let servers = servers_of(&fake);
    let (server, slow) = (s(), q("slow"));
    let left = tokio::time::timeout(Duration::from_secs(1), servers.ask(&server, &slow, INTERVAL)).await;
    assert!(left.is_err(), "whoever asked is gone");
    let free = servers.lock().get(&server).map(|server| server.slots.available_permits());
    assert_eq!(free, Some(CONCURRENCY));
    // Long after, it has its whole time again.
    tokio::time::advance(Duration::from_mins(1)).await;
    let started = servers.clock.now();
    servers.ask(&server, &slow, INTERVAL).await;
    assert!(servers.clock.now().duration_since(started) >= SignedDuration::try_from(QUERY_LIMIT).expect("short"));
}

#[tokio::test(start_paused = true)]
async fn a_sample_that_is_too_old_is_told_from_none_at_all() {
    let aged = |query: &str| Question { max_age: Some(Duration::from_secs(30)), ..q(query) };
    // Nothing young enough; something of any age. Then nothing young enough; the rest is known for a minute.
    let fake = Arc::new(Fake { answers: Mutex::new(vec![Ok(vec![]), Ok(vec![1.0]), Ok(vec![])]), ..Fake::default() });
    let servers = servers_of(&fake);
    let stale = Answer::Stale(Duration::from_secs(30));
    assert_eq!(servers.ask(&s(), &aged("q"), INTERVAL).await, stale);
    assert_eq!(servers.ask(&s(), &aged("q"), INTERVAL).await, stale);
    assert_eq!(fake.answers.lock().expect("a lock").len(), 0);
    // After that it is asked again; it may have gone for good.
    tokio::time::advance(Duration::from_secs(61)).await;
    fake.answers.lock().expect("a lock").extend([Ok(vec![]), Ok(vec![])]);
    assert_eq!(servers.ask(&s(), &aged("q"), INTERVAL).await, Answer::Values(vec![]));
    // Without an age of its own there is nothing to tell apart: one question.
    fake.answers.lock().expect("a lock").push(Ok(vec![]));
    assert_eq!(servers.ask(&s(), &q("other"), INTERVAL).await, Answer::Values(vec![]));
}

/// Whoever asks how it is takes no slot from the questions of decisions.
#[tokio::test]
async fn a_server_is_tried_once_however_many_want_to_know() {
    let servers = servers(vec![Err(Error::Unreachable("gone".to_owned())), Ok(vec![1.0])]);
    let server = s();
    let (first, second) = tokio::join!(servers.answers(&server), servers.answers(&server));
    assert_eq!(first.as_ref().map_err(|cause| cause.reason), Err("PrometheusUnreachable"));
    assert_eq!(first, second, "two answers");
    servers.answers(&server).await.expect("it is asked anew");
}
