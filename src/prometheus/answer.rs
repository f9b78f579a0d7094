//! What Prometheus answers, read into types that cannot be misread.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::Error;

/// One series at one instant. The value is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels of the series; empty for a scalar.
    pub labels: BTreeMap<String, String>,
    /// The value, finite.
    pub value: f64,
    /// When the value was evaluated, in seconds since the epoch.
    pub at: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    /// Of VictoriaMetrics' cluster: some of its storage nodes did not answer. The others say that in `warnings`.
    #[serde(default)]
    is_partial: bool,
}

/// What is said of an answer that is only marked as partial.
const MARKED_PARTIAL: &str = "the server marks it with isPartial: some of its storage did not answer";
/// How a remark about a query begins, such as that a counter's name does not end in `_total`. Nothing is missing for it.
/// Prometheus lists these as `infos`; Thanos, and Prometheus before 2.54, among the warnings.
const REMARK: &str = "PromQL info:";

/// Kinds of errors that are about the server and not about the query: as Prometheus and Mimir name them, and as VictoriaMetrics,
/// which writes the HTTP status there.
const OF_THE_SERVER: [&str; 6] = ["unavailable", "too_many_requests", "429", "502", "503", "504"];

pub(super) fn open<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Error> {
    match open_with_warnings(status, body)? {
        (data, None) => Ok(data),
        (_, Some(why)) => Err(Error::Partial { why, samples: Vec::new() }),
    }
}

/// What was answered, and what the server warned of.
fn open_with_warnings<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<(T, Option<String>), Error> {
    let not_prometheus = |reason: &str| Error::NotPrometheus { status: status.as_u16(), reason: reason.to_owned() };
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(not_prometheus("the server does not accept the credentials, or wants some"));
    }
    let says_no = status.is_client_error() || status.is_server_error();
    // What the server says in words of its API says more than its status does.
    let other = |reason: &str| if says_no { Error::Http(status) } else { not_prometheus(reason) };
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|error| other(&error.to_string()))?;
    // Others speak JSON with a status too.
    if !["success", "error"].contains(&&*envelope.status) {
        return Err(other("its status is neither success nor error"));
    }
    if envelope.status != "success" {
        if says_no && OF_THE_SERVER.contains(&&*envelope.error_type) {
            return Err(Error::Http(status));
        }
        return Err(Error::Refused { kind: envelope.error_type, message: envelope.error });
    }
    let mark = envelope.is_partial.then_some(MARKED_PARTIAL);
    let warnings = envelope.warnings.iter().map(String::as_str).filter(|warning| !warning.starts_with(REMARK));
    let warnings: Vec<&str> = warnings.chain(mark).collect();
    let warnings = (!warnings.is_empty()).then(|| warnings.join("; "));
    match (envelope.data, warnings) {
        (Some(data), warnings) => Ok((data, warnings)),
        (None, Some(why)) => Err(Error::Partial { why, samples: Vec::new() }),
        (None, None) => Err(not_prometheus("it holds no data")),
    }
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum QueryData {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    String(IgnoredAny),
    Matrix(IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Absent for native histograms, which are no number.
    value: Option<(f64, String)>,
}

pub(super) fn query(status: StatusCode, body: &[u8]) -> Result<Vec<Sample>, Error> {
    let (data, warnings) = open_with_warnings(status, body)?;
    let samples = match data {
        QueryData::Scalar((at, value)) => Ok(vec![Sample { labels: BTreeMap::new(), value: finite(&value)?, at }]),
        QueryData::Vector(series) => series
            .into_iter()
            .map(|Series { metric, value }| {
                let (at, value) = value.ok_or_else(|| Error::WrongType("native histogram".to_owned()))?;
                Ok(Sample { labels: metric, value: finite(&value)?, at })
            })
            .collect(),
        QueryData::String(_) => Err(Error::WrongType("string".to_owned())),
        QueryData::Matrix(_) => Err(Error::WrongType("range vector".to_owned())),
    }?;
    match warnings {
        None => Ok(samples),
        Some(why) => Err(Error::Partial { why, samples }),
    }
}

/// Prometheus writes numbers as text, among them `NaN`, `+Inf`, `-Inf`.
fn finite(text: &str) -> Result<f64, Error> {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| Error::NotFinite(text.to_owned()))
}

/// One series over a time. Instants at which it has no value are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Labels of the series.
    pub labels: BTreeMap<String, String>,
    /// Seconds since the epoch, and the value then, which need not be finite.
    pub values: Vec<(i64, f64)>,
}

/// The answer to a range query.
pub(super) fn range(status: StatusCode, body: &[u8]) -> Result<Vec<Track>, Error> {
    #[derive(Deserialize)]
    struct Data {
        #[serde(rename = "resultType")]
        kind: String,
        result: Vec<Points>,
    }
    #[derive(Deserialize)]
    struct Points {
        #[serde(default)]
        metric: BTreeMap<String, String>,
        #[serde(default)]
        values: Vec<(f64, String)>,
    }
    let Data { kind, result } = open(status, body)?;
    if kind != "matrix" {
        return Err(Error::WrongType(kind));
    }
    // What is not finite is kept apart by whoever reads it.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and seconds of this age fit")]
    let point = |(at, value): (f64, String)| (at.round() as i64, value.parse().unwrap_or(f64::NAN));
    let track =
        |series: Points| Track { labels: series.metric, values: series.values.into_iter().map(point).collect() };
    Ok(result.into_iter().map(track).collect())
}

/// What the server says of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// Whether its last attempt to load a configuration went well.
    pub reload_config_success: bool,
}

/// What the server says of the series in its head block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tsdb {
    /// How many there are.
    pub head_stats: HeadStats,
    /// The metrics with the most series, the largest first.
    pub series_count_by_metric_name: Vec<MetricSeries>,
}

/// Figures of the head block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadStats {
    /// Series.
    pub num_series: u64,
}

/// A metric and how many series it has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MetricSeries {
    /// Its name.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// The URLs of the Alertmanagers that alerts are sent to.
pub(super) fn alertmanagers(status: StatusCode, body: &[u8]) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        active_alertmanagers: Vec<Active>,
    }
    #[derive(Deserialize)]
    struct Active {
        url: String,
    }
    let Data { active_alertmanagers } = open(status, body)?;
    Ok(active_alertmanagers.into_iter().map(|active| active.url).collect())
}

pub(super) fn tsdb(status: StatusCode, body: &[u8]) -> Result<Tsdb, Error> {
    open(status, body)
}

pub(super) fn config(status: StatusCode, body: &[u8]) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Loaded {
        yaml: String,
    }
    open(status, body).map(|loaded: Loaded| loaded.yaml)
}

pub(super) fn runtime(status: StatusCode, body: &[u8]) -> Result<Runtime, Error> {
    open(status, body)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_loaded_configuration_is_text() {
        let body = br#"{"status":"success","data":{"yaml":"global: {}\n"}}"#;
        assert_eq!(config(StatusCode::OK, body), Ok("global: {}\n".to_owned()));
    }

    #[test]
    fn alertmanagers_are_known_by_their_urls() {
        let body = br#"{"status":"success","data":{"activeAlertmanagers":[{"url":"http://a:9093/api/v2/alerts"}],
            "droppedAlertmanagers":[{"url":"http://b"}]}}"#;
        assert_eq!(alertmanagers(StatusCode::OK, body), Ok(vec!["http://a:9093/api/v2/alerts".to_owned()]));
    }

    fn answer(body: &str) -> Result<Vec<f64>, Error> {
        query(StatusCode::OK, body.as_bytes()).map(|samples| samples.into_iter().map(|sample| sample.value).collect())
    }

    #[rstest]
    #[case::one_series(r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"25"]}]}}"#, vec![25.0])]
    #[case::a_scalar(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2.5"]}}"#, vec![2.5])]
    #[case::nothing(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, vec![])]
    fn a_value_or_nothing(#[case] body: &str, #[case] expected: Vec<f64>) {
        assert_eq!(answer(body), Ok(expected));
    }

    #[rstest]
    #[case::nan("NaN")]
    #[case::infinity("+Inf")]
    #[case::minus_infinity("-Inf")]
    fn what_is_not_finite_is_never_a_number(#[case] value: &str) {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#);
        assert_eq!(answer(&body), Err(Error::NotFinite(value.to_owned())));
    }

    #[rstest]
    #[case::an_html_page("<html>login</html>")]
    #[case::half_an_answer(r#"{"status":"succ"#)]
    #[case::no_data(r#"{"status":"success"}"#)]
    #[case::another_api(r#"{"kind":"Status","status":"Failure","code":404}"#)]
    fn what_is_not_the_api_is_told_apart(#[case] body: &str) {
        assert!(matches!(answer(body), Err(Error::NotPrometheus { .. })), "{body}");
    }

    #[test]
    fn who_is_not_let_in_is_told_so_whatever_the_answer_looks_like() {
        let body = r#"{"kind":"Status","status":"Failure","message":"Unauthorized","code":401}"#;
        let error = query(StatusCode::UNAUTHORIZED, body.as_bytes()).expect_err("not let in");
        assert_eq!(error.reason(), "PrometheusUnauthorized");
    }

    #[rstest]
    #[case::starting(503, "Service Unavailable", Error::Http(StatusCode::SERVICE_UNAVAILABLE))]
    #[case::too_much(429, "", Error::Http(StatusCode::TOO_MANY_REQUESTS))]
    #[case::broken(500, "<html>", Error::Http(StatusCode::INTERNAL_SERVER_ERROR))]
    #[case::another_api(404, r#"{"kind":"Status","status":"Failure","code":404}"#, Error::Http(StatusCode::NOT_FOUND))]
    #[case::in_words_of_the_api(
        503,
        r#"{"status":"error","errorType":"timeout","error":"late"}"#,
        Error::Refused { kind: "timeout".to_owned(), message: "late".to_owned() }
    )]
    #[case::as_mimir_says_it(
        429,
        r#"{"status":"error","errorType":"too_many_requests","error":"too many outstanding requests"}"#,
        Error::Http(StatusCode::TOO_MANY_REQUESTS)
    )]
    #[case::as_prometheus_says_it(
        503,
        r#"{"status":"error","errorType":"unavailable","error":"TSDB not ready"}"#,
        Error::Http(StatusCode::SERVICE_UNAVAILABLE)
    )]
    #[case::as_victoria_metrics_says_it(
        503,
        r#"{"status":"error","errorType":"503","error":"couldn't start executing the request"}"#,
        Error::Http(StatusCode::SERVICE_UNAVAILABLE)
    )]
    fn a_status_that_says_no_is_told(#[case] status: u16, #[case] body: &str, #[case] expected: Error) {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(query(status, body.as_bytes()), Err(expected));
    }

    #[test]
    fn a_refused_query_keeps_prometheus_words() {
        let body = r#"{"status":"error","errorType":"bad_data","error":"unexpected <by>"}"#;
        assert_eq!(
            answer(body),
            Err(Error::Refused { kind: "bad_data".to_owned(), message: "unexpected <by>".to_owned() })
        );
    }

    #[rstest]
    #[case::as_prometheus_says_it("bad_data", "InvalidQuery")]
    #[case::as_victoria_metrics_says_it("400", "InvalidQuery")]
    #[case::not_its_text("422", "QueryRefused")]
    fn an_error_in_a_query_is_told_from_other_refusals(#[case] kind: &str, #[case] reason: &str) {
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"unexpected token"}}"#);
        assert_eq!(answer(&body).map_err(|error| error.reason()), Err(reason));
    }

    #[test]
    fn a_range_is_read_by_series() {
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"a":"1"},"values":[[10,"1"],[25,"NaN"]]},{"metric":{},"values":[[25.0,"3"]]}]}}"#;
        let [first, second] = &range(StatusCode::OK, body.as_bytes()).expect("an answer")[..] else { panic!("two") };
        assert_eq!((first.labels["a"].as_str(), first.values[0], second.values[0]), ("1", (10, 1.0), (25, 3.0)));
        assert!(first.values[1].1.is_nan() && second.labels.is_empty());
        let instant = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(range(StatusCode::OK, instant.as_bytes()), Err(Error::WrongType("vector".to_owned())));
    }

    #[rstest]
    #[case::as_thanos_and_mimir_say_it(r#""warnings":["store x is gone"]"#, "store x is gone")]
    #[case::as_victoria_metrics_says_it(r#""isPartial":true"#, MARKED_PARTIAL)]
    #[case::both(
        r#""isPartial":true,"warnings":["x is gone"]"#,
        "x is gone; the server marks it with isPartial: some of its storage did not answer"
    )]
    fn a_partial_answer_is_not_an_answer(#[case] mark: &str, #[case] why: &str) {
        let body = format!(
            r#"{{"status":"success",{mark},"data":{{"resultType":"vector","result":[
            {{"metric":{{}},"value":[1,"25"]}}]}}}}"#
        );
        let samples = vec![Sample { labels: BTreeMap::new(), value: 25.0, at: 1.0 }];
        assert_eq!(answer(&body), Err(Error::Partial { why: why.to_owned(), samples }));
        let body = body.replace("vector", "matrix").replace(r#""value":[1,"25"]"#, r#""values":[[1,"25"]]"#);
        let partial = Error::Partial { why: why.to_owned(), samples: Vec::new() };
        assert_eq!(range(StatusCode::OK, body.as_bytes()), Err(partial), "of a past time too");
    }

    #[rstest]
    #[case::as_victoria_metrics_says_it(r#""isPartial":false"#)]
    #[case::with_a_remark_of_thanos(
        r#""warnings":["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\""]"#
    )]
    fn a_whole_answer_is_one_whatever_is_said_of_it(#[case] said: &str) {
        let body = format!(r#"{{"status":"success",{said},"data":{{"resultType":"scalar","result":[1,"2"]}}}}"#);
        assert_eq!(answer(&body), Ok(vec![2.0]));
    }
}
