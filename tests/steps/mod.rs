//! Steps that run one after the other in one program, each told as `cargo test` tells a test.

use std::{
    env,
    panic::AssertUnwindSafe,
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

/// Runs the steps whose names are arguments of this program, or all; of these every nth where `PART=k/n` says so, so that n
/// programs, each in a setting of its own, share them. A failure where any of them failed, or none ran.
pub async fn run<S: Setting>(setting: &S, steps: &[(&str, Step<S>)]) -> ExitCode {
    let only: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (part, parts) =
        env::var("PART").map_or((1, 1), |text| part(&text).expect("PART is k/n, 1/2 and 2/2 the halves"));
    assert!(parts == 1 || !S::ONE_STORY, "a story has no parts");
    let wanted = steps.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name));
    let (mut passed, mut failed) = (0, 0);
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
        let word = match ended {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) => "FAILED",
            Err(_) => "FAILED: it does not end",
        };
        println!("test {name} ... {word} ({seconds:.1} s)");
        if word == "ok" {
            passed += 1;
            continue;
        }
        failed += 1;
        setting.describe_failure().await;
        if S::ONE_STORY {
            break;
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn part(text: &str) -> Option<(usize, usize)> {
    let (part, parts) = text.split_once('/')?;
    let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
    (1..=parts).contains(&part).then_some((part, parts))
}
