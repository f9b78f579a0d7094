//! The image of one executable, as one tar that every loader takes.
//!
//! The tar is an OCI image layout (`oci-layout`, `index.json`, `blobs/`; OCI image spec 1.1) and a
//! docker archive (`manifest.json`) at once: containerd, k3s, MicroK8s and podman read the former,
//! `docker load` the latter.
//!
//! The same executable gives the same bytes: no clock, no host, no order of a hash map gets in.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    path::PathBuf,
    str::FromStr,
};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use oci_spec::{
    OciSpecError,
    image::{
        ConfigBuilder, Descriptor, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType,
        OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
    },
};
use serde::Serialize;

use super::{
    digest::{Digested, sha256},
    executable::{Architecture, Executable},
    layout::CONTAINERD_NAME,
};

/// Level 6. Measured with zlib-rs on stripped Rust programs of 13 to 42 MB: 37 to 42 % of the size in
/// 0.2 s for 13 MB; level 9 saves 3 % more and takes two to three times as long.
const LEVEL: Compression = Compression::new(6);

/// `nonroot`, as in distroless images; numeric, so that `runAsNonRoot` can be checked by the kubelet.
const USER: &str = "65532:65532";

/// The creation time of every image: a real one would make two builds of the same executable differ.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Why an image was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The executable could not be read again.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The executable was written to since it was opened.
    #[error("{} changed while the image was built", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The parts did not fit together: a defect of this program.
    #[error("cannot describe the image")]
    Describe(#[from] OciSpecError),
}

/// An image, ready to be imported.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it is called: `scalekit.local/scalekit:<version>-<digest12>`.
    pub reference: String,
    /// Digest of its manifest, with `sha256:` before it.
    pub digest: String,
    /// What processor it runs on.
    pub architecture: Architecture,
    /// Size of its one layer, compressed, in bytes.
    pub layer_size: u64,
    /// The tar.
    pub archive: Bytes,
}

/// Builds the image that runs `executable` as its entrypoint.
///
/// Reads the executable as a stream; what is held in memory is the compressed layer and the archive.
pub fn build(executable: &mut Executable, version: &str) -> Result<Image, BuildError> {
    let layer = compress(executable)?;
    let config = configuration(executable.architecture(), version, &layer.content_digest)?;
    let config = Blob::new(canonical(&config)?, MediaType::ImageConfig);
    let layer = Blob { digest: layer.digest, bytes: layer.bytes, media_type: MediaType::ImageLayerGzip };

    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor()?)
        .layers(vec![layer.descriptor()?])
        .build()?;
    let manifest = Blob::new(canonical(&manifest)?, MediaType::ImageManifest);

    let reference = executable.reference(version);
    let mut entry = manifest.descriptor()?;
    entry.set_platform(Some(PlatformBuilder::default().architecture(executable.architecture()).os(Os::Linux).build()?));
    entry.set_annotations(Some(HashMap::from([
        (CONTAINERD_NAME.to_owned(), reference.clone()),
        (oci_spec::image::ANNOTATION_REF_NAME.to_owned(), executable.tag(version)),
    ])));
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![entry])
        .build()?;
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
    let docker =
        [DockerEntry { config: config.path(), repo_tags: vec![reference.clone()], layers: vec![layer.path()] }];

    let mut tar = tar::Builder::new(Vec::with_capacity(layer.bytes.len() + 16 * 1024));
    for (path, bytes) in [
        ("oci-layout".to_owned(), canonical(&layout)?),
        ("index.json".to_owned(), canonical(&index)?),
        ("manifest.json".to_owned(), canonical(&docker)?),
    ] {
        append(&mut tar, &path, 0o644, bytes.len() as u64, bytes.as_slice()).map_err(OciSpecError::Io)?;
    }
    for blob in [&config, &manifest, &layer] {
        append(&mut tar, &blob.path(), 0o644, blob.bytes.len() as u64, blob.bytes.as_slice())
            .map_err(OciSpecError::Io)?;
    }
    let archive = tar.into_inner().map_err(OciSpecError::Io)?;
    Ok(Image {
        reference,
        digest: format!("sha256:{}", manifest.digest),
        architecture: executable.architecture(),
        layer_size: layer.bytes.len() as u64,
        archive: archive.into(),
    })
}

/// The layer: compressed bytes, their digest, and the digest of what they hold.
struct Layer {
    bytes: Vec<u8>,
    digest: String,
    content_digest: String,
}

/// Puts the executable into a gzipped tar, hashing on both sides of the compression.
fn compress(executable: &mut Executable) -> Result<Layer, BuildError> {
    let path = executable.path().to_owned();
    let (size, expected) = (executable.size(), executable.digest().to_owned());
    let read = |source| BuildError::Read { path: path.clone(), source };

    // Programs compress to about 40 %.
    let compressed = Digested::new(Vec::with_capacity(usize::try_from(size / 2).unwrap_or(0)));
    let gzip = GzBuilder::new().mtime(0).write(compressed, LEVEL);
    let mut tar = tar::Builder::new(Digested::new(gzip));
    let mut content = Observed { inner: executable.content().map_err(read)?, seen: Digested::new(io::sink()) };
    append(&mut tar, "scalekit", 0o755, size, &mut content).map_err(read)?;
    if content.seen.finish().1 != expected {
        return Err(BuildError::Changed { path });
    }
    let (gzip, content_digest) = tar.into_inner().map_err(read)?.finish();
    let (bytes, digest) = gzip.finish().map_err(read)?.finish();
    Ok(Layer { bytes, digest, content_digest })
}

/// A reader that hashes what passes through it.
struct Observed<R> {
    inner: R,
    seen: Digested<io::Sink>,
}

impl<R: Read> Read for Observed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.seen.write_all(&buffer[..length])?;
        Ok(length)
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
    tar.append(&tar_header(path, mode, size)?, content)
}

/// The header of a file in a tar that says nothing of when, where and by whom it was made.
pub(super) fn tar_header(path: &str, mode: u32, size: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_path(path)?;
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

fn configuration(
    architecture: Architecture,
    version: &str,
    content_digest: &str,
) -> Result<oci_spec::image::ImageConfiguration, OciSpecError> {
    let labels = HashMap::from(
        [
            ("org.opencontainers.image.title", env!("CARGO_PKG_NAME")),
            ("org.opencontainers.image.description", env!("CARGO_PKG_DESCRIPTION")),
            ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE")),
            ("org.opencontainers.image.version", version),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    ImageConfigurationBuilder::default()
        .created(CREATED)
        .architecture(architecture)
        .os(Os::Linux)
        .config(ConfigBuilder::default().user(USER).entrypoint(vec!["/scalekit".to_owned()]).labels(labels).build()?)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids(vec![format!("sha256:{content_digest}")]).build()?)
        .build()
}

/// One entry of a docker archive's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

struct Blob {
    digest: String,
    bytes: Vec<u8>,
    media_type: MediaType,
}

impl Blob {
    fn new(bytes: Vec<u8>, media_type: MediaType) -> Self {
        Self { digest: sha256(&bytes), bytes, media_type }
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    fn descriptor(&self) -> Result<Descriptor, OciSpecError> {
        let digest = Sha256Digest::from_str(&self.digest)?;
        Ok(Descriptor::new(self.media_type.clone(), self.bytes.len() as u64, digest))
    }
}

/// JSON with sorted keys: the maps of `oci-spec` are hash maps, whose order differs from run to run.
pub(super) fn canonical(value: &impl Serialize) -> Result<Vec<u8>, OciSpecError> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use flate2::read::GzDecoder;
    use oci_spec::image::{Arch, ImageConfiguration, ImageIndex, ImageManifest, OciLayout};

    use super::{super::executable::fixture, *};

    fn unpack(archive: impl Read) -> BTreeMap<String, (tar::Header, Vec<u8>)> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, (entry.header().clone(), bytes));
        }
        files
    }

    fn image(size: usize) -> (Vec<u8>, Image) {
        let (_folder, path) = fixture::static_executable(size);
        let image = build(&mut Executable::open(&path).unwrap(), "0.1.0").unwrap();
        (fs::read(&path).unwrap(), image)
    }

    /// The blob that a descriptor names, checked against its size and digest.
    fn blob<'a>(files: &'a BTreeMap<String, (tar::Header, Vec<u8>)>, descriptor: &Descriptor) -> &'a [u8] {
        let digest = descriptor.as_digest_sha256().unwrap();
        let (_, bytes) = &files[&format!("blobs/sha256/{digest}")];
        assert_eq!(bytes.len() as u64, descriptor.size());
        assert_eq!(sha256(bytes), digest);
        bytes
    }

    #[test]
    fn the_tar_is_an_oci_layout_whose_digests_hold_down_to_the_executable() {
        let (program, image) = image(300_000);
        let files = unpack(image.archive.as_ref());
        let layout = OciLayout::from_reader(files["oci-layout"].1.as_slice()).unwrap();
        assert_eq!(layout.image_layout_version(), "1.0.0");

        let index = ImageIndex::from_reader(files["index.json"].1.as_slice()).unwrap();
        let [entry] = index.manifests().as_slice() else { panic!("{index:?}") };
        assert_eq!(entry.digest().to_string(), image.digest);
        assert_eq!(entry.annotations().as_ref().unwrap()[CONTAINERD_NAME], image.reference);
        assert_eq!(*entry.platform().as_ref().unwrap().architecture(), Arch::Amd64);

        let manifest = ImageManifest::from_reader(blob(&files, entry)).unwrap();
        let config = ImageConfiguration::from_reader(blob(&files, manifest.config())).unwrap();
        let [layer] = manifest.layers().as_slice() else { panic!("{manifest:?}") };
        assert_eq!(*layer.media_type(), MediaType::ImageLayerGzip);
        assert_eq!(layer.size(), image.layer_size);

        let mut content = Vec::new();
        GzDecoder::new(blob(&files, layer)).read_to_end(&mut content).unwrap();
        assert_eq!(config.rootfs().diff_ids().as_slice(), [format!("sha256:{}", sha256(&content))]);
        let root = unpack(content.as_slice());
        let [(name, (header, bytes))] = root.iter().collect::<Vec<_>>()[..] else { panic!("{:?}", root.keys()) };
        assert_eq!(name, "scalekit");
        assert_eq!(*bytes, program);
        assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap()), (0o755, 0, 0));
    }

    #[test]
    fn it_runs_the_executable_as_nobody_in_particular() {
        let (_, image) = image(1000);
        let files = unpack(image.archive.as_ref());
        let index = ImageIndex::from_reader(files["index.json"].1.as_slice()).unwrap();
        let manifest = ImageManifest::from_reader(blob(&files, &index.manifests()[0])).unwrap();
        let config = ImageConfiguration::from_reader(blob(&files, manifest.config())).unwrap();
        let run = config.config().as_ref().unwrap();
        assert_eq!(run.user().as_deref(), Some("65532:65532"));
        assert_eq!(run.entrypoint().as_deref(), Some(&["/scalekit".to_owned()][..]));
        assert_eq!(run.labels().as_ref().unwrap()["org.opencontainers.image.version"], "0.1.0");
    }

    #[test]
    fn docker_finds_the_same_image_in_the_same_tar() {
        let (_, image) = image(1000);
        let files = unpack(image.archive.as_ref());
        let docker: serde_json::Value = serde_json::from_slice(&files["manifest.json"].1).unwrap();
        assert_eq!(docker[0]["RepoTags"], serde_json::json!([image.reference]));
        assert!(files.contains_key(docker[0]["Config"].as_str().unwrap()));
        assert!(files.contains_key(docker[0]["Layers"][0].as_str().unwrap()));
    }

    #[test]
    fn the_same_executable_gives_the_same_bytes_wherever_it_lies() {
        let (_, first) = image(100_000);
        // Hash maps of one process differ in order as well: a few rounds would show it.
        for _ in 0..5 {
            let (_, again) = image(100_000);
            assert_eq!(again.reference, first.reference);
            assert_eq!(sha256(&again.archive), sha256(&first.archive));
        }
        assert_ne!(image(100_004).1.digest, first.digest);
    }

    #[test]
    fn an_executable_that_is_written_to_meanwhile_is_refused() {
        let (_folder, path) = fixture::static_executable(1000);
        let mut executable = Executable::open(&path).unwrap();
        let mut other = fs::read(&path).unwrap();
        other[900] ^= 1;
        fs::write(&path, other).unwrap();
        let error = build(&mut executable, "0.1.0").unwrap_err();
        assert!(matches!(error, BuildError::Changed { .. }), "{error}");
    }
}
