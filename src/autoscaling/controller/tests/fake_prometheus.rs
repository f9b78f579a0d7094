//! A Prometheus with one number.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{FutureExt, future::BoxFuture};

use super::super::source::{MetricSource, Question};
use crate::prometheus::{Error, Sample, Track};

/// A Prometheus that answers every query with one number, or not. With as many as there are pods, each is of one.
#[derive(Clone)]
pub struct FakePrometheus(Arc<Mutex<Told>>);

struct Told {
    numbers: Numbers,
    /// What queries that hold a text are answered instead.
    others: Vec<(&'static str, Numbers)>,
    past: Vec<Past>,
    /// All that it was asked, in order.
    queries: Vec<String>,
}

type Numbers = Result<Vec<f64>, Error>;
/// What a query that holds this text was at these seconds, in a series with these labels.
type Past = (&'static str, BTreeMap<String, String>, Vec<(i64, f64)>);

impl FakePrometheus {
    pub fn new(value: f64) -> Self {
        let (others, past, queries) = (Vec::new(), Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Told { numbers: Ok(vec![value]), others, past, queries })))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("a lock")
    }

    /// What was, for range queries.
    pub fn kept(&self, text: &'static str, points: Vec<(i64, f64)>) {
        self.kept_of(text, &[], points);
    }

    /// The same of a series with these labels: there may be others of the same text. NaN is the end of a series.
    pub fn kept_of(&self, text: &'static str, labels: &[(&str, &str)], points: Vec<(i64, f64)>) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.told().past.push((text, labels, points));
    }

    pub fn set(&self, answer: Numbers) {
        self.told().numbers = answer;
    }

    /// What queries that hold this text are answered from now on.
    pub fn set_of(&self, text: &'static str, answer: Numbers) {
        let mut told = self.told();
        told.others.retain(|(known, _)| *known != text);
        told.others.push((text, answer));
    }

    /// What it was asked last.
    pub fn last_query(&self) -> String {
        self.told().queries.last().cloned().unwrap_or_default()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.told().queries.len()
    }

    /// How often it was asked something that holds this text.
    pub fn asked_of(&self, text: &str) -> usize {
        self.told().queries.iter().filter(|query| query.contains(text)).count()
    }
}

impl MetricSource for FakePrometheus {
    fn query<'a>(
        &'a self,
        query: &'a str,
        _: Option<std::time::Duration>,
    ) -> BoxFuture<'a, Result<Vec<Sample>, Error>> {
        async move {
            let mut told = self.told();
            told.queries.push(query.to_owned());
            let sample = |(place, value)| {
                let labels = [("pod".to_owned(), format!("w-{place}"))].into();
                Sample { labels, value, at: 0.0 }
            };
            let other = told.others.iter().find(|(text, _)| query.contains(text)).map(|(_, answer)| answer);
            other.unwrap_or(&told.numbers).clone().map(|values| values.into_iter().enumerate().map(sample).collect())
        }
        .boxed()
    }

    fn range<'a>(
        &'a self,
        what: &'a Question,
        (start, end): (i64, i64),
        step: std::time::Duration,
    ) -> BoxFuture<'a, Result<Vec<Track>, Error>> {
        let step = i64::try_from(step.as_secs()).expect("short");
        let mut told = self.told();
        told.queries.push(what.query.clone());
        let found = told.past.iter().find(|(text, ..)| what.query.contains(text)).map(|(text, ..)| *text);
        let track = |(_, labels, points): &Past| {
            let at = |second: i64| {
                let (_, value) = points.iter().rev().find(|(from, _)| *from <= second)?;
                (!value.is_nan()).then_some((second, *value))
            };
            let values = (0..=(end - start) / step).map(|n| start + n * step).filter_map(at).collect();
            Track { labels: labels.clone(), values }
        };
        let tracks = told.past.iter().filter(|(text, ..)| Some(*text) == found).map(track).collect();
        std::future::ready(Ok(tracks)).boxed()
    }

    fn accepts(&self) -> BoxFuture<'_, bool> {
        // In trouble, not gone.
        std::future::ready(true).boxed()
    }

    fn is_well(&self) -> BoxFuture<'_, bool> {
        let fails = self.told().numbers.as_ref().is_err_and(Error::is_outage);
        std::future::ready(!fails).boxed()
    }
}
