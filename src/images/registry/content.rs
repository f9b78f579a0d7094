//! What is sent to a registry, from memory or from a part of a file, as often as it takes.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use futures::stream;
use http_body_util::StreamBody;

/// How much of a file is read at once.
const PART: u64 = 256 * 1024;

/// Bytes in memory, or in a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// A part of a file.
    File {
        /// The file.
        file: Arc<File>,
        /// Where the part begins.
        offset: u64,
        /// How long it is.
        size: u64,
    },
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self::Memory(bytes.into())
    }
}

impl Content {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// A part of it; what lies behind its end is left out.
    #[must_use]
    pub fn part(&self, from: u64, length: u64) -> Self {
        let from = from.min(self.size());
        let length = length.min(self.size() - from);
        match self {
            Self::Memory(bytes) => {
                let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
                Self::Memory(bytes.slice(at(from)..at(from + length)))
            }
            Self::File { file, offset, .. } => {
                Self::File { file: Arc::clone(file), offset: offset + from, size: length }
            }
        }
    }

    /// All of it, for what is small.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File { file, offset, size } => {
                let mut bytes = vec![0; usize::try_from(*size).map_err(io::Error::other)?];
                file.read_exact_at(&mut bytes, *offset)?;
                Ok(bytes.into())
            }
        }
    }

    /// Reads it from its beginning, as a file of its own.
    pub fn reader(&self) -> ContentReader {
        ContentReader { content: self.clone(), position: 0 }
    }

    pub(super) fn body(&self) -> reqwest::Body {
        match self {
            Self::Memory(bytes) => bytes.clone().into(),
            Self::File { .. } => {
                let parts = self.size().div_ceil(PART);
                let whole = self.clone();
                let frames = (0..parts).map(move |part| {
                    // A read of a local file: shorter than any thread would take to be told to do it.
                    whole.part(part * PART, PART).read().map(hyper::body::Frame::data)
                });
                reqwest::Body::wrap(StreamBody::new(stream::iter(frames)))
            }
        }
    }
}

/// A place in [`Content`].
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    position: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.content.part(self.position, buffer.len() as u64).read()?;
        buffer[..part.len()].copy_from_slice(&part);
        self.position += part.len() as u64;
        Ok(part.len())
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.content.size().checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_from_memory_and_from_a_file() {
        let bytes: Vec<u8> = (0..=255).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, &bytes).unwrap();
        let file = Content::File { file: Arc::new(File::open(&path).unwrap()), offset: 0, size: 256 };
        let memory = Content::from(bytes.clone());
        for (from, length) in [(0, 256), (10, 20), (250, 100), (300, 1)] {
            let expected = memory.part(from, length).read().unwrap();
            assert_eq!(file.part(from, length).read().unwrap(), expected);
        }
        assert_eq!(file.part(10, 20).part(5, 5).read().unwrap(), bytes[15..20]);
    }
}
