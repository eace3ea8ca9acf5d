//! Reads along as requests come in, to bound what the HTTP parser does not.
//!
//! It counts requests, of which the parser would take thousands at once, and it shortens an
//! over-long last event id. An id is whatever some server once sent, of any length, and a browser
//! repeats it; the parser would refuse a long one with 431 or 400, upon which a browser gives up
//! for good. Shortened, it is still no id of ours, and the stream can begin with a `gap`. Nothing
//! else is touched, and no line break is ever dropped.

use super::{
    chunk_scan::{ChunkScan, Step},
    form::decode,
};
use crate::event::{LEGACY_PARAMETERS, PARAMETERS};

/// What is kept of a last event id, in bytes. No id of this server is as long.
pub(crate) const MAX_ID: usize = 1024;

/// The header that carries a last event id.
const ID_HEADER: &[u8] = b"last-event-id";

/// The headers that announce a body.
const LENGTH_HEADER: &[u8] = b"content-length";
const CODING_HEADER: &[u8] = b"transfer-encoding";

/// The coding whose end is looked for.
const CHUNKED: &[u8] = b"chunked";

/// What is known of a connection's requests.
#[derive(Debug, Default)]
pub(crate) struct RequestScan {
    place: Place,
    name: Name,
    /// Whether this line holds something.
    line_has_text: bool,
    body: Body,
    heads: usize,
    unfinished: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the request line, before a query.
    #[default]
    Start,
    /// In the name of a parameter of the query.
    ParameterName,
    /// In the value of another parameter.
    ParameterValue,
    /// In the value of a last event id; the number of its bytes read so far, of which those beyond
    /// [`MAX_ID`] are dropped.
    ParameterId(usize),
    /// In a header's name.
    HeaderName,
    /// In what needs no attention, up to the end of the line.
    Rest,
    /// The same in an id header.
    HeaderId(usize),
    /// In the header that says how long the body is.
    Length,
    /// In the header that says how the body is coded.
    Coding,
    /// In a body, of which so many bytes are to come.
    Body(u64),
    /// In a body that comes in chunks.
    Chunks(ChunkScan),
    /// In a body, or past one, whose end is not looked for.
    Unframed,
}

/// What the head that is being read says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Bytes(u64),
    Chunked,
    Unframed,
}

impl Default for Body {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

/// The longest name that matters, in bytes: a parameter's, with each of its bytes percent-encoded.
const MAX_NAME: usize = 3 * "last_event_id".len();

/// The name that is being read; one that is too long is none that matters.
#[derive(Debug)]
struct Name {
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self {
            bytes: [0; MAX_NAME],
            length: 0,
        }
    }
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes.get(..self.length) == Some(name)
    }

    /// Whether the name, percent-decoded, is that of a last event id.
    fn is_id_parameter(&self) -> bool {
        let Some(name) = self.bytes.get(..self.length) else {
            return false;
        };
        let name = decode(name);
        let mut names = PARAMETERS.into_iter().chain(LEGACY_PARAMETERS);
        names.any(|id| id == name)
    }
}

impl RequestScan {
    /// How many heads of requests ended since this was asked last.
    pub(crate) fn take_heads(&mut self) -> usize {
        std::mem::take(&mut self.heads)
    }

    /// How many bytes came since the last request whose end is known.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Whether all that came belongs to whole requests, with their bodies.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.place == Place::Start && self.unfinished == 0
    }

    /// Whether a body is being read whose length is known.
    pub(crate) fn is_in_sized_body(&self) -> bool {
        matches!(self.place, Place::Body(_))
    }

    /// Whether a body came whose end is not looked for, so that no request is counted any more.
    pub(crate) fn is_unframed(&self) -> bool {
        self.place == Place::Unframed
    }

    /// Reads `bytes`, which follow all that was read before, up to the end of a request, and drops what is too
    /// much of an id. Returns how many bytes it read, and how many of these it left at the front.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> (usize, usize) {
        let mut kept = 0;
        for at in 0..bytes.len() {
            if self.keeps(bytes[at]) {
                bytes[kept] = bytes[at];
                kept += 1;
            }
            if self.is_between_requests() {
                return (at + 1, kept);
            }
        }
        (bytes.len(), kept)
    }

    /// Reads any number of requests, and leaves what is kept of them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn read_all(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut left = Vec::new();
        let mut bytes = bytes.to_vec();
        while !bytes.is_empty() {
            let (read, kept) = self.read(&mut bytes);
            left.extend_from_slice(&bytes[..kept]);
            bytes.drain(..read);
        }
        left
    }

    fn keeps(&mut self, byte: u8) -> bool {
        match &mut self.place {
            Place::Body(left) => {
                *left -= 1;
                if *left == 0 {
                    self.place = Place::Start;
                }
                return true;
            }
            Place::Chunks(chunks) => {
                match chunks.read(byte) {
                    Step::Within => {}
                    Step::End => self.place = Place::Start,
                    Step::Unknown => self.place = Place::Unframed,
                }
                return true;
            }
            Place::Unframed => {
                self.unfinished = self.unfinished.saturating_add(1);
                return true;
            }
            _ => self.unfinished = self.unfinished.saturating_add(1),
        }
        if byte == b'\n' {
            self.end_line();
            return true;
        }
        if byte == b'\r' {
            return true;
        }
        self.line_has_text = true;
        match &mut self.place {
            Place::Start if byte == b'?' => self.place = Place::ParameterName,
            // The end of the query, or a fragment, which no request should have.
            Place::ParameterName | Place::ParameterValue | Place::ParameterId(_)
                if byte == b' ' || byte == b'#' =>
            {
                self.place = Place::Rest;
            }
            Place::ParameterName | Place::ParameterValue | Place::ParameterId(_)
                if byte == b'&' =>
            {
                self.name.clear();
                self.place = Place::ParameterName;
            }
            Place::ParameterName if byte == b'=' => {
                self.place = if self.name.is_id_parameter() {
                    Place::ParameterId(0)
                } else {
                    Place::ParameterValue
                };
            }
            Place::ParameterName => self.name.push(byte),
            Place::HeaderName if byte == b':' => self.end_header_name(),
            Place::HeaderName => self.name.push(byte.to_ascii_lowercase()),
            // What the parser trims is no part of the id.
            Place::HeaderId(0) if byte == b' ' || byte == b'\t' => {}
            Place::ParameterId(kept) | Place::HeaderId(kept) => {
                *kept += 1;
                return *kept <= MAX_ID;
            }
            Place::Length => self.add_to_length(byte),
            Place::Coding if byte == b' ' || byte == b'\t' => {}
            Place::Coding => self.name.push(byte.to_ascii_lowercase()),
            // The rest is no line of a head.
            _ => {}
        }
        true
    }

    fn end_header_name(&mut self) {
        self.place = if self.name.is(ID_HEADER) {
            Place::HeaderId(0)
        } else if self.name.is(LENGTH_HEADER) {
            Place::Length
        } else if self.name.is(CODING_HEADER) {
            Place::Coding
        } else {
            Place::Rest
        };
        if self.place == Place::Coding {
            self.name.clear();
        }
    }

    fn end_coding(&mut self) {
        let is_all = self.body == Body::default() && self.name.is(CHUNKED);
        self.body = if is_all {
            Body::Chunked
        } else {
            Body::Unframed
        };
    }

    fn add_to_length(&mut self, byte: u8) {
        self.body = match (self.body, byte) {
            (body, b' ' | b'\t') => body,
            (Body::Bytes(length), b'0'..=b'9') => length
                .checked_mul(10)
                .and_then(|length| length.checked_add(u64::from(byte - b'0')))
                .map_or(Body::Unframed, Body::Bytes),
            _ => Body::Unframed,
        };
    }

    fn end_line(&mut self) {
        if self.place == Place::Coding {
            self.end_coding();
        }
        // Empty lines before a request are skipped, by the parser, too.
        let in_head = self.line_has_text || self.place != Place::Start;
        let head_ended = in_head && !self.line_has_text;
        if head_ended {
            self.heads += 1;
            self.unfinished = 0;
            self.place = match std::mem::take(&mut self.body) {
                Body::Bytes(0) => Place::Start,
                Body::Bytes(length) => Place::Body(length),
                Body::Chunked => Place::Chunks(ChunkScan::default()),
                Body::Unframed => Place::Unframed,
            };
        } else if in_head {
            self.place = Place::HeaderName;
        }
        self.name.clear();
        self.line_has_text = false;
    }
}

#[cfg(test)]
#[path = "request_scan_tests.rs"]
mod tests;
