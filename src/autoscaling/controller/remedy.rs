//! What is said of a Prometheus metric that has no value: which metric it is, what happened, and which field of the spec to
//! look at.

use http::StatusCode;

use crate::autoscaling::api::PrometheusMetric;

/// What rustls says where it does not believe a server's certificate, and where a server ends the talk: mostly with the
/// name of an alert that has `Certificate` in it, where it is ours that it does not take (RFC 8446, 6.2).
const NOT_BELIEVED: &str = "invalid peer certificate";
const ALERT: &str = "received fatal alert: ";

/// Where the server that scalekit was installed with has from what it wants to see.
const SECRET: &str = "the Secret that `scalekit up --prometheus-secret` names";

/// Why there is no value, in one word, and the HTTP status where that is why.
type Why = (&'static str, Option<StatusCode>);

/// `metric requests: http://…: the query is not accepted; correct the PromQL in spec.metrics[0].prometheus.query`
pub fn said(place: usize, metric: &PrometheusMetric, why: Why, message: &str) -> String {
    let name = &metric.name;
    match remedy(place, metric, why, message) {
        Some(remedy) => format!("metric {name}: {message}; {remedy}"),
        None => format!("metric {name}: {message}"),
    }
}

/// What to do about the server that scalekit was installed with.
pub fn of_the_default((reason, status): Why, message: &str) -> String {
    const URL: &str = "the URL that `scalekit up --prometheus-url` was given";
    match reason {
        "PrometheusUnreachable" if message.contains(NOT_BELIEVED) => {
            format!("it must show a certificate that ca.crt of {SECRET} has signed, for the host of {URL}")
        }
        "PrometheusUnreachable" if is_about_ours(message) => {
            format!("it wants to see a certificate that it believes: see tls.crt and tls.key of {SECRET}")
        }
        "PrometheusUnauthorized" | "InvalidServerAddress" | "CredentialsUnavailable" => format!("see {SECRET}"),
        "NotPrometheus" => no_api(URL),
        "PrometheusHttpError" if status.is_some_and(|status| matches!(status.as_u16(), 404 | 405)) => no_api(URL),
        _ => format!("see whether {URL} is right, that server runs, and a NetworkPolicy lets the scaler out to it"),
    }
}

fn no_api(address: &str) -> String {
    format!(
        "{address} must be what stands before /api/v1/query in the address of a Prometheus API, without a page for a login \
         before it"
    )
}

/// The same of credentials, whose message begins with the field in question where the metric has a server of its own.
pub fn of_credentials(place: usize, metric: &PrometheusMetric, message: String) -> String {
    if metric.server_address.is_some() { field(place, &message) } else { message }
}

/// The field of a metric, as a path.
fn field(place: usize, name: &str) -> String {
    format!("spec.metrics[{place}].prometheus.{name}")
}

/// Whether a server ended the talk because of the certificate that it was shown, or because it was shown none.
fn is_about_ours(message: &str) -> bool {
    let alert = message.split_once(ALERT).map_or("", |(_, alert)| alert);
    alert.contains("Certificate") || alert.starts_with("UnknownCA")
}

fn remedy(place: usize, metric: &PrometheusMetric, (reason, status): Why, message: &str) -> Option<String> {
    let query = field(place, "query");
    let server = |of_its_own: &str| match &metric.server_address {
        Some(_) => of_its_own.to_owned(),
        None => format!(
            "it is the server that scalekit was installed with: `scalekit status` says how it is; for another one set {}",
            field(place, "serverAddress")
        ),
    };
    let address = field(place, "serverAddress");
    let runs = format!("see whether {address} is right and that server runs");
    let no_api = no_api(&address);
    // What it is given: by a field, or by what lies in the Secret of the server that is everybody's.
    let given = |name: &str, keys: &str| match &metric.server_address {
        Some(_) => field(place, name),
        None => format!("{keys} of {SECRET}"),
    };
    Some(match reason {
        "InvalidQuery" => format!("correct the PromQL in {query}"),
        "WrongResultType" => format!("write an expression that gives one number in {query}"),
        "QueryTimeout" => format!("make {query} cheaper, or let a recording rule evaluate it"),
        "QueryRefused" => format!("see what the server minds about {query}"),
        "AnswerTooLarge" => format!("the field is {query}"),
        "NotANumber" | "InfiniteValue" => {
            format!("guard the division in {query}: `a / (b > 0)` gives no series where b is 0")
        }
        "NegativeValue" => format!("keep {query} from it, for example with clamp_min(…, 0)"),
        "SeveralSeries" => {
            format!("aggregate them in {query}, for example with sum(…), or set {}", field(place, "reduce"))
        }
        "PrometheusUnreachable" if message.contains(NOT_BELIEVED) => format!(
            "that server must show a certificate that {} has signed, for the host that it is asked by, and that is valid now",
            given("auth.ca", "ca.crt")
        ),
        "PrometheusUnreachable" if is_about_ours(message) => {
            let ours = given("auth.clientCertificate", "tls.crt and tls.key");
            format!("that server wants to see a certificate that it believes: see {ours}")
        }
        "PrometheusUnreachable" | "PrometheusTimeout" => server(&format!(
            "see whether {address} is right, that server runs, and a NetworkPolicy lets the scaler out to it"
        )),
        "NotPrometheus" => server(&no_api),
        "PrometheusHttpError" => match status.map_or(0, |status| status.as_u16()) {
            404 | 405 => server(&no_api),
            429 => format!("it has too much to do: raise spec.interval, make {query} cheaper, or raise its limits"),
            502 | 504 => format!("what stands before it does not reach it: {}", server(&runs)),
            503 => format!("it does not serve yet, as while it starts; where that lasts, {}", server(&runs)),
            _ => format!("the log of it, or of what stands before it, says why; {}", server(&format!("see {address}"))),
        },
        "InvalidServerAddress" if metric.server_address.is_some() => {
            format!("see {address} and {}", field(place, "auth"))
        }
        "PrometheusUnauthorized" if metric.server_address.is_some() => {
            format!("see what {} gives it", field(place, "auth"))
        }
        "InvalidServerAddress" | "PrometheusUnauthorized" => format!("see {SECRET}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::prometheus::Error;

    fn metric(address: Option<&str>) -> PrometheusMetric {
        let target = json!({"type": "Value", "value": "1"});
        serde_json::from_value(json!({"name": "load", "query": "q", "target": target, "serverAddress": address}))
            .expect("a metric")
    }

    #[rstest]
    #[case::a_typo(None, "InvalidQuery", "correct the PromQL in spec.metrics[2].prometheus.query")]
    #[case::several("http://a".into(), "SeveralSeries", "or set spec.metrics[2].prometheus.reduce")]
    #[case::gone("http://a".into(), "PrometheusUnreachable", "see whether spec.metrics[2].prometheus.serverAddress is right")]
    #[case::the_stacks_is_gone(None, "PrometheusTimeout", "`scalekit status` says how it is")]
    #[case::not_let_in("http://a".into(), "PrometheusUnauthorized", "see what spec.metrics[2].prometheus.auth gives it")]
    #[case::the_stacks_lets_nobody_in(None, "PrometheusUnauthorized", "`scalekit up --prometheus-secret`")]
    #[case::no_pem("http://a".into(), "InvalidServerAddress", "see spec.metrics[2].prometheus.serverAddress and spec.metrics[2].prometheus.auth")]
    #[case::the_stacks_ca_is_no_pem(
        None,
        "InvalidServerAddress",
        "see the Secret that `scalekit up --prometheus-secret` names"
    )]
    #[case::a_page("http://a".into(), "NotPrometheus", "spec.metrics[2].prometheus.serverAddress must be what stands before")]
    fn a_metric_without_a_value_is_named_with_its_field_and_what_to_do(
        #[case] address: Option<&str>,
        #[case] reason: &'static str,
        #[case] todo: &str,
    ) {
        let said = said(2, &metric(address), (reason, None), "http://a: it happened");
        assert!(said.starts_with("metric load: http://a: it happened; "), "{said}");
        assert!(said.contains(todo), "{said}");
    }

    /// In what rustls says of it: `prometheus::direct::tls` has that from servers.
    #[rstest]
    #[case::another_authority("http://a".into(), "invalid peer certificate: UnknownIssuer", "a certificate that spec.metrics[1].prometheus.auth.ca has signed")]
    #[case::another_name(
        None,
        "invalid peer certificate: certificate not valid for name",
        "that ca.crt of the Secret that `scalekit up --prometheus-secret` names has signed"
    )]
    #[case::none_of_ours("http://a".into(), "received fatal alert: CertificateRequired", "see spec.metrics[1].prometheus.auth.clientCertificate")]
    #[case::ours_is_of_a_stranger("http://a".into(), "received fatal alert: UnknownCA", "see spec.metrics[1].prometheus.auth.clientCertificate")]
    #[case::ours_is_too_old(
        None,
        "received fatal alert: CertificateExpired",
        "see tls.crt and tls.key of the Secret that"
    )]
    #[case::no_common_version("http://a".into(), "received fatal alert: ProtocolVersion", "see whether spec.metrics[1].prometheus.serverAddress is right")]
    fn a_certificate_that_is_not_believed_is_told_with_what_to_correct(
        #[case] address: Option<&str>,
        #[case] message: &str,
        #[case] todo: &str,
    ) {
        let said = said(1, &metric(address), ("PrometheusUnreachable", None), message);
        assert!(said.starts_with(&format!("metric load: {message}; ")) && said.contains(todo), "{said}");
    }

    #[rstest]
    #[case::starting("http://a".into(), 503, "it does not serve yet, as while it starts; where that lasts, see whether spec.metrics[3].prometheus.serverAddress is right")]
    #[case::the_stacks_starts(
        None,
        503,
        "it does not serve yet, as while it starts; where that lasts, it is the server that scalekit was installed with"
    )]
    #[case::too_much(
        None,
        429,
        "raise spec.interval, make spec.metrics[3].prometheus.query cheaper, or raise its limits"
    )]
    #[case::a_proxy_reaches_nothing("http://a".into(), 502, "what stands before it does not reach it: see whether spec.metrics[3].prometheus.serverAddress is right")]
    #[case::a_proxy_waits("http://a".into(), 504, "what stands before it does not reach it")]
    #[case::another_path("http://a".into(), 404, "spec.metrics[3].prometheus.serverAddress must be what stands before /api/v1/query")]
    #[case::broken("http://a".into(), 500, "the log of it, or of what stands before it, says why; see spec.metrics[3].prometheus.serverAddress")]
    #[case::of_no_name("http://a".into(), 499, "the log of it, or of what stands before it, says why")]
    fn a_status_that_says_no_has_a_remedy_of_its_class(
        #[case] address: Option<&str>,
        #[case] status: u16,
        #[case] todo: &str,
    ) {
        let error = Error::Http(StatusCode::from_u16(status).expect("a status"));
        let said = said(3, &metric(address), (error.reason(), error.status()), "http://a: it said no");
        assert!(said.starts_with("metric load: http://a: it said no; "), "{said}");
        assert!(said.contains(todo), "{said}");
    }

    /// There is nothing to do about it in the spec.
    #[test]
    fn what_has_no_remedy_is_named_all_the_same() {
        let said = said(0, &metric(None), ("PartialAnswer", None), "a store is gone");
        assert_eq!(said, "metric load: a store is gone");
    }
}
