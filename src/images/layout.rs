//! What stands in manifests and in the index of an image layout (OCI image spec 1.1), as far as it matters here. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::executable::Architecture;

/// The annotation by which containerd's importer names an image.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation by which the specification names an image: its tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What is in it.
    #[serde(default)]
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// For a manifest: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on this processor.
    pub fn linux(architecture: Architecture) -> Self {
        Self { architecture: architecture.name().to_owned(), os: "linux".to_owned(), variant: None }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// The index of a layout.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// That of an index.
    #[serde(default)]
    pub media_type: String,
    /// The images.
    pub manifests: Vec<Descriptor>,
}

/// A manifest, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image for several platforms.
    Platforms(Vec<Descriptor>),
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, the lowest first.
        layers: Vec<Descriptor>,
    },
}

/// Reads a manifest.
///
/// # Errors
///
/// A clause that says what it is not.
pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Text {
        manifests: Option<Vec<Descriptor>>,
        config: Option<Descriptor>,
        layers: Option<Vec<Descriptor>>,
    }
    let text: Text = serde_json::from_slice(bytes).map_err(|error| format!("its manifest cannot be read: {error}"))?;
    match (text.manifests, text.config, text.layers) {
        (Some(manifests), None, None) => Ok(Manifest::Platforms(manifests)),
        (None, Some(config), Some(layers)) => Ok(Manifest::Image { config, layers }),
        _ => Err("its manifest is neither of an image nor of several platforms".to_owned()),
    }
}

/// The image for Linux on this processor. Of several variants the first stands for all: what runs on arm64 is v8.
pub fn for_linux(manifests: &[Descriptor], architecture: Architecture) -> Option<&Descriptor> {
    manifests.iter().find(|entry| {
        entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture.name())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(os: &str, architecture: &str) -> serde_json::Value {
        json!({"mediaType": "m", "digest": format!("sha256:{os}{architecture}"), "size": 1,
            "platform": {"os": os, "architecture": architecture}})
    }

    #[test]
    fn the_platform_is_found_among_others_and_attestations() {
        let all =
            [entry("windows", "amd64"), entry("unknown", "unknown"), entry("linux", "arm64"), entry("linux", "amd64")];
        let Ok(Manifest::Platforms(found)) = parse(json!({"manifests": all}).to_string().as_bytes()) else { panic!() };
        assert_eq!(for_linux(&found, Architecture::Amd64).unwrap().digest, "sha256:linuxamd64");
        assert_eq!(for_linux(&found[..1], Architecture::Amd64), None);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in ["", "[]", "{}", r#"{"schemaVersion":1,"fsLayers":[]}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
