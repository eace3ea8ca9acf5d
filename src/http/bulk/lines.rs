//! Splits the body of a bulk request into lines, as it arrives. An incomplete line is kept until its end
//! arrives.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::matching::{MemoryBudget, Reservation};

/// A complete line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without the `\n` at its end. A `\r` before it stays.
    Text(Bytes),
    /// The line is longer than this many bytes, and was skipped.
    TooLong(usize),
}

#[derive(Debug)]
pub(crate) struct Lines {
    /// Bytes that arrived and were not returned yet.
    buffer: BytesMut,
    /// Offset in `buffer` up to which there is no line break.
    searched: usize,
    /// Whether the rest of a line that is too long is being skipped.
    is_skipping: bool,
    has_ended: bool,
    /// Number of the last line that was taken from `buffer`, from 1. Blank lines count.
    number: u64,
    max_bytes: usize,
    budget: MemoryBudget,
    held: Reservation,
}

/// Memory limit for the lines of all bulk requests that have not arrived completely, in bytes. Beyond it, a
/// request with more than [`MIN_BYTES`] of a line is ended.
const LINES_BUDGET: usize = 64 << 20;
const MIN_BYTES: usize = 64 << 10;

/// The memory for incomplete lines is exhausted.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

impl Lines {
    /// A line may have `max_bytes`. The bytes count against `budget` while they are kept.
    pub(crate) fn new(budget: &MemoryBudget, max_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            is_skipping: false,
            has_ended: false,
            number: 0,
            max_bytes,
            budget: budget.clone(),
            held: budget.reserve(0),
        }
    }

    /// Adds bytes. Call [`Self::next`] until it returns `None` before the next call. Fails if the memory for
    /// incomplete lines is exhausted.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.buffer.extend_from_slice(bytes);
        self.held.set(self.buffer.capacity());
        let is_exhausted = self.budget.reserved() > LINES_BUDGET;
        if is_exhausted && self.buffer.len() > MIN_BYTES {
            return Err(OutOfMemory);
        }
        Ok(())
    }

    /// The body is complete. What follows the last line break is a line too.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The number of the last line that was taken from the body, from 1. Blank lines count.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next complete line.
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            let end = memchr::memchr(b'\n', &self.buffer[self.searched..]);
            let (line, is_skipped) = match end {
                Some(end) => {
                    let line = self.buffer.split_to(self.searched + end);
                    self.buffer.advance(1);
                    (line, std::mem::take(&mut self.is_skipping))
                }
                None if self.has_ended && (self.is_skipping || !self.buffer.is_empty()) => {
                    (self.buffer.split(), std::mem::take(&mut self.is_skipping))
                }
                None => {
                    self.searched = self.buffer.len();
                    if self.is_skipping || self.buffer.len() > self.max_bytes {
                        self.is_skipping = true;
                        self.buffer = BytesMut::new();
                        self.searched = 0;
                    }
                    if self.buffer.is_empty() {
                        // Frees the memory of a large line.
                        self.buffer = BytesMut::new();
                    }
                    self.held.set(self.buffer.capacity());
                    return None;
                }
            };
            self.searched = 0;
            self.number += 1;
            if is_skipped || line.len() > self.max_bytes {
                return Some(Line::TooLong(self.max_bytes));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Line::Text(line.freeze()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a body that arrives in these pieces, with their numbers.
    fn lines(pieces: &[&[u8]], max_bytes: usize) -> Vec<(u64, Line)> {
        let budget = MemoryBudget::default();
        let mut lines = Lines::new(&budget, max_bytes);
        let mut found = Vec::new();
        let mut take = |lines: &mut Lines| {
            while let Some(line) = lines.next() {
                found.push((lines.number(), line));
            }
        };
        for piece in pieces {
            lines.push(piece).unwrap();
            take(&mut lines);
        }
        lines.end();
        take(&mut lines);
        drop(lines);
        assert_eq!(budget.reserved(), 0);
        found
    }

    fn text(number: u64, text: &'static str) -> (u64, Line) {
        (number, Line::Text(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn incomplete_lines_have_a_memory_limit() {
        let budget = MemoryBudget::default();
        let mut lines = Lines::new(&budget, 1 << 20);
        lines.push(&[b'x'; MIN_BYTES + 1]).unwrap();
        let others = budget.reserve(LINES_BUDGET);

        assert!(lines.push(b"x").is_err());
        assert!(Lines::new(&budget, 1 << 20).push(b"x").is_ok());
        drop(others);
        assert!(lines.push(b"x").is_ok());
    }

    #[test]
    fn blank_lines_count_and_are_not_returned() {
        assert_eq!(
            lines(&[b"a\n\n \r\nb\r\nc"], 10),
            [text(1, "a"), text(4, "b\r"), text(5, "c")]
        );
        assert_eq!(lines(&[b""], 10), []);
        assert_eq!(lines(&[b"\n"], 10), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_returned() {
        let long = (1, Line::TooLong(3));
        for pieces in [
            &[&b"abcd\nef"[..]][..],
            &[b"ab", b"cd\nef"],
            &[b"abcd", b"ef", b"gh\nef"],
        ] {
            assert_eq!(
                lines(pieces, 3),
                [(1, Line::TooLong(3)), text(2, "ef")],
                "{pieces:?}"
            );
        }
        assert_eq!(lines(&[b"abcdefgh"], 3), [long]);
        assert_eq!(lines(&[b"abc\nabc"], 3), [text(1, "abc"), text(2, "abc")]);
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_a_body_arrives_do_not_matter(
            body in "[ab\\n\\r ]{0,60}",
            cuts in prop::collection::vec(0..60_usize, 0..6),
            max_bytes in 1..12_usize,
        ) {
            let body = body.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= body.len()).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();

            prop_assert_eq!(lines(&pieces, max_bytes), lines(&[body], max_bytes));
        }
    }
}
