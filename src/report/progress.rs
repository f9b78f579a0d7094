//! Progress for people: one line a step, and on a terminal a live line below it, with a tree of what is waited for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    has_colours,
    logs::LIVE,
    news::News,
    tree::{Row, Tree},
};
use crate::{
    event::{Action, Event, Reporter, Step},
    health::Severity,
    images::megabytes,
    object::ObjectRef,
};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing.
    Quiet,
    /// A line a step.
    Normal,
    /// A line an object too, unchanged and ready ones included.
    Verbose,
}

/// Time between two lines about what is being waited for, where there is no live line.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// Writes progress to stderr. Lines that stay are written once. On a terminal a live line and a tree show what is done and
/// waited for; elsewhere each change of an object is a line, and what is being waited for is said once each time it
/// changes, one line a second at most.
pub struct Terminal {
    verbosity: Verbosity,
    bars: MultiProgress,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    written: usize,
    total: Option<usize>,
    tree: Tree,
    rows: Vec<ProgressBar>,
    news: News,
}

impl State {
    /// Shows what is waited for below the live line.
    fn show_tree(&mut self, bars: &MultiProgress) {
        if self.bar.is_none() {
            return;
        }
        let rows = self.tree.rows();
        for bar in self.rows.drain(rows.len().min(self.rows.len())..) {
            bar.finish_and_clear();
        }
        while self.rows.len() < rows.len() {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            self.rows.push(bar);
        }
        let last = rows.len().saturating_sub(1);
        for (position, (bar, row)) in self.rows.iter().zip(rows).enumerate() {
            let branch = if position == last { "└" } else { "├" };
            let text = match row {
                Row::Waiting { name, why } => format!("… {}  {why}", bold(&name)),
                Row::Ready { name } => format!("{} {name}", ok_mark()),
                Row::More { count } => format!("… {count} more"),
            };
            bar.set_message(drawn(&format!("  {branch} {text}")));
        }
    }

    /// Takes the live line and the tree away.
    fn clear(&mut self) {
        self.tree.clear();
        for bar in self.rows.drain(..).chain(self.bar.take()) {
            bar.finish_and_clear();
        }
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
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        // A second one of a process, as tests make them, has no logs to keep apart from.
        let _first = LIVE.set(bars.clone());
        let state = Arc::new(Mutex::new(State::default()));
        if bars.is_hidden() && verbosity > Verbosity::Quiet {
            let state = Arc::downgrade(&state);
            // Of its own, since an event says only that something changed, and none comes when a second is over.
            thread::spawn(move || {
                while let Some(state) = state.upgrade() {
                    let line = locked(&state).news.next();
                    if let Some(line) = line {
                        anstream::eprintln!("{line}");
                    }
                    drop(state);
                    thread::sleep(SAY_AGAIN);
                }
            });
        }
        Self { verbosity, bars, state }
    }

    fn line(&self, text: &str) {
        if self.bars.is_hidden() {
            anstream::eprintln!("{text}");
        } else {
            // Above the live line, so that neither tears the other.
            let _closed = self.bars.println(drawn(text));
        }
    }

    fn start(&self, state: &mut State, text: String) {
        state.clear();
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
        if self.bars.is_hidden() {
            state.news.changed(object.to_string(), why.clone());
        }
        state.tree.waiting(object, why);
        state.show_tree(&self.bars);
    }

    fn object(&self, state: &mut State, object: &ObjectRef, action: Action, why: Option<&str>) {
        state.tree.over(object);
        state.show_tree(&self.bars);
        state.news.over(&object.to_string());
        // Without a live line, what is done to an object would not be seen at all.
        let told = self.bars.is_hidden() && action != Action::Unchanged;
        if told || self.verbosity >= Verbosity::Verbose {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            self.line(&format!("  {} {object}{why}", past(action)));
        }
        if matches!(action, Action::Unchanged | Action::Skipped) {
            return;
        }
        state.written += 1;
        let of = state.total.map_or_else(String::new, |total| format!(" of {total}"));
        state.live(format!("{} {object}  ({}{of})", past(action), state.written));
    }
}

impl Reporter for Terminal {
    fn report(&self, event: Event) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let mut state = locked(&self.state);
        match event {
            Event::StepStarted { step, total } => {
                state.written = 0;
                state.total = total;
                state.news.all_over();
                self.start(&mut state, present(step).to_owned());
            }
            Event::StepFinished { step: _, took, summary } => {
                state.news.all_over();
                state.clear();
                self.line(&format!("{} {summary} {}", ok_mark(), dim(&format!("({})", seconds(took)))));
                // Between steps there is still work, such as waiting for pods.
                self.start(&mut state, "…".to_owned());
            }
            Event::Object { object, action, why } => self.object(&mut state, &object, action, why.as_deref()),
            Event::InProgress { object, why } => self.waiting(&mut state, object, why),
            Event::Current { object } => {
                state.tree.over(&object);
                state.news.over(&object.to_string());
                if self.verbosity >= Verbosity::Verbose {
                    self.line(&format!("  ready {object}"));
                }
                state.show_tree(&self.bars);
            }
            Event::Targets { up, total, waiting } => {
                let why = format!("{up} of {total} are up; waiting for {}", waiting.join(", "));
                if self.bars.is_hidden() && total > 0 {
                    state.news.changed(TARGETS.to_owned(), why.clone());
                }
                state.live(format!("{TARGETS}: {why}"));
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
            Event::Transfer { what, bytes, total } => {
                let percent = (bytes * 100).checked_div(total).unwrap_or(100);
                let why = format!("{} of {} ({percent} %)", megabytes(bytes), megabytes(total));
                if self.bars.is_hidden() && bytes < total {
                    state.news.changed(what.clone(), why.clone());
                }
                state.live(format!("{what}: {why}"));
            }
            Event::Requests { count } if self.verbosity >= Verbosity::Verbose => {
                self.line(&format!("  {count} requests to the API server"));
            }
            // A table of all claims is printed apart, and so is the error with all that it is about.
            Event::Requests { .. } | Event::Claim(_) | Event::Failed { .. } | Event::Error { .. } => {}
            Event::Note { message } => self.line(&format!("  {message}")),
        }
    }
}

/// How the scrape targets are called, together.
const TARGETS: &str = "scrape targets";

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        state.news.all_over();
        state.clear();
    }
}

fn present(step: Step) -> &'static str {
    match step {
        Step::Preflight => "looking at the cluster",
        Step::Image => "sending scalekit's image to the nodes",
        Step::Plan => "comparing",
        Step::Apply => "applying",
        Step::Wait => "waiting until everything is ready",
        Step::Reload => "waiting until Prometheus has loaded its new configuration",
        Step::Targets => "waiting until every target is scraped",
        Step::Server => "waiting until Prometheus answers the scaler",
        Step::Delete => "deleting",
        Step::Proof => "looking for what is left",
        Step::Unload => "taking scalekit's image off the nodes",
        Step::Load => "sending load",
        Step::Resolve => "asking the registries",
        Step::Download => "fetching images",
        Step::Upload => "sending images",
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

/// What is drawn live does not go through anstream, which leaves colours out where they are not wanted.
fn drawn(text: &str) -> String {
    if has_colours() { text.to_owned() } else { strip_str(text).to_string() }
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
