//! Finds the end of a body in chunks (RFC 9112, section 7.1), in the plainest form that there is. Any
//! other, such as with extensions or trailers, might mean something else to the HTTP parser, so that
//! its end is not known here.

/// A chunk's size has no more digits.
const SIZE_DIGITS: u32 = 8;

/// Where in a body the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkScan {
    /// In a chunk's size, after so many digits, which are this.
    Size {
        digits: u32,
        size: u64,
    },
    /// After the carriage return behind it.
    SizeEnd {
        size: u64,
    },
    /// In a chunk, of which so many bytes are to come.
    Data(u64),
    /// Behind a chunk.
    DataEnd,
    DataEndReturn,
    /// Behind the last size, which is 0.
    Last,
    LastReturn,
}

/// What a byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Part of the body.
    Within,
    /// Its last.
    End,
    /// Nothing that is understood here.
    Unknown,
}

impl Default for ChunkScan {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl ChunkScan {
    /// Takes the next byte.
    pub(crate) fn read(&mut self, byte: u8) -> Step {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        *self = match (*self, byte, digit) {
            (Self::Size { digits, size }, _, Some(digit)) if digits < SIZE_DIGITS => Self::Size {
                digits: digits + 1,
                size: size * 16 + digit,
            },
            (Self::Size { digits: 1.., size }, b'\r', _) => Self::SizeEnd { size },
            (Self::SizeEnd { size: 0 }, b'\n', _) => Self::Last,
            (Self::SizeEnd { size }, b'\n', _) => Self::Data(size),
            (Self::Data(1), ..) => Self::DataEnd,
            (Self::Data(left), ..) => Self::Data(left - 1),
            (Self::DataEnd, b'\r', _) => Self::DataEndReturn,
            (Self::DataEndReturn, b'\n', _) => Self::default(),
            (Self::Last, b'\r', _) => Self::LastReturn,
            (Self::LastReturn, b'\n', _) => return Step::End,
            _ => return Step::Unknown,
        };
        Step::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the last byte that is understood was, and how many there are.
    fn read(body: &str) -> (Step, usize) {
        let mut scan = ChunkScan::default();
        for (at, byte) in body.bytes().enumerate() {
            match scan.read(byte) {
                Step::Within => {}
                step => return (step, at + 1),
            }
        }
        (Step::Within, body.len())
    }

    #[test]
    fn the_end_is_found_whatever_the_chunks_hold() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "00A\r\n0\r\n\r\n0\r\n\r\n\r\n1\r\n\n\r\n000\r\n\r\n",
        ] {
            let and_more = format!("{body}GET / HTTP/1.1");

            assert_eq!(read(&and_more), (Step::End, body.len()), "{body:?}");
        }
    }

    #[test]
    fn what_the_parser_may_understand_otherwise_is_not_understood() {
        for body in [
            "\r\n",
            "x",
            " 3\r\n",
            "3 \r\n",
            "3;a=b\r\n",
            "3\n",
            "3\r\r",
            "3\r\nabcd",
            "3\r\nabc\n",
            "123456789",
            "0\r\nA: b",
            "0\r\n\n",
        ] {
            assert_eq!(read(body).0, Step::Unknown, "{body:?}");
        }
    }
}
