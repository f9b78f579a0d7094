//! An archive of images: an OCI image layout in a tar, as `save` and [`super::build()`] write it.
//!
//! Nothing is unpacked: a blob is a part of the file.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    build::Image,
    layout::{self, CONTAINERD_NAME, Descriptor, Index},
    reference::Reference,
    registry::{Content, Manifest},
    transfer::TransferError,
};

/// Manifests and configurations are read into memory; nobody's are longer.
const LONGEST: u64 = 8 * 1024 * 1024;

/// An archive that was opened, and whose index was read.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    files: BTreeMap<String, Content>,
    /// The names in it, and what each leads to.
    pub images: Vec<Named>,
}

/// A name and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name under which it is imported.
    pub name: Reference,
    /// Its manifest, or that of several platforms of which one is in the archive.
    pub target: Descriptor,
}

/// One image for one platform, whose blobs are all there.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its manifest.
    pub manifest: Manifest,
    /// The configuration and the layers.
    pub blobs: Vec<(Descriptor, Content)>,
}

impl Archive {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no such archive, or a part of it is missing.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let failed = |source| TransferError::File { verb: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Self::read(path, &Content::File { file: Arc::new(file), offset: 0, size })
    }

    /// The archive of our own image.
    ///
    /// # Errors
    ///
    /// None that is not a defect of [`super::build()`].
    pub fn of(image: &Image) -> Result<Self, TransferError> {
        Self::read(Path::new(&image.reference), &Content::from(image.archive.clone()))
    }

    fn read(path: &Path, content: &Content) -> Result<Self, TransferError> {
        let refused = |why: String| TransferError::NoArchive { path: path.to_owned(), why };
        let mut files = BTreeMap::new();
        let mut tar = tar::Archive::new(content.reader());
        for entry in tar.entries_with_seek().map_err(|error| refused(error.to_string()))? {
            let entry = entry.map_err(|error| refused(error.to_string()))?;
            let name = entry.path().map_err(|error| refused(error.to_string()))?.to_string_lossy().into_owned();
            let part = content.part(entry.raw_file_position(), entry.size());
            if part.size() != entry.size() {
                return Err(refused("it ends too early".to_owned()));
            }
            files.insert(name.trim_start_matches("./").to_owned(), part);
        }
        let mut archive = Self { path: path.to_owned(), files, images: Vec::new() };
        let index =
            archive.files.get("index.json").ok_or_else(|| refused("there is no index.json in it".to_owned()))?;
        let index = archive.small(index)?;
        let index: Index =
            serde_json::from_slice(&index).map_err(|error| refused(format!("its index cannot be read: {error}")))?;
        for target in index.manifests {
            if let Some(name) = target.annotations.get(CONTAINERD_NAME) {
                let name =
                    name.parse().map_err(|error: super::reference::InvalidReference| refused(error.to_string()))?;
                archive.images.push(Named { name, target });
            }
        }
        if archive.images.is_empty() {
            return Err(refused("no image in it has a name".to_owned()));
        }
        for named in &archive.images {
            archive.image(&named.target)?;
        }
        Ok(archive)
    }

    /// The image that a name leads to: where it is one of several platforms, the one that is in the archive.
    ///
    /// # Errors
    ///
    /// When a part of it is missing.
    pub fn image(&self, target: &Descriptor) -> Result<Packed, TransferError> {
        let bytes = self.small(self.blob(&target.digest)?)?;
        match layout::parse(&bytes).map_err(|why| self.refused(why))? {
            layout::Manifest::Image { config, layers } => {
                let blobs = [config].into_iter().chain(layers);
                let blobs = blobs.map(|blob| Ok((blob.clone(), self.blob(&blob.digest)?.clone())));
                let manifest = Manifest { bytes, media_type: target.media_type.clone(), digest: target.digest.clone() };
                Ok(Packed { manifest, blobs: blobs.collect::<Result<_, TransferError>>()? })
            }
            layout::Manifest::Platforms(manifests) => {
                manifests.iter().find(|entry| self.blob(&entry.digest).is_ok()).map_or_else(
                    || Err(self.refused(format!("no image of {} is in it", target.digest))),
                    |entry| self.image(entry),
                )
            }
        }
    }

    /// What is in the archive under a digest.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn blob(&self, digest: &str) -> Result<&Content, TransferError> {
        let path = blob_path(digest);
        self.files.get(&path).ok_or_else(|| self.refused(format!("{path} is missing")))
    }

    fn small(&self, content: &Content) -> Result<bytes::Bytes, TransferError> {
        if content.size() > LONGEST {
            return Err(self.refused("a manifest in it is longer than any is".to_owned()));
        }
        content.read().map_err(|source| TransferError::File { verb: "read", path: self.path.clone(), source })
    }

    fn refused(&self, why: String) -> TransferError {
        TransferError::NoArchive { path: self.path.clone(), why }
    }
}

/// Where a blob lies in a layout.
pub(super) fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            build,
            executable::{Executable, fixture},
        },
        *,
    };

    fn image() -> Image {
        let (_folder, path) = fixture::static_executable(1000);
        build(&mut Executable::open(&path).unwrap(), "0.1.0").unwrap()
    }

    #[test]
    fn our_own_image_is_one_and_from_a_file_it_is_the_same() {
        let image = image();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.tar");
        std::fs::write(&path, &image.archive).unwrap();
        for archive in [Archive::of(&image).unwrap(), Archive::open(&path).unwrap()] {
            let [named] = archive.images.as_slice() else { panic!("{archive:?}") };
            assert_eq!(named.name.to_string(), image.reference);
            let packed = archive.image(&named.target).unwrap();
            assert_eq!(packed.manifest.digest, image.digest);
            assert_eq!(packed.blobs.len(), 2);
            for (descriptor, content) in &packed.blobs {
                let digest = super::super::digest::sha256(&content.read().unwrap());
                assert_eq!(descriptor.digest, format!("sha256:{digest}"));
            }
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_reason() {
        let whole = image().archive;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        for (bytes, why) in [
            (&b"no tar at all, but a text that goes on for a while"[..], ""),
            (&[0; 2048][..], "no index.json"),
            (&whole[..whole.len() / 2], ""),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Archive::open(&path).unwrap_err().to_string();
            assert!(error.contains("x.tar") && error.contains(why), "{error}");
        }
        let error = Archive::open(&folder.path().join("nowhere.tar")).unwrap_err();
        assert!(matches!(error, TransferError::File { .. }) && !error.is_about_input());
    }
}
