//! Results in words. Every line reads without colour.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table, presets};

use super::progress::{bold, dim, severity_mark};
use crate::{
    alerting::{Delivery, Outcome},
    catalog::{
        ADMIN_SECRET, AUTOSCALER_FIELD_MANAGER, Component, FIELD_MANAGER, MANAGED_BY, Options, PASSWORD_KEY,
        RECEIVERS_SECRET, SCALEKIT, SCRAPES_SECRET, scrape_file,
    },
    commands::{AlertTested, CommandError, DemoUp, Downed, Plan, PlannedObject, PlannedRemoval, Upped},
    event::Fate,
    health::{CHECKS, Counts, Report, Scraping, Series, Severity, Stage, Status, Verdict},
    plan::{Change, Checked, FieldManager, Scaled},
    readiness::Readiness,
};

/// `1 pod`, `3 pods`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

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
         scalekit demo load watcherbot --tasks 25   25 tasks, 10 per replica: 3 replicas\n  \
         scalekit status"
    );
    text
}

/// The Secrets that `render` leaves out.
pub(super) fn left_out(options: &Options) -> String {
    let Options { namespace, alerting, additions, .. } = options;
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

/// What somebody has to know who applies the manifests by another tool, as comments of YAML.
pub(super) fn preface(options: &Options) -> String {
    let text = format!(
        "Made by `scalekit render` {}. The same settings give the same bytes.\n\
         Apply it on the server: kubectl apply --server-side -f …; Argo CD: syncOptions [ServerSideApply=true]; Flux does.\n\
         A later `scalekit up` takes it over as it is, and makes the inventory that `down` goes by.\n\
         \n\
         {}\n\
         An Autoscaler holds spec.replicas of what it scales. Leave the field out of that workload's manifest, and\n  \
         Argo CD: spec.ignoreDifferences: [{{group: apps, kind: Deployment, managedFieldsManagers: \
         [{AUTOSCALER_FIELD_MANAGER}]}}]\n           and syncOptions: [RespectIgnoreDifferences=true]\n  \
         Flux:    nothing more: what a manifest does not declare it leaves alone\n",
        env!("CARGO_PKG_VERSION"),
        left_out(options),
    );
    let comment = |line: &str| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") };
    text.lines().map(comment).collect()
}

pub(super) fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}, namespace {}\n", plan.platform, plan.namespace);
    for PlannedObject { planned, checked } in &plan.objects {
        let (mark, fields) = match &planned.change {
            Change::Create => ("+ create   ", None),
            Change::Configure { fields } => ("~ configure", Some(fields)),
            Change::Delete { .. } => ("- delete   ", None),
            Change::Recreate { .. } => ("± anew     ", None),
            Change::Foreign { .. } => ("! foreign  ", None),
            Change::Unchanged => continue,
        };
        let _ = writeln!(text, "{mark} {}{}", planned.object, verdict(checked.as_ref()));
        if let Change::Foreign { owner } = &planned.change {
            let owner = owner.as_deref().unwrap_or("nobody that it names");
            let _ = writeln!(text, "    it is there and not scalekit's; managed by {owner}");
        }
        if let Change::Recreate { why, .. } = &planned.change {
            let _ = writeln!(text, "    {why}");
        }
        for change in fields.into_iter().flatten() {
            let live = change.live.as_ref().map_or_else(|| "(not set)".to_owned(), ToString::to_string);
            let _ = writeln!(
                text,
                "    {}: {} → {}{}",
                change.field,
                shortened(&live),
                shortened(&change.desired.to_string()),
                set_by(&change.by)
            );
        }
        match checked {
            Some(Checked::Refused { why } | Checked::NotTried { why }) => {
                let _ = writeln!(text, "    {why}");
            }
            Some(Checked::Conflict { fields }) => {
                for conflict in fields {
                    let _ = writeln!(text, "    {conflict}");
                }
            }
            _ => {}
        }
    }
    let _ = writeln!(text, "\n{}", plan.summary);
    text
}

/// What the API server says to an object, in a few words behind its name.
fn verdict(checked: Option<&Checked>) -> String {
    match checked {
        None => String::new(),
        Some(Checked::Accepted { tried_in: None }) => dim("  accepted by the API server"),
        Some(Checked::Accepted { tried_in: Some(namespace) }) => {
            dim(&format!("  accepted by the API server, tried in namespace {namespace}"))
        }
        Some(Checked::Refused { .. }) => bold("  refused by the API server"),
        Some(Checked::Conflict { .. }) => bold("  fields are managed by somebody else"),
        Some(Checked::NotTried { .. }) => dim("  not tried"),
    }
}

/// Who set a field, where that was somebody else.
fn set_by(managers: &[FieldManager]) -> String {
    let others: Vec<&str> =
        managers.iter().map(|by| by.manager.as_str()).filter(|manager| *manager != FIELD_MANAGER).collect();
    if others.is_empty() { String::new() } else { format!("  (set by {})", others.join(", ")) }
}

/// Long values, such as whole configuration files, are cut: `-o json` has all of them.
fn shortened(value: &str) -> String {
    const LONGEST: usize = 120;
    if value.chars().count() <= LONGEST {
        return value.to_owned();
    }
    format!("{}… ({} characters)", value.chars().take(LONGEST).collect::<String>(), value.chars().count())
}

pub(super) fn status(status: &Status) -> String {
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
            table.add_row([component.name.clone(), object, format!("{} {state}", severity_mark(severity))]);
        }
        let _ = writeln!(text, "\n{}", trimmed(&table));
    }
    if let Some(targets) = &status.targets {
        // A pod that has just come is scraped within one interval: neither up nor down until then.
        let new = targets.total - targets.up - targets.down.len();
        let severity = match (targets.down.is_empty() && targets.empty_jobs.is_empty(), new) {
            (true, 0) => Severity::Ok,
            (true, _) => Severity::Info,
            (false, _) => Severity::Error,
        };
        let waiting = if new == 0 { String::new() } else { format!(", {new} not scraped yet") };
        let (up, total) = (targets.up, targets.total);
        let _ = writeln!(text, "\n{} {up} of {total} scrape targets are up{waiting}", severity_mark(severity));
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
                autoscaler.last_decision.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        let _ = writeln!(text, "\n{}", trimmed(&table));
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

pub(super) fn alert_tested(tested: &AlertTested) -> String {
    let mut text = String::new();
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
        let _ = writeln!(text, "\nthe test did not arrive everywhere ({seconds:.1} s)");
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
    let _ = writeln!(text, "\n{ok} ok, {info} to know, {}, {}", count(*warning, "warning"), count(*error, "error"));
    text
}

pub(super) fn planned_removal(planned: &PlannedRemoval) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "to delete: {}", count(planned.teardown.delete.len(), "object"));
    for target in &planned.teardown.delete {
        if target.object.kind == "Namespace" {
            let _ = writeln!(text, "  {} and all that scalekit put into it", target.object);
        }
    }
    if !planned.claims.is_empty() {
        let mut table = plain_table(&["DATA", "SIZE", "CLASS", "RECLAIM POLICY", "FATE"]);
        for claim in &planned.claims {
            let fate = match claim.fate {
                Fate::Kept => "kept",
                Fate::Deleted => "deleted",
            };
            table.add_row([
                format!("{}/{}", claim.object.namespace.as_deref().unwrap_or_default(), claim.object.name),
                claim.size.clone(),
                claim.class.clone(),
                claim.policy.clone(),
                fate.to_owned(),
            ]);
        }
        let _ = writeln!(text, "{}", trimmed(&table));
    }
    for kept in planned.teardown.keep.iter().filter(|kept| !kept.data) {
        let _ = writeln!(text, "{} {} stays: {}", severity_mark(Severity::Warning), kept.object, kept.why);
    }
    for Scaled { target, replicas, least } in &planned.scaled {
        let reset = if replicas == least { String::new() } else { format!("; --reset-replicas takes it to {least}") };
        let _ = writeln!(text, "{} {target} stays at {replicas} replicas{reset}", severity_mark(Severity::Info));
    }
    for finding in &planned.blocked {
        let _ = writeln!(text, "{} {}", severity_mark(finding.severity), finding.message);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    text
}

pub(super) fn downed(done: &Downed, what: &str, phases: &str) -> String {
    let mut text = String::new();
    let took = format!("{:.1} s: {phases}", done.took.as_secs_f64());
    if !done.anything {
        let _ = writeln!(text, "{what} is not installed: nothing to remove");
    } else if done.kept.is_empty() {
        let _ = writeln!(text, "nothing left ({took})");
    } else {
        let _ = writeln!(text, "nothing left but the data that was kept ({took})");
    }
    if done.images > 0 {
        let _ = writeln!(text, "{} taken off the nodes", count(done.images, "image"));
    }
    for left in &done.images_left {
        let _ = writeln!(text, "an image of scalekit may still be on a node: {left}");
    }
    for object in &done.kept {
        let _ = writeln!(text, "  kept {object}");
    }
    if !done.kept.is_empty() {
        let _ = writeln!(text, "`scalekit up` takes it into use again; `scalekit down --purge-data` deletes it");
    }
    text
}

pub(super) fn demo_up(done: &DemoUp) -> String {
    let DemoUp { name, namespace, changes, took } = done;
    format!(
        "{name} runs in namespace {namespace}: {changes} ({} s)\n\nnext:\n  \
         scalekit demo load {name} --tasks 25\n  \
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

/// A table without the blanks at the ends of its lines.
pub(super) fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
