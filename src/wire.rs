//! The bytes of a `text/event-stream`, as the WHATWG HTML standard defines them (section 9.2,
//! "Server-sent events"). Everything that is sent to a subscriber is made here.

use std::{io::Write as _, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    event::{Event, EventId},
    gap::{self, Gap},
};

/// Keeps a silent stream open through proxies, and tells the server early of a dead client.
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// What a stream begins with: how long to wait before reconnecting, and a comment, so that proxies
/// pass the headers on and `onopen` fires before there is an event.
pub(crate) fn greeting(retry: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n: connected\n\n", retry.as_millis()))
}

/// What a stream ends with when the server ends it: how long to wait before reconnecting.
pub(crate) fn farewell(retry: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n\n", retry.as_millis()))
}

/// An event with its id.
pub(crate) fn event(id: EventId, event: &Event) -> Bytes {
    let mut frame = BytesMut::with_capacity(event.data().len() + 64);
    put_line(&mut frame, "id", format_args!("{id}"));
    if let Some(name) = event.name() {
        put_line(&mut frame, "event", format_args!("{}", name.as_str()));
    }
    for line in lines(event.data()) {
        put_line(&mut frame, "data", format_args!("{line}"));
    }
    frame.put_u8(b'\n');
    frame.freeze()
}

/// A gap. It carries the id it resumes after, so that a client that is cut off right behind it
/// goes on from there and is not told of the same gap again.
pub(crate) fn gap(gap: &Gap) -> Bytes {
    let data = serde_json::to_string(gap).expect("a gap has only strings and numbers");
    let mut frame = BytesMut::with_capacity(data.len() + 64);
    if let Some(id) = gap.resumed_after {
        put_line(&mut frame, "id", format_args!("{id}"));
    }
    put_line(&mut frame, "event", format_args!("{}", gap::EVENT_NAME));
    put_line(&mut frame, "data", format_args!("{data}"));
    frame.put_u8(b'\n');
    frame.freeze()
}

fn put_line(frame: &mut BytesMut, field: &str, value: std::fmt::Arguments<'_>) {
    writeln!(frame.writer(), "{field}: {value}").expect("a growing buffer takes every write");
}

/// Splits at CR, LF and CRLF, each of which ends a line on the wire.
fn lines(data: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let break_len = if text[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = Some(&text[end + break_len..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{event::EventName, gap::GapReason};

    const ID: EventId = EventId {
        epoch: 1_763_856_000_000,
        seq: 42,
    };

    #[test]
    fn a_message_is_its_id_and_its_data() {
        let frame = event(ID, &Event::message("Message number: 42"));

        assert_eq!(frame, "id: 1763856000000-42\ndata: Message number: 42\n\n");
    }

    #[test]
    fn a_named_event_says_its_name() {
        let name = EventName::parse("price").unwrap();

        let frame = event(ID, &Event::message("9").named(name));

        assert_eq!(frame, "id: 1763856000000-42\nevent: price\ndata: 9\n\n");
    }

    #[test]
    fn every_kind_of_line_break_starts_a_data_line() {
        let frame = event(ID, &Event::message("a\nb\rc\r\nd\n\r\ne\n"));

        assert_eq!(
            frame,
            "id: 1763856000000-42\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \n\n"
        );
    }

    #[test]
    fn empty_data_is_still_an_event() {
        assert_eq!(
            event(ID, &Event::message("")),
            "id: 1763856000000-42\ndata: \n\n"
        );
    }

    #[test]
    fn a_stream_begins_with_retry_and_a_comment_and_ends_with_retry() {
        assert_eq!(
            greeting(Duration::from_millis(1500)),
            "retry: 1500\n: connected\n\n"
        );
        assert_eq!(farewell(Duration::from_secs(2)), "retry: 2000\n\n");
    }

    #[test]
    fn a_gap_is_an_event_that_moves_the_cursor() {
        let known = Gap {
            reason: GapReason::Evicted,
            requested: "1763856000000-3".into(),
            resumed_after: Some(ID),
            missed: Some(39),
        };
        let unknown = Gap {
            reason: GapReason::Epoch,
            requested: "\"\n".into(),
            resumed_after: None,
            missed: None,
        };

        assert_eq!(
            gap(&known),
            "id: 1763856000000-42\nevent: gap\ndata: {\"reason\":\"evicted\",\
             \"requested\":\"1763856000000-3\",\"resumed_after\":\"1763856000000-42\",\
             \"missed\":39}\n\n"
        );
        assert_eq!(
            gap(&unknown),
            "event: gap\ndata: {\"reason\":\"epoch\",\"requested\":\"\\\"\\n\",\
             \"resumed_after\":null,\"missed\":null}\n\n"
        );
    }

    proptest! {
        #[test]
        fn the_lines_joined_again_are_the_data(data in "[ab\r\n:]{0,30}") {
            let joined = lines(&data).collect::<Vec<_>>().join("\n");

            prop_assert_eq!(joined, data.replace("\r\n", "\n").replace('\r', "\n"));
        }
    }
}
