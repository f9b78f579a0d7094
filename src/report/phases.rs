//! How long each step took, for the summary at the end.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Event, Reporter, Step};

/// A reporter that passes everything on and remembers how long the steps took.
pub struct Phases {
    inner: Arc<dyn Reporter>,
    taken: Mutex<Vec<(Step, std::time::Duration)>>,
}

impl Phases {
    /// Around another one.
    pub fn around(inner: Arc<dyn Reporter>) -> Self {
        Self { inner, taken: Mutex::default() }
    }

    /// The steps that ended well, in their order, in words: `preflight 0.2 s, apply 1.0 s`. Nothing else is passed on.
    pub fn into_words(self) -> String {
        let taken = self.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        let word = |(step, took): &(Step, std::time::Duration)| format!("{} {:.1} s", step.name(), took.as_secs_f64());
        taken.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

impl Reporter for Phases {
    fn report(&self, event: Event) {
        if let Event::StepFinished { step, took, .. } = &event {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push((*step, *took));
        }
        self.inner.report(event);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::Silent;

    #[test]
    fn steps_are_told_in_their_order_once_they_ended_well() {
        let phases = Phases::around(Arc::new(Silent));
        for (step, millis) in [(Step::Preflight, 240), (Step::Apply, 1_010)] {
            phases.report(Event::StepStarted { step, total: None });
            let took = Duration::from_millis(millis);
            phases.report(Event::StepFinished { step, took, summary: String::new() });
        }
        phases.report(Event::StepStarted { step: Step::Wait, total: None });
        assert_eq!(phases.into_words(), "preflight 0.2 s, apply 1.0 s");
    }
}
