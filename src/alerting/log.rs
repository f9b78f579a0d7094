//! What Alertmanager's log says of messages that a receiver did not take.

use super::Channel;

/// Why a message did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which way.
    pub channel: Channel,
    /// The cause as Alertmanager logs it: the receiver's answer, or why there is none. Of URLs only the host is in it.
    pub why: String,
}

/// Reads the refusals from a log in logfmt, in its order.
///
/// A request that failed and is tried again is logged with `receiver` and `integration`; one that is given up has both
/// at the beginning of `err`: `default/webhook[0]: notify retry canceled due to unrecoverable error after 1 attempts: …`.
pub fn refusals(log: &str) -> Vec<Refusal> {
    log.lines().flat_map(refusals_of_line).collect()
}

fn refusals_of_line(line: &str) -> Vec<Refusal> {
    let fields = fields(line);
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let (Some(message), Some(err)) = (field("msg"), field("err")) else { return Vec::new() };
    if let (Some(receiver), Some(integration)) = (field("receiver"), field("integration"))
        && message.starts_with("Notify attempt failed")
    {
        return vec![refusal(receiver, integration, err)];
    }
    if !message.starts_with("Notify for alerts failed") {
        return Vec::new();
    }
    // One line for all channels of a route that failed, an error a line.
    err.lines()
        .filter_map(|error| {
            let (channel, rest) = error.split_once(": notify retry canceled ")?;
            let (receiver, integration) = channel.rsplit_once('/')?;
            let why = rest.split_once(" attempts: ").map_or(rest, |(_, why)| why);
            Some(refusal(receiver, integration, why))
        })
        .collect()
}

fn refusal(receiver: &str, integration: &str, why: &str) -> Refusal {
    let integration = integration.split('[').next().unwrap_or_default().to_owned();
    Refusal { channel: Channel { receiver: receiver.to_owned(), integration }, why: without_paths(why) }
}

/// The pairs of a line: `level=WARN msg="Notify attempt failed" err="… \"quoted\" …"`.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    while let Some((key, behind)) = rest.split_once('=') {
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => behind.split_once(' ').map_or((behind.to_owned(), ""), |(value, after)| (value.to_owned(), after)),
        };
        fields.push((key.trim().to_owned(), value));
        rest = after.trim_start();
    }
    fields
}

/// The text up to the closing quote, and what stands behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (false, '"') => return (value, &text[at + 1..]),
            (false, '\\') => escaped = true,
            (true, 'n') => {
                value.push('\n');
                escaped = false;
            }
            (_, c) => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

/// Cuts each URL behind its host: with webhooks the path is the secret, and a user before the host may be one.
fn without_paths(text: &str) -> String {
    let mut cut = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        cut.push_str(before);
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '>')).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        let host_end = url.find(['/', '?', '#']).unwrap_or(url.len());
        let host = url[..host_end].rsplit('@').next().unwrap_or_default();
        cut.push_str(host);
        if host_end < url.len() {
            cut.push_str("/…");
            // What ends a clause is not the URL's.
            cut.extend(url.chars().last().filter(|c| matches!(c, ':' | ',' | ';')));
        }
        rest = after;
    }
    cut.push_str(rest);
    cut
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const RETRIED: &str = r#"time=2026-11-25T17:00:00.000Z level=WARN source=notify.go:948 msg="Notify attempt failed, will retry later" component=dispatcher receiver=default integration=webhook[0] aggrGroup="{}/{alertname=\"ScalekitTest\"}:{test=\"1\"}" attempts=1 err="Post \"<redacted>\": dial tcp 10.96.0.9:8080: connect: connection refused""#;
    const GIVEN_UP: &str = r#"time=2026-11-25T17:00:00.000Z level=ERROR source=dispatch.go:515 msg="Notify for alerts failed" component=dispatcher aggrGroup="{}" num_alerts=1 err="default/slack[0]: notify retry canceled due to unrecoverable error after 1 attempts: unexpected status code 404: no_team\ndefault/webhook[0]: notify retry canceled after 7 attempts: unexpected status code 503""#;

    fn refused(line: &str) -> Vec<(String, String)> {
        refusals(line).into_iter().map(|refusal| (refusal.channel.to_string(), refusal.why)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn a_message_that_is_tried_again_is_refused_so_far() {
        let why = "Post \"<redacted>\": dial tcp 10.96.0.9:8080: connect: connection refused";
        assert_eq!(refused(RETRIED), pairs(&[("default/webhook", why)]));
    }

    #[test]
    fn each_channel_of_a_route_that_failed_is_named() {
        let expected = [
            ("default/slack", "unexpected status code 404: no_team"),
            ("default/webhook", "unexpected status code 503"),
        ];
        assert_eq!(refused(GIVEN_UP), pairs(&expected));
    }

    #[test]
    fn other_lines_are_none() {
        assert_eq!(refused("time=x level=INFO msg=\"Completed loading of configuration file\" file=/etc/x"), vec![]);
        assert_eq!(refused(""), vec![]);
    }

    #[rstest]
    #[case::slack("code 404: https://hooks.slack.com/services/T/B/xyz: no", "code 404: https://hooks.slack.com/…: no")]
    #[case::user("http://user:pass@host:1/x?y=z failed", "http://host:1/… failed")]
    #[case::host_alone("no answer of https://host", "no answer of https://host")]
    #[case::quoted("Post \"https://h/secret\": EOF", "Post \"https://h/…\": EOF")]
    #[case::none("connection refused", "connection refused")]
    fn the_secret_part_of_a_url_is_cut(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(without_paths(text), expected);
    }
}
