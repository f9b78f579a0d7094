//! Whether a text is a value that can be used, found out before anything is asked or written.
//!
//! What the API server or Prometheus would refuse later is refused here, and what the API server writes in another
//! way is written in that way: else it would look like a change for ever.

use std::{str::FromStr, time::Duration};

use super::references::{image, registry};
use crate::{
    catalog::Component,
    duration::{Mistake, milliseconds},
    images::Architecture,
    quantity::{self, Quantity},
};

/// Parses a duration as Go and Kubernetes write it: `15s`, `5m`, `1h30m`.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("`{text}` is not a duration such as 15s, 5m or 1h30m"))
}

/// Parses `COMPONENT=REF`.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_image(text: &str) -> Result<(Component, String), String> {
    let (component, reference) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not COMPONENT=REF, as in grafana=registry/grafana:13.2.2"))?;
    let component = Component::from_str(component).map_err(|error| error.to_string())?;
    Ok((component, image(reference)?))
}

/// Parses a registry: `HOST[:PORT][/PATH]`.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_registry(text: &str) -> Result<String, String> {
    registry(text)
}

/// Parses what images are to run on: `linux/amd64`, `linux/arm64`.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_platform_of_images(text: &str) -> Result<Architecture, String> {
    Architecture::ALL
        .into_iter()
        .find(|architecture| text.strip_prefix("linux/") == Some(architecture.name()))
        .ok_or_else(|| format!("`{text}` is neither linux/amd64 nor linux/arm64"))
}

/// Parses the name of a namespace: a label of RFC 1123.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_namespace(text: &str) -> Result<String, String> {
    namespace(text, LONGEST_LABEL)
}

/// Parses the largest share of Autoscalers that may begin to want fewer replicas at once. With a share of 0 the first that
/// does would hold all others, and next to NaN nothing is more.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_share(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| format!("`{text}` is not a share such as 0.5: more than 0, and 1 at most, which is no limit"))
}

/// Parses the most replicas by which one decision changes a count; 0 is no limit.
///
/// # Errors
///
/// A clause that says what was expected.
pub fn parse_step(text: &str) -> Result<i32, String> {
    text.parse::<i32>()
        .ok()
        .filter(|step| *step >= 0)
        .ok_or_else(|| format!("`{text}` is not a number of replicas: 1 or more, or 0, which is no limit"))
}

/// Longest label of RFC 1123.
const LONGEST_LABEL: usize = 63;

/// The address of a server: a scheme and a host.
pub(super) fn server_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    if host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace) {
        return Err(format!("`{text}` is no address such as http://prometheus.monitoring:9090"));
    }
    if host.split('/').next().is_some_and(|authority| authority.contains('@')) {
        return Err("a user and a password do not belong into an address, where everybody reads them: put them into a Secret, as \
                    username and password, and name that (prometheusSecret, --prometheus-secret)"
            .to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The name of an object: a subdomain of RFC 1123.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no name of an object: lower-case letters, digits, - and ."))
}

/// The namespace of the stack, whose name has room for `-nodes`.
pub(super) fn stack_namespace(text: &str) -> Result<String, String> {
    namespace(text, LONGEST_LABEL - "-nodes".len())
}

fn namespace(text: &str, longest: usize) -> Result<String, String> {
    if is_label(text) && text.len() <= longest {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no namespace: lower-case letters, digits and `-`, at most {longest} of them, no `-` at either end"
    ))
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name of a StorageClass: labels with dots between them.
pub(super) fn storage_class(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no name of a StorageClass: lower-case letters, digits, `-` and `.`"))
}

/// The name of a metric, as Prometheus has always written them: what is dropped by name is matched by it.
pub(super) fn metric_name(text: &str) -> Result<String, String> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    if starts && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':') {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no name of a metric: letters, digits, `_` and `:`"))
}

/// The address of a page, to which an anchor can be added.
pub(super) fn page(text: &str) -> Result<String, String> {
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '#') => {
            Ok(text.to_owned())
        }
        _ => Err(format!("`{text}` is no address of a page: https://…, without a `#`")),
    }
}

/// The size of a volume, in the API server's own notation.
pub(super) fn storage_size(text: &str) -> Result<String, String> {
    let refused = |why: &str| format!("`{text}` is no size of a volume, such as 5Gi: {why}");
    let size: Quantity = text.parse().map_err(|error: quantity::Error| refused(&error.to_string()))?;
    match size.whole() {
        Some(bytes) if bytes > 0 => quantity::canonical(text).map_err(|error| refused(&error.to_string())),
        Some(_) => Err(refused("it has to be more than 0")),
        None => Err(refused("it is no whole number of bytes")),
    }
}

/// An age as Prometheus writes it: whole numbers with ms, s, m, h, d, w or y, from the largest unit to the smallest, each
/// once.
pub(super) fn retention_time(text: &str) -> Result<String, String> {
    let refused = |why: &str| format!("`{text}` is no age as Prometheus writes it, such as 7d or 1d12h: {why}");
    match milliseconds(text, LONGEST_AGE) {
        Ok(0) => Err(refused("it has to be more than 0")),
        Ok(_) => Ok(text.to_owned()),
        Err(Mistake::Number) => Err(refused("a whole number is missing")),
        Err(Mistake::Unit) => Err(refused("the units are y, w, d, h, m, s, ms, in this order, each at most once")),
        Err(Mistake::TooLong) => Err(refused("it is too long")),
    }
}

/// What fits into Prometheus' durations, nanoseconds in 63 bits, in milliseconds.
const LONGEST_AGE: u64 = (i64::MAX / 1_000_000).unsigned_abs();

/// A size as Prometheus writes it (`alecthomas/units.Base2Bytes`): `512MB`, `4GB`, `1.5GB`, powers of 1024.
pub(super) fn retention_size(text: &str) -> Result<String, String> {
    const UNITS: [&str; 13] = ["B", "KB", "MB", "GB", "TB", "PB", "EB", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let refused = |why: &str| format!("`{text}` is no size as Prometheus writes it, such as 512MB or 4GB: {why}");
    let whole = digits(text);
    let fraction = text[whole..].strip_prefix('.').map_or(0, |rest| 1 + digits(rest));
    let (number, unit) = text.split_at(whole + fraction);
    if whole == 0 || fraction == 1 {
        return Err(refused("a number is missing"));
    }
    if !UNITS.contains(&unit) {
        return Err(refused("the units are B, KB, MB, GB, TB, PB, EB"));
    }
    if number.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        return Err(refused("it has to be more than 0"));
    }
    Ok(text.to_owned())
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::canonical("5Gi", "5Gi")]
    #[case::next_larger_unit("5120Mi", "5Gi")]
    #[case::fraction("1.5Gi", "1536Mi")]
    #[case::decimal("5000M", "5G")]
    #[case::bytes("5368709120", "5368709120")]
    fn a_size_is_written_as_the_api_server_keeps_it(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(storage_size(text).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case::empty("", "no digits")]
    #[case::prometheus_notation("5GB", "`GB` is not a suffix")]
    #[case::nothing("0", "more than 0")]
    #[case::negative("-5Gi", "more than 0")]
    #[case::part_of_a_byte("100m", "whole number of bytes")]
    fn what_is_no_size_is_refused(#[case] text: &str, #[case] why: &str) {
        let error = storage_size(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[rstest]
    #[case::days("7d", true)]
    #[case::compound("1d12h", true)]
    #[case::every_unit("1y1w1d1h1m1s1ms", true)]
    #[case::milliseconds("500ms", true)]
    #[case::empty("", false)]
    #[case::nothing("0d", false)]
    #[case::no_unit("7", false)]
    #[case::no_number("d", false)]
    #[case::fraction("1.5d", false)]
    #[case::wrong_order("12h1d", false)]
    #[case::twice("1d1d", false)]
    #[case::months("1mo", false)]
    #[case::negative("-1d", false)]
    #[case::space("7 d", false)]
    #[case::too_long("300y", false)]
    #[case::endless("99999999999999999999d", false)]
    fn an_age_is_prometheus_own(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(retention_time(text).is_ok(), expected, "{:?}", retention_time(text));
    }

    #[rstest]
    #[case::gigabytes("4GB", true)]
    #[case::binary_prefix("4GiB", true)]
    #[case::fraction("1.5GB", true)]
    #[case::bytes("1000000B", true)]
    #[case::kubernetes_notation("4Gi", false)]
    #[case::no_unit("4", false)]
    #[case::lower_case("4gb", false)]
    #[case::nothing("0GB", false)]
    #[case::dot(".5GB", false)]
    #[case::dot_alone("4.GB", false)]
    #[case::negative("-4GB", false)]
    fn a_size_of_samples_is_prometheus_own(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(retention_size(text).is_ok(), expected, "{:?}", retention_size(text));
    }

    #[rstest]
    #[case::usual("demo", true)]
    #[case::longest(&"a".repeat(63), true)]
    #[case::too_long(&"a".repeat(64), false)]
    #[case::upper_case("Demo", false)]
    #[case::dash_first("-demo", false)]
    #[case::dot("de.mo", false)]
    #[case::empty("", false)]
    fn namespaces(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(parse_namespace(text).is_ok(), expected);
    }

    #[test]
    fn the_namespace_of_the_stack_leaves_room_for_that_of_the_nodes() {
        assert!(stack_namespace(&"a".repeat(57)).is_ok());
        assert!(stack_namespace(&"a".repeat(58)).is_err());
    }

    #[rstest]
    #[case::usual("fast-ssd", true)]
    #[case::dots("csi.example.com", true)]
    #[case::empty("", false)]
    #[case::space("a b", false)]
    fn classes(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(storage_class(text).is_ok(), expected);
    }
}
