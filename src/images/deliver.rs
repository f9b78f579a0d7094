//! Runs what [`super::plan`] says: the archive goes to each place, and is looked for afterwards.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::{io::AsyncWriteExt, process, time};

use super::plan::{Command, Import, Steps};
use crate::event::{Event, Reporter};

/// Places that are served at once. An import is mostly the node's disk.
pub(super) const AT_ONCE: usize = 4;

/// The longest that one command may take. Importing 6 MB takes a second; whoever needs this long hangs.
pub(super) const LIMIT: Duration = Duration::from_mins(2);

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be fed or listened to.
    #[error("lost the connection to `{command}`")]
    Pipe {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It said that it failed.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line that it wrote to standard error.
        said: String,
    },
    /// It did not end.
    #[error("`{command}` did not end within {limit:?}")]
    TimedOut {
        /// The command.
        command: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Why the image did not get to a place. Places served before keep it; sending it again does no harm.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The import failed.
    #[error("cannot import the image into {place}")]
    Import {
        /// Where.
        place: String,
        /// Why.
        source: CommandError,
    },
    /// The file could not be put into its folder.
    #[error("cannot put the image into {}", path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whether it is there could not be asked.
    #[error("cannot see whether {place} has the image")]
    Check {
        /// Where.
        place: String,
        /// Why.
        source: CommandError,
    },
    /// The import said that it succeeded, and the image is not there.
    #[error("{place} does not have the image {reference} after importing it")]
    NotThere {
        /// Where.
        place: String,
        /// The image.
        reference: String,
    },
}

/// The places that need the image.
///
/// Whoever can be asked is asked: a node's status is up to a minute old, and lists 50 images at most.
/// Where nobody can be asked, or the answer is an error, the status decides: `lacking` are the nodes
/// that do not list the image.
pub async fn needing(places: Vec<Steps>, reference: &str, lacking: &[String]) -> Vec<Steps> {
    let asked = stream::iter(places).map(async |steps| needs(&steps, reference, lacking).await.then_some(steps));
    asked.buffered(AT_ONCE).filter_map(async |steps| steps).collect().await
}

async fn needs(steps: &Steps, reference: &str, lacking: &[String]) -> bool {
    let unlisted = steps.nodes.is_empty() || steps.nodes.iter().any(|node| lacking.contains(node));
    let Some(command) = &steps.check else { return unlisted };
    match run(command, None, LIMIT).await {
        // One node answers; what the others have, only their status tells.
        Ok(listed) => !names(&listed, reference) || (steps.nodes.len() > 1 && unlisted),
        Err(_) => unlisted,
    }
}

pub(super) fn names(listed: &str, reference: &str) -> bool {
    listed.lines().any(|line| line.trim() == reference)
}

/// Brings the archive to every place, a few at once, and reports each that has it.
///
/// # Errors
///
/// The first place that fails ends the delivery. Commands still running are killed.
pub async fn deliver(
    places: &[Steps],
    reference: &str,
    archive: &Bytes,
    reporter: &dyn Reporter,
) -> Result<(), DeliverError> {
    stream::iter(places)
        .map(|steps| deliver_one(steps, reference, archive, reporter))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn deliver_one(
    steps: &Steps,
    reference: &str,
    archive: &Bytes,
    reporter: &dyn Reporter,
) -> Result<(), DeliverError> {
    let place = || steps.place.clone();
    match &steps.import {
        Import::Run(command) => {
            run(command, Some(archive), LIMIT)
                .await
                .map_err(|source| DeliverError::Import { place: place(), source })?;
        }
        Import::Place { folder, file } => {
            put(folder, file, archive)
                .await
                .map_err(|source| DeliverError::Place { path: folder.join(file), source })?;
        }
    }
    if let Some(command) = &steps.check {
        let listed =
            run(command, None, LIMIT).await.map_err(|source| DeliverError::Check { place: place(), source })?;
        if !names(&listed, reference) {
            return Err(DeliverError::NotThere { place: place(), reference: reference.to_owned() });
        }
    }
    if let Some(command) = &steps.pin
        && let Err(error) = run(command, None, LIMIT).await
    {
        let message =
            format!("{} may drop the image when its disk fills up, since it could not be pinned: {error}", steps.place);
        reporter.report(Event::Note { message });
    }
    let verb = if steps.check.is_some() { "has" } else { "was handed" };
    reporter.report(Event::Note { message: format!("{} {verb} the image", steps.place) });
    Ok(())
}

/// Runs a command to its end and gives its standard output.
pub(super) async fn run(command: &Command, input: Option<&Bytes>, limit: Duration) -> Result<String, CommandError> {
    run_from(command, if input.is_some() { Stdio::piped() } else { Stdio::null() }, input, limit).await
}

/// The same, with a file as its standard input.
pub(super) async fn run_on(command: &Command, file: std::fs::File, limit: Duration) -> Result<String, CommandError> {
    run_from(command, Stdio::from(file), None, limit).await
}

async fn run_from(
    command: &Command,
    stdin: Stdio,
    input: Option<&Bytes>,
    limit: Duration,
) -> Result<String, CommandError> {
    let mut child = process::Command::new(&command.program)
        .args(&command.arguments)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CommandError::Start { program: command.program.clone(), source })?;
    let stdin = child.stdin.take();
    let feed = async {
        let (Some(mut stdin), Some(input)) = (stdin, input) else { return Ok(()) };
        let fed = async {
            stdin.write_all(input).await?;
            stdin.shutdown().await
        };
        match fed.await {
            // Who fails early says so itself; and a reader of a tar may stop at its end mark.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            fed => fed,
        }
    };
    let both = async { tokio::try_join!(feed, child.wait_with_output()) };
    let ((), output) = time::timeout(limit, both)
        .await
        .map_err(|_| CommandError::TimedOut { command: command.to_string(), limit })?
        .map_err(|source| CommandError::Pipe { command: command.to_string(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = last_line(&String::from_utf8_lossy(&output.stderr));
    Err(CommandError::Failed { command: command.to_string(), status: output.status, said })
}

fn last_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or("it wrote nothing to standard error")
        .to_owned()
}

/// Writes the file beside its place and renames it, so that who watches the folder never sees half of it.
async fn put(folder: &Path, file: &str, archive: &Bytes) -> io::Result<()> {
    let partial = folder.join(format!(".{file}.partial"));
    let written = async {
        let mut target = tokio::fs::File::create(&partial).await?;
        target.write_all(archive).await?;
        target.sync_all().await?;
        tokio::fs::rename(&partial, folder.join(file)).await
    };
    let written = written.await;
    if written.is_err() {
        // The reason is in hand already; a leftover is overwritten by the next try.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    written
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
