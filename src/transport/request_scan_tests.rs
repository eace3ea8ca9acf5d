//! The scan finds the end of each request and shortens long ids, however the bytes are split into reads.

use proptest::prelude::*;

use super::*;

/// Scans `text` in pieces of `piece` bytes, and returns the bytes that remain.
fn shortened(text: &[u8], piece: usize) -> Vec<u8> {
    let mut scan = RequestScan::default();
    let mut left = Vec::new();
    for piece in text.chunks(piece) {
        left.extend(scan.read_all(piece));
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
fn a_long_id_header_is_shortened_and_the_next_header_is_unchanged() {
    let sent = request("/", &format!("LAST-event-ID: {}\r\nA: b\r\n", long("i")));

    for piece in [1, 7, 4096, usize::MAX] {
        let expected = request(
            "/",
            &format!("LAST-event-ID: {}\r\nA: b\r\n", "i".repeat(MAX_ID)),
        );
        assert_eq!(shortened(&sent, piece), expected);
    }
}

#[test]
fn a_long_id_parameter_is_shortened_under_either_name() {
    for name in ["last_event_id", "lastEventId"] {
        let target = |id: &str| format!("/events/sse?a=b&{name}={id}&c={}", "d".repeat(3000));

        let left = shortened(&request(&target(&long("%20")), ""), 1000);

        let cut = &"%20".repeat(MAX_ID)[..MAX_ID];
        assert_eq!(left, request(&target(cut), ""));
    }
}

#[test]
fn each_request_of_a_connection_is_scanned() {
    let one = request("/?lastEventId=7-1", "Last-Event-ID: 7-42\r\n");
    let two = request("/", &format!("Last-Event-ID:{}\r\n", long("x")));
    let sent = [one.clone(), b"\r\n".to_vec(), two, one.clone()].concat();

    let left = shortened(&sent, 100);

    let cut = request("/", &format!("Last-Event-ID:{}\r\n", "x".repeat(MAX_ID)));
    assert_eq!(left, [one.clone(), b"\r\n".to_vec(), cut, one].concat());
}

#[test]
fn a_second_id_parameter_is_shortened_too() {
    let target = |id: &str| format!("/?last_event_id=1-1&lastEventId={id}");

    let left = shortened(&request(&target(&long("x")), ""), 1000);

    assert_eq!(left, request(&target(&"x".repeat(MAX_ID)), ""));
}

#[test]
fn only_the_first_question_mark_begins_the_query() {
    let pattern = format!("?last_event_id={}", "p".repeat(3000));
    let whole = request(&format!("/hub?match_urlpattern={pattern}&match=a"), "");
    let cut = |name: &str, id: &str| request(&format!("/hub?match=a?b&{name}={id}#?"), "");

    assert_eq!(shortened(&whole, 100), whole);
    for name in ["last_event_id", "%6Cast%5fevent_id", "Last-Event-ID"] {
        let left = shortened(&cut(name, &long("x")), 100);
        assert_eq!(left, cut(name, &"x".repeat(MAX_ID)), "{name}");
    }
}

#[test]
fn space_before_an_id_does_not_count_as_part_of_it() {
    let sent = request("/", &format!("Last-Event-ID:{}1-5\r\n", " ".repeat(3000)));

    assert_eq!(shortened(&sent, 100), sent);
}

#[test]
fn a_body_passes_unchanged_and_the_next_request_is_scanned() {
    let body = format!("a\r\n\r\nLast-Event-ID: {}\r\n\r\n", long("x"));
    let with_body = request("/", &format!("content-length:  {} \r\n", body.len()));
    let next = request("/", &format!("Last-Event-ID:{}\r\n", long("x")));
    let sent = [with_body.clone(), body.clone().into_bytes(), next].concat();

    let left = shortened(&sent, 1000);

    let cut = request("/", &format!("Last-Event-ID:{}\r\n", "x".repeat(MAX_ID)));
    assert_eq!(left, [with_body, body.into_bytes(), cut].concat());
}

#[test]
fn a_chunked_body_passes_unchanged_and_the_next_request_is_scanned() {
    let body = "3\r\na\n\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
    let with_body = request("/", "TRANSFER-encoding: Chunked\r\n");
    let next = request("/", &format!("Last-Event-ID:{}\r\n", long("x")));
    let sent = [with_body.clone(), body.into(), next].concat();

    let left = shortened(&sent, 1000);

    let cut = request("/", &format!("Last-Event-ID:{}\r\n", "x".repeat(MAX_ID)));
    assert_eq!(left, [with_body, body.into(), cut].concat());
}

#[test]
fn a_body_without_a_known_end_and_all_later_bytes_pass_unchanged() {
    for header in [
        "TRANSFER-ENCODING: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: +1\r\n",
    ] {
        let id = format!("a\r\n\r\nLast-Event-ID: {}\r\n\r\n", long("x"));
        let sent = [request("/", header), id.into_bytes()].concat();

        assert_eq!(shortened(&sent, 1000), sent);
    }
}

#[test]
fn a_request_is_counted_when_its_head_ends() {
    let mut scan = RequestScan::default();
    let mut read = |text: &str| {
        scan.read_all(text.as_bytes());
        (scan.take_heads(), scan.unfinished(), scan.is_unframed())
    };

    assert_eq!(read("\r\n\nGET / HTTP/1.1\r\n"), (0, 19, false));
    assert_eq!(read("\r\n"), (1, 0, false));
    assert_eq!(
        read("GET / HTTP/1.0\n\nGET / HTTP/1.0\n\nGE"),
        (2, 2, false)
    );
    assert_eq!(read("T /\nContent-Length: 0\n\nGET /\n\n"), (2, 0, false));
    assert_eq!(
        read("GET /\nContent-Length: 5\n\n\n\n\n\nxGET /\n\n"),
        (2, 0, false)
    );
    assert_eq!(read("GET /\nTransfer-Encoding: x\n\n"), (1, 0, true));
    assert_eq!(read("GET /\n\n"), (0, 7, true));
}

proptest! {
    #[test]
    fn shortening_an_id_does_not_change_how_the_request_is_parsed(
        parameters in prop::collection::vec(
            (
                prop::sample::select(&[
                    "last_event_id", "lastEventId", "lastEventID", "Last-Event-ID", "match",
                    "match_urlpattern", "%6Cast_event_i%64", "last+event+id", "topic", "a", "",
                ][..]),
                "(=|)",
                "[a-c?=/:#%+]{0,6}",
                prop::sample::select(&["", "?last_event_id=", "%3F", "%26", "#", " ", "&"][..]),
                prop_oneof![Just(0), Just(5), 1020..1030_usize],
            ),
            0..5,
        ),
        before in prop::sample::select(&["/", "/a?", "/?", "*", "http://a/?b?", "/last_event_id="][..]),
        header in "(Last-Event-ID: {0,3}|last-event-id:\t|A: |Last-Event-ID : )",
        space in prop_oneof![Just(0), 1020..1030_usize],
        id in prop_oneof![Just(0), Just(5), 1020..1030_usize],
    ) {
        let parameters: Vec<_> = parameters
            .into_iter()
            .map(|(name, is, value, odd, length)| {
                format!("{name}{is}{value}{odd}{}", "x".repeat(length))
            })
            .collect();
        let target = format!("{before}{}", parameters.join("&"));
        let header = format!("{header}{}{}\r\n", " ".repeat(space), "y".repeat(id));

        crate::fuzzing::request(&request(&target, &header));
    }

    #[test]
    fn short_input_of_any_kind_passes_unchanged(
        sent in "(GET |[?&=:a\r\n]|last_event_id|Last-Event-ID: |Content-Length: 1){0,60}",
        piece in 1..50_usize,
    ) {
        prop_assert_eq!(shortened(sent.as_bytes(), piece), sent.as_bytes());
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

        let left = shortened(sent.as_bytes(), piece);

        prop_assert_eq!(breaks(&left), breaks(sent.as_bytes()));
    }
}
