//! Encodes a `text/event-stream` as the WHATWG HTML standard defines it (section 9.2, "Server-sent events").
//! All bytes of a stream after the response head are created here.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    event::Event,
    event_id::EventId,
    frame::{Frame, put_line},
    gap::{self, Gap},
};

/// The last chunk of a chunked HTTP body, which ends the body.
pub(crate) const LAST_CHUNK: Bytes = Bytes::from_static(b"0\r\n\r\n");

/// Creates a heartbeat: a comment line that keeps a silent stream open through proxies and lets the server
/// detect early that a client is gone. It ends without a blank line, because common clients call the
/// application at each blank line, even if no data came before it.
pub(crate) fn heartbeat() -> Frame {
    Frame::new(b":\n")
}

/// The name of checkpoints: events whose only purpose is to set a client's last event id.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The data of checkpoints, except for that at the end of a snapshot.
const NO_DATA: &str = "{}";

/// Creates a checkpoint, an event that sets the client's last event id to `id`. The client must already have
/// received all of its events up to `id`. The data is `{}`, because some clients parse the data of every
/// event as JSON.
pub(crate) fn checkpoint(id: EventId) -> Frame {
    let mut text = BytesMut::new();
    put_checkpoint(&mut text, Some(id), NO_DATA);
    Frame::new(&text)
}

/// Creates the checkpoint at the end of a snapshot, the current values of topics. `last_id`: the id after
/// which the stream continues. `None`: this id is unknown. `is_complete`: no value may be missing or outdated.
pub(crate) fn end_of_snapshot(last_id: Option<EventId>, is_complete: bool) -> Frame {
    let mut text = BytesMut::new();
    let data = if is_complete {
        "{\"snapshot\":\"complete\"}"
    } else {
        "{\"snapshot\":\"partial\"}"
    };
    put_checkpoint(&mut text, last_id, data);
    Frame::new(&text)
}

/// Creates the event that warns a client that its access token expires at `expires_at`, in seconds since
/// 1970. The stream ends in `in_seconds`. The event has no id, because it is not in the log.
pub(crate) fn expiring(expires_at: u64, in_seconds: u64) -> Frame {
    let data = format!("{{\"expires_at\":{expires_at},\"in_seconds\":{in_seconds}}}");
    Frame::new(format!("event: expiring\ndata: {data}\n\n").as_bytes())
}

/// Creates the beginning of a stream: the reconnect delay, and a comment. The comment makes proxies forward
/// the headers and makes `onopen` fire before the first event.
///
/// `last_id` is the id after which the stream starts. It is sent as a checkpoint, an event that sets the
/// client's last event id. So a client that is disconnected before its first event loses nothing. `None`: the
/// client already knows this id, or it is unknown. If events are missing, `gap` is sent last.
pub(crate) fn greeting(retry: Duration, last_id: Option<EventId>, gap: Option<&Gap>) -> Frame {
    let mut text = BytesMut::new();
    put_retry(&mut text, retry);
    text.extend_from_slice(b": connected\n");
    if last_id.is_some() {
        put_checkpoint(&mut text, last_id, NO_DATA);
    }
    if let Some(gap) = gap {
        put_gap(&mut text, gap);
    }
    Frame::new(&text)
}

/// Creates the last block of a stream that the server ends: the reconnect delay, and a checkpoint with the id
/// after which the client must resume. `last_id` is `None` if this id is unknown, or if the client was
/// rejected; the client then keeps its last event id.
pub(crate) fn goodbye(retry: Duration, last_id: Option<EventId>) -> Frame {
    let mut text = BytesMut::new();
    put_retry(&mut text, retry);
    put_checkpoint(&mut text, last_id, NO_DATA);
    Frame::new(&text)
}

/// Creates the checkpoint that ends the response to a poll. `last_id`: the id after which the next poll
/// continues. `None`: this id is unknown.
pub(crate) fn end_of_poll(last_id: Option<EventId>) -> Frame {
    let mut text = BytesMut::new();
    put_checkpoint(&mut text, last_id, NO_DATA);
    Frame::new(&text)
}

/// Encodes an event of the log. If its publisher chose an id, subscribers receive that id instead of `id`.
pub(crate) fn event(id: EventId, event: &Event) -> Frame {
    let mut text = BytesMut::with_capacity(event.data().len() + 64);
    match event.given_id() {
        Some(given) => put_line(&mut text, "id", format_args!("{}", given.as_str())),
        None => put_line(&mut text, "id", format_args!("{id}")),
    }
    if let Some(name) = event.name() {
        put_line(&mut text, "event", format_args!("{}", name.as_str()));
    }
    if let Some(ms) = event.retry() {
        put_line(&mut text, "retry", format_args!("{ms}"));
    }
    for line in lines(event.data()) {
        put_line(&mut text, "data", format_args!("{line}"));
    }
    text.put_u8(b'\n');
    Frame::new(&text)
}

/// Size of `data` in an encoded stream, in bytes, without the first field name and the last line break. Each
/// line break in `data` counts as 7 bytes: the stream has an LF and the field name `data: ` in its place.
pub(crate) fn data_bytes(data: &str) -> usize {
    const LINE: usize = "data: \n".len();
    let bytes: usize = lines(data).map(|line| line.len() + LINE).sum();
    bytes - LINE
}

/// Creates a gap event, which tells the client that events are missing. Its id is the id after which the
/// stream continues. So a client that is disconnected right after the gap resumes there and does not receive
/// the same gap again. If that id is unknown, the event has none.
pub(crate) fn gap(gap: &Gap) -> Frame {
    let mut text = BytesMut::new();
    put_gap(&mut text, gap);
    Frame::new(&text)
}

fn put_retry(text: &mut BytesMut, retry: Duration) {
    put_line(text, "retry", format_args!("{}", retry.as_millis()));
}

fn put_checkpoint(text: &mut BytesMut, last_id: Option<EventId>, data: &str) {
    put_line(text, "event", format_args!("{CHECKPOINT}"));
    if let Some(id) = last_id {
        put_line(text, "id", format_args!("{id}"));
    }
    put_line(text, "data", format_args!("{data}"));
    text.put_u8(b'\n');
}

fn put_gap(text: &mut BytesMut, gap: &Gap) {
    let data = serde_json::to_string(gap).expect("a gap has only strings and numbers");
    if let Some(id) = gap.resumed_after {
        put_line(text, "id", format_args!("{id}"));
    }
    put_line(text, "event", format_args!("{}", gap::EVENT_NAME));
    put_line(text, "data", format_args!("{data}"));
    text.put_u8(b'\n');
}

/// Splits event data at each CR, LF and CRLF, because each of them ends a line in an event stream.
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

    use super::super::{event::EventName, gap::GapReason};
    use super::*;
    use crate::event::{Batch, Framing};

    const ID: EventId = EventId {
        epoch: 1_763_856_000_000,
        seq: 42,
    };

    fn text(frame: &Frame) -> String {
        String::from_utf8(frame.bytes(Framing::Plain).to_vec()).unwrap()
    }

    #[test]
    fn a_message_is_its_id_and_its_data() {
        let frame = event(ID, &Event::message("Message number: 42"));

        assert_eq!(
            text(&frame),
            "id: #1763856000000-42\ndata: Message number: 42\n\n"
        );
    }

    #[test]
    fn a_chunk_begins_with_its_length() {
        let short = heartbeat();
        let long = event(ID, &Event::message("x".repeat(5000)));

        assert_eq!(short.bytes(Framing::Chunked), "2\r\n:\n\r\n");
        let chunk = long.bytes(Framing::Chunked);
        let header = format!("{:X}\r\n", text(&long).len());
        assert_eq!(chunk, format!("{header}{}\r\n", text(&long)));
    }

    #[test]
    fn a_named_event_has_an_event_field() {
        let name = EventName::parse("price").unwrap();

        let frame = event(ID, &Event::message("9").named(name));

        assert_eq!(
            text(&frame),
            "id: #1763856000000-42\nevent: price\ndata: 9\n\n"
        );
    }

    #[test]
    fn every_kind_of_line_break_starts_a_data_line() {
        let frame = event(ID, &Event::message("a\nb\rc\r\nd\n\r\ne\n"));

        assert_eq!(
            text(&frame),
            "id: #1763856000000-42\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \n\n"
        );
    }

    #[test]
    fn empty_data_is_still_an_event() {
        assert_eq!(
            text(&event(ID, &Event::message(""))),
            "id: #1763856000000-42\ndata: \n\n"
        );
    }

    #[test]
    fn a_stream_begins_with_lines_and_ends_with_a_block_that_has_data() {
        let retry = Duration::from_millis(1500);

        assert_eq!(text(&heartbeat()), ":\n");
        assert_eq!(
            text(&greeting(retry, None, None)),
            "retry: 1500\n: connected\n"
        );
        assert_eq!(
            text(&greeting(retry, Some(ID), None)),
            "retry: 1500\n: connected\nevent: checkpoint\nid: #1763856000000-42\ndata: {}\n\n"
        );
        assert_eq!(
            text(&checkpoint(ID)),
            "event: checkpoint\nid: #1763856000000-42\ndata: {}\n\n"
        );
        assert_eq!(
            text(&goodbye(retry, Some(ID))),
            "retry: 1500\nevent: checkpoint\nid: #1763856000000-42\ndata: {}\n\n"
        );
        assert_eq!(
            text(&goodbye(retry, None)),
            "retry: 1500\nevent: checkpoint\ndata: {}\n\n"
        );
    }

    #[test]
    fn a_gap_is_an_event_that_moves_the_cursor() {
        let known = Gap {
            reason: GapReason::Evicted,
            requested: "#1763856000000-3".into(),
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
            text(&gap(&known)),
            "id: #1763856000000-42\nevent: gap\ndata: {\"reason\":\"evicted\",\
             \"requested\":\"#1763856000000-3\",\"resumed_after\":\"#1763856000000-42\",\
             \"missed\":39}\n\n"
        );
        assert_eq!(
            text(&gap(&unknown)),
            "event: gap\ndata: {\"reason\":\"epoch\",\"requested\":\"\\\"\\n\",\
             \"resumed_after\":null,\"missed\":null}\n\n"
        );
    }

    #[test]
    fn a_batch_joins_its_frames_and_does_not_copy_a_single_one() {
        let (one, two) = (heartbeat(), goodbye(Duration::from_secs(1), None));
        let mut single = Batch::new(Framing::Chunked);
        let mut pair = Batch::new(Framing::Plain);

        single.push(&one);
        pair.push(&one);
        pair.push(&two);

        assert_eq!(pair.len(), text(&one).len() + text(&two).len());
        assert_eq!(pair.finish(), text(&one) + &text(&two));
        let shared = single.finish();
        assert_eq!(shared.as_ptr(), one.bytes(Framing::Chunked).as_ptr());
        assert_eq!(shared, one.bytes(Framing::Chunked));
    }

    proptest! {
        #[test]
        fn the_lines_joined_again_are_the_data(data in "[ab\r\n:]{0,30}") {
            let joined = lines(&data).collect::<Vec<_>>().join("\n");

            prop_assert_eq!(joined, data.replace("\r\n", "\n").replace('\r', "\n"));
        }
    }
}
