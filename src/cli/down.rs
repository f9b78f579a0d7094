//! `scalekit down`: what goes is shown, and nothing goes without a yes.

use std::{io, sync::Arc};

use super::{
    args::{CommonArgs, DownArgs, StackArgs},
    dispatch::resolved,
};
use crate::{
    cluster::{Interruption, connect},
    commands::{self, CommandError, Consent, RemovalOptions},
    event::{Event, Reporter},
    plan::Data,
    report::{self, Phases},
    settings::StackSettings,
};

pub(super) async fn down(
    common: &CommonArgs,
    args: DownArgs,
    reporter: Arc<dyn Reporter>,
    interruption: &Interruption,
) -> Result<(), CommandError> {
    let DownArgs { namespace, keep_data, purge_data, force_finalizers, reset_replicas, yes, timeout } = args;
    let settings = resolved(common, StackArgs { timeout, ..StackArgs::default() }, false)?;
    let cluster = connect(&settings.connection).await?.interrupted_by(interruption);
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    let asked = !keep_data && !purge_data && !yes && report::can_ask();
    let data = if purge_data { Data::Purge } else { Data::Keep };
    let mut planned = commands::plan_removal(&cluster, namespace.as_deref(), data, reporter.as_ref()).await?;
    if planned.anything && !yes && !report::can_ask() {
        return Err(CommandError::NeedsConsent);
    }
    if planned.anything {
        for claim in &planned.claims {
            reporter.report(Event::Claim(claim.clone()));
        }
        // Who is asked has to see what about; else it is progress.
        if !yes || (common.events.is_none() && !common.quiet) {
            report::planned_removal(&planned);
        }
    }
    if planned.anything && !yes {
        if asked && !planned.claims.is_empty() && ask("Delete the data too?").await? {
            planned = commands::plan_removal(&cluster, namespace.as_deref(), Data::Purge, reporter.as_ref()).await?;
            report::planned_removal(&planned);
        }
        if !ask("Go on?").await? {
            return Err(CommandError::Declined);
        }
    }
    let StackSettings { timeout, containerd_socket, .. } = settings;
    let options =
        RemovalOptions { containerd_socket: containerd_socket.as_deref(), timeout, force_finalizers, reset_replicas };
    let reporter = Phases::around(reporter);
    let done = commands::down(&planned, Consent::Given, options, &cluster, &reporter).await;
    reporter.report(Event::Requests { count: cluster.requests() });
    report::downed(&done?, "scalekit", &reporter.into_words());
    Ok(())
}

/// Asks on the terminal. A line is read on a thread of its own, so that Ctrl-C ends the run while nobody answers: the
/// terminal is left as it is, there is nothing to restore.
async fn ask(question: &str) -> Result<bool, CommandError> {
    report::question(question);
    let failed = |source| CommandError::Io { what: "the answer could not be read".to_owned(), source };
    let read = || {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(answer)) => Ok(is_yes(&answer)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Err(CommandError::Interrupted),
        Ok(Err(error)) => Err(failed(error)),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// Whether an answer is a yes; the end of the input, as Ctrl-D gives it, is none.
fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y", "yes\n", " YES \n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yess\n", "of course\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
