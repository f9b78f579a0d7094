//! What a person sees of a run, in a terminal of `script`'s making.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use anstream::adapter::strip_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    proxy::Plan,
    world::{Ended, World, answered},
};

const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// Longer than anything here takes, or a run that hangs would say nothing.
const LIMIT: Duration = Duration::from_secs(600);

/// What is pressed when all of these texts were shown.
type Pressed<'a> = (&'a [&'a str], &'a str);

const CTRL_C: &str = "\x03";

/// Runs the binary in a terminal, and presses one after the other. Its exit code, and all that it wrote.
async fn in_a_terminal(
    world: &World,
    environment: &[(&str, &str)],
    arguments: &[&str],
    presses: &[Pressed<'_>],
) -> (i32, String) {
    match answered(async || once_in_a_terminal(world, environment, arguments, presses).await).await {
        Ended::Exited(code, written) => (code, written),
        Ended::Killed => unreachable!("nobody killed it"),
    }
}

async fn once_in_a_terminal(
    world: &World,
    environment: &[(&str, &str)],
    arguments: &[&str],
    presses: &[Pressed<'_>],
) -> Ended {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let proxied = world.through_the_proxy().map(|text| text.to_str().unwrap());
    let words = [&[world.binary().to_str().unwrap()], &proxied[..], arguments].concat();
    let line = words.into_iter().map(quoted).collect::<Vec<_>>().join(" ");
    // Else Ctrl-C takes away what was written and not read yet.
    let line = format!("stty cols {COLUMNS} rows {ROWS} noflsh && exec {line}");
    let mut script = world.command("script");
    script.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").envs(environment.iter().copied());
    let mut script = script.stdin(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut written, mut presses) = (Vec::new(), presses.iter().peekable());
    let watched = async {
        while screen.read_buf(&mut written).await.unwrap() > 0 {
            let shown = strip_str(&String::from_utf8_lossy(&written)).to_string();
            while let Some((_, pressed)) = presses.next_if(|(until, _)| until.iter().all(|text| shown.contains(text))) {
                keys.write_all(pressed.as_bytes()).await.unwrap();
            }
        }
        script.wait().await.unwrap()
    };
    let ended = timeout(LIMIT, watched).await;
    let written = String::from_utf8(written).expect("it writes UTF-8");
    let status = ended.unwrap_or_else(|_| panic!("{arguments:?} does not end: {written}"));
    Ended::Exited(status.code().unwrap_or(-1), written)
}

/// A terminal with all that was ever scrolled out of it.
#[derive(Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// The last characters of the sequences that it was told: `A` moves up, `m` is a colour.
    sequences: BTreeSet<char>,
}

impl Screen {
    fn of(written: &str) -> Self {
        let mut screen = Self { lines: vec![Vec::new()], ..Self::default() };
        let mut characters = written.chars();
        while let Some(character) = characters.next() {
            match character {
                '\x1b' => screen.sequence(&mut characters),
                '\r' => screen.column = 0,
                '\n' => screen.go_to(screen.row + 1),
                character => screen.put(character),
            }
        }
        screen
    }

    fn put(&mut self, character: char) {
        // The line is broken only when something comes behind its end.
        if self.column == COLUMNS {
            self.column = 0;
            self.go_to(self.row + 1);
        }
        let line = &mut self.lines[self.row];
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = character;
        self.column += 1;
    }

    fn go_to(&mut self, row: usize) {
        self.row = row;
        self.lines.resize(self.lines.len().max(row + 1), Vec::new());
    }

    fn sequence(&mut self, characters: &mut impl Iterator<Item = char>) {
        assert_eq!(characters.next(), Some('['), "only movements and colours are known here");
        let mut parameter = String::new();
        let end = loop {
            match characters.next().expect("a sequence ends") {
                end @ '@'..='~' => break end,
                other => parameter.push(other),
            }
        };
        let number = parameter.parse().ok();
        let top = self.lines.len().saturating_sub(ROWS);
        match end {
            'A' => self.row = self.row.saturating_sub(number.unwrap_or(1)).max(top),
            'B' => self.go_to((self.row + number.unwrap_or(1)).min(top + ROWS - 1)),
            'K' if number == Some(2) => self.lines[self.row].clear(),
            'K' => self.lines[self.row].truncate(self.column),
            'J' => {
                self.lines[self.row].truncate(self.column);
                self.lines[self.row + 1..].iter_mut().for_each(Vec::clear);
            }
            'H' => (self.row, self.column) = (top, 0),
            'm' | 'h' | 'l' => {}
            other => panic!("this terminal does not know ESC [ {parameter} {other}"),
        }
        self.sequences.insert(end);
    }

    /// All lines one after the other, without spaces: so a line that was broken is whole again.
    fn text(&self) -> String {
        self.lines.iter().flatten().filter(|character| **character != ' ').collect()
    }

    fn last_line(&self) -> String {
        let mut lines = self.lines.iter().map(|line| line.iter().collect::<String>());
        lines.rfind(|line| !line.trim().is_empty()).unwrap_or_default()
    }
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

pub async fn a_terminal_shows_a_tree_that_leaves_nothing_but_whole_lines(world: &World) {
    world.proxy.follow(Plan::default());
    // Nothing ever becomes ready here, so the tree stays until the run is told to end.
    let waits = ["up", "-vv", "-n", "in-tree", "--image", "scaler=example.org/scalekit:1", "--timeout", "400s"];
    let shown = ["created deployment.apps/grafana -n in-tree", "├ … ", "└ … "];
    let (code, written) = in_a_terminal(world, &[("TERM", "xterm")], &waits, &[(&shown, CTRL_C)]).await;
    assert_eq!(code, 130, "{written}");
    let (screen, plain) = (Screen::of(&written), strip_str(&written).to_string());
    assert!(screen.sequences.contains(&'A') && screen.sequences.contains(&'m'), "{:?}", screen.sequences);
    assert!(plain.contains("└ … "), "{plain}");
    let last = screen.last_line();
    assert!(last.contains("interrupted; the next run goes on from here"), "{last}\n{written}");

    let left = screen.text();
    // The terminal's own ^C moves the cursor a line on, so the line above the tree stays.
    assert!(!left.contains(['├', '└']), "a part of the tree was left: {left}");
    // A line of the log is written at once, and the live lines are taken away before and drawn again behind it.
    let asked = format!(" {}/", world.proxy.url());
    let logs: Vec<&str> =
        plain.split("\r\n").filter_map(|line| Some(&line[line[..line.find(&asked)?].rfind("DEBUG ")?..])).collect();
    assert!(logs.len() > 40, "{logs:#?}");
    for said in logs.into_iter().chain(["created namespace/in-tree", "created deployment.apps/grafana -n in-tree"]) {
        assert!(left.contains(&without_spaces(said)), "{said} is torn: {left}");
    }
}

pub async fn colours_and_movements_are_left_out_where_they_are_not_wanted(world: &World) {
    let up = [&World::up("in-plain")[..], &["-vv"]].concat();
    let watch = ["status", "--watch", "-n", "in-plain", "--image", "scaler=example.org/scalekit:1"];
    world.proxy.follow(Plan::default());
    for (environment, moves) in
        [([("TERM", "xterm"), ("NO_COLOR", "1")], true), ([("TERM", "dumb"), ("CLICOLOR", "1")], false)]
    {
        let (code, written) = in_a_terminal(world, &environment, &up, &[]).await;
        assert_eq!(code, 0, "{written}");
        let sequences = Screen::of(&written).sequences;
        assert!(!sequences.contains(&'m') && sequences.contains(&'K') == moves, "{environment:?}: {sequences:?}");

        let (code, written) = in_a_terminal(world, &environment, &watch, &[(&["grafana"], CTRL_C)]).await;
        assert_eq!(code, 130, "{written}");
        let sequences = Screen::of(&written).sequences;
        assert!(!sequences.contains(&'m') && sequences.contains(&'H') == moves, "{environment:?}: {sequences:?}");
    }
}

/// The questions of a removal, the data's first: nothing goes without a yes, nor where nobody can be asked.
pub async fn a_removal_asks_on_a_terminal_and_does_what_is_answered(world: &World) {
    const DATA: &str = "Delete the data too? [y/N]";
    const GO_ON: &str = "Go on? [y/N]";
    world.settled().await;
    world.runs(&World::up("in-doubt")).await;
    let expected = world.found("in-doubt").await;

    let ended = world.run(Plan::default(), &["down"]).await;
    let Ended::Exited(2, words) = ended else { panic!("{ended:?}") };
    assert!(words.contains("no terminal to ask on") && words.contains("hint: add --yes"), "{words}");
    assert_eq!(world.proxy.writes(), 0);

    let xterm = [("TERM", "xterm")];
    let down = ["down", "--timeout", "400s"];
    world.proxy.follow(Plan::default());
    let (code, written) = in_a_terminal(world, &xterm, &down, &[(&[DATA], "n\n"), (&[GO_ON], "n\n")]).await;
    assert!(code == 1 && written.contains("nothing was deleted"), "{code}: {written}");
    assert_eq!(world.proxy.writes(), 0, "{written}");
    assert!(world.found("in-doubt").await.keys().eq(expected.keys()), "{written}");

    let (code, written) = in_a_terminal(world, &xterm, &down, &[(&[DATA], "y\n"), (&[GO_ON], "y\n")]).await;
    assert!(code == 0 && written.contains("nothing left"), "{code}: {written}");
    // What goes is shown again with the data, before it is asked for the last time.
    let (before, after) = written.split_once(DATA).expect(&written);
    let again = after.split(GO_ON).next().expect("the text before it");
    assert!(!before.contains("deleted") && again.contains("in-doubt/prometheus-data"), "{written}");
    assert!(again.contains("deleted"), "{written}");
    assert!(world.found("in-doubt").await.is_empty(), "{written}");
}
