//! How everything is.

use std::fmt::Write;

use super::{mark, marked, plain_table, trimmed, wrapping_last};
use crate::{
    health::{Autoscaler, Scraping, Series, Severity, Status, silenced},
    readiness::Readiness,
    report::progress::{dim, severity_mark},
};

pub(in crate::report) fn status(status: &Status) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}, Kubernetes {}, namespace {}", status.platform, status.kubernetes, status.namespace);
    if !status.components.is_empty() {
        let mut table = plain_table(&["COMPONENT", "OBJECT", "STATE"]);
        for component in &status.components {
            let (severity, state) = match &component.readiness {
                Readiness::Current => (Severity::Ok, "ready".to_owned()),
                Readiness::InProgress { why } => (Severity::Warning, why.clone()),
                Readiness::Failed { why, .. } => (Severity::Error, why.clone()),
            };
            let object = format!("{}/{}", component.object.kind.to_lowercase(), component.object.name);
            table.add_row([component.name.clone(), object, format!("{} {state}", mark(severity))]);
        }
        let _ = writeln!(text, "\n{}", marked(&trimmed(wrapping_last(&mut table))));
    }
    if let Some(targets) = &status.targets {
        // A pod that has just come is scraped within one interval: neither up nor down until then.
        let new = targets.total - targets.up - targets.down.len();
        let severity = match (targets.down.is_empty() && targets.empty_jobs.is_empty(), new) {
            (true, 0) => Severity::Ok,
            (true, _) => Severity::Info,
            // As bad as what is found of them: a target may be down with its node, or be the user's own.
            (false, _) => {
                let found = status.findings.iter().filter(|finding| finding.check == "targets");
                found.map(|finding| finding.severity).max().unwrap_or(Severity::Error)
            }
        };
        let waiting = if new == 0 { String::new() } else { format!(", {new} not scraped yet") };
        let (up, total) = (targets.up, targets.total);
        let _ = writeln!(text, "\n{} {up} of {total} scrape targets are up{waiting}", severity_mark(severity));
    }
    if let Some(server) = status.prometheus.as_ref().filter(|server| server.why.is_none()) {
        let _ = writeln!(text, "\n{} {} answers the scaler", severity_mark(Severity::Ok), server.address);
    }
    if let Some(scraping) = &status.scraping {
        text.push_str(&scraped(scraping));
    }
    if let Some(series) = &status.series {
        text.push_str(&series_table(series));
    }
    if status.autoscalers.is_empty() {
        if status.installed {
            let _ = writeln!(text, "\n{}", dim("no Autoscaler yet: scalekit demo up watcherbot"));
        }
    } else {
        let mut table =
            plain_table(&["NAMESPACE", "AUTOSCALER", "TARGET", "MIN", "MAX", "CURRENT", "DESIRED", "LAST DECISION"]);
        for autoscaler in &status.autoscalers {
            let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            table.add_row([
                autoscaler.namespace.clone(),
                autoscaler.name.clone(),
                autoscaler.target.clone(),
                autoscaler.min.to_string(),
                autoscaler.max.to_string(),
                number(autoscaler.current),
                number(autoscaler.desired),
                last_decision(autoscaler),
            ]);
        }
        let _ = writeln!(text, "\n{}", trimmed(wrapping_last(&mut table)));
    }
    if !status.findings.is_empty() {
        text.push('\n');
        for finding in &status.findings {
            let _ = writeln!(text, "{} {}", severity_mark(finding.severity), finding.message);
            if let Some(hint) = &finding.hint {
                let _ = writeln!(text, "  hint: {hint}");
            }
        }
    }
    let _ = writeln!(text, "\n{}", if status.healthy { "healthy" } else { "not healthy" });
    text
}

/// The decision in one line. At a bound it says so: "holding" alone is what a workload at rest has too.
fn last_decision(autoscaler: &Autoscaler) -> String {
    let line = autoscaler.last_decision.as_deref().unwrap_or("-");
    match autoscaler.reason.as_deref() {
        Some("TooManyReplicas") => format!("{line} (limited by MAX)"),
        Some("TooFewReplicas") => format!("{line} (limited by MIN)"),
        _ => line.to_owned(),
    }
}

fn series_table(series: &Series) -> String {
    let mut text = String::new();
    let mut table = plain_table(&["JOB", "SERIES"]);
    for job in &series.jobs {
        table.add_row([job.job.clone(), job.series.to_string()]);
    }
    let _ = writeln!(text, "\n{}", trimmed(&table));
    let _ = writeln!(text, "\n{} series in memory, most of them of:", series.total);
    for metric in &series.largest {
        let whose =
            if metric.jobs.is_empty() { "a rule".to_owned() } else { format!("job {}", metric.jobs.join(", ")) };
        let _ = writeln!(text, "  {} {} ({whose})", metric.series, metric.metric);
        let _ = writeln!(text, "    {}", dim(&metric.drop));
        if !metric.alerts.is_empty() {
            let _ = writeln!(text, "    {}", silenced(&metric.alerts));
        }
    }
    text.push_str(
        "  the line below each drops it, in `metric_relabel_configs` of a job of your own; for the jobs of scalekit:\n    \
         dropMetrics: [NAME] in scalekit.yaml\n",
    );
    text
}

/// What is not scraped, by reason, and whom Prometheus believes.
fn scraped(scraping: &Scraping) -> String {
    let mut text = String::new();
    let mut reasons: Vec<&str> = scraping.not_scraped.iter().map(|left_out| left_out.reason).collect();
    reasons.dedup();
    for reason in reasons {
        let left_out = scraping.not_scraped.iter().filter(|left_out| left_out.reason == reason);
        let jobs: Vec<&str> = left_out.map(|left_out| left_out.job).collect();
        let _ = writeln!(text, "{}", dim(&format!("  not scraped: {}: {reason}", jobs.join(", "))));
    }
    if scraping.one_process {
        let one = "  scheduler, controller-manager, kube-proxy and apiserver are scraped with the kubelet: one process, one page";
        let _ = writeln!(text, "{}", dim(one));
    }
    let kubelets = if scraping.kubelets_verified {
        "  the kubelets' certificates are verified"
    } else {
        "  the kubelets' certificates are taken unseen: the cluster's authority did not sign them"
    };
    let _ = writeln!(text, "{}", dim(kubelets));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::LargeMetric;

    #[test]
    fn a_decision_that_a_bound_limits_says_so() {
        let of = |reason: Option<&str>| {
            last_decision(&Autoscaler {
                namespace: "demo".to_owned(),
                name: "web".to_owned(),
                target: "deployment/web".to_owned(),
                min: 1,
                max: 5,
                current: Some(5),
                desired: Some(5),
                last_decision: reason.map(|_| "tasks=67 → holding".to_owned()),
                reason: reason.map(str::to_owned),
                problems: vec![],
            })
        };
        assert_eq!(of(Some("TooManyReplicas")), "tasks=67 → holding (limited by MAX)");
        assert_eq!(of(Some("TooFewReplicas")), "tasks=67 → holding (limited by MIN)");
        assert_eq!(of(Some("DesiredWithinRange")), "tasks=67 → holding");
        assert_eq!(of(None), "-");
    }

    #[test]
    fn a_rule_that_drops_what_alerts_read_comes_with_what_falls_silent() {
        let metric = |alerts: &[&str]| LargeMetric {
            metric: "a_total".to_owned(),
            series: 3,
            jobs: vec!["a".to_owned()],
            alerts: alerts.iter().map(|alert| (*alert).to_owned()).collect(),
            drop: "- {drop a}".to_owned(),
        };
        let table = |alerts: &[&str]| series_table(&Series { total: 3, jobs: vec![], largest: vec![metric(alerts)] });
        let text = table(&["A", "B"]);
        assert!(text.contains("- {drop a}"), "{text}");
        assert!(text.contains("\n    read by the alerts A, B: they fall silent without it\n"), "{text}");
        assert!(!table(&[]).contains("read by"));
    }
}
