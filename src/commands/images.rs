//! `scalekit images`: what the stack runs, fixed by digest, in a file, on the nodes, in another registry.

use std::{env, path::Path};

use futures::{StreamExt, stream};
use serde::Serialize;

use super::{CommandError, image, up::unusable};
use crate::{
    catalog::{self, Component},
    cluster::Cluster,
    event::{Event, Reporter, Step},
    images::{
        self, Architecture, Archive, Credentials, Executable, Locations, Patience, Pushed, Reference, Registry, Saved,
        TransferError,
    },
    platform::{PlatformKind, assume, detect},
    preflight,
    settings::StackSettings,
};

/// Registries that are asked at once.
const AT_ONCE: usize = 4;

/// An image that the stack uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedImage {
    /// Whose.
    #[serde(serialize_with = "by_name")]
    pub component: Component,
    /// Its reference.
    pub reference: String,
    /// Whether it is made from this program and brought to the nodes, and so in no registry.
    pub side_loaded: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn by_name<S: serde::Serializer>(component: &Component, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(component.name())
}

/// Every image that the stack uses with these settings, our own included. Asks nobody.
///
/// # Errors
///
/// When this program cannot be an image, and no other is named.
pub fn images_list(settings: &StackSettings) -> Result<Vec<ListedImage>, CommandError> {
    let options = &settings.options;
    let own = image::own(options.images.get(&Component::Scaler))?;
    let listed = options.components().map(|component| match component {
        Component::Scaler => {
            ListedImage { component, reference: own.reference.clone(), side_loaded: own.executable.is_some() }
        }
        _ => ListedImage { component, reference: options.image(component), side_loaded: false },
    });
    Ok(listed.collect())
}

/// What registries said about the images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// Every image, with its digest where a registry told it.
    pub images: Vec<ListedImage>,
    /// Those without, and why.
    pub unlocked: Vec<Unlocked>,
}

/// An image whose registry did not tell a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlocked {
    /// Its reference.
    pub reference: String,
    /// The registry's answer.
    pub why: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Asks every registry for the digest of the image that its reference leads to now. What has one keeps it.
///
/// # Errors
///
/// When nobody could be asked at all; a registry that does not answer is in the result.
pub async fn images_lock(settings: &StackSettings, reporter: &dyn Reporter) -> Result<Lock, CommandError> {
    let listed = images_list(settings)?;
    let registry = registry()?;
    reporter.report(Event::StepStarted { step: Step::Resolve, total: Some(listed.len()) });
    let began = std::time::Instant::now();
    let asked = stream::iter(listed).map(async |image| {
        let digest = digest(&registry, &image).await;
        (image, digest)
    });
    let mut lock = Lock::default();
    let mut answers = asked.buffered(AT_ONCE);
    while let Some((mut image, answer)) = answers.next().await {
        match answer {
            Ok(Some(digest)) => image.reference = format!("{}@{digest}", image.reference),
            Ok(None) => {}
            Err(error) => lock.unlocked.push(Unlocked {
                reference: image.reference.clone(),
                why: error.to_string(),
                hint: error.hint(),
            }),
        }
        lock.images.push(image);
    }
    let summary = format!("{} of {} images are fixed", lock.fixed(), lock.images.len());
    reporter.report(Event::StepFinished { step: Step::Resolve, took: began.elapsed(), summary });
    Ok(lock)
}

impl Lock {
    fn fixed(&self) -> usize {
        self.images.iter().filter(|image| image.reference.contains('@')).count()
    }
}

/// The digest of what a reference without one leads to.
async fn digest(registry: &Registry, image: &ListedImage) -> Result<Option<String>, TransferError> {
    if image.side_loaded || image.reference.contains('@') {
        return Ok(None);
    }
    Ok(Some(registry.digest(&parsed(&image.reference)?).await?))
}

/// Writes every image, our own included, into one file.
///
/// # Errors
///
/// See [`TransferError`]. Nothing is left at `file` but what was there before.
pub async fn images_save(
    settings: &StackSettings,
    file: &Path,
    platform: Option<Architecture>,
    reporter: &dyn Reporter,
) -> Result<Saved, CommandError> {
    let listed = images_list(settings)?;
    let architecture = platform.unwrap_or(Architecture::OF_THIS_PROGRAM);
    let references = listed
        .iter()
        .filter(|image| !image.side_loaded)
        .map(|image| parsed(&image.reference))
        .collect::<Result<Vec<_>, _>>()?;
    let own = if references.len() < listed.len() { Some(own_image(architecture).await?) } else { None };
    Ok(images::save(&registry()?, &references, own.as_ref(), architecture, file, reporter).await?)
}

async fn own_image(architecture: Architecture) -> Result<images::Image, CommandError> {
    let mut executable = Executable::running().map_err(images::Error::from)?;
    if executable.architecture() != architecture {
        let (own, platform) = (executable.architecture().name(), format!("linux/{architecture}"));
        return Err(TransferError::OwnPlatform { own, platform }.into());
    }
    let built = tokio::task::spawn_blocking(move || images::build(&mut executable, env!("CARGO_PKG_VERSION"))).await;
    match built {
        Ok(built) => Ok(built.map_err(images::Error::from)?),
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

/// Brings the images of a file to the nodes. Returns the names under which the nodes have them now.
///
/// # Errors
///
/// When the cluster cannot be read, and see [`TransferError`].
pub async fn images_load(
    file: &Path,
    node: Option<&str>,
    settings: &StackSettings,
    cluster: &Cluster,
    reporter: &dyn Reporter,
) -> Result<Vec<String>, CommandError> {
    let facts = preflight::facts(cluster).await.map_err(|source| unusable(cluster, source))?;
    let platform = match settings.platform {
        Some(ref kind) => assume(PlatformKind::clone(kind), &facts.nodes, &facts.classes),
        None => detect(&facts.nodes, &facts.classes),
    };
    let nodes = image::cluster(&facts.nodes, &platform, settings.containerd_socket.as_deref());
    let host = images::probe(&env::var_os("PATH").unwrap_or_default(), &Locations::default());
    Ok(images::load(file, &nodes, &host, node, reporter).await?)
}

/// Sends our own image, or every image of an archive, into a registry, under the names that `up --registry` looks for.
///
/// # Errors
///
/// See [`TransferError`].
pub async fn images_push(
    registry_name: &str,
    archive: Option<&Path>,
    reporter: &dyn Reporter,
) -> Result<Vec<Pushed>, CommandError> {
    let archive = match archive {
        Some(path) => Archive::open(path)?,
        None => Archive::of(&own_image(Architecture::OF_THIS_PROGRAM).await?)?,
    };
    let to = |name: &Reference| {
        // What is a name in one registry is one in another.
        catalog::in_registry(registry_name, &name.to_string()).parse().unwrap_or_else(|_| name.clone())
    };
    Ok(images::push(&registry()?, &archive, &to, reporter).await?)
}

fn parsed(reference: &str) -> Result<Reference, TransferError> {
    reference.parse().map_err(|error: images::reference::InvalidReference| TransferError::Unusable {
        reference: reference.to_owned(),
        why: error.to_string(),
    })
}

/// Registries, as who `docker login` has stored.
fn registry() -> Result<Registry, CommandError> {
    let folder = env::var_os("DOCKER_CONFIG")
        .map(std::path::PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".docker")));
    let credentials = match folder {
        Some(folder) => {
            Credentials::read(&folder).map_err(|error| TransferError::from(images::RegistryError::from(error)))?
        }
        None => Credentials::default(),
    };
    Ok(Registry::new(credentials, Patience::default()).map_err(TransferError::from)?)
}
