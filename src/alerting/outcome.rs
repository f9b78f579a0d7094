//! What came of a test, channel by channel.

use serde::Serialize;

use super::{Channel, Counters, Refusal};

/// What came of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// The receiver refused it, or was not reached. Alertmanager may go on trying.
    Refused {
        /// The receiver's answer, or why there was none.
        why: String,
    },
    /// Nothing has been heard.
    Pending,
}

/// One channel, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The receiver's name.
    pub receiver: String,
    /// Its kind: `slack`, `webhook`.
    pub integration: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Judges every channel of the receivers that the test was routed to.
///
/// A channel on which a request went well since `before` has delivered, whatever failed before that; one on which
/// something only failed has refused, and what the log says of it is why.
pub fn outcomes(receivers: &[String], before: &Counters, now: &Counters, refusals: &[Refusal]) -> Vec<Delivery> {
    let channels = receivers.iter().flat_map(|receiver| now.channels(receiver));
    channels
        .map(|channel| Delivery {
            receiver: channel.receiver.clone(),
            integration: channel.integration.clone(),
            outcome: outcome(channel, before, now, refusals),
        })
        .collect()
}

fn outcome(channel: &Channel, before: &Counters, now: &Counters, refusals: &[Refusal]) -> Outcome {
    if now.of(channel).good_since(before.of(channel)) > 0 {
        return Outcome::Delivered;
    }
    match refusals.iter().rev().find(|refusal| refusal.channel == *channel) {
        Some(refusal) => Outcome::Refused { why: refusal.why.clone() },
        None => Outcome::Pending,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn counters(ended: u64, failed: u64) -> Counters {
        Counters::parse(&format!(
            "alertmanager_notification_requests_total{{integration=\"slack\",receiver_name=\"default\"}} {ended}\n\
             alertmanager_notification_requests_failed_total{{integration=\"slack\",receiver_name=\"default\"}} {failed}\n"
        ))
    }

    fn refusal(receiver: &str) -> Refusal {
        let channel = Channel { receiver: receiver.to_owned(), integration: "slack".to_owned() };
        Refusal { channel, why: "404".to_owned() }
    }

    #[rstest]
    #[case::taken(counters(6, 2), &[], Outcome::Delivered)]
    #[case::taken_in_the_end(counters(7, 3), &[refusal("default")], Outcome::Delivered)]
    #[case::refused(counters(6, 3), &[refusal("default")], Outcome::Refused { why: "404".to_owned() })]
    #[case::failed_and_not_logged_yet(counters(6, 3), &[], Outcome::Pending)]
    #[case::refused_by_somebody_else(counters(5, 2), &[refusal("other")], Outcome::Pending)]
    #[case::nothing_yet(counters(5, 2), &[], Outcome::Pending)]
    fn a_channel_is_judged_by_what_is_new(#[case] now: Counters, #[case] log: &[Refusal], #[case] expected: Outcome) {
        let found = outcomes(&["default".to_owned()], &counters(5, 2), &now, log);
        assert_eq!(found.into_iter().map(|delivery| delivery.outcome).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_receiver_that_sends_nothing_has_no_channel() {
        assert_eq!(outcomes(&["nobody".to_owned()], &counters(0, 0), &counters(0, 0), &[]), vec![]);
    }
}
