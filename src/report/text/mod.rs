//! Results in words. Every line reads without colour.

mod difference;
mod plan;
mod removal;
mod status;

use std::fmt::Write;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

pub(super) use self::{
    plan::plan,
    removal::{downed, planned_removal},
    status::status,
};
use super::progress::{bold, dim, severity_mark};
use crate::{
    alerting::{Delivery, Outcome, Runbook},
    catalog::{
        ADMIN_SECRET, AUTOSCALER_FIELD_MANAGER, Component, MANAGED_BY, Options, PASSWORD_KEY, RECEIVERS_SECRET,
        SCALEKIT, SCRAPES_SECRET, scrape_file,
    },
    commands::{AlertTested, CommandError, DemoUp, ExplainedAlert, Upped},
    health::{CHECKS, Counts, Report, Severity, Stage, Verdict, count},
};

pub(super) fn error(error: &CommandError) -> String {
    let mut text = format!("{} {error}\n", bold("error:"));
    let mut cause = std::error::Error::source(error);
    let mut said = error.to_string();
    while let Some(next) = cause {
        let clause = next.to_string();
        // A transparent error is its own cause.
        if !said.contains(&clause) {
            let _ = writeln!(text, "  caused by: {clause}");
        }
        said = clause;
        cause = next.source();
    }
    for (line, hint) in error.details() {
        let _ = writeln!(text, "  - {line}");
        if let Some(hint) = hint {
            let _ = writeln!(text, "    hint: {hint}");
        }
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, "{} {hint}", bold("hint:"));
    }
    text
}

/// An error and its causes in one line.
pub(super) fn clauses(error: &CommandError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let clause = next.to_string();
        // A transparent error is its own cause.
        if !text.contains(&clause) {
            text = format!("{text}: {clause}");
        }
        cause = next.source();
    }
    text
}

pub(super) fn upped(done: &Upped, phases: &str) -> String {
    let mut text = String::new();
    if done.changed && !done.waited {
        let (namespace, took) = (&done.namespace, done.took.as_secs_f64());
        let _ = writeln!(
            text,
            "\nwritten into namespace {namespace}, not waited for: {} ({took:.1} s: {phases})\n",
            done.changes
        );
    } else if done.changed {
        let _ =
            writeln!(text, "\nscalekit runs in namespace {} ({} s: {phases})\n", done.namespace, done.took.as_secs());
    } else {
        let _ = writeln!(text, "\n{} ({:.1} s)\n", done.changes, done.took.as_secs_f64());
    }
    let mut table = plain_table(&["COMPONENT", "OBJECT", "NAMESPACE", "IMAGE"]);
    for (component, image) in &done.components {
        let object = format!("{}/{component}", component.workload().to_lowercase());
        table.add_row([component.to_string(), object, component.namespace(&done.namespace), image.clone()]);
    }
    let _ = writeln!(text, "{}", trimmed(&table));
    if let Some(targets) = done.targets {
        let _ = writeln!(text, "{} are up", count(targets, "scrape target"));
    }
    if !done.components.iter().any(|(component, _)| *component == Component::Grafana) {
        let _ = writeln!(text, "\nnext:\n  kubectl explain autoscaler.spec\n  scalekit status");
        return text;
    }
    let _ = writeln!(
        text,
        "\nnext:\n  scalekit open grafana                      dashboards; prints address, user and password\n  \
         scalekit demo up watcherbot                a workload that scales on its own metric\n  \
         scalekit demo load watcherbot --set 25     25 tasks, 10 per replica: 3 replicas\n  \
         scalekit status"
    );
    text
}

/// The Secrets that `render` leaves out.
pub(super) fn left_out(options: &Options) -> String {
    let Options { namespace, alerting, additions, external, .. } = options;
    if let Some(external) = external {
        let theirs = |secret| {
            format!(
                "not among them: Secret {secret} in namespace {namespace}, with what {} wants to see\n",
                external.url
            )
        };
        let unused = options.unused_in_words().map(|unused| format!("{unused}\n"));
        return external.secret.as_ref().map(theirs).into_iter().chain(unused).collect();
    }
    let mut text = format!(
        "left out: Secret {ADMIN_SECRET}, for a password must not lie in a repository; make it once:\n  \
         kubectl create secret generic {ADMIN_SECRET} -n {namespace} \
         --from-literal={PASSWORD_KEY}=\"$(openssl rand -base64 18)\"\n  {}\n",
        labelled(namespace, ADMIN_SECRET)
    );
    if let Some(alerting) = alerting {
        let files = alerting.secret_files().into_iter().map(|(name, _)| format!(" --from-file={name}=FILE"));
        let _ = writeln!(
            text,
            "left out: Secret {RECEIVERS_SECRET}, for the same reason; make it from the files that the settings name:\n  \
             kubectl create secret generic {RECEIVERS_SECRET} -n {namespace}{}\n  {}",
            files.collect::<String>(),
            labelled(namespace, RECEIVERS_SECRET)
        );
    }
    if !additions.scrapes.is_empty() {
        let files = additions.scrapes.iter().map(|file| format!(" --from-file={}=FILE", scrape_file(file)));
        let _ = writeln!(
            text,
            "left out: Secret {SCRAPES_SECRET}, as scrape configurations may hold passwords:\n  \
             kubectl create secret generic {SCRAPES_SECRET} -n {namespace}{}\n  {}",
            files.collect::<String>(),
            labelled(namespace, SCRAPES_SECRET)
        );
    }
    text
}

/// Without the label, `up` takes a Secret for somebody else's.
fn labelled(namespace: &str, secret: &str) -> String {
    format!("kubectl label secret {secret} -n {namespace} {MANAGED_BY}={SCALEKIT}")
}

/// How tools apply the manifests, and what comes after.
const APPLIED_BY: &str = "\
Apply it on the server: kubectl apply --server-side -f …; Argo CD: syncOptions [ServerSideApply=true]; Flux does.
A later `scalekit up` takes it over as it is, and makes the inventory that `down` goes by.
";

/// What those tools have to leave to an Autoscaler.
fn held_by_an_autoscaler() -> String {
    format!(
        "An Autoscaler holds spec.replicas of what it scales. Leave the field out of that workload's manifest, and\n  \
         Argo CD: spec.ignoreDifferences: [{{group: apps, kind: Deployment, managedFieldsManagers: \
         [{AUTOSCALER_FIELD_MANAGER}]}}]\n           and syncOptions: [RespectIgnoreDifferences=true]\n  \
         Flux:    nothing more: what a manifest does not declare it leaves alone\n"
    )
}

/// What somebody has to know who applies the manifests by another tool.
pub(super) fn by_another_tool() -> String {
    format!("{APPLIED_BY}{}", held_by_an_autoscaler())
}

/// The same and what is left out, as comments of YAML.
pub(super) fn preface(options: &Options) -> String {
    let text = format!(
        "Made by `scalekit render` {}. The same settings give the same bytes.\n{APPLIED_BY}\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        left_out(options),
        held_by_an_autoscaler(),
    );
    let comment = |line: &str| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") };
    text.lines().map(comment).collect()
}

pub(super) fn alert_explained(explained: &ExplainedAlert) -> String {
    match explained {
        ExplainedAlert::One { runbook, severity, after, expression } => {
            let after = after.as_deref().map_or_else(String::new, |after| format!(", when this has held for {after}"));
            let expression: Vec<String> = expression.lines().map(|line| format!("  {line}")).collect();
            format!("{}: {severity}{after}:\n\n{}\n\n{}\n", runbook.alert, expression.join("\n"), runbook.text())
        }
        ExplainedAlert::All(runbooks) => {
            let width = runbooks.iter().map(|runbook| runbook.alert.len()).max().unwrap_or_default();
            let line = |runbook: &Runbook| format!("{:width$}  {}\n", runbook.alert, runbook.meaning());
            runbooks.iter().map(line).collect()
        }
    }
}

pub(super) fn alert_tested(tested: &AlertTested) -> String {
    let mut text = String::new();
    match &tested.unlinked {
        None => {
            let _ = writeln!(text, "{} Prometheus sends its alerts to this Alertmanager", severity_mark(Severity::Ok));
        }
        Some(why) => {
            let _ = writeln!(text, "{} {why}", severity_mark(Severity::Error));
        }
    }
    for Delivery { receiver, integration, outcome } in &tested.deliveries {
        let (severity, what) = match outcome {
            Outcome::Delivered => (Severity::Ok, "took it".to_owned()),
            Outcome::Refused { why } => (Severity::Error, format!("refused it: {why}")),
            Outcome::Pending => (Severity::Warning, "has not been heard of".to_owned()),
        };
        let _ = writeln!(text, "{} {receiver}/{integration} {what}", severity_mark(severity));
    }
    let seconds = tested.took.as_secs_f64();
    if let Some(why) = tested.suppressed {
        let _ = writeln!(text, "{} the alert is held back: {why}", severity_mark(Severity::Error));
    } else if tested.receivers.is_empty() {
        let _ = writeln!(text, "{} no receiver was found for it in {seconds:.1} s", severity_mark(Severity::Error));
    } else if tested.deliveries.is_empty() {
        let names = tested.receivers.join(", ");
        let _ = writeln!(text, "{} it is routed to {names}, which sends nothing", severity_mark(Severity::Error));
    }
    let pending = tested.deliveries.iter().any(|delivery| delivery.outcome == Outcome::Pending);
    let refused = tested.deliveries.iter().any(|delivery| matches!(delivery.outcome, Outcome::Refused { .. }));
    if tested.delivered {
        let _ = writeln!(text, "\nthe test arrived ({seconds:.1} s); that it is resolved follows in five minutes");
    } else {
        let what =
            if tested.unlinked.is_some() { "alerts do not arrive" } else { "the test did not arrive everywhere" };
        let _ = writeln!(text, "\n{what} ({seconds:.1} s)");
    }
    if tested.unlinked.is_some() {
        let _ = writeln!(
            text,
            "hint: `scalekit up` with the receiver, and `scalekit status`: what is configured by hand is named there"
        );
    }
    if refused {
        let _ = writeln!(text, "hint: put the right URL into the file that the settings name, and run `scalekit up`");
    } else if pending && tested.suppressed.is_none() {
        let _ = writeln!(text, "hint: `group_wait` of the configuration may hold it back longer: --timeout");
    }
    text
}

pub(super) fn checked(report: &Report, quiet: bool) -> String {
    let mut text = String::new();
    let stage = match report.stage {
        Stage::BeforeInstall => "before an installation",
        Stage::Installed => "and what is installed",
    };
    let Report { platform, kubernetes, namespace, counts, .. } = report;
    let _ = writeln!(text, "{platform}, Kubernetes {kubernetes}, namespace {namespace}: the cluster, {stage}\n");
    let head = text.len();
    let width = CHECKS.iter().map(|check| check.id.len()).max().unwrap_or_default();
    for Verdict { finding, docs } in &report.checks {
        if quiet && finding.severity == Severity::Ok {
            continue;
        }
        let _ = writeln!(text, "{} {:width$}  {}", severity_mark(finding.severity), finding.check, finding.message);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "  {:width$}  hint: {hint}", "");
            let _ = writeln!(text, "  {:width$}  {}", "", dim(docs));
        }
    }
    let Counts { ok, info, warning, error } = counts;
    if text.len() > head {
        text.push('\n');
    }
    let _ = writeln!(text, "{ok} ok, {info} to know, {}, {}", count(*warning, "warning"), count(*error, "error"));
    text
}

pub(super) fn demo_up(done: &DemoUp) -> String {
    let DemoUp { name, namespace, changes, took } = done;
    format!(
        "{name} runs in namespace {namespace}: {changes} ({} s)\n\nnext:\n  \
         scalekit demo load {name} --set 25\n  \
         kubectl get autoscalers,deployments -n {namespace} --watch\n",
        took.as_secs()
    )
}

/// Columns below which a table is let run over the edge.
const NARROWEST: u16 = 80;

pub(super) fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    // A terminal that knows no width says 0, and a letter a line is no table.
    if table.width().is_some_and(|width| width < NARROWEST) {
        table.set_width(NARROWEST);
    }
    table
}

/// A table whose last column alone is wrapped: names that are cut in two cannot be copied.
pub(super) fn wrapping_last(table: &mut Table) -> &Table {
    let last = table.column_count().saturating_sub(1);
    for column in table.column_iter_mut().take(last) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// The mark of a severity as a cell has it, one column wide: colours would be counted as text. [`marked`] paints it.
pub(super) fn mark(severity: Severity) -> char {
    match severity {
        Severity::Ok => '\u{e000}',
        Severity::Info => '\u{e001}',
        Severity::Warning => '\u{e002}',
        Severity::Error => '\u{e003}',
    }
}

/// A table that was laid out, with each [`mark`] as it is shown.
pub(super) fn marked(table: &str) -> String {
    [Severity::Ok, Severity::Info, Severity::Warning, Severity::Error]
        .into_iter()
        .fold(table.to_owned(), |table, severity| table.replace(mark(severity), &severity_mark(severity)))
}

/// A table without the blanks at the ends of its lines.
pub(super) fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Finding;

    #[test]
    fn one_blank_line_stands_before_the_counts_with_findings_and_without() {
        let found = vec![Finding::new("dns", Severity::Ok, "fine")];
        let [platform, kubernetes, namespace] = ["kind", "v1", "n"].map(str::to_owned);
        let report = Report::new(Stage::BeforeInstall, platform, kubernetes, namespace, found);
        let head = "kind, Kubernetes v1, namespace n: the cluster, before an installation\n\n";
        let counts = "1 ok, 0 to know, 0 warnings, 0 errors\n";
        assert_eq!(checked(&report, true), format!("{head}{counts}"));
        let whole = checked(&report, false);
        assert!(whole.ends_with(&format!("fine\n\n{counts}")), "{whole}");
    }

    #[test]
    fn only_the_last_column_is_wrapped_and_a_mark_is_one_column_wide() {
        let name = "persistentvolumeclaim/prometheus-data";
        let mut table = plain_table(&["OBJECT", "STATE"]);
        table.add_row([name.to_owned(), format!("{} ready", mark(Severity::Ok))]);
        table.add_row([name.to_owned(), format!("{} no node has room for it", mark(Severity::Error))]);
        // Two columns with a blank at each side.
        table.set_width(37 + 2 + 7 + 2);
        let text = marked(&trimmed(wrapping_last(&mut table)));
        let lines: Vec<&str> = text.lines().collect();
        let first = format!("{name}  {} ready", severity_mark(Severity::Ok));
        assert_eq!(lines[1].trim_start(), first);
        assert_eq!(text.matches(name).count(), 2);
        assert!(lines.len() > 3, "the last column is wrapped:\n{text}");
    }
}
