//! SHA-256 of what is written, on its way.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::hex;

/// A writer that passes everything on and knows its SHA-256 at the end.
pub(super) struct Digested<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Digested<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The writer, and the digest in hex.
    pub(super) fn finish(self) -> (W, String) {
        (self.inner, hex::encode(&self.hash.finalize()))
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 of some bytes in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_what_was_written() {
        // FIPS 180-4, the example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
        let mut digested = Digested::new(Vec::new());
        digested.write_all(b"ab").unwrap();
        digested.write_all(b"c").unwrap();
        assert_eq!(digested.finish(), (b"abc".to_vec(), expected.to_owned()));
    }
}
