//! Finds the end of a chunked body (RFC 9112, section 7.1).
//!
//! It understands only the simplest form, without extensions or trailers. The HTTP parser might read any
//! other form differently, so the scan reports the end of such a body as unknown.

/// Maximum number of hexadecimal digits in a chunk size. If there are more, the scan treats the end of the
/// body as unknown.
const SIZE_DIGITS: u32 = 8;

/// Where the scan is in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkScan {
    /// In a chunk size. `digits` is the number of its digits so far, and `size` their value.
    Size {
        digits: u32,
        size: u64,
    },
    /// After the carriage return that follows the chunk size.
    SizeEnd {
        size: u64,
    },
    /// In the data of a chunk. Holds the number of its bytes that are still to come.
    Data(u64),
    /// After the data of a chunk, before its line break.
    DataEnd,
    DataEndReturn,
    /// After the size line of the last chunk, whose size is 0.
    Last,
    LastReturn,
}

/// How the scan classifies a byte of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A byte within the body.
    Within,
    /// The last byte of the body.
    End,
    /// A byte that the scan does not understand, for example of a chunk extension. The end of the body is
    /// unknown.
    Unknown,
}

impl Default for ChunkScan {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl ChunkScan {
    /// Scans the next byte of the body and classifies it. Do not call this after [`Step::End`] or
    /// [`Step::Unknown`].
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

    /// Scans `body` up to the first step that is not `Within`. Returns that step, or `Within` if there is
    /// none, and how many bytes were read.
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
    fn the_end_is_found_whatever_the_chunks_contain() {
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
    fn a_body_that_the_parser_may_read_differently_has_an_unknown_end() {
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
