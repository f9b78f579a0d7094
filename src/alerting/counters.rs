//! What Alertmanager counts of its requests to receivers.

use std::collections::BTreeMap;

/// One way to one receiver: `default` by `slack`. A receiver with two Slack webhooks is one way: they are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel {
    /// The receiver's name in the configuration.
    pub receiver: String,
    /// Its kind, as Alertmanager names it: `slack`, `webhook`, `email`.
    pub integration: String,
}

impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.receiver, self.integration)
    }
}

/// Requests since Alertmanager started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// All that ended.
    pub ended: u64,
    /// Those of them that failed.
    pub failed: u64,
}

impl Requests {
    /// Those that went well since an earlier look; none where Alertmanager was started anew in between.
    pub fn good_since(self, before: Self) -> u64 {
        let good = |requests: Self| requests.ended.saturating_sub(requests.failed);
        good(self).saturating_sub(good(before))
    }
}

/// The requests of every channel that the configuration has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<Channel, Requests>);

const ENDED: &str = "alertmanager_notification_requests_total";
const FAILED: &str = "alertmanager_notification_requests_failed_total";

impl Counters {
    /// Reads them from a page of metrics in the text format. Alertmanager names receivers in it because it was started
    /// with `receiver-name-in-metrics`.
    pub fn parse(page: &str) -> Self {
        let mut channels: BTreeMap<Channel, Requests> = BTreeMap::new();
        for line in page.lines() {
            let Some((name, rest)) = line.split_once('{') else { continue };
            let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
            if name != ENDED && name != FAILED {
                continue;
            }
            let label = |name: &str| label(labels, name);
            let (Some(receiver), Some(integration)) = (label("receiver_name"), label("integration")) else { continue };
            let requests = channels.entry(Channel { receiver, integration }).or_default();
            let value = value.trim().parse::<f64>().ok().and_then(whole).unwrap_or_default();
            if name == ENDED {
                requests.ended = value;
            } else {
                requests.failed = value;
            }
        }
        Self(channels)
    }

    /// The channels of a receiver.
    pub fn channels<'a>(&'a self, receiver: &'a str) -> impl Iterator<Item = &'a Channel> {
        self.0.keys().filter(move |channel| channel.receiver == receiver)
    }

    /// The requests of a channel; none where it is not known.
    pub fn of(&self, channel: &Channel) -> Requests {
        self.0.get(channel).copied().unwrap_or_default()
    }
}

/// The value of a label. Names of receivers may hold anything, quotes escaped.
fn label(labels: &str, name: &str) -> Option<String> {
    let start = labels.match_indices(name).find_map(|(at, _)| {
        let begins = at == 0 || labels[..at].ends_with(',');
        begins.then(|| labels[at + name.len()..].strip_prefix("=\"")).flatten()
    })?;
    let mut value = String::new();
    let mut rest = start.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => return Some(value),
            '\\' => match rest.next()? {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            c => value.push(c),
        }
    }
    None
}

/// A count that is written as a float, as all values of the text format are.
fn whole(value: f64) -> Option<u64> {
    // Counts of requests are far below where a float loses whole numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    (0.0..9e15).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(receiver: &str, integration: &str) -> Channel {
        Channel { receiver: receiver.to_owned(), integration: integration.to_owned() }
    }

    #[test]
    fn channels_are_read_with_their_counts() {
        let page = "# HELP alertmanager_notification_requests_total The total number of attempted notification requests.\n\
                    alertmanager_notification_requests_total{integration=\"webhook\",receiver_name=\"default\"} 3\n\
                    alertmanager_notification_requests_failed_total{integration=\"webhook\",receiver_name=\"default\"} 1\n\
                    alertmanager_notification_requests_total{integration=\"email\",receiver_name=\"on \\\"call\\\", b\"} 1e+01\n\
                    alertmanager_notifications_total{integration=\"slack\",receiver_name=\"default\"} 7\n\
                    alertmanager_build_info{version=\"0.31.1\"} 1\n";
        let counters = Counters::parse(page);
        assert_eq!(counters.of(&channel("default", "webhook")), Requests { ended: 3, failed: 1 });
        assert_eq!(counters.of(&channel("on \"call\", b", "email")), Requests { ended: 10, failed: 0 });
        assert_eq!(counters.channels("default").collect::<Vec<_>>(), [&channel("default", "webhook")]);
    }

    #[test]
    fn a_restart_is_no_success() {
        let before = Requests { ended: 9, failed: 0 };
        assert_eq!(Requests { ended: 1, failed: 0 }.good_since(before), 0);
        assert_eq!(Requests { ended: 11, failed: 1 }.good_since(before), 1);
    }
}
