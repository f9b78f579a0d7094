//! References of images, taken apart. Pure.
//!
//! The grammar and its defaults are those of `distribution/reference`: without a host it is Docker Hub's, there a
//! single name is below `library/`, and without tag or digest it is `latest`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Docker Hub's name in references.
const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub answers.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// Where an image is, and which one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host of the registry, with its port if it has one: `quay.io`.
    pub host: String,
    /// Repository in it: `prometheus/prometheus`.
    pub path: String,
    /// The tag; at least one of tag and digest is there.
    pub tag: Option<String>,
    /// The digest: `sha256:…`. It says which image it is, whatever the tag says.
    pub digest: Option<String>,
}

/// A text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no image reference, such as registry/grafana:13.2.2")]
pub struct InvalidReference(String);

impl Reference {
    /// Whether the first part of a name is a host: the grammar tells it from a path by these signs.
    pub fn is_host(text: &str) -> bool {
        text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|byte| byte.is_ascii_uppercase())
    }

    /// Host that speaks the distribution protocol, which for Docker Hub is not the one in its references.
    pub fn api_host(&self) -> &str {
        if self.host == DOCKER_HUB { DOCKER_HUB_API } else { &self.host }
    }

    /// `http` for a registry on this machine, as Docker does it; else `https`.
    pub fn scheme(&self) -> &'static str {
        if is_local(&self.host) { "http" } else { "https" }
    }

    /// Host and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// What a registry is asked for: the digest, else the tag.
    pub fn which(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The same, fixed to a digest.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> Self {
        Self { digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// The names under which a kubelet looks for it: with a digest it does not look at the tag.
    pub fn names(&self) -> Vec<String> {
        let tagged = self.tag.as_ref().map(|tag| format!("{}:{tag}", self.name()));
        let digested = self.digest.as_ref().map(|digest| format!("{}@{digest}", self.name()));
        tagged.into_iter().chain(digested).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidReference(text.to_owned());
        let (tagged, digest) = text.split_once('@').map_or((text, None), |(tagged, digest)| (tagged, Some(digest)));
        // A colon before the last slash is a port's.
        let last = tagged.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match tagged[last..].split_once(':') {
            Some((name, tag)) => (&tagged[..last + name.len()], Some(tag)),
            None => (tagged, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if Self::is_host(host) => (host, path.to_owned()),
            Some(_) => (DOCKER_HUB, name.to_owned()),
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        let host = if host == "index.docker.io" { DOCKER_HUB } else { host };
        let path = if host == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path };
        let empty = |part: Option<&str>| part.is_some_and(str::is_empty);
        if name.is_empty() || host.is_empty() || path.split('/').any(str::is_empty) || empty(tag) || empty(digest) {
            return Err(invalid());
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { host: host.to_owned(), path, tag, digest: digest.map(str::to_owned) })
    }
}

fn is_local(host: &str) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse() == Ok(Ipv6Addr::LOCALHOST);
    }
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[rstest]
    #[case::whole("quay.io/prometheus/prometheus:v3.14.0", "quay.io/prometheus/prometheus:v3.14.0")]
    #[case::hub("grafana/grafana:13.2.2", "docker.io/grafana/grafana:13.2.2")]
    #[case::library("busybox", "docker.io/library/busybox:latest")]
    #[case::old_hub("index.docker.io/busybox:1", "docker.io/library/busybox:1")]
    #[case::port("localhost:5000/grafana", "localhost:5000/grafana:latest")]
    #[case::six("[::1]:5000/a/b:1", "[::1]:5000/a/b:1")]
    #[case::digest(&format!("r.example/a@{DIGEST}"), &format!("r.example/a@{DIGEST}"))]
    #[case::both(&format!("r.example:443/a:1@{DIGEST}"), &format!("r.example:443/a:1@{DIGEST}"))]
    fn a_reference_is_read_as_docker_reads_it(#[case] text: &str, #[case] expected: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), expected);
        assert_eq!(expected.parse(), Ok(reference));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_path("quay.io/")]
    #[case::no_tag("quay.io/a:")]
    #[case::no_digest("quay.io/a@")]
    fn what_is_none_is_refused(#[case] text: &str) {
        assert!(text.parse::<Reference>().is_err());
    }

    #[rstest]
    #[case::hub("grafana/grafana", "https", "registry-1.docker.io")]
    #[case::quay("quay.io/a/b", "https", "quay.io")]
    #[case::localhost("localhost:5000/a", "http", "localhost:5000")]
    #[case::loopback("127.0.0.2/a", "http", "127.0.0.2")]
    #[case::six("[::1]:5000/a", "http", "[::1]:5000")]
    #[case::lookalike("localhost.example.com/a", "https", "localhost.example.com")]
    fn it_is_asked_where_it_answers(#[case] text: &str, #[case] scheme: &str, #[case] host: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!((reference.scheme(), reference.api_host()), (scheme, host));
    }

    #[test]
    fn a_kubelet_looks_for_the_digest_where_there_is_one() {
        let reference: Reference = format!("grafana:1@{DIGEST}").parse().unwrap();
        let expected = ["docker.io/library/grafana:1".to_owned(), format!("docker.io/library/grafana@{DIGEST}")];
        assert_eq!(reference.names(), expected);
        assert_eq!(reference.which(), DIGEST);
    }
}
