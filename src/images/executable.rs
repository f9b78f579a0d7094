//! The executable that goes into the image: what it is, and whether it can run there.
//!
//! The image holds nothing but this one file, so a file that needs anything else is refused here,
//! where the cause can be named, and not by a node, where it reads "no such file or directory".

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use oci_spec::image::Arch;

use super::digest::Digested;

/// The registry-like host of our own images. It resolves to nothing, so that no node ever pulls them.
pub const REPOSITORY: &str = "scalekit.local/scalekit";

/// Offsets and values of the ELF-64 format (System V gABI, chapter 4 and 5).
mod elf {
    pub const HEADER_LENGTH: usize = 64;
    pub const PROGRAM_HEADER_LENGTH: usize = 56;
    pub const MAGIC: &[u8] = b"\x7fELF";
    pub const CLASS_64: u8 = 2;
    pub const LITTLE_ENDIAN: u8 = 1;
    pub const MACHINE_X86_64: u16 = 62;
    pub const MACHINE_AARCH64: u16 = 183;
    pub const SEGMENT_INTERPRETER: u32 = 3;
}

/// Processor architectures that the image can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];
    /// What this program was built for.
    pub const OF_THIS_PROGRAM: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// The name as nodes report it in `status.nodeInfo.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Architecture> for Arch {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Amd64 => Self::Amd64,
            Architecture::Arm64 => Self::ARM64,
        }
    }
}

/// Why a file cannot be the content of the image.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no Linux program.
    #[error("{} is not a 64-bit Linux executable", path.display())]
    NotLinux {
        /// Which file.
        path: PathBuf,
    },
    /// It is a Linux program for a processor that the image cannot be made for.
    #[error("{} is for a processor that is not supported (ELF machine {machine})", path.display())]
    OtherMachine {
        /// Which file.
        path: PathBuf,
        /// `e_machine` of the ELF header.
        machine: u16,
    },
    /// It needs a dynamic loader, which an image of one file does not have.
    #[error("{} is linked dynamically: it needs {interpreter}, and the image holds one file only", path.display())]
    Dynamic {
        /// Which file.
        path: PathBuf,
        /// The loader that it asks for.
        interpreter: String,
    },
}

impl ExecutableError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::NotLinux { .. } | Self::OtherMachine { .. } => Some(
                "run the Linux build for the nodes' architecture, or name an image that the nodes can pull with \
                 `--image scaler=REF`"
                    .to_owned(),
            ),
            Self::Dynamic { .. } => Some(
                "use the static build (`make build`), or name an image that the nodes can pull with \
                 `--image scaler=REF`"
                    .to_owned(),
            ),
        }
    }
}

/// A static Linux executable, opened once: what was looked at is what goes into the image, even when
/// the file at its path is replaced in between.
#[derive(Debug)]
pub struct Executable {
    file: File,
    path: PathBuf,
    size: u64,
    digest: String,
    architecture: Architecture,
}

impl Executable {
    /// The program that is running now.
    ///
    /// On Linux this is the file that was started, whatever lies at its path by now.
    pub fn running() -> Result<Self, ExecutableError> {
        let own = Path::new("/proc/self/exe");
        if own.exists() {
            return Self::open(own);
        }
        let path = std::env::current_exe()
            .map_err(|source| ExecutableError::Read { path: PathBuf::from("the running program"), source })?;
        Self::open(&path)
    }

    /// Opens a file and reads it once, for its digest.
    pub fn open(path: &Path) -> Result<Self, ExecutableError> {
        let read = |source| ExecutableError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        let architecture = inspect(&mut file, path)?;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        let mut digested = Digested::new(io::sink());
        let size = io::copy(&mut file, &mut digested).map_err(read)?;
        let (_, digest) = digested.finish();
        Ok(Self { file, path: path.to_owned(), size, digest, architecture })
    }

    /// The reference of the image that holds this executable: `scalekit.local/scalekit:<version>-<digest12>`,
    /// the digest being the executable's SHA-256.
    ///
    /// The same executable has the same reference everywhere, and it is known before the image is
    /// built, so that a cluster that has the image costs no build.
    pub fn reference(&self, version: &str) -> String {
        format!("{REPOSITORY}:{}", self.tag(version))
    }

    /// The tag of [`Self::reference`]. Characters that a tag cannot have (the `+` of a build version) become `-`.
    pub fn tag(&self, version: &str) -> String {
        let version: String = version
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_') { char } else { '-' })
            .collect();
        format!("{version}-{}", &self.digest[..12])
    }

    /// What processor it runs on.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// SHA-256 of the file in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content from its beginning.
    pub(super) fn content(&mut self) -> io::Result<impl Read + '_> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok((&mut self.file).take(self.size))
    }
}

/// Reads the ELF header and the program headers, and refuses what could not start in an empty image.
fn inspect(file: &mut (impl Read + Seek), path: &Path) -> Result<Architecture, ExecutableError> {
    let not_linux = || ExecutableError::NotLinux { path: path.to_owned() };
    let mut at = |offset: u64, buffer: &mut [u8]| -> Result<(), ExecutableError> {
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer)).map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                not_linux()
            } else {
                ExecutableError::Read { path: path.to_owned(), source }
            }
        })
    };

    let mut header = [0; elf::HEADER_LENGTH];
    at(0, &mut header)?;
    if !header.starts_with(elf::MAGIC) || header[4] != elf::CLASS_64 || header[5] != elf::LITTLE_ENDIAN {
        return Err(not_linux());
    }
    let architecture = match short(&header, 18) {
        elf::MACHINE_X86_64 => Architecture::Amd64,
        elf::MACHINE_AARCH64 => Architecture::Arm64,
        machine => return Err(ExecutableError::OtherMachine { path: path.to_owned(), machine }),
    };
    if usize::from(short(&header, 54)) != elf::PROGRAM_HEADER_LENGTH {
        return Err(not_linux());
    }
    let first = long(&header, 32);
    for index in 0..u64::from(short(&header, 56)) {
        let mut segment = [0; elf::PROGRAM_HEADER_LENGTH];
        at(first.saturating_add(index * elf::PROGRAM_HEADER_LENGTH as u64), &mut segment)?;
        if u32::from_le_bytes([segment[0], segment[1], segment[2], segment[3]]) == elf::SEGMENT_INTERPRETER {
            // A path; longer than this it is nobody's loader.
            let length = long(&segment, 32).min(256);
            let mut interpreter = vec![0; usize::try_from(length).unwrap_or(256)];
            at(long(&segment, 8), &mut interpreter)?;
            let interpreter = String::from_utf8_lossy(&interpreter).trim_end_matches('\0').to_owned();
            return Err(ExecutableError::Dynamic { path: path.to_owned(), interpreter });
        }
    }
    Ok(architecture)
}

fn short(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

/// Executables made up for tests.
#[cfg(test)]
pub(super) mod fixture {
    use std::{fs, path::PathBuf};

    use super::elf;

    /// A file that reads as an ELF executable of this machine, with this interpreter if any, padded to `size`.
    pub fn elf(machine: u16, interpreter: Option<&str>, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; elf::HEADER_LENGTH + elf::PROGRAM_HEADER_LENGTH];
        bytes[..4].copy_from_slice(elf::MAGIC);
        bytes[4] = elf::CLASS_64;
        bytes[5] = elf::LITTLE_ENDIAN;
        bytes[16..18].copy_from_slice(&3_u16.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
        // PT_LOAD, unless there is an interpreter to name.
        bytes[64..68].copy_from_slice(&1_u32.to_le_bytes());
        if let Some(interpreter) = interpreter {
            bytes[64..68].copy_from_slice(&elf::SEGMENT_INTERPRETER.to_le_bytes());
            bytes[72..80].copy_from_slice(&120_u64.to_le_bytes());
            bytes[96..104].copy_from_slice(&(interpreter.len() as u64 + 1).to_le_bytes());
            bytes.extend(interpreter.bytes());
            bytes.push(0);
        }
        // Neither all zero nor random: something that compresses as programs do, and the same every time.
        let mut word = 1_u32;
        while bytes.len() < size {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend((word >> 20).to_le_bytes());
        }
        bytes
    }

    /// A static executable for `x86_64` in a folder of its own.
    pub fn static_executable(size: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, elf(elf::MACHINE_X86_64, None, size)).unwrap();
        (folder, path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    fn open(bytes: &[u8]) -> Result<Executable, ExecutableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, bytes).unwrap();
        Executable::open(&path)
    }

    #[rstest]
    #[case::x86_64(62, Architecture::Amd64)]
    #[case::aarch64(183, Architecture::Arm64)]
    fn the_architecture_is_read_from_the_file(#[case] machine: u16, #[case] architecture: Architecture) {
        assert_eq!(open(&fixture::elf(machine, None, 500)).unwrap().architecture(), architecture);
    }

    #[rstest]
    #[case::empty(b"".to_vec(), "is not a 64-bit Linux executable")]
    #[case::script(b"#!/bin/sh\nexec true # and some more, so that it is longer than a header is".to_vec(), "is not a 64-bit Linux executable")]
    #[case::mach_o([&[0xcf, 0xfa, 0xed, 0xfe][..], &[0; 200]].concat(), "is not a 64-bit Linux executable")]
    #[case::cut_off(fixture::elf(62, None, 0)[..100].to_vec(), "is not a 64-bit Linux executable")]
    #[case::riscv(fixture::elf(243, None, 500), "is for a processor that is not supported (ELF machine 243)")]
    #[case::dynamic(
        fixture::elf(62, Some("/lib64/ld-linux-x86-64.so.2"), 500),
        "is linked dynamically: it needs /lib64/ld-linux-x86-64.so.2, and the image holds one file only"
    )]
    fn what_could_not_start_is_refused(#[case] bytes: Vec<u8>, #[case] why: &str) {
        let error = open(&bytes).unwrap_err();
        assert!(error.to_string().ends_with(why), "{error}");
        assert!(error.hint().unwrap().contains("--image scaler=REF"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Executable::open(Path::new("/nowhere/scalekit")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/scalekit");
    }

    #[test]
    fn the_reference_names_version_and_content() {
        let executable = open(&fixture::elf(62, None, 500)).unwrap();
        let reference = executable.reference("0.1.0+git.5");
        assert_eq!(reference, format!("scalekit.local/scalekit:0.1.0-git.5-{}", &executable.digest()[..12]));
        assert_eq!(reference, open(&fixture::elf(62, None, 500)).unwrap().reference("0.1.0+git.5"));
        assert_ne!(reference, open(&fixture::elf(62, None, 504)).unwrap().reference("0.1.0+git.5"));
    }
}
