//! Being told to end, and giving back first what nobody else may have meanwhile.

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Tells runs that they are to end, and tells whoever said so when they hold nothing any more. Cheap to clone; all clones
/// are one.
#[derive(Clone, Debug, Default)]
pub struct Interruption {
    stop: CancellationToken,
    held: TaskTracker,
}

impl Interruption {
    /// Tells all runs to end.
    pub fn stop(&self) {
        self.held.close();
        self.stop.cancel();
    }

    /// Completes when runs are to end.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Completes when runs were told to end and hold nothing any more: at once where they held nothing.
    pub async fn released(&self) {
        self.stop.cancelled().await;
        self.held.wait().await;
    }

    /// Something is held for as long as this lives.
    pub fn holding(&self) -> Held {
        Held { _token: self.held.token() }
    }
}

/// Something is held that has to be given back before the process ends.
#[must_use]
#[derive(Debug)]
pub struct Held {
    _token: TaskTrackerToken,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_stops_waits_for_what_is_held_and_for_nothing_else() {
        let interruption = Interruption::default();
        let soon = Duration::from_millis(10);
        assert!(timeout(soon, interruption.released()).await.is_err(), "nobody was told to end");
        let held = interruption.holding();
        interruption.stop();
        timeout(soon, interruption.stopped()).await.unwrap();
        assert!(timeout(soon, interruption.released()).await.is_err(), "it is held");
        drop(held);
        timeout(soon, interruption.released()).await.unwrap();
    }
}
