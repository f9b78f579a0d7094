//! How many series there are, of which jobs, and of which metrics the most.

use serde::Serialize;

use super::{Finding, Severity};
use crate::{
    catalog::{self, Options},
    prometheus::{Sample, Tsdb},
};

/// Series in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// All that are in Prometheus' head block, those that ended in the last hours among them.
    pub total: u64,
    /// Those that each job gives now, the most first.
    pub jobs: Vec<JobSeries>,
    /// The metrics with the most.
    pub largest: Vec<LargeMetric>,
}

/// A job and its series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobSeries {
    /// Its name.
    pub job: String,
    /// How many it gives, after relabeling.
    pub series: u64,
}

/// A metric with many series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LargeMetric {
    /// Its name.
    pub metric: String,
    /// How many it has.
    pub series: u64,
    /// Jobs that give it; none for what rules record.
    pub jobs: Vec<String>,
    /// Alerts of ours that read it, and that fall silent where it is dropped.
    pub alerts: Vec<String>,
    /// A rule for `metric_relabel_configs` that drops it.
    pub drop: String,
}

/// Puts the answers together: `by_job` counts series by their label `job`, and `jobs_of` gives for each of the largest metrics
/// the answer to `group by (job) ({__name__="…"})`.
pub fn series(tsdb: &Tsdb, by_job: &[Sample], jobs_of: &[Vec<Sample>]) -> Series {
    let job = |sample: &Sample| sample.labels.get("job").cloned().unwrap_or_default();
    let mut jobs: Vec<JobSeries> =
        by_job.iter().map(|sample| JobSeries { job: job(sample), series: count(sample.value) }).collect();
    jobs.sort_by(|a, b| b.series.cmp(&a.series).then_with(|| a.job.cmp(&b.job)));
    let largest = tsdb.series_count_by_metric_name.iter().enumerate().map(|(position, metric)| LargeMetric {
        metric: metric.name.clone(),
        series: metric.value,
        jobs: jobs_of.get(position).into_iter().flatten().map(job).filter(|job| !job.is_empty()).collect(),
        alerts: catalog::alerts_reading(&metric.name),
        drop: format!("- {{source_labels: [__name__], regex: {}, action: drop}}", metric.name),
    });
    Series { total: tsdb.head_stats.num_series, jobs, largest: largest.collect() }
}

/// The metrics that the settings drop and alerts of ours read. Another Prometheus is not ours to drop anything of.
pub fn dropped_metrics(options: &Options) -> Vec<Finding> {
    let dropped = options.drop_metrics.iter().filter(|_| options.external.is_none());
    let read = dropped.map(|metric| (metric, catalog::alerts_reading(metric))).filter(|(_, alerts)| !alerts.is_empty());
    read.map(|(metric, alerts)| {
        let message = format!("dropMetrics: {metric} is {}", silenced(&alerts));
        let hint = format!("take {metric} out of dropMetrics, or put up with their silence");
        Finding::new("dropped-metrics", Severity::Warning, message).hint(hint)
    })
    .collect()
}

/// What comes of it when a metric that these alerts read is dropped.
pub fn silenced(alerts: &[String]) -> String {
    let (word, fall) = if alerts.len() == 1 { ("alert", "it falls") } else { ("alerts", "they fall") };
    format!("read by the {word} {}: {fall} silent without it", alerts.join(", "))
}

fn count(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    if (0.0..9e15).contains(&value) { value as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::{HeadStats, MetricSeries};

    fn sample(job: &str, value: f64) -> Sample {
        Sample { labels: [("job".to_owned(), job.to_owned())].into(), value, at: 1.0 }
    }

    #[test]
    fn jobs_come_by_size_and_metrics_with_their_jobs() {
        let metric = |name: &str, value| MetricSeries { name: name.to_owned(), value };
        let tsdb = Tsdb {
            head_stats: HeadStats { num_series: 500 },
            series_count_by_metric_name: vec![metric("a_bucket", 300), metric("b", 100)],
        };
        let found = series(
            &tsdb,
            &[sample("small", 5.0), sample("large", 400.0)],
            &[vec![sample("large", 1.0)], vec![Sample { labels: [].into(), value: 1.0, at: 1.0 }]],
        );
        assert_eq!(found.total, 500);
        assert_eq!(found.jobs.iter().map(|job| job.job.as_str()).collect::<Vec<_>>(), ["large", "small"]);
        assert_eq!(found.largest[0].jobs, ["large"]);
        assert_eq!(found.largest[0].drop, "- {source_labels: [__name__], regex: a_bucket, action: drop}");
        assert_eq!(found.largest[1].jobs, Vec::<String>::new());
        assert_eq!(found.largest[1].alerts, Vec::<String>::new());
    }

    #[test]
    fn a_metric_that_alerts_read_names_them() {
        let name = "apiserver_request_total".to_owned();
        let tsdb = Tsdb {
            head_stats: HeadStats { num_series: 9 },
            series_count_by_metric_name: vec![MetricSeries { name, value: 9 }],
        };
        assert_eq!(series(&tsdb, &[], &[]).largest[0].alerts, ["ApiServerErrors"]);
    }

    #[test]
    fn settings_that_drop_what_alerts_read_are_warned_of() {
        let mut options = Options::new("secret", "0.1.0");
        assert_eq!(dropped_metrics(&options), []);
        options.drop_metrics =
            ["apiserver_request_duration_seconds_bucket", "apiserver_request_total"].map(str::to_owned).into();
        let [finding] = &dropped_metrics(&options)[..] else { panic!("one is read") };
        assert_eq!((finding.check, finding.severity), ("dropped-metrics", Severity::Warning));
        assert_eq!(
            finding.message,
            "dropMetrics: apiserver_request_total is read by the alert ApiServerErrors: it falls silent without it"
        );
    }

    #[test]
    fn alerts_that_fall_silent_are_told_in_one_clause() {
        let of = |alerts: &[&str]| silenced(&alerts.iter().map(|alert| (*alert).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["A"]), "read by the alert A: it falls silent without it");
        assert_eq!(of(&["A", "B"]), "read by the alerts A, B: they fall silent without it");
    }
}
