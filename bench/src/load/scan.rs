//! Finds the numbers in a stream of bytes, whatever wraps them: chunk headers, ids, field names.
//! Allocates nothing, and may be given the bytes in pieces of any length.

const MARK: &[u8] = b"Message number: ";

/// Where one subscriber's bytes stand.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scan {
    /// How much of the mark was seen; all of it: the digits follow.
    matched: usize,
    number: u64,
}

impl Scan {
    /// Reads on, and gives each number once it is complete.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(u64)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.matched == MARK.len() {
                bytes = rest;
                if byte.is_ascii_digit() {
                    self.number = self.number * 10 + u64::from(byte - b'0');
                } else {
                    found(self.number);
                    *self = Self::default();
                }
            } else if self.matched == 0 {
                // Most bytes are none of ours.
                let Some(at) = memchr::memchr(MARK[0], bytes) else {
                    return;
                };
                self.matched = 1;
                bytes = &bytes[at + 1..];
            } else if byte == MARK[self.matched] {
                self.matched += 1;
                bytes = rest;
            } else {
                // The mark's first byte stands nowhere else in it: look at this byte anew.
                self.matched = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_pieces_of_any_length() {
        let stream =
            b"2c\r\nid: 1-0\ndata: Message number: 0\n\n\r\nMMessage number: 17\nMessage num\n\
                       data: Message number: 123456\n";
        for piece in 1..stream.len() {
            let mut scan = Scan::default();
            let mut numbers = Vec::new();

            for bytes in stream.chunks(piece) {
                scan.read(bytes, |number| numbers.push(number));
            }

            assert_eq!(numbers, [0, 17, 123_456]);
        }
    }
}
