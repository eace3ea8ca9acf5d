//! Finds message numbers in the bytes of a stream, and ignores everything around them, such as chunk headers,
//! ids and field names. The scan allocates nothing, and accepts the stream in pieces of any length.

/// The text before each number. Its first byte, which the scan searches for, occurs only once in this text
/// and seldom elsewhere in the stream.
const MARK: &[u8] = b"Message number: ";

/// The state of one subscriber's scan: how much of a mark and its number is at the end of the last piece.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Scan {
    /// How many bytes of `MARK` were found at the end of the last piece. If all were found, the next bytes
    /// are digits of the number.
    matched: usize,
    number: u64,
}

impl Scan {
    /// Scans the next piece, and calls `found` for each complete number.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        let mut rest = bytes;
        if self.matched > 0 {
            rest = self.finish(bytes, &mut found);
        }
        while let Some(at) = memchr::memchr(MARK[0], rest) {
            rest = &rest[at..];
            let Some(digits) = rest.strip_prefix(MARK) else {
                rest = self.finish(rest, &mut found);
                continue;
            };
            let mut number = 0;
            let mut length = 0;
            while let Some(digit) = digits.get(length).filter(|byte| byte.is_ascii_digit()) {
                number = number * 10 + u64::from(digit - b'0');
                length += 1;
            }
            rest = &digits[length..];
            if rest.is_empty() {
                // The next piece may begin with more digits.
                self.matched = MARK.len();
                self.number = number;
                return;
            }
            found(number);
        }
    }

    /// Continues with an incomplete mark or number from the previous piece, byte by byte, until the number
    /// ends or the bytes differ from the mark.
    #[cold]
    fn finish<'a>(&mut self, bytes: &'a [u8], found: &mut impl FnMut(u64)) -> &'a [u8] {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.matched < MARK.len() {
                if byte == MARK[self.matched] {
                    self.matched += 1;
                    continue;
                }
                *self = Self::default();
                return &bytes[at..];
            }
            if !byte.is_ascii_digit() {
                found(self.number);
                *self = Self::default();
                return &bytes[at..];
            }
            self.number = self.number * 10 + u64::from(byte - b'0');
        }
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(stream: &[u8], piece: usize) -> Vec<u64> {
        let mut scan = Scan::default();
        let mut numbers = Vec::new();
        for bytes in stream.chunks(piece) {
            scan.read(bytes, |number| numbers.push(number));
        }
        numbers
    }

    #[test]
    fn numbers_are_found_in_pieces_of_any_length() {
        let stream =
            b"2c\r\nid: 1-0\ndata: Message number: 0\n\n\r\nMMessage number: 17\nMessage num\n\
              MMM data: Message number: 123456\n";

        for piece in 1..=stream.len() {
            assert_eq!(
                numbers(stream, piece),
                [0, 17, 123_456],
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_number_is_reported_only_when_a_byte_after_it_arrived() {
        assert_eq!(numbers(b"data: Message number: 12", 64), [0; 0]);
        assert_eq!(numbers(b"data: Message number: 12\n", 24), [12]);
    }

    #[test]
    fn text_that_only_begins_like_a_message_is_ignored() {
        assert_eq!(numbers(b"Message Message number: 5\r\n", 3), [5]);
        assert_eq!(numbers(b"M", 1), [0; 0]);
        assert_eq!(numbers(b"", 1), [0; 0]);
    }
}
