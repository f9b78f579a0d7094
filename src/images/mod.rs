//! Our own image: made from the running executable, and brought to the nodes without a registry. And everybody's:
//! saved from registries into one file, brought to the nodes from there, pushed into another registry.
//!
//! ```text
//! Executable::running() → choose(cluster, host) → build → plan → deliver
//!        what it is        pure: which way         tar    pure    runs the commands
//!
//! registry → save → archive → load → nodes
//!                         └──→ push → registry
//! ```
//!
//! Writes nothing to the cluster's API. Which nodes have the image is the caller's to know, from
//! `node.status.images`.

pub mod archive;
pub mod build;
pub mod deliver;
mod digest;
pub mod executable;
#[cfg(test)]
mod fake;
pub mod host;
pub mod layout;
pub mod load;
pub mod plan;
pub mod push;
pub mod reference;
pub mod registry;
mod removal;
pub mod route;
pub mod save;
pub mod transfer;

use std::time::Instant;

pub use archive::Archive;
pub use build::{BuildError, Image, build};
pub use deliver::DeliverError;
pub use executable::{Architecture, Executable, ExecutableError};
pub use host::{Locations, probe};
pub use load::load;
pub use push::{Pushed, push};
pub use reference::Reference;
pub use registry::{Credentials, Patience, Registry, RegistryError};
pub use route::{Choice, Cluster, ClusterKind, Host, NoRoute, Node, Route, choose};
pub use save::{Saved, save};
pub use transfer::TransferError;

use crate::event::{Event, Reporter, Step};

/// Why the nodes do not have the image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running program cannot be an image.
    #[error(transparent)]
    Executable(#[from] ExecutableError),
    /// No way leads to the nodes.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// The image was not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The image did not get there.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Executable(error) => error.hint(),
            Self::NoRoute(error) => Some(error.hint()),
            Self::Build(_) => None,
            Self::Deliver(_) => Some(
                "run it as a user who may use that command (often root), or name an image that the nodes can pull \
                 with `--image scaler=REF`"
                    .to_owned(),
            ),
        }
    }
}

/// The image that the nodes have now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// Its reference, for the pods.
    pub reference: String,
    /// Nodes that do not have it and could not be reached: a pod placed there cannot start.
    pub unreached: Vec<String>,
}

/// Makes sure that the nodes have the image of this executable.
///
/// Nothing is built or sent, and nothing reported, where every node has it already. A node that can be
/// asked is asked, which starts a process; a caller that knows the image to be in use need not call.
/// Nodes that lack it and cannot be reached are a note, not a failure.
///
/// # Errors
///
/// Nodes that were served before the failure keep the image; running it again does no harm.
pub async fn provide(
    mut executable: Executable,
    version: &str,
    cluster: &Cluster,
    host: &Host,
    reporter: &dyn Reporter,
) -> Result<Provided, Error> {
    let reference = executable.reference(version);
    let Choice { route: Some(route), lacking, unreached } = choose(cluster, host, &reference)? else {
        return Ok(Provided { reference, unreached: Vec::new() });
    };
    if !unreached.is_empty() {
        let message = format!(
            "the image cannot be brought to {} from here, and pods placed there cannot start: `--image scaler=REF` \
             names one that all nodes can pull",
            unreached.join(", ")
        );
        reporter.report(Event::Note { message });
    }
    let places = deliver::needing(plan::plan(&route, &reference), &reference, &lacking).await;
    if places.is_empty() {
        return Ok(Provided { reference, unreached });
    }
    let started = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Image, total: Some(places.len()) });
    let version = version.to_owned();
    // A third of a second of compressing: not on a thread that others wait for.
    let image = match tokio::task::spawn_blocking(move || build(&mut executable, &version)).await {
        Ok(built) => built?,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    };
    deliver::deliver(&places, &reference, &image.archive, reporter).await?;
    let summary = format!("{reference} ({}) by {route}", megabytes(image.layer_size));
    reporter.report(Event::StepFinished { step: Step::Image, took: started.elapsed(), summary });
    Ok(Provided { reference, unreached })
}

/// What became of our images on the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many images (or archives in a folder) are gone, over all nodes.
    pub count: usize,
    /// What may still be there, and why, one clause each.
    pub left: Vec<String>,
}

/// Takes every image of ours off the nodes, but the one to `keep`.
///
/// Images are pinned when they are brought, so no kubelet collects them: whoever brings them has to
/// take them away, the old one once the new one runs, and the last one when everything goes. An image
/// that a container still uses loses its name only; the container goes on.
pub async fn remove(cluster: &Cluster, host: &Host, keep: Option<&str>) -> Removed {
    match route::reach(cluster, host) {
        Ok(route) => removal::remove(&route, keep).await,
        Err(obstacles) => Removed { count: 0, left: obstacles.iter().map(ToString::to_string).collect() },
    }
}

/// A size as a person reads it: `5.7 MB`.
pub fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Mutex};

    use super::{executable::fixture, *};

    #[derive(Default)]
    struct Recorded(Mutex<Vec<Event>>);

    impl Reporter for Recorded {
        fn report(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn node(name: &str, images: &[&str]) -> Node {
        Node {
            name: name.into(),
            container_runtime: "containerd://2.1.4".into(),
            images: images.iter().map(ToString::to_string).collect(),
            ..Node::default()
        }
    }

    #[tokio::test]
    async fn the_image_lands_where_the_node_reads_it_and_then_nothing_more_is_sent() {
        let (_program, path) = fixture::static_executable(50_000);
        let folder = tempfile::tempdir().unwrap();
        let host = Host { name: "pi".into(), k3s_folder: Some(folder.path().to_owned()), ..Host::default() };
        let mut cluster = Cluster {
            kind: ClusterKind::K3s,
            nodes: vec![node("pi", &[]), node("pi-2", &[])],
            containerd_socket: None,
        };
        let recorded = Recorded::default();
        let provided = provide(Executable::open(&path).unwrap(), "0.1.0", &cluster, &host, &recorded).await.unwrap();
        assert_eq!(provided.unreached, ["pi-2"]);
        let tag = provided.reference.rsplit(':').next().unwrap();
        let expected = build(&mut Executable::open(&path).unwrap(), "0.1.0").unwrap();
        assert_eq!(fs::read(folder.path().join(format!("scalekit-{tag}.tar"))).unwrap(), expected.archive);
        {
            let events = recorded.0.lock().unwrap();
            assert!(matches!(&events[0], Event::Note { message } if message.contains("brought to pi-2 from here")));
            assert_eq!(events[1], Event::StepStarted { step: Step::Image, total: Some(1) });
            assert!(matches!(&events[2], Event::Note { message } if message == "node pi was handed the image"));
            assert!(matches!(&events[3], Event::StepFinished { step: Step::Image, .. }));
        }

        for node in &mut cluster.nodes {
            node.images.push(provided.reference.clone());
        }
        let quiet = Recorded::default();
        let again =
            provide(Executable::open(&path).unwrap(), "0.1.0", &cluster, &Host::default(), &quiet).await.unwrap();
        assert_eq!(again, Provided { reference: provided.reference, unreached: Vec::new() });
        assert!(quiet.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn without_a_way_nothing_is_built_and_the_way_out_is_named() {
        let (_program, path) = fixture::static_executable(1000);
        let cluster = Cluster { kind: ClusterKind::Other, nodes: vec![node("far", &[])], containerd_socket: None };
        let host = Host { name: "laptop".into(), ..Host::default() };
        let error = provide(Executable::open(&path).unwrap(), "0.1.0", &cluster, &host, &crate::event::Silent)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NoRoute(_)), "{error}");
        assert!(error.hint().unwrap().contains("--image scaler=REF"));
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(megabytes(5_710_000), "5.8 MB");
        assert_eq!(megabytes(6_500_000), "6.5 MB");
    }
}
