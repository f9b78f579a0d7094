//! Brings an archive to the nodes, by the ways that `up` takes for our own image.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Archive, Error, NoRoute,
    deliver::{AT_ONCE, DeliverError, LIMIT, names, run, run_on},
    digest::sha256,
    plan::{self, AIR_GAP_PREFIX, Import, Loading},
    route::{Cluster, Host, reach},
    transfer::TransferError,
};
use crate::event::{Event, Reporter, Step};

/// The longest that an import may take: some hundred megabytes, on a node with a slow disk.
const IMPORT_LIMIT: Duration = Duration::from_mins(15);

/// Brings every image of the archive at `path` to the nodes, or to one of them, and pins it there.
///
/// Each image is looked for afterwards, by every name that the archive gives it. Importing what is there does no harm.
///
/// # Errors
///
/// When no way leads to the nodes (or to that one), or a place does not have an image afterwards. Places that were
/// served before keep what they have.
pub async fn load(
    path: &Path,
    cluster: &Cluster,
    host: &Host,
    node: Option<&str>,
    reporter: &dyn Reporter,
) -> Result<Vec<String>, TransferError> {
    let archive = Archive::open(path)?;
    let wanted: Vec<String> = archive.images.iter().map(|named| named.name.to_string()).collect();
    let route = reach(cluster, host)
        .map_err(|obstacles| Error::NoRoute(NoRoute { reference: path.display().to_string(), obstacles }))?;
    let file = format!("{AIR_GAP_PREFIX}{}.tar", &sha256(wanted.join("\n").as_bytes())[..12]);
    let places = chosen(plan::archive(&route, &file, &wanted), node)?;
    let began = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Image, total: Some(places.len()) });
    let unreached = cluster.nodes.iter().filter(|unserved| {
        node.is_none() && route.nodes().is_some_and(|reached| !reached.contains(&unserved.name.as_str()))
    });
    for unserved in unreached {
        let message = format!("no way leads to node {} from here: run it there, too", unserved.name);
        reporter.report(Event::Note { message });
    }
    stream::iter(&places)
        .map(|place| load_one(place, path, reporter))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let summary = format!("{} names by {route}", wanted.len());
    reporter.report(Event::StepFinished { step: Step::Image, took: began.elapsed(), summary });
    Ok(wanted)
}

/// The places that serve the node, if one was named, and it alone.
fn chosen(places: Vec<Loading>, node: Option<&str>) -> Result<Vec<Loading>, TransferError> {
    let Some(node) = node else { return Ok(places) };
    let known: Vec<String> =
        places.iter().filter(|place| place.nodes.len() == 1).flat_map(|place| place.nodes.clone()).collect();
    let chosen: Vec<Loading> = places.into_iter().filter(|place| place.nodes == [node]).collect();
    if chosen.is_empty() { Err(TransferError::Node { node: node.to_owned(), known }) } else { Ok(chosen) }
}

async fn load_one(place: &Loading, path: &Path, reporter: &dyn Reporter) -> Result<(), TransferError> {
    let failed = |error: DeliverError| TransferError::Image(Error::Deliver(error));
    let at = || place.place.clone();
    match &place.import {
        Import::Run(command) => {
            let unread = |source| TransferError::File { verb: "read", path: path.to_owned(), source };
            let file = File::open(path).map_err(unread)?;
            run_on(command, file, IMPORT_LIMIT)
                .await
                .map_err(|source| failed(DeliverError::Import { place: at(), source }))?;
        }
        Import::Place { folder, file } => {
            let target = folder.join(file);
            copy(path, &target).await.map_err(|source| failed(DeliverError::Place { path: target, source }))?;
        }
    }
    let mut unpinned = None;
    for image in &place.images {
        let listed = run(&image.check, None, LIMIT)
            .await
            .map_err(|source| failed(DeliverError::Check { place: at(), source }))?;
        if !names(&listed, &image.name) {
            return Err(failed(DeliverError::NotThere { place: at(), reference: image.name.clone() }));
        }
        if let Err(error) = run(&image.pin, None, LIMIT).await {
            unpinned = Some(error);
        }
    }
    if let Some(error) = unpinned {
        let message =
            format!("{} may drop images when its disk fills up, since they could not be pinned: {error}", place.place);
        reporter.report(Event::Note { message });
    }
    let verb = if place.images.is_empty() { "was handed" } else { "has" };
    reporter.report(Event::Note { message: format!("{} {verb} the images", place.place) });
    Ok(())
}

/// Copies a file beside its place and renames it, so that who watches the folder never sees half of it.
async fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let partial: PathBuf = to.with_file_name(format!(".{name}.partial"));
    let copied = async {
        tokio::fs::copy(from, &partial).await?;
        tokio::fs::rename(&partial, to).await
    };
    let copied = copied.await;
    if copied.is_err() {
        // The reason is in hand already.
        let _gone = tokio::fs::remove_file(&partial).await;
    }
    copied
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{ClusterKind, Executable, Node, build, executable::fixture, fake::Fake, route::Program},
        *,
    };
    use crate::event::Silent;

    /// An archive with one image, and the name of it.
    fn archive(folder: &Path) -> (PathBuf, String) {
        let (_program, path) = fixture::static_executable(1000);
        let image = build(&mut Executable::open(&path).unwrap(), "0.1.0").unwrap();
        let path = folder.join("all.tar");
        fs::write(&path, &image.archive).unwrap();
        (path, image.reference)
    }

    fn cluster(kind: ClusterKind, nodes: &[&str]) -> Cluster {
        let node = |name: &&str| Node {
            name: (*name).into(),
            provider_id: format!("kind://docker/dev/{name}"),
            container_runtime: "containerd://2.1.4".into(),
            ..Node::default()
        };
        Cluster { kind, nodes: nodes.iter().map(node).collect(), containerd_socket: None }
    }

    #[tokio::test]
    async fn every_node_gets_the_file_itself_and_every_image_is_looked_for_and_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let (path, reference) = archive(folder.path());
        let docker = Fake::good("docker", &reference);
        let host = Host { programs: [(Program::Docker, docker.program())].into(), ..Host::default() };
        let kind = cluster(ClusterKind::Kind, &["a", "b"]);
        assert_eq!(load(&path, &kind, &host, None, &Silent).await.unwrap(), std::slice::from_ref(&reference));
        let log = docker.read("log");
        assert_eq!(log.lines().count(), 6, "{log}");
        assert_eq!(docker.size("input"), 2 * fs::metadata(&path).unwrap().len());
        assert!(log.contains(&format!(
            "exec b ctr --namespace=k8s.io images label {reference} io.cri-containerd.pinned=pinned"
        )));
    }

    #[tokio::test]
    async fn one_node_can_be_named_and_another_one_is_answered_with_those_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let (path, reference) = archive(folder.path());
        let docker = Fake::good("docker", &reference);
        let host = Host { programs: [(Program::Docker, docker.program())].into(), ..Host::default() };
        let kind = cluster(ClusterKind::Kind, &["a", "b"]);
        load(&path, &kind, &host, Some("b"), &Silent).await.unwrap();
        assert!(!docker.read("log").contains("exec -i a "), "{}", docker.read("log"));
        let error = load(&path, &kind, &host, Some("c"), &Silent).await.unwrap_err();
        assert!(error.is_about_input() && error.hint().unwrap().ends_with("a, b"), "{error}");
    }

    #[tokio::test]
    async fn an_image_that_is_not_there_afterwards_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (path, reference) = archive(folder.path());
        let k3s = Fake::new("k3s", "case \"$*\" in *'images import'*) import;; esac");
        let host = Host { name: "pi".into(), programs: [(Program::K3s, k3s.program())].into(), ..Host::default() };
        let error = load(&path, &cluster(ClusterKind::K3s, &["pi"]), &host, None, &Silent).await.unwrap_err();
        assert!(error.to_string().contains(&reference), "{error}");
    }

    #[tokio::test]
    async fn a_folder_gets_a_copy_under_a_name_that_up_leaves_alone() {
        let folder = tempfile::tempdir().unwrap();
        let images = tempfile::tempdir().unwrap();
        let (path, _) = archive(folder.path());
        let host = Host { name: "pi".into(), k3s_folder: Some(images.path().to_owned()), ..Host::default() };
        let k3s = cluster(ClusterKind::K3s, &["pi"]);
        load(&path, &k3s, &host, None, &Silent).await.unwrap();
        let files: Vec<_> = fs::read_dir(images.path()).unwrap().map(|file| file.unwrap().path()).collect();
        let [copy] = files.as_slice() else { panic!("{files:?}") };
        assert_eq!(fs::read(copy).unwrap(), fs::read(&path).unwrap());
        super::super::remove(&k3s, &host, Some("scalekit.local/scalekit:other")).await;
        assert!(copy.exists(), "up keeps it");
        super::super::remove(&k3s, &host, None).await;
        assert!(!copy.exists(), "down does not");
    }
}
