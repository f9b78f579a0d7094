//! What of a decision most decisions do not have: pods that are not as they should be, a window or a rate that decided.

use std::sync::Arc;

use super::{Decision, Run};
use crate::autoscaling::decision::{
    rate::{LimitReason, Rate},
    replicas::PodCounts,
    stabilization::Stabilized,
};

/// The pods that a metric counted, and its ratio with what is not known filled in, where that was done.
pub(super) type Counted = (PodCounts, Option<f64>);

/// It is kept once for many runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    /// Of each metric, where pods were counted.
    pub pods: Box<[Option<Counted>]>,
    /// What holds the count within a window.
    pub window: Option<Window>,
    /// The rate that decided.
    pub rate: Option<Rate>,
}

/// An earlier proposal that counts longer than the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// What it called for.
    pub replicas: i32,
    /// When, in seconds since the epoch.
    pub at_s: i64,
    /// How long it counts.
    pub seconds: i64,
}

impl Chain {
    /// `None` where there is nothing of it.
    pub(super) fn of(decision: &Decision) -> Option<Self> {
        let pods = decision.metrics.iter().map(|metric| {
            let proposal = metric.outcome.as_ref().ok()?;
            Some((proposal.pods?, proposal.filled_ratio))
        });
        let window = decision.stabilized.filter(Stabilized::held_back).and_then(|stabilized| {
            let by = stabilized.by?;
            Some(Window { replicas: by.replicas, at_s: by.at.as_second(), seconds: stabilized.window.as_secs() })
        });
        let by_rate = [LimitReason::ScaleUpLimit, LimitReason::ScaleDownLimit];
        let rate =
            decision.limited.filter(|limited| by_rate.contains(&limited.reason)).and_then(|limited| limited.rate);
        let chain = Self { pods: pods.collect(), window, rate };
        let something = chain.window.is_some() || chain.rate.is_some() || chain.pods.iter().any(Option::is_some);
        something.then_some(chain)
    }

    /// The one of the run before, if that is the same.
    pub(super) fn shared(self, before: Option<&Run>) -> Arc<Self> {
        match before.and_then(|before| before.chain.as_ref()) {
            Some(before) if **before == self => before.clone(),
            _ => Arc::new(self),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.pods)
    }
}
