//! Whether a text is the reference of an image, or a registry, by the grammar of `distribution/reference`.

use crate::images::Reference;

/// A reference of an image, by the grammar of `distribution/reference`: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub(super) fn image(text: &str) -> Result<String, String> {
    let refused = |why: &str| Err(format!("`{text}` is no image reference, such as registry/grafana:13.2.2: {why}"));
    if text.is_empty() {
        return refused("it is empty");
    }
    if text.contains("://") {
        return refused("it starts with the registry's host, not with a scheme");
    }
    let (tagged, digest) = text.split_once('@').map_or((text, None), |(tagged, digest)| (tagged, Some(digest)));
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return refused("behind `@` stands a digest, as in sha256:…");
    }
    // A colon before the last slash is a port's.
    let last = tagged.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match tagged[last..].split_once(':') {
        Some((name, tag)) => (&tagged[..last + name.len()], Some(tag)),
        None => (tagged, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return refused("behind the last `:` stands a tag: letters, digits, `_`, `.`, `-`");
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if Reference::is_host(host) => (Some(host), path),
        _ => (None, name),
    };
    if host.is_none_or(is_reachable) && path.split('/').all(is_path) {
        return Ok(text.to_owned());
    }
    refused("its path is lower-case letters and digits with `.`, `_`, `-` and `/` between them")
}

/// A registry to take the place of the images' own: `HOST[:PORT][/PATH]`.
pub(super) fn registry(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let (host, path) = trimmed.split_once('/').map_or((trimmed, None), |(host, path)| (host, Some(path)));
    if is_reachable(host) && path.is_none_or(|path| path.split('/').all(is_path)) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no registry: HOST, HOST:PORT or HOST/PATH, without a scheme"))
}

/// A host name or an address, with or without a port.
fn is_reachable(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') => {
            ("address", port.strip_prefix(':'))
        }
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    host.split('.').all(is_part)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A part of a path: lower-case letters and digits, with one of `.`, `_`, `__` or any number of `-` between them.
fn is_path(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.bytes().next().is_some_and(inside)
        && text.bytes().last().is_some_and(inside)
        && separators
            .into_iter()
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-' | b'_'))
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[rstest]
    #[case::name("grafana", true)]
    #[case::tag("grafana:13.2.2", true)]
    #[case::library("library/grafana", true)]
    #[case::registry("registry.example.com/grafana/grafana:13.2.2", true)]
    #[case::port("localhost:5000/grafana", true)]
    #[case::port_and_tag("127.0.0.1:5000/a/b__c-d.e:v1_2", true)]
    #[case::six("[fd00::1]:5000/grafana:1", true)]
    #[case::upper_case_host("REGISTRY/grafana", true)]
    #[case::digest(&format!("grafana@{DIGEST}"), true)]
    #[case::tag_and_digest(&format!("r.example/grafana:1@{DIGEST}"), true)]
    #[case::empty("", false)]
    #[case::space("grafana :1", false)]
    #[case::space_behind("grafana ", false)]
    #[case::upper_case("Grafana", false)]
    #[case::no_tag("grafana:", false)]
    #[case::two_tags("grafana:1:2", false)]
    #[case::scheme("https://r.example/grafana", false)]
    #[case::no_name(":1", false)]
    #[case::slash_at_the_end("r.example/", false)]
    #[case::two_slashes("r.example//grafana", false)]
    #[case::short_digest("grafana@sha256:abc", false)]
    #[case::separators("a._b", false)]
    fn references(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(image(text).is_ok(), expected, "{:?}", image(text));
    }

    #[rstest]
    #[case::host("registry.example.com", true)]
    #[case::port("reg.example:5000", true)]
    #[case::path("reg.example/mirror/", true)]
    #[case::empty("", false)]
    #[case::scheme("https://reg.example", false)]
    #[case::space("reg example", false)]
    fn registries(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(registry(text).is_ok(), expected);
    }
}
