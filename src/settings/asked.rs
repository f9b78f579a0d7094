//! What `explain` is asked about: an object by kind and name, and a time.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, Unit};

/// An Autoscaler, or a workload that one scales: `deploy/watcherbot`, `deployment.apps/watcherbot`, `as/watcherbot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The kind as it was written, in lower case: a kind, its plural or its short name.
    kind: String,
    /// What stands behind the kind, `apps` or `v1.apps`.
    group: Option<String>,
    /// The name.
    name: String,
}

impl Named {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is an Autoscaler that is named.
    pub fn is_autoscaler(&self) -> bool {
        ["as", "autoscaler", "autoscalers"].contains(&self.kind.as_str()) && self.of_group("scalekit.dev", "v1alpha1")
    }

    /// Whether this names the object of that kind and name.
    pub fn is(&self, api_version: &str, kind: &str, name: &str) -> bool {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let lower = kind.to_lowercase();
        let plural = [format!("{lower}s"), format!("{lower}es")];
        let short = match lower.as_str() {
            "deployment" => "deploy",
            "statefulset" => "sts",
            "replicaset" => "rs",
            "replicationcontroller" => "rc",
            "rollout" => "ro",
            _ => "",
        };
        self.name == name
            && (self.kind == lower || self.kind == short || plural.contains(&self.kind))
            && self.of_group(group, version)
    }

    fn of_group(&self, group: &str, version: &str) -> bool {
        self.group.as_ref().is_none_or(|written| *written == group || *written == format!("{version}.{group}"))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}.{group}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no KIND/NAME, as in deploy/watcherbot or as/watcherbot");
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        let (kind, group) =
            kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group.to_lowercase())));
        if kind.is_empty() || name.is_empty() || name.contains('/') || group.as_deref() == Some("") {
            return Err(wrong());
        }
        Ok(Self { kind: kind.to_lowercase(), group, name: name.to_owned() })
    }
}

/// A past time: an instant, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// An instant.
    Instant(Timestamp),
    /// So long ago.
    Ago(SignedDuration),
}

impl At {
    /// The instant, as seen from now; how long ago in whole seconds, as nobody means it finer.
    pub fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Instant(at) => at,
            Self::Ago(ago) => {
                let at = now.saturating_sub(ago).unwrap_or(Timestamp::MIN);
                at.round(Unit::Second).unwrap_or(at)
            }
        }
    }
}

/// Parses an instant (RFC 3339) or how long ago (`10m`, `1d`: a day has 24 hours).
impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::Instant(at));
        }
        let ago = text.strip_suffix("ago").unwrap_or(text).trim();
        let days = SpanRelativeTo::days_are_24_hours();
        match ago.parse::<Span>().and_then(|ago| ago.to_duration(days)) {
            Ok(ago) if !ago.is_negative() => Ok(Self::Ago(ago)),
            _ => Err(format!(
                "`{text}` is neither an instant such as 2026-11-25T14:05:00Z nor how long ago, such as 10m or 1d"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::short("deploy/w", true)]
    #[case::kind("Deployment/w", true)]
    #[case::plural("deployments/w", true)]
    #[case::with_group("deployment.apps/w", true)]
    #[case::with_version("deployments.v1.apps/w", true)]
    #[case::another_name("deploy/v", false)]
    #[case::another_kind("sts/w", false)]
    #[case::another_group("deployment.example.com/w", false)]
    fn a_deployment(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(text.parse::<Named>().expect("a name").is("apps/v1", "Deployment", "w"), expected);
    }

    #[rstest]
    #[case("as/w", true)]
    #[case("autoscalers.scalekit.dev/w", true)]
    #[case("deploy/w", false)]
    fn an_autoscaler(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(text.parse::<Named>().expect("a name").is_autoscaler(), expected);
    }

    #[rstest]
    #[case::no_kind("watcherbot")]
    #[case::no_name("deploy/")]
    #[case::two("a/b/c")]
    #[case::empty_group("deploy./w")]
    fn what_is_no_name(#[case] text: &str) {
        assert!(text.parse::<Named>().is_err());
    }

    #[test]
    fn a_time_is_an_instant_or_how_long_ago() {
        let now: Timestamp = "2026-11-25T14:00:00Z".parse().expect("an instant");
        let at = |text: &str| text.parse::<At>().map(|at| at.instant(now).to_string());
        assert_eq!(at("2026-11-25T13:50:00+01:00").as_deref(), Ok("2026-11-25T12:50:00Z"));
        assert_eq!(at("10m").as_deref(), Ok("2026-11-25T13:50:00Z"));
        assert_eq!(at("1h30m ago").as_deref(), Ok("2026-11-25T12:30:00Z"));
        assert_eq!(at("1d").as_deref(), Ok("2026-11-24T14:00:00Z"));
        assert!(at("noon").is_err() && at("-5m").is_err());
    }

    #[test]
    fn how_long_ago_is_whole_seconds() {
        let now: Timestamp = "2026-11-25T14:00:00.25432354Z".parse().expect("an instant");
        assert_eq!(At::Ago(SignedDuration::from_mins(5)).instant(now).to_string(), "2026-11-25T13:55:00Z");
    }
}
