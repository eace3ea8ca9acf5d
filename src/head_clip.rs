//! Shortens an over-long last event id on its way to the HTTP parser.
//!
//! An id is whatever some server once sent, of any length, and a browser repeats it. The parser
//! would refuse a long one with 431 or 400, upon which a browser gives up for good; shortened, it
//! is still no id of ours, and the stream can begin with a `gap`. Nothing else is touched: no line
//! break is ever dropped, and from a request with a body on, everything passes as it is.

/// What is kept of a last event id, in bytes. No id of this server is as long.
const MAX_ID: usize = 1024;

/// The header and the query parameters that carry a last event id.
const ID_HEADER: &[u8] = b"last-event-id";
const ID_PARAMETERS: [&[u8]; 2] = [b"last_event_id", b"lastEventId"];

/// The headers that announce a body.
const BODY_HEADERS: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

/// Reads along as a connection's bytes come in.
#[derive(Debug, Default)]
pub(crate) struct HeadClip {
    place: Place,
    name: Name,
    /// Whether this line holds something.
    line_has_text: bool,
    /// Whether this request has a body.
    has_body: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the request line.
    #[default]
    Target,
    /// In a header's name.
    HeaderName,
    /// In what needs no attention, up to the end of the line.
    Rest,
    /// In an id of the query, of which so many bytes were kept.
    QueryId(usize),
    /// In an id header, of which so many bytes were kept.
    HeaderId(usize),
    /// Past the head of a request with a body.
    Body,
}

/// The name that is being read; one that is too long is none that matters.
#[derive(Debug, Default)]
struct Name {
    bytes: [u8; 17],
    length: usize,
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

    fn is_one_of(&self, names: &[&[u8]]) -> bool {
        self.bytes
            .get(..self.length)
            .is_some_and(|name| names.contains(&name))
    }
}

impl HeadClip {
    /// Drops what is too much from `bytes`, which came after all that was given before, and
    /// returns how many are left at its front.
    pub(crate) fn clip(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        for at in 0..bytes.len() {
            if self.place == Place::Body {
                bytes.copy_within(at.., kept);
                return kept + bytes.len() - at;
            }
            if self.keeps(bytes[at]) {
                bytes[kept] = bytes[at];
                kept += 1;
            }
        }
        kept
    }

    fn keeps(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            self.end_line();
            return true;
        }
        if byte == b'\r' {
            return true;
        }
        self.line_has_text = true;
        match &mut self.place {
            Place::Target => match byte {
                b'?' | b'&' => self.name.clear(),
                b'=' if self.name.is_one_of(&ID_PARAMETERS) => self.place = Place::QueryId(0),
                byte => self.name.push(byte),
            },
            Place::QueryId(_) if byte == b'&' => self.place = Place::Target,
            Place::QueryId(_) if byte == b' ' => self.place = Place::Rest,
            Place::HeaderName if byte == b':' => self.end_header_name(),
            Place::HeaderName => self.name.push(byte.to_ascii_lowercase()),
            Place::QueryId(kept) | Place::HeaderId(kept) => {
                *kept += 1;
                return *kept <= MAX_ID;
            }
            Place::Rest | Place::Body => {}
        }
        true
    }

    fn end_header_name(&mut self) {
        self.has_body |= self.name.is_one_of(&BODY_HEADERS);
        self.place = if self.name.is_one_of(&[ID_HEADER]) {
            Place::HeaderId(0)
        } else {
            Place::Rest
        };
    }

    fn end_line(&mut self) {
        let blank_before_request = !self.line_has_text && self.place == Place::Target;
        let head_ended = !self.line_has_text && !blank_before_request;
        self.place = match (head_ended, self.has_body) {
            (true, true) => Place::Body,
            (true, false) => Place::Target,
            (false, _) if blank_before_request => Place::Target,
            (false, _) => Place::HeaderName,
        };
        self.name.clear();
        self.line_has_text = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Clips in pieces of the given length.
    fn clipped(text: &[u8], piece: usize) -> Vec<u8> {
        let mut clip = HeadClip::default();
        let mut left = Vec::new();
        for piece in text.chunks(piece) {
            let mut piece = piece.to_vec();
            let kept = clip.clip(&mut piece);
            left.extend_from_slice(&piece[..kept]);
        }
        left
    }

    fn request(target: &str, headers: &str) -> Vec<u8> {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
    }

    fn long(byte: &str) -> String {
        byte.repeat(1 << 20)
    }

    #[test]
    fn a_long_header_is_cut_and_what_follows_is_whole() {
        let sent = request("/", &format!("LAST-event-ID: {}\r\nA: b\r\n", long("i")));

        for piece in [1, 7, 4096, usize::MAX] {
            let expected = request(
                "/",
                &format!("LAST-event-ID: {}\r\nA: b\r\n", "i".repeat(MAX_ID - 1)),
            );
            assert_eq!(clipped(&sent, piece), expected);
        }
    }

    #[test]
    fn a_long_parameter_is_cut_by_either_name_wherever_it_stands() {
        for name in ["last_event_id", "lastEventId"] {
            let target = |id: &str| format!("/events/sse?a=b&{name}={id}&c={}", "d".repeat(3000));

            let left = clipped(&request(&target(&long("%20")), ""), 1000);

            let cut = &"%20".repeat(MAX_ID)[..MAX_ID];
            assert_eq!(left, request(&target(cut), ""));
        }
    }

    #[test]
    fn each_request_of_a_connection_is_looked_at() {
        let one = request("/?lastEventId=7-1", "Last-Event-ID: 7-42\r\n");
        let two = request("/", &format!("Last-Event-ID:{}\r\n", long("x")));
        let sent = [one.clone(), b"\r\n".to_vec(), two, one.clone()].concat();

        let left = clipped(&sent, 100);

        let cut = request("/", &format!("Last-Event-ID:{}\r\n", "x".repeat(MAX_ID)));
        assert_eq!(left, [one.clone(), b"\r\n".to_vec(), cut, one].concat());
    }

    #[test]
    fn a_body_and_all_after_it_pass_as_they_are() {
        for header in ["Content-Length: 9\r\n", "TRANSFER-ENCODING: chunked\r\n"] {
            let head = request("/", header);
            let body = format!("a\r\n\r\nLast-Event-ID: {}\r\n\r\n", long("x"));
            let sent = [head, body.into_bytes()].concat();

            assert_eq!(clipped(&sent, 1000), sent);
        }
    }

    proptest! {
        #[test]
        fn short_input_of_any_kind_passes_as_it_is(
            sent in "(GET |[?&=:a\r\n]|last_event_id|Last-Event-ID: |Content-Length: 1){0,60}",
            piece in 1..50_usize,
        ) {
            prop_assert_eq!(clipped(sent.as_bytes(), piece), sent.as_bytes());
        }

        #[test]
        fn no_line_break_is_ever_dropped(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("\r\n".to_owned()),
                    Just("Last-Event-ID:".to_owned()),
                    Just("?last_event_id=".to_owned()),
                    Just("x".repeat(MAX_ID + 5)),
                ],
                0..20,
            ),
            piece in 1..3000_usize,
        ) {
            let sent = parts.concat();
            let breaks = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();

            let left = clipped(sent.as_bytes(), piece);

            prop_assert_eq!(breaks(&left), breaks(sent.as_bytes()));
        }
    }
}
