//! Our own image: which reference the pods run, and getting it to the nodes.

use std::{env, path::Path};

use k8s_openapi::api::core::v1::Node;
use kube::core::DynamicObject;

use super::CommandError;
use crate::{
    catalog::{self, Component},
    event::Reporter,
    health::{ImageSource, LISTED_IMAGES},
    images::{self, Choice, Executable, Locations},
    platform::{Platform, PlatformKind},
};

/// What the pods of our own program run.
pub(super) struct OwnImage {
    /// Reference.
    pub reference: String,
    /// Pull policy that fits how it gets to the nodes.
    pub pull_policy: &'static str,
    /// What is in it, where it is ours to send.
    pub executable: Option<Executable>,
}

impl OwnImage {
    /// Architecture of what is sent, as Kubernetes spells it.
    pub fn carries(&self) -> Option<&'static str> {
        self.executable.as_ref().map(|executable| executable.architecture().name())
    }
}

/// An image that was named: the nodes pull it.
pub(super) fn named(reference: String) -> OwnImage {
    OwnImage { reference, pull_policy: "IfNotPresent", executable: None }
}

/// The image that was named, which is pulled; else this executable's own, which is sent to the nodes.
pub(super) fn own(reference: Option<&String>) -> Result<OwnImage, CommandError> {
    if let Some(reference) = reference {
        return Ok(named(reference.clone()));
    }
    let executable = Executable::running().map_err(images::Error::from)?;
    let reference = executable.reference(env!("CARGO_PKG_VERSION"));
    Ok(OwnImage { reference, pull_policy: "Never", executable: Some(executable) })
}

/// Puts the image into the options of the stack.
pub(super) fn use_in(options: &mut catalog::Options, image: &OwnImage) {
    image.pull_policy.clone_into(&mut options.scaler_pull_policy);
    options.images.insert(Component::Scaler, image.reference.clone());
}

/// The registry name of images that were side-loaded; no such host exists.
const SIDE_LOADED: &str = "scalekit.local/";

/// Whether a node has an image that was sent there, as far as its list goes.
pub(super) fn is_on_a_node(nodes: &[Node]) -> bool {
    let sent = format!("{SIDE_LOADED}scalekit:");
    nodes.iter().map(node).any(|node| node.images.iter().any(|image| image.starts_with(&sent)))
}

/// Whether a node has more images than it lists: ours, one of the smallest, may be among those that it leaves out.
pub(super) fn lists_are_cut(nodes: &[Node]) -> bool {
    nodes.iter().map(node).any(|node| node.images.len() >= LISTED_IMAGES)
}

/// Whether an object's pods run an image that was sent to the nodes.
pub(super) fn runs_side_loaded(object: &DynamicObject) -> bool {
    let containers = object.data.pointer("/spec/template/spec/containers").and_then(serde_json::Value::as_array);
    containers
        .into_iter()
        .flatten()
        .any(|container| container["image"].as_str().is_some_and(|image| image.starts_with(SIDE_LOADED)))
}

/// Whether an object's pods run an image that was sent to the nodes, other than this one.
pub(super) fn runs_another(object: &DynamicObject, reference: &str) -> bool {
    runs_side_loaded(object)
        && object.data.pointer("/spec/template/spec/containers/0/image").and_then(serde_json::Value::as_str)
            != Some(reference)
}

/// Takes the images that were sent off the nodes again, but the one to keep.
pub(super) async fn remove(
    nodes: &[Node],
    platform: &Platform,
    containerd_socket: Option<&Path>,
    keep: Option<&str>,
) -> images::Removed {
    let host = images::probe(&env::var_os("PATH").unwrap_or_default(), &Locations::default());
    images::remove(&cluster(nodes, platform, containerd_socket), &host, keep).await
}

/// Whether a node does not list the image, as far as its list goes.
pub(super) fn is_lacked(nodes: &[Node], reference: &str) -> bool {
    nodes
        .iter()
        .map(node)
        .any(|node| node.images.len() < LISTED_IMAGES && !node.images.iter().any(|it| it == reference))
}

/// How the pods of our own program would get their image, for `check` and `status`.
pub(super) fn source(
    own: &Result<OwnImage, CommandError>,
    nodes: &[Node],
    platform: &Platform,
    containerd_socket: Option<&Path>,
) -> ImageSource {
    let reference = match own {
        Ok(OwnImage { reference, executable: None, .. }) => {
            return ImageSource::Pulled { reference: reference.clone() };
        }
        Ok(OwnImage { reference, .. }) => reference.clone(),
        Err(CommandError::Image(error)) => {
            return ImageSource::Blocked { why: error.to_string(), hint: error.hint() };
        }
        Err(error) => return ImageSource::Blocked { why: error.to_string(), hint: error.hint() },
    };
    let mut cluster = cluster(nodes, platform, containerd_socket);
    // What a full list leaves out may well be there.
    for node in cluster.nodes.iter_mut().filter(|node| node.images.len() >= LISTED_IMAGES) {
        node.images.push(reference.clone());
    }
    let host = images::probe(&env::var_os("PATH").unwrap_or_default(), &Locations::default());
    match images::choose(&cluster, &host, &reference) {
        Ok(Choice { route, lacking, unreached }) => {
            ImageSource::Sent { reference, way: route.map(|route| route.to_string()), lacking, unreached }
        }
        Err(error) => ImageSource::Blocked { why: error.to_string(), hint: Some(error.hint()) },
    }
}

/// Sends the image of an executable to the nodes that lack it.
pub(super) async fn provide(
    executable: Executable,
    nodes: &[Node],
    platform: &Platform,
    containerd_socket: Option<&Path>,
    reporter: &dyn Reporter,
) -> Result<(), CommandError> {
    let cluster = cluster(nodes, platform, containerd_socket);
    let host = images::probe(&env::var_os("PATH").unwrap_or_default(), &Locations::default());
    images::provide(executable, env!("CARGO_PKG_VERSION"), &cluster, &host, reporter).await?;
    Ok(())
}

/// What of the cluster says how images get in.
pub(super) fn cluster(nodes: &[Node], platform: &Platform, containerd_socket: Option<&Path>) -> images::Cluster {
    images::Cluster {
        kind: match platform.kind {
            PlatformKind::Kind { .. } => images::ClusterKind::Kind,
            PlatformKind::MicroK8s => images::ClusterKind::MicroK8s,
            PlatformKind::K3s => images::ClusterKind::K3s,
            PlatformKind::Generic => images::ClusterKind::Other,
        },
        nodes: nodes.iter().map(node).collect(),
        containerd_socket: containerd_socket.map(Path::to_owned),
    }
}

fn node(node: &Node) -> images::Node {
    let status = node.status.as_ref();
    images::Node {
        name: node.metadata.name.clone().unwrap_or_default(),
        provider_id: node.spec.as_ref().and_then(|spec| spec.provider_id.clone()).unwrap_or_default(),
        container_runtime: status
            .and_then(|status| status.node_info.as_ref())
            .map(|info| info.container_runtime_version.clone())
            .unwrap_or_default(),
        images: status
            .into_iter()
            .flat_map(|status| status.images.iter().flatten())
            .flat_map(|image| image.names.iter().flatten().cloned())
            .collect(),
    }
}
