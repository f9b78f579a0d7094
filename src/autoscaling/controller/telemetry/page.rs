//! The page of metrics, in pieces.

use std::fmt;

use axum::body::Bytes;

/// How long a piece is at most, but for one that is written in one stroke.
const PIECE: usize = 64 << 10;

/// A page that is written piece by piece, so that ten megabytes are neither copied each time that they double nor held as
/// one until the last byte is sent: a block of that size, made and given up again every quarter of a minute, is what an
/// allocator keeps holes for.
#[derive(Default)]
pub struct Page {
    full: Vec<Bytes>,
    last: String,
}

impl Page {
    /// What was written, in order.
    pub fn pieces(mut self) -> Vec<Bytes> {
        self.turn();
        self.full
    }

    fn turn(&mut self) {
        if !self.last.is_empty() {
            self.full.push(std::mem::take(&mut self.last).into());
        }
    }
}

impl fmt::Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.last.len() + text.len() > PIECE {
            self.turn();
        }
        if self.last.is_empty() {
            self.last.reserve(PIECE.max(text.len()));
        }
        self.last.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn nothing_is_lost_between_pieces() {
        let (mut page, mut whole) = (Page::default(), String::new());
        for length in [0, 1, PIECE - 1, 1, PIECE, PIECE + 1, 3] {
            for text in ["x".repeat(length), format!("|{length}")] {
                page.write_str(&text).expect("memory");
                whole.push_str(&text);
            }
        }
        let pieces = page.pieces();
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| (1..=PIECE + 1).contains(&piece.len())));
        assert_eq!(pieces.concat(), whole.as_bytes());
        assert!(Page::default().pieces().is_empty());
    }
}
