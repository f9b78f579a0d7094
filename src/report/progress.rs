//! Progress for people: one line a step, and a live line below it on a terminal.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    event::{Action, Event, Reporter, Step},
    health::Severity,
    object::ObjectRef,
};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing.
    Quiet,
    /// A line a step.
    Normal,
    /// A line an object too.
    Verbose,
}

/// Writes progress to stderr. Lines that stay are written once; what is being waited for stands in a live line on a
/// terminal, and elsewhere is said once each time it changes.
pub struct Terminal {
    verbosity: Verbosity,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    written: usize,
    total: Option<usize>,
    waiting: BTreeMap<ObjectRef, String>,
    said: BTreeMap<ObjectRef, String>,
}

impl State {
    /// Shows what is waited for in the live line.
    fn show_waiting(&self) {
        let Some((object, why)) = self.waiting.iter().next() else { return };
        let others = self.waiting.len() - 1;
        let more = if others == 0 { String::new() } else { format!("  (and {others} more)") };
        self.live(format!("waiting for {object}: {why}{more}"));
    }

    /// Changes the live line, where there is one.
    fn live(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }
}

impl Terminal {
    /// A reporter on stderr.
    pub fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)),
            state: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        if self.bars.is_hidden() {
            anstream::eprintln!("{text}");
        } else {
            // Above the live line, so that neither tears the other.
            let _closed = self.bars.println(text);
        }
    }

    fn start(&self, state: &mut State, text: String) {
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        if self.bars.is_hidden() {
            return;
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message(text);
        state.bar = Some(bar);
    }

    fn waiting(&self, state: &mut State, object: ObjectRef, why: String) {
        if state.bar.is_none() && self.verbosity >= Verbosity::Verbose && state.said.get(&object) != Some(&why) {
            self.line(&format!("  … {object}: {why}"));
            state.said.insert(object.clone(), why.clone());
        }
        state.waiting.insert(object, why);
        state.show_waiting();
    }

    fn object(&self, state: &mut State, object: &ObjectRef, action: Action) {
        state.written += 1;
        state.waiting.remove(object);
        if self.verbosity >= Verbosity::Verbose {
            self.line(&format!("  {} {object}", past(action)));
        }
        let of = state.total.map_or_else(String::new, |total| format!(" of {total}"));
        state.live(format!("{} {object}  ({}{of})", past(action), state.written));
    }
}

impl Reporter for Terminal {
    fn report(&self, event: Event) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StepStarted { step, total } => {
                state.written = 0;
                state.total = total;
                state.waiting.clear();
                self.start(&mut state, present(step).to_owned());
            }
            Event::StepFinished { step: _, took, summary } => {
                if let Some(bar) = state.bar.take() {
                    bar.finish_and_clear();
                }
                self.line(&format!("{} {summary} {}", ok_mark(), dim(&format!("({})", seconds(took)))));
                // Between steps there is still work, such as waiting for pods.
                self.start(&mut state, "…".to_owned());
            }
            Event::Object { object, action } => self.object(&mut state, &object, action),
            Event::InProgress { object, why } => self.waiting(&mut state, object, why),
            Event::Current { object } => {
                state.waiting.remove(&object);
                if self.verbosity >= Verbosity::Verbose {
                    self.line(&format!("  ready {object}"));
                }
                state.show_waiting();
            }
            Event::Targets { up, total, waiting } => {
                state.live(format!("{up} of {total} scrape targets are up; waiting for {}", waiting.join(", ")));
            }
            Event::Finding(finding) => {
                let shown = finding.severity >= Severity::Warning
                    || (finding.severity == Severity::Info && self.verbosity >= Verbosity::Normal)
                    || self.verbosity >= Verbosity::Verbose;
                if shown {
                    self.line(&format!("{} {}", severity_mark(finding.severity), finding.message));
                    if let Some(hint) = finding.hint {
                        self.line(&format!("  hint: {hint}"));
                    }
                }
            }
            Event::Note { message } => self.line(&format!("  {message}")),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn present(step: Step) -> &'static str {
    match step {
        Step::Preflight => "looking at the cluster",
        Step::Image => "sending scalekit's image to the nodes",
        Step::Plan => "comparing",
        Step::Apply => "applying",
        Step::Wait => "waiting until everything is ready",
        Step::Targets => "waiting until every target is scraped",
        Step::Delete => "deleting",
        Step::Proof => "looking for what is left",
        Step::Load => "sending load",
    }
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Created => "created",
        Action::Configured => "configured",
        Action::Unchanged => "unchanged",
        Action::Deleted => "deleted",
        Action::Kept => "kept",
        Action::Skipped => "skipped",
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

fn ok_mark() -> String {
    painted("✓", AnsiColor::Green.on_default().bold())
}

pub(super) fn severity_mark(severity: Severity) -> String {
    match severity {
        Severity::Ok => ok_mark(),
        Severity::Info => painted("i", AnsiColor::Cyan.on_default()),
        Severity::Warning => painted("!", AnsiColor::Yellow.on_default().bold()),
        Severity::Error => painted("✗", AnsiColor::Red.on_default().bold()),
    }
}

pub(super) fn dim(text: &str) -> String {
    painted(text, Style::new().dimmed())
}

pub(super) fn bold(text: &str) -> String {
    painted(text, Style::new().bold())
}
