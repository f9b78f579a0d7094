//! What pods use of a resource, as the kubelets tell Prometheus: asked alike for now and for a past time.

use std::fmt::Write;

use jiff::SignedDuration;

/// The range that CPU is reckoned over. The kubelet's figures are up to half a minute old when they are scraped: a shorter
/// range would show that.
pub const RANGE: SignedDuration = SignedDuration::from_secs(120);
/// How many scrapes in that range a slope takes.
const SCRAPES: i32 = 4;

/// Asks what each of these pods uses of a resource, in all or in one container; `None` of what Prometheus is not asked for:
/// of all but cpu and memory.
pub fn question<'a>(
    resource: &str,
    namespace: &str,
    pods: impl IntoIterator<Item = &'a str>,
    container: Option<&str>,
) -> Option<String> {
    let mut labels = format!("namespace={namespace:?},pod=~\"");
    for (place, pod) in pods.into_iter().enumerate() {
        // Writing to a string does not fail. A dot is the only character of a name that means more in a regex.
        let _ = write!(labels, "{}{}", if place > 0 { "|" } else { "" }, pod.replace('.', "[.]"));
    }
    labels.push('"');
    let _ = match container {
        Some(container) => write!(labels, ",container={container:?}"),
        None => write!(labels, ",container!=\"\""),
    };
    match resource {
        "cpu" => Some(cpu(&labels)),
        "memory" => Some(of_pods(&format!("container_memory_working_set_bytes{{{labels}}}"))),
        _ => None,
    }
}

/// Of each pod what its containers have together. A container may be told of twice: by two pages of its kubelet (cAdvisor's and
/// `/metrics/resource`), by two replicas of a Prometheus, or for a while by what it was before a restart.
fn of_pods(containers: &str) -> String {
    format!("sum by (pod) (max by (pod, container) ({containers}))")
}

/// How fast the counters of CPU grow. `rate` would show a young pod as idle, since it divides by the whole range; the slope
/// does not, and `rate` stands in for it where a container was restarted. The slope of two or three samples says nothing
/// either: such a pod counts as one without a sample.
fn cpu(labels: &str) -> String {
    let counter = format!("container_cpu_usage_seconds_total{{{labels}}}[{}s]", RANGE.as_secs());
    of_pods(&format!(
        "((deriv({counter}) unless resets({counter}) > 0) or rate({counter})) and count_over_time({counter}) >= {SCRAPES}"
    ))
}

/// What a Prometheus has too little of that gives nothing about a resource, and what to do about it.
pub fn lacks(resource: &str) -> String {
    if resource == "cpu" {
        let interval = RANGE / SCRAPES;
        return format!(
            "fewer than {SCRAPES} scrapes in {RANGE:#} of every pod of the target; let it scrape the kubelets every \
             {interval:#} or more often"
        );
    }
    "no sample of a pod of the target; let it scrape the kubelets".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// promtool puts them to Prometheus' own engine.
    #[test]
    fn the_questions_are_those_that_the_rules_tests_ask() {
        for (resource, pods) in [("cpu", &["w-0", "w-1"][..]), ("memory", &["w-0"])] {
            let question = question(resource, "demo", pods.iter().copied(), None).expect("a question");
            assert!(include_str!("../../../tests/rules/kubelets.yaml").contains(&question), "{question}");
        }
    }
}
