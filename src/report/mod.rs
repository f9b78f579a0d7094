//! The only module that prints. Progress and errors go to stderr, what was asked for to stdout.

#![expect(clippy::print_stderr, reason = "this is where printing happens")]

mod explained;
mod images;
mod json;
mod logs;
mod news;
mod phases;
mod progress;
mod status_view;
mod text;
mod tree;

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::Path,
};

use anstream::{AutoStream, ColorChoice};
use kube::core::DynamicObject;

pub use images::{images, loaded, lock, pushed, saved, unlocked};
pub use json::{Ndjson, failed};
pub use logs::Logs;
pub use phases::Phases;
pub use progress::{Terminal, Verbosity};
pub use status_view::StatusView;

use crate::{
    catalog::Options,
    commands::{
        AlertTested, Bundled, CommandError, DemoLoaded, DemoUp, Downed, Explained, ExplainedAlert, ModeChanged, Plan,
        PlannedRemoval, Upped, Written,
    },
    health::{Report, Status, count},
    yaml,
};

/// Writes a document to stdout, for a file or another program.
///
/// # Errors
///
/// When stdout takes no more. A reader that has seen enough, as `head` has, ends the output and is no error.
pub fn document(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes to stdout what was done, for people. It is done, whether or not anybody can read about it.
fn data(text: &str) {
    if let Err(error) = document(text) {
        tracing::debug!("nobody reads the output: {error}");
    }
}

/// Before anything is printed: a dumb terminal shows colours as letters, whatever `CLICOLOR` says of all terminals.
/// `CLICOLOR_FORCE` is meant for this one.
pub fn settle_colours() {
    let is = |name, value: &str| env::var_os(name).is_some_and(|found| found == value);
    if is("TERM", "dumb") && env::var_os("CLICOLOR_FORCE").is_none_or(|force| force == "0") {
        ColorChoice::Never.write_global();
    }
}

/// Whether colours are wanted on stderr and understood there. What is written through anstream need not ask.
pub fn has_colours() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Whether somebody can be asked.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Prints why a command did not do what was asked: the causes once each, what it concerns, what to do.
pub fn error(error: &CommandError) {
    if matches!(error, CommandError::Interrupted) && io::stderr().is_terminal() {
        // The terminal has written ^C behind whatever stood there.
        eprintln!();
    }
    anstream::eprint!("{}", text::error(error));
}

/// Prints what `up` did, how long each step took, and what to do next.
pub fn upped(done: &Upped, phases: &str) {
    data(&text::upped(done, phases));
}

/// Prints what `up` would do.
///
/// # Errors
///
/// When stdout takes no more.
pub fn plan(plan: &Plan) -> io::Result<()> {
    document(&text::plan(plan))
}

/// Prints the state of the installation.
///
/// # Errors
///
/// When stdout takes no more.
pub fn status(status: &Status) -> io::Result<()> {
    document(&text::status(status))
}

/// Prints what came of a test of the receivers.
///
/// # Errors
///
/// When stdout takes no more.
pub fn alert_tested(tested: &AlertTested) -> io::Result<()> {
    document(&text::alert_tested(tested))
}

/// Prints what an alert means, or which there are.
///
/// # Errors
///
/// When stdout takes no more.
pub fn alert_explained(explained: &ExplainedAlert) -> io::Result<()> {
    document(&text::alert_explained(explained))
}

/// Prints why a count is what it is.
pub fn explained(explained: &Explained) -> io::Result<()> {
    document(&explained::explained(explained))
}

/// Prints which Autoscalers changed their mode, and what became of the others.
pub fn modes_changed(done: &ModeChanged, what: &str, rest: &str) {
    for object in &done.changed {
        data(&format!("{object}\n"));
    }
    data(&format!("{} {what}; {} {rest}\n", count(done.changed.len(), "Autoscaler"), done.unchanged));
}

/// Prints what the checks found; of those that found nothing wrong only the count where `quiet`.
///
/// # Errors
///
/// When stdout takes no more.
pub fn checked(report: &Report, quiet: bool) -> io::Result<()> {
    document(&text::checked(report, quiet))
}

/// Prints any value as JSON.
///
/// # Errors
///
/// When stdout takes no more.
pub fn json(value: &impl serde::Serialize) -> io::Result<()> {
    document(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// What somebody has to know who applies the manifests by another tool, as comments of YAML.
pub fn preface(options: &Options) -> String {
    text::preface(options)
}

/// Prints manifests as one YAML stream, with comments before it.
///
/// # Errors
///
/// When an object has no YAML form, or stdout takes no more.
pub fn manifests(preface: &str, objects: &[DynamicObject]) -> io::Result<()> {
    document(preface)?;
    for object in objects {
        let text = yaml::to_string(object).map_err(io::Error::other)?;
        document(&format!("---\n{}\n", text.trim_end()))?;
    }
    Ok(())
}

/// Prints what a removal would do, before it is asked about.
pub fn planned_removal(planned: &PlannedRemoval) {
    anstream::eprint!("{}", text::planned_removal(planned));
}

/// Prints what a removal did.
pub fn downed(done: &Downed, what: &str, phases: &str) {
    data(&text::downed(done, what, phases));
}

/// Prints what `demo up` did.
pub fn demo_up(done: &DemoUp) {
    data(&text::demo_up(done));
}

/// Prints what `demo load` did.
pub fn demo_loaded(done: &DemoLoaded) {
    data(&format!("{} tasks (before: {}), in {}\n", done.after, done.before, count(done.pods, "pod")));
}

/// Prints the samples there are.
///
/// # Errors
///
/// When stdout takes no more.
pub fn demos(names: &[&str]) -> io::Result<()> {
    document(&format!("{}\n", names.join("\n")))
}

/// Prints where something can be looked at.
pub fn opened(url: &str, credentials: Option<&(String, String)>) {
    data(&format!("{url}\n"));
    if let Some((user, password)) = credentials {
        data(&format!("user {user}, password {password}\n"));
    }
    eprintln!("Ctrl-C ends the port-forward");
}

/// Says where a bundle is, and what is not in it.
pub fn bundled(bundled: &Bundled) {
    data(&format!("{}\n", bundled.path.display()));
    let size = crate::images::megabytes(bundled.size);
    eprintln!("{} files, {size}; secrets are hidden. Look through it before you send it", bundled.files);
    for line in &bundled.left_out {
        eprintln!("  not in it: {line}");
    }
}

/// Says what became of a folder of manifests, and how other tools apply it: that it stands in one of so many files is easily
/// overlooked.
pub fn written(written: &Written, folder: &Path, quiet: bool) {
    if quiet {
        return;
    }
    eprintln!("{} in {}", count(written.files, "object"), folder.display());
    for name in &written.removed {
        eprintln!("  removed {name}: not part of it any more");
    }
    eprint!("{}", text::by_another_tool());
}

/// Says what is not among the manifests, and how to make it.
pub fn left_out(options: &Options) {
    eprint!("{}", text::left_out(options));
}

/// Asks a question, to be answered with a line.
pub fn question(text: &str) {
    anstream::eprint!("{text} [y/N] ");
}

/// Says something on the way.
pub fn note(message: &str) {
    eprintln!("{message}");
}
