//! Steps that run one after the other in one program, each told as `cargo test` tells a test.

use std::{
    cell::RefCell,
    collections::HashSet,
    env,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::LocalBoxFuture};

/// One step.
pub type Step<W> = for<'a> fn(&'a W) -> LocalBoxFuture<'a, ()>;

/// Names steps by their functions: `steps![module::function, …]`.
macro_rules! steps {
    ($($module:ident :: $step:ident),* $(,)?) => {
        [$((stringify!($step), (|world| $module::$step(world).boxed_local()) as crate::steps::Step<_>)),*]
    };
}
pub(crate) use steps;

/// What steps run in.
pub trait Setting {
    /// Whether a step builds on those before it, so that after a failure the rest would only fail for the same reason.
    const ONE_STORY: bool;
    /// Longer than any step takes: one that hangs fails, and is named.
    fn limit(&self) -> Duration;
    /// Why a step is nothing for this setting, where it is not.
    fn does_not_apply(&self, step: &str) -> Option<String>;
    /// Before each step.
    async fn begin(&self);
    /// After one that failed, where it may be seen what it left.
    async fn describe_failure(&self);
}

thread_local! {
    /// Where the last step that failed did so, and why.
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a step that fails says, and says it without a backtrace, whose hundred lines of the runtime's frames would bury
/// it wherever the environment asks for one. The place is the step's own, or, by `#[track_caller]`, that of its assertion.
fn keep_last_words() {
    panic::set_hook(Box::new(|failure| {
        let place = failure.location().map(|place| format!(" at {place}")).unwrap_or_default();
        let words = format!("{}{place}", failure.payload_as_str().unwrap_or("it panicked"));
        println!("{words}");
        LAST_WORDS.set(words);
    }));
}

/// Runs the steps whose names are arguments of this program, each once, or all; of these every nth where `PART=k/n` says so, so
/// that n programs, each in a setting of its own, share them. A failure where any of them failed, or none ran.
pub async fn run<S: Setting>(setting: &S, steps: &[(&str, Step<S>)]) -> ExitCode {
    let only: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (part, parts) =
        env::var("PART").map_or((1, 1), |text| part(&text).expect("PART is k/n, 1/2 and 2/2 the halves"));
    assert!(parts == 1 || !S::ONE_STORY, "a story has no parts");
    let mut named = HashSet::new();
    let wanted = steps
        .iter()
        .filter(|(name, _)| only.is_empty() || (only.iter().any(|wanted| wanted == name) && named.insert(*name)));
    keep_last_words();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, step) in wanted.skip(part - 1).step_by(parts) {
        if let Some(reason) = setting.does_not_apply(name) {
            println!("test {name} ... does not apply: {reason}");
            continue;
        }
        setting.begin().await;
        let began = Instant::now();
        let limit = setting.limit();
        let ended = tokio::time::timeout(limit, AssertUnwindSafe(step(setting)).catch_unwind()).await;
        let seconds = began.elapsed().as_secs_f64();
        let why = match ended {
            Ok(Ok(())) => {
                println!("test {name} ... ok ({seconds:.1} s)");
                passed += 1;
                continue;
            }
            Ok(Err(_)) => LAST_WORDS.take(),
            Err(_) => "it does not end".to_owned(),
        };
        println!("test {name} ... FAILED ({seconds:.1} s)");
        failed.push((name, why));
        setting.describe_failure().await;
        if S::ONE_STORY {
            break;
        }
    }
    println!("\n{passed} passed, {} failed", failed.len());
    for (name, why) in &failed {
        println!("failed: {name}: {why}");
    }
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn part(text: &str) -> Option<(usize, usize)> {
    let (part, parts) = text.split_once('/')?;
    let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
    (1..=parts).contains(&part).then_some((part, parts))
}
