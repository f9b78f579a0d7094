//! The checks by name, and what one run of all of them says.

use serde::Serialize;

use super::{Finding, Severity, Status};

/// One check that scalekit knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, stable; also its anchor in `docs/checks.md`.
    pub id: &'static str,
    /// What it asks.
    pub asks: &'static str,
    /// Whether it says anything before something is installed.
    pub before: bool,
}

const fn always(id: &'static str, asks: &'static str) -> Check {
    Check { id, asks, before: true }
}

const fn installed(id: &'static str, asks: &'static str) -> Check {
    Check { id, asks, before: false }
}

/// Every check, in the order in which they are told: from what everything else needs to what is built on it.
pub const CHECKS: [Check; 32] = [
    always("api-server", "does the API server answer, and how fast"),
    always("version", "is this a version of Kubernetes that is supported"),
    always("nodes", "are there nodes, and are they ready"),
    always("architecture", "can the nodes run our image"),
    always("room", "do the nodes have room for what the profile requests"),
    always("platform", "what made this cluster"),
    always("permissions", "may this user do what an installation does"),
    always("rbac", "does the API server enforce rights"),
    always("storage-class", "is there a StorageClass to take volumes from"),
    always("volumes", "do the volumes have the sizes that are wanted"),
    always("dropped-metrics", "is every metric kept that an alert reads"),
    always("secret", "is every Secret there that a pod mounts and its user makes"),
    always("provisioner", "does what makes the volumes run"),
    always("pod-security", "do our namespaces take our pods"),
    always("port-9100", "is node-exporter's port free on each node"),
    always("clock", "do the clocks of the nodes, the API server and this machine agree"),
    always("dns", "does the cluster's DNS work"),
    always("image", "does our image get to the nodes, and which lack it"),
    always("other-monitoring", "is there another Prometheus"),
    always("ownership", "does somebody else own an object with the name of one of ours"),
    always("api-services", "does every aggregated API answer"),
    installed("installed", "is the stack installed"),
    installed("installed-version", "did this version or an older one write what is installed"),
    installed("ready", "is every workload and every claim of the stack ready"),
    installed("missing", "is every object of the stack there"),
    installed("drift", "is every object as these settings have it"),
    installed("wal-replay", "is Prometheus killed for memory whenever it starts"),
    installed("configuration", "does Prometheus take its configuration"),
    installed("targets", "is every scrape target up"),
    installed("prometheus", "does the Prometheus that the scaler alone was given answer it"),
    installed("series", "how many series does each job have, where that is asked for"),
    installed("autoscaler", "can every Autoscaler do its work"),
];

/// In what state the cluster was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing of ours is there, or it was not to be looked at.
    BeforeInstall,
    /// The stack is there.
    Installed,
}

/// What a check found, and where to read more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Page and anchor of the documentation.
    pub docs: String,
}

/// What one run of all checks says. Its JSON form is documented in `docs/checks.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether there is no error among them.
    pub passed: bool,
    /// In what state the cluster was checked.
    pub stage: Stage,
    /// What the cluster is.
    pub platform: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Namespace of the stack.
    pub namespace: String,
    /// How many there are of each severity.
    pub counts: Counts,
    /// What was found, in the order of [`CHECKS`]; a check that has several things to say comes several times.
    pub checks: Vec<Verdict>,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As they should be.
    pub ok: usize,
    /// Worth knowing.
    pub info: usize,
    /// Will hurt some day.
    pub warning: usize,
    /// Do not work.
    pub error: usize,
}

impl Report {
    /// A report of these findings.
    pub fn new(stage: Stage, platform: String, kubernetes: String, namespace: String, mut found: Vec<Finding>) -> Self {
        let place = |finding: &Finding| CHECKS.iter().position(|check| check.id == finding.check);
        found.sort_by_key(|finding| (place(finding).unwrap_or(CHECKS.len()), std::cmp::Reverse(finding.severity)));
        let mut counts = Counts::default();
        for finding in &found {
            match finding.severity {
                Severity::Ok => counts.ok += 1,
                Severity::Info => counts.info += 1,
                Severity::Warning => counts.warning += 1,
                Severity::Error => counts.error += 1,
            }
        }
        let checks = found.into_iter().map(|finding| Verdict { docs: finding.anchor(), finding }).collect::<Vec<_>>();
        Self { passed: counts.error == 0, stage, platform, kubernetes, namespace, counts, checks }
    }
}

/// What `status` found, with a line for each of its checks that found nothing.
pub fn of_status(status: &Status) -> Vec<Finding> {
    let mut findings = status.findings.clone();
    let quiet = |id: &str| !status.findings.iter().any(|finding| finding.check == id);
    let ready = status.components.len();
    let targets = status.targets.as_ref().map(|targets| super::are(targets.up, "scrape target"));
    let has_server = status.components.iter().any(|component| component.object.kind == "StatefulSet");
    let autoscalers = match status.autoscalers.len() {
        0 => "no Autoscaler yet".to_owned(),
        number => format!("every Autoscaler can do its work ({number})"),
    };
    for (id, message) in [
        ("ready", Some(format!("all {ready} workloads and claims are ready"))),
        ("missing", Some("every object of the stack is there".to_owned())),
        (
            "drift",
            Some("every object is as these settings have it; labels, and images that come with a build, are not compared".to_owned()),
        ),
        ("wal-replay", has_server.then(|| "Prometheus gets through its start".to_owned())),
        ("targets", targets.map(|targets| format!("{targets} up"))),
        ("prometheus", status.prometheus.as_ref().map(|server| format!("{} answers the scaler", server.address))),
        ("autoscaler", Some(autoscalers)),
    ] {
        if let Some(message) = message.filter(|_| quiet(id)) {
            findings.push(Finding::new(id, Severity::Ok, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Autoscaler;

    fn report(found: Vec<Finding>) -> Report {
        Report::new(Stage::BeforeInstall, "kind".to_owned(), "v1.37.2".to_owned(), "monitoring".to_owned(), found)
    }

    #[test]
    fn findings_come_in_the_order_of_the_checks_and_the_worst_first() {
        let found = vec![
            Finding::new("targets", Severity::Warning, "c"),
            Finding::new("targets", Severity::Error, "b"),
            Finding::new("version", Severity::Ok, "a"),
        ];
        let report = report(found);
        let order: Vec<&str> = report.checks.iter().map(|verdict| verdict.finding.message.as_str()).collect();
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(report.counts, Counts { ok: 1, info: 0, warning: 1, error: 1 });
        assert!(!report.passed);
        assert_eq!(report.checks[1].docs, "docs/checks.md#targets");
    }

    #[test]
    fn warnings_alone_pass() {
        assert!(report(vec![Finding::new("dns", Severity::Warning, "x")]).passed);
    }

    #[test]
    fn what_was_looked_at_and_is_as_it_should_be_is_said_in_whole_sentences() {
        let said = |autoscalers: usize| {
            let autoscaler = Autoscaler {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                target: "deployment/web".to_owned(),
                min: 1,
                max: 2,
                current: None,
                desired: None,
                last_decision: None,
                reason: None,
                problems: vec![],
            };
            let found = of_status(&Status {
                healthy: true,
                installed: true,
                platform: String::new(),
                kubernetes: String::new(),
                namespace: String::new(),
                components: vec![],
                prometheus: None,
                targets: None,
                series: None,
                scraping: None,
                autoscalers: vec![autoscaler; autoscalers],
                drift: vec![],
                findings: vec![],
            });
            let of = |check: &str| found.iter().find(|finding| finding.check == check).unwrap().message.clone();
            (of("autoscaler"), of("drift"))
        };
        assert_eq!(said(0).0, "no Autoscaler yet");
        assert_eq!(said(1).0, "every Autoscaler can do its work (1)");
        assert_eq!(said(3).0, "every Autoscaler can do its work (3)");
        assert_eq!(
            said(0).1,
            "every object is as these settings have it; labels, and images that come with a build, are not compared"
        );
    }

    #[test]
    fn a_name_stands_for_one_check() {
        let mut ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CHECKS.len());
    }
}
