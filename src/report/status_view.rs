//! The state of the installation as it changes: one screen that is drawn anew, or one document a change.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal, Write},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};

use super::{document, text};
use crate::{commands::CommandError, health::Status};

/// Takes the terminal's other screen, which has no history, and cuts lines that are too long; and back.
const OTHER_SCREEN: &str = "\x1b[?1049h\x1b[?7l";
const FIRST_SCREEN: &str = "\x1b[?7h\x1b[?1049l";
/// Goes to the upper left corner; clears what is behind a line's end, and below the last line. Nothing is cleared first, so
/// nothing flickers.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const BELOW: &str = "\x1b[J";

/// Shows rounds of `status --watch`.
pub struct StatusView {
    json: bool,
    live: bool,
    drawn: bool,
    last: Option<String>,
}

impl StatusView {
    /// As JSON, one document a line; else live where stdout is a terminal whose cursor can be moved, and as text where it
    /// is not.
    pub fn new(json: bool) -> Self {
        let moves = env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
        Self { json, live: !json && moves && io::stdout().is_terminal(), drawn: false, last: None }
    }

    /// Shows a round, if it differs from the one before.
    ///
    /// # Errors
    ///
    /// When stdout takes no more.
    pub fn show(&mut self, round: &Result<Status, CommandError>) -> io::Result<()> {
        let shown = match (round, self.json) {
            (Ok(status), true) => format!("{}\n", serde_json::to_string(status)?),
            (Err(error), true) => format!("{}\n", serde_json::json!({"error": text::clauses(error)})),
            (Ok(status), false) => text::status(status),
            (Err(error), false) => text::error(error),
        };
        if self.last.as_ref() == Some(&shown) {
            return Ok(());
        }
        let first = self.last.is_none();
        if self.live {
            self.draw(&shown)?;
        } else if self.json || first {
            document(&shown)?;
        } else {
            document(&format!("\n---\n{shown}"))?;
        }
        self.last = Some(shown);
        Ok(())
    }

    fn draw(&mut self, shown: &str) -> io::Result<()> {
        let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| usize::from(rows.0));
        let begin = if self.drawn { "" } else { OTHER_SCREEN };
        self.drawn = true;
        raw(&format!("{begin}{HOME}{}{BELOW}", fitted(&coloured(shown), rows)))
    }
}

/// As anstream would write it.
fn coloured(text: &str) -> Cow<'_, str> {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(text).to_string().into(),
        _ => text.into(),
    }
}

/// Past anstream: where colours are not wanted, the cursor is moved all the same.
fn raw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Leaves the last round on the first screen, where it can be scrolled to.
impl Drop for StatusView {
    fn drop(&mut self) {
        if self.drawn {
            // Nobody is there any more to be told that nobody is there.
            let last = coloured(self.last.as_deref().unwrap_or_default());
            let _gone = raw(&format!("{FIRST_SCREEN}{last}"));
        }
    }
}

/// As many lines as the screen has, each cleared behind its end; of more, the last says how many.
fn fitted(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let rows = rows.max(2);
    let mut fitted = Vec::new();
    if lines.len() < rows {
        fitted.extend(lines.iter().map(ToString::to_string));
    } else {
        fitted.extend(lines[..rows - 2].iter().map(ToString::to_string));
        fitted.push(format!("… {} lines more", lines.len() - (rows - 2)));
    }
    fitted.into_iter().flat_map(|line| [line, format!("{REST_OF_LINE}\n")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let count = |text: &str, rows| fitted(text, rows).lines().count();
        assert_eq!(count("a\nb\nc\n", 10), 3);
        assert_eq!(count("a\nb\nc\nd\n", 4), 3, "the cursor stands in the last row");
        assert!(fitted("a\nb\nc\nd\n", 4).contains("… 2 lines more"));
        assert!(fitted("a\nb\n", 1).contains("… 2 lines more"));
    }
}
