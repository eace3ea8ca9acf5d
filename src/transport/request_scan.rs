//! Scans incoming requests before the HTTP parser sees them, to limit what the parser does not limit.
//!
//! It finds the end of each request, because the parser would accept thousands of pipelined requests at once.
//! It also shortens a last event id that is too long. A browser repeats the id that some server sent once,
//! whatever its length. The parser would refuse a very long id with 431 or 400, and the browser would then
//! never reconnect. A shortened id is still unknown to this server, so the stream can begin with a `gap`.
//!
//! The scan changes nothing else, and never drops a line break.

use super::{
    chunk_scan::{ChunkScan, Step},
    form::decode,
};
use crate::event::{LEGACY_PARAMETERS, PARAMETERS};

/// Maximum length of a last event id as it is received, before decoding, in bytes. Bytes beyond it are
/// dropped. All ids of this server are shorter.
pub(crate) const MAX_ID: usize = 1024;

/// The header that carries a last event id.
const ID_HEADER: &[u8] = b"last-event-id";

/// The request headers that announce a body.
const LENGTH_HEADER: &[u8] = b"content-length";
const CODING_HEADER: &[u8] = b"transfer-encoding";

/// The only transfer coding whose end the scan can find.
const CHUNKED: &[u8] = b"chunked";

/// Scans the requests of one connection. Keeps its state from read to read.
#[derive(Debug, Default)]
pub(crate) struct RequestScan {
    state: ScanState,
    name: Name,
    /// Whether the current line has any character before its line break. An empty line ends a request head.
    line_has_text: bool,
    body: Body,
    heads: usize,
    unfinished: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    /// Between requests, or in a request line before the query.
    #[default]
    Start,
    /// In the name of a query parameter.
    ParameterName,
    /// In the value of a query parameter other than a last event id.
    ParameterValue,
    /// In the value of a query parameter for a last event id. Holds the number of its bytes scanned so far;
    /// those beyond [`MAX_ID`] are dropped.
    ParameterId(usize),
    /// In the name of a header.
    HeaderName,
    /// In text that the scan does not examine: the part of a request line after the query, or the value of a
    /// header without its own state.
    Rest,
    /// In the value of a `Last-Event-ID` header. Holds the number of its bytes scanned so far; those beyond
    /// [`MAX_ID`] are dropped.
    HeaderId(usize),
    /// In the value of the header `Content-Length`.
    Length,
    /// In the value of the header `Transfer-Encoding`.
    Coding,
    /// In a request body of known length. Holds the number of its bytes that are still to come.
    Body(u64),
    /// In a chunked request body. Holds the state of the scan of its chunks.
    Chunks(ChunkScan),
    /// In or after a request body whose end the scan cannot find. The scan stays in this state.
    Unframed,
}

/// How the request body ends, according to the head: after a known number of bytes, with its last chunk, or
/// unknown.
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

/// Length of the longest name that the scan must recognize, in bytes: `last_event_id` with each byte
/// percent-encoded.
const MAX_NAME: usize = 3 * "last_event_id".len();

/// The text that the scan is collecting: a header name, a parameter name or a transfer coding. A text longer
/// than [`MAX_NAME`] equals no known name.
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
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes.get(..self.length) == Some(name)
    }

    /// Whether the name, percent-decoded, is one of those under which clients send a last event id.
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
    /// Number of request heads that were completed since the last call.
    pub(crate) fn take_heads(&mut self) -> usize {
        std::mem::take(&mut self.heads)
    }

    /// Number of bytes received of an incomplete head, or after a head whose body has no known end. Other
    /// bodies are not counted.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Whether every request so far is complete, including its body.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.state == ScanState::Start && self.unfinished == 0
    }

    /// Whether the scan is in a request body of known length.
    pub(crate) fn is_in_sized_body(&self) -> bool {
        matches!(self.state, ScanState::Body(_))
    }

    /// Whether the scan has met a body whose end it cannot find. It then recognizes no further requests.
    pub(crate) fn is_unframed(&self) -> bool {
        self.state == ScanState::Unframed
    }

    /// Scans `bytes` up to the end of a request, or all of them if no request ends. `bytes` must continue
    /// those of the previous call. Removes the part of a last event id beyond [`MAX_ID`], and moves the bytes
    /// that the parser must receive to the front. Returns how many bytes were scanned, and how many of these
    /// the parser must receive.
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

    /// Scans any number of requests, and returns the bytes that the parser must receive.
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

    /// Scans one byte, and returns whether the parser must receive it.
    fn keeps(&mut self, byte: u8) -> bool {
        match &mut self.state {
            ScanState::Body(left) => {
                *left -= 1;
                if *left == 0 {
                    self.state = ScanState::Start;
                }
                true
            }
            ScanState::Chunks(chunks) => {
                match chunks.read(byte) {
                    Step::Within => {}
                    Step::End => self.state = ScanState::Start,
                    Step::Unknown => self.state = ScanState::Unframed,
                }
                true
            }
            ScanState::Unframed => {
                self.unfinished = self.unfinished.saturating_add(1);
                true
            }
            _ => {
                self.unfinished = self.unfinished.saturating_add(1);
                self.keeps_in_head(byte)
            }
        }
    }

    /// Scans one byte of a head, and returns whether the parser must receive it.
    fn keeps_in_head(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            self.end_line();
            return true;
        }
        if byte == b'\r' {
            return true;
        }
        self.line_has_text = true;
        match &mut self.state {
            ScanState::Start if byte == b'?' => self.state = ScanState::ParameterName,
            // A space ends the query. So does `#`, which begins a fragment, although a request should not
            // contain one.
            ScanState::ParameterName | ScanState::ParameterValue | ScanState::ParameterId(_)
                if byte == b' ' || byte == b'#' =>
            {
                self.state = ScanState::Rest;
            }
            ScanState::ParameterName | ScanState::ParameterValue | ScanState::ParameterId(_)
                if byte == b'&' =>
            {
                self.name.clear();
                self.state = ScanState::ParameterName;
            }
            ScanState::ParameterName if byte == b'=' => {
                self.state = if self.name.is_id_parameter() {
                    ScanState::ParameterId(0)
                } else {
                    ScanState::ParameterValue
                };
            }
            ScanState::ParameterName => self.name.push(byte),
            ScanState::HeaderName if byte == b':' => self.end_header_name(),
            ScanState::HeaderName => self.name.push(byte.to_ascii_lowercase()),
            // The parser trims spaces and tabs before a header value, so they are not part of the id.
            ScanState::HeaderId(0) if byte == b' ' || byte == b'\t' => {}
            ScanState::ParameterId(scanned) | ScanState::HeaderId(scanned) => {
                *scanned += 1;
                return *scanned <= MAX_ID;
            }
            ScanState::Length => self.add_to_length(byte),
            ScanState::Coding if byte == b' ' || byte == b'\t' => {}
            ScanState::Coding => self.name.push(byte.to_ascii_lowercase()),
            // All other bytes need no action.
            _ => {}
        }
        true
    }

    fn end_header_name(&mut self) {
        self.state = if self.name.is(ID_HEADER) {
            ScanState::HeaderId(0)
        } else if self.name.is(LENGTH_HEADER) {
            ScanState::Length
        } else if self.name.is(CODING_HEADER) {
            ScanState::Coding
        } else {
            ScanState::Rest
        };
        if self.state == ScanState::Coding {
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
        if self.state == ScanState::Coding {
            self.end_coding();
        }
        // The HTTP parser skips empty lines before a request, so an empty line there does not end a head.
        let in_head = self.line_has_text || self.state != ScanState::Start;
        let head_ended = in_head && !self.line_has_text;
        if head_ended {
            self.heads += 1;
            self.unfinished = 0;
            self.state = match std::mem::take(&mut self.body) {
                Body::Bytes(0) => ScanState::Start,
                Body::Bytes(length) => ScanState::Body(length),
                Body::Chunked => ScanState::Chunks(ChunkScan::default()),
                Body::Unframed => ScanState::Unframed,
            };
        } else if in_head {
            self.state = ScanState::HeaderName;
        }
        self.name.clear();
        self.line_has_text = false;
    }
}

#[cfg(test)]
#[path = "request_scan_tests.rs"]
mod tests;
