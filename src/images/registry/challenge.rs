//! How a registry says in what way it wants to be told who asks: `WWW-Authenticate`. Pure.

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token that another server gives.
    Bearer {
        /// Where.
        realm: String,
        /// For whom, if it says so.
        service: Option<String>,
    },
    /// User and password.
    Basic,
}

/// Reads one header (RFC 9110, 11.6.1): a scheme, then `key="value"` with commas between. A token is preferred where
/// both are offered; what is neither is passed over.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        let parameters = parameters(rest);
        let value = |wanted: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
        };
        return Some(Challenge::Bearer { realm: value("realm")?, service: value("service") });
    }
    scheme.eq_ignore_ascii_case("basic").then_some(Challenge::Basic)
}

fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, behind)) = rest.split_once('=') {
        let key = key.trim_matches([',', ' ']).to_owned();
        let (value, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => behind
                .split_once(',')
                .map_or((behind.trim().to_owned(), ""), |(value, behind)| (value.trim().to_owned(), behind)),
        };
        found.push((key, value));
        rest = behind;
    }
    found
}

/// A quoted string up to its end, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return (value, &text[position + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[rstest]
    #[case::hub(
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
        Some(bearer("https://auth.docker.io/token", Some("registry.docker.io")))
    )]
    #[case::spaces_and_order(
        r#"bearer service="s", realm="https://r/t?a=b""#,
        Some(bearer("https://r/t?a=b", Some("s")))
    )]
    #[case::unquoted("Bearer realm=https://r/t,service=s", Some(bearer("https://r/t", Some("s"))))]
    #[case::escaped(r#"Bearer realm="a\"b""#, Some(bearer("a\"b", None)))]
    #[case::basic(r#"Basic realm="Registry""#, Some(Challenge::Basic))]
    #[case::no_realm(r#"Bearer service="s""#, None)]
    #[case::other("Negotiate", None)]
    #[case::never_closed(r#"Bearer realm="https://r"#, Some(bearer("https://r", None)))]
    #[case::empty("", None)]
    fn challenges(#[case] header: &str, #[case] expected: Option<Challenge>) {
        assert_eq!(parse(header), expected);
    }
}
