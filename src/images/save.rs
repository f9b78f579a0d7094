//! Every image of a list in one file, for clusters without a way to a registry.
//!
//! What is asked for is known before the first layer is fetched, so blobs go straight into the archive, in an order
//! that depends on nothing but the images: the same images give the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{
    archive::{Archive, blob_path},
    build::{Image, tar_header},
    executable::Architecture,
    layout::{self, CONTAINERD_NAME, Descriptor, Index, Platform, REF_NAME},
    megabytes,
    reference::Reference,
    registry::{Content, MANIFEST_TYPES, Manifest, Registry},
    transfer::TransferError,
};
use crate::event::{Event, Reporter, Step};

/// Images that are asked about at once.
const AT_ONCE: usize = 4;

/// An archive that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The names in it.
    pub names: Vec<String>,
    /// What it is for: `linux/amd64`.
    pub platform: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An image whose parts are known.
struct Resolved {
    reference: Reference,
    /// What its names lead to.
    target: Descriptor,
    /// Manifests: of all platforms, where the reference names that by its digest, and of the one.
    manifests: Vec<Manifest>,
    /// Configuration and layers, and where they are.
    blobs: Vec<(Descriptor, Source)>,
}

#[derive(Clone)]
enum Source {
    Here(Content),
    Registry(Reference),
}

/// Writes an archive of these images for Linux on this processor, and of our own where there is one.
///
/// # Errors
///
/// Nothing is left at `path` but what was there before.
pub async fn save(
    registry: &Registry,
    references: &[Reference],
    own: Option<&Image>,
    architecture: Architecture,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Saved, TransferError> {
    let step = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Resolve, total: Some(references.len()) });
    let mut images: Vec<Resolved> = stream::iter(references)
        .map(|reference| resolve(registry, reference, architecture, reporter))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    if let Some(image) = own {
        images.push(packed(image)?);
    }
    let summary = format!("{} images for linux/{architecture}", images.len());
    reporter.report(Event::StepFinished { step: Step::Resolve, took: step.elapsed(), summary });

    let step = Instant::now();
    reporter.report(Event::StepStarted { step: Step::Download, total: None });
    let mut partial = Partial::create(path)?;
    write(registry, &images, &mut partial, reporter).await?;
    let size = partial.finish()?;
    let summary = format!("{} ({})", path.display(), megabytes(size));
    reporter.report(Event::StepFinished { step: Step::Download, took: step.elapsed(), summary });
    let names = images.iter().flat_map(|image| image.reference.names()).collect();
    Ok(Saved { names, platform: format!("linux/{architecture}"), size })
}

async fn resolve(
    registry: &Registry,
    reference: &Reference,
    architecture: Architecture,
    reporter: &dyn Reporter,
) -> Result<Resolved, TransferError> {
    let unusable = |why: String| TransferError::Unusable { reference: reference.to_string(), why };
    let first = registry.manifest(reference).await?;
    let (manifests, config, layers) = match layout::parse(&first.bytes).map_err(unusable)? {
        layout::Manifest::Image { config, layers } => (vec![first], config, layers),
        layout::Manifest::Platforms(entries) => {
            let entry = layout::for_linux(&entries, architecture).ok_or_else(|| TransferError::NoPlatform {
                reference: reference.to_string(),
                platform: format!("linux/{architecture}"),
                known: entries.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect(),
            })?;
            let one = registry.manifest(&reference.pinned(&entry.digest)).await?;
            let layout::Manifest::Image { config, layers } = layout::parse(&one.bytes).map_err(unusable)? else {
                return Err(unusable("its manifest names several platforms twice over".to_owned()));
            };
            // A reference by digest has to find what the digest is of.
            let kept = if reference.digest.is_some() { vec![first, one] } else { vec![one] };
            (kept, config, layers)
        }
    };
    let mut text = Vec::new();
    registry.blob(reference, &config.digest, config.size, &mut text, &mut |_| {}).await?;
    runs_on(&text, architecture).map_err(|has| TransferError::NoPlatform {
        reference: reference.to_string(),
        platform: format!("linux/{architecture}"),
        known: vec![has],
    })?;
    let size = config.size + layers.iter().map(|layer| layer.size).sum::<u64>();
    reporter.report(Event::Note { message: format!("{reference} ({})", megabytes(size)) });
    let blobs = [(config, Source::Here(Bytes::from(text).into()))]
        .into_iter()
        .chain(layers.into_iter().map(|layer| (layer, Source::Registry(reference.clone()))))
        .collect();
    Ok(Resolved { reference: reference.clone(), target: target(&manifests[0], architecture), manifests, blobs })
}

/// What a name leads to. A platform stands at the manifest of one, not of several.
fn target(manifest: &Manifest, architecture: Architecture) -> Descriptor {
    let several = MANIFEST_TYPES[..2].contains(&manifest.media_type.as_str());
    Descriptor {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.clone(),
        size: manifest.bytes.len() as u64,
        platform: (!several).then(|| Platform::linux(architecture)),
        annotations: BTreeMap::new(),
    }
}

/// Whether a configuration is of an image for Linux on this processor; else what it is for.
fn runs_on(config: &[u8], architecture: Architecture) -> Result<(), String> {
    let config: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    let text = |key: &str| config[key].as_str().unwrap_or("unknown").to_owned();
    let has = Platform { architecture: text("architecture"), os: text("os"), variant: None };
    if has == Platform::linux(architecture) { Ok(()) } else { Err(has.to_string()) }
}

fn packed(image: &Image) -> Result<Resolved, TransferError> {
    let archive = Archive::of(image)?;
    let named = &archive.images[0];
    let packed = archive.image(&named.target)?;
    Ok(Resolved {
        reference: named.name.clone(),
        target: target(&packed.manifest, image.architecture),
        manifests: vec![packed.manifest],
        blobs: packed.blobs.into_iter().map(|(blob, content)| (blob, Source::Here(content))).collect(),
    })
}

async fn write(
    registry: &Registry,
    images: &[Resolved],
    partial: &mut Partial,
    reporter: &dyn Reporter,
) -> Result<(), TransferError> {
    for (name, bytes) in front(images) {
        partial.file(&name, &bytes)?;
    }
    let mut distinct = BTreeSet::new();
    let blobs: Vec<&(Descriptor, Source)> =
        images.iter().flat_map(|image| &image.blobs).filter(|(blob, _)| distinct.insert(&blob.digest)).collect();
    let total: u64 = blobs.iter().map(|(blob, _)| blob.size).sum();
    for manifest in images.iter().flat_map(|image| &image.manifests) {
        if distinct.insert(&manifest.digest) {
            partial.file(&blob_path(&manifest.digest), &manifest.bytes)?;
        }
    }
    let (mut done, mut told) = (0, 0);
    for (blob, source) in blobs {
        partial.header(&blob_path(&blob.digest), blob.size)?;
        match source {
            Source::Here(content) => {
                let bytes = content.read().map_err(|source| partial.failed(source))?;
                partial.write_all(&bytes).map_err(|source| partial.failed(source))?;
                done += blob.size;
            }
            Source::Registry(reference) => {
                let what = reference.to_string();
                let mut progress = |bytes| {
                    done += bytes;
                    // A line for each part of a few kilobytes is for nobody.
                    if done - told >= STRIDE || done == total {
                        told = done;
                        reporter.report(Event::Transfer { what: what.clone(), bytes: done, total });
                    }
                };
                registry.blob(reference, &blob.digest, blob.size, partial, &mut progress).await?;
            }
        }
        partial.pad(blob.size)?;
    }
    Ok(())
}

/// Bytes between two reports.
const STRIDE: u64 = 4 * 1024 * 1024;

/// The files that say what the others are.
fn front(images: &[Resolved]) -> Vec<(String, Vec<u8>)> {
    let mut manifests = Vec::new();
    let mut docker = Vec::new();
    for image in images {
        for name in image.reference.names() {
            let mut entry = image.target.clone();
            if let Some(tag) = &image.reference.tag {
                entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
            }
            entry.annotations.insert(CONTAINERD_NAME.to_owned(), name);
            manifests.push(entry);
        }
        let mut paths = image.blobs.iter().map(|(blob, _)| blob_path(&blob.digest));
        let tags: Vec<String> =
            image.reference.tag.iter().map(|tag| format!("{}:{tag}", image.reference.name())).collect();
        docker.push(json!({"Config": paths.next(), "RepoTags": tags, "Layers": paths.collect::<Vec<_>>()}));
    }
    let index = Index { schema_version: 2, media_type: MANIFEST_TYPES[0].to_owned(), manifests };
    let text = |mut value: serde_json::Value| {
        value.sort_all_objects();
        value.to_string().into_bytes()
    };
    vec![
        ("oci-layout".to_owned(), text(json!({"imageLayoutVersion": "1.0.0"}))),
        ("index.json".to_owned(), text(json!(index))),
        ("manifest.json".to_owned(), text(json!(docker))),
    ]
}

/// A file that is being written beside its place, and is removed unless it is finished.
struct Partial {
    out: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Partial {
    fn create(path: &Path) -> Result<Self, TransferError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let failed = |source| TransferError::File { verb: "write", path: path.to_owned(), source };
        if path.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let out = BufWriter::with_capacity(256 * 1024, File::create(&partial).map_err(failed)?);
        Ok(Self { out, partial, path: path.to_owned(), finished: false })
    }

    fn failed(&self, source: io::Error) -> TransferError {
        TransferError::File { verb: "write", path: self.path.clone(), source }
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.header(name, bytes.len() as u64)?;
        self.write_all(bytes).map_err(|source| self.failed(source))?;
        self.pad(bytes.len() as u64)
    }

    fn header(&mut self, name: &str, size: u64) -> Result<(), TransferError> {
        let header = tar_header(name, 0o644, size).map_err(|source| self.failed(source))?;
        self.write_all(header.as_bytes()).map_err(|source| self.failed(source))
    }

    /// A tar goes by blocks of 512 bytes.
    fn pad(&mut self, size: u64) -> Result<(), TransferError> {
        let missing = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        self.write_all(&[0; 512][..missing]).map_err(|source| self.failed(source))
    }

    fn finish(mut self) -> Result<u64, TransferError> {
        let finished = (|| {
            // Two empty blocks are the end.
            self.out.write_all(&[0; 1024])?;
            self.out.flush()?;
            self.out.get_ref().sync_all()?;
            let size = self.out.get_ref().metadata()?.len();
            fs::rename(&self.partial, &self.path)?;
            Ok(size)
        })();
        self.finished = finished.is_ok();
        finished.map_err(|source| self.failed(source))
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            // The reason is told already.
            let _gone = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
#[path = "save_tests.rs"]
mod tests;
