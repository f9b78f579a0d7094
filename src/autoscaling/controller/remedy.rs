//! What is said of a Prometheus metric that has no value: which metric it is, what happened, and which field of the spec to
//! look at.

use crate::autoscaling::api::PrometheusMetric;

/// `metric requests: http://…: the query is not accepted; correct the PromQL in spec.metrics[0].prometheus.query`
pub fn said(place: usize, metric: &PrometheusMetric, reason: &str, message: &str) -> String {
    let name = &metric.name;
    match remedy(place, metric, reason) {
        Some(remedy) => format!("metric {name}: {message}; {remedy}"),
        None => format!("metric {name}: {message}"),
    }
}

/// The same of credentials, whose message begins with the field in question where the metric has a server of its own.
pub fn of_credentials(place: usize, metric: &PrometheusMetric, message: String) -> String {
    if metric.server_address.is_some() { field(place, &message) } else { message }
}

/// The field of a metric, as a path.
fn field(place: usize, name: &str) -> String {
    format!("spec.metrics[{place}].prometheus.{name}")
}

fn remedy(place: usize, metric: &PrometheusMetric, reason: &str) -> Option<String> {
    let query = field(place, "query");
    let server = |of_its_own: &str| match &metric.server_address {
        Some(_) => of_its_own.to_owned(),
        None => format!(
            "it is the server that scalekit was installed with: `scalekit status` says how it is; for another one set {}",
            field(place, "serverAddress")
        ),
    };
    let address = field(place, "serverAddress");
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
        "PrometheusUnreachable" | "PrometheusTimeout" => server(&format!(
            "see whether {address} is right, that server runs, and a NetworkPolicy lets the scaler out to it"
        )),
        "NotPrometheus" => server(&format!(
            "{address} must be what stands before /api/v1/query in the address of a Prometheus API, without a page for a \
             login before it"
        )),
        "InvalidServerAddress" => format!("see {address} and {}", field(place, "auth")),
        "PrometheusUnauthorized" => match &metric.server_address {
            Some(_) => format!("see what {} gives it", field(place, "auth")),
            None => "see the Secret that `scalekit up --prometheus-secret` names".to_owned(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

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
    #[case::a_page("http://a".into(), "NotPrometheus", "spec.metrics[2].prometheus.serverAddress must be what stands before")]
    fn a_metric_without_a_value_is_named_with_its_field_and_what_to_do(
        #[case] address: Option<&str>,
        #[case] reason: &str,
        #[case] todo: &str,
    ) {
        let said = said(2, &metric(address), reason, "http://a: it happened");
        assert!(said.starts_with("metric load: http://a: it happened; "), "{said}");
        assert!(said.contains(todo), "{said}");
    }

    /// There is nothing to do about it in the spec.
    #[test]
    fn what_has_no_remedy_is_named_all_the_same() {
        let said = said(0, &metric(None), "PartialAnswer", "a store is gone");
        assert_eq!(said, "metric load: a store is gone");
    }
}
