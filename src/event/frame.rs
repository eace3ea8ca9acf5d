//! Encoded parts of a `text/event-stream`, and how they are sent: with or without HTTP chunks, one by one or
//! in batches.

use std::{io::Write as _, ops::Range};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{event_id::EventId, topic::Topic};

/// A part of an event stream, such as one event, in encoded form. Subscribers that receive it share its
/// bytes. It is stored inside an HTTP chunk (RFC 9112, section 7.1), because most subscribers receive it in
/// that form. The default frame is empty and never sent; the log in memory uses it to mark where events are
/// missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    chunk: Bytes,
    /// Length of the chunk header in bytes.
    header: u8,
}

/// How the frames of a stream are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each frame is sent inside its HTTP chunk.
    Chunked,
    /// Frames are sent without their HTTP chunks: the end of the connection ends the stream (HTTP/1.0), or
    /// another layer adds chunks.
    Plain,
}

impl Frame {
    /// Wraps `text` in an HTTP chunk. `text` must not be empty: an empty chunk would end the body.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut chunk = BytesMut::with_capacity(text.len() + 8);
        write!((&mut chunk).writer(), "{:X}\r\n", text.len()).expect(BUFFER_GROWS);
        let header = chunk.len() as u8;
        chunk.extend_from_slice(text);
        chunk.extend_from_slice(b"\r\n");
        Self {
            chunk: chunk.freeze(),
            header,
        }
    }

    /// The bytes to send. They share the memory of the frame and are not copied.
    pub(crate) fn bytes(&self, framing: Framing) -> Bytes {
        self.chunk.slice(self.range(framing))
    }

    /// Length of the frame with its HTTP chunk in bytes. The log needs this much memory for them.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }

    /// This frame, which contains an event, with a field `topic` for each of these topics in front. Clients
    /// that do not know the field ignore it.
    pub(crate) fn with_topics(&self, topics: &[&Topic]) -> Self {
        let event = &self.chunk[self.range(Framing::Plain)];
        let mut text = BytesMut::with_capacity(event.len() + 64 * topics.len());
        for topic in topics {
            put_line(&mut text, "topic", format_args!("{topic}"));
        }
        text.extend_from_slice(event);
        Self::new(&text)
    }

    /// This frame, which contains an event, with another id.
    pub(crate) fn with_id(&self, id: EventId) -> Self {
        let event = &self.chunk[self.range(Framing::Plain)];
        // The id is in the first line.
        let end_of_id = event.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let mut text = BytesMut::with_capacity(event.len() + 32);
        put_line(&mut text, "id", format_args!("{id}"));
        text.extend_from_slice(&event[end_of_id + 1..]);
        Self::new(&text)
    }

    fn range(&self, framing: Framing) -> Range<usize> {
        match framing {
            Framing::Chunked => 0..self.chunk.len(),
            Framing::Plain => usize::from(self.header)..self.chunk.len() - b"\r\n".len(),
        }
    }
}

/// Frames that are sent together, in order. A single frame is not copied; several frames are copied into one
/// buffer.
#[derive(Debug)]
pub(crate) struct Batch {
    framing: Framing,
    only: Bytes,
    joined: BytesMut,
}

impl Batch {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            only: Bytes::new(),
            joined: BytesMut::new(),
        }
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        if self.len() == 0 {
            self.only = frame.bytes(self.framing);
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.only);
        }
        let range = frame.range(self.framing);
        self.joined.extend_from_slice(&frame.chunk[range]);
    }

    /// Length of all frames so far, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.only.len().max(self.joined.len())
    }

    pub(crate) fn finish(self) -> Bytes {
        if self.joined.is_empty() {
            self.only
        } else {
            self.joined.freeze()
        }
    }
}

const BUFFER_GROWS: &str = "a write to a buffer that grows cannot fail";

/// Writes a field of an event.
pub(super) fn put_line(text: &mut BytesMut, field: &str, value: std::fmt::Arguments<'_>) {
    writeln!(text.writer(), "{field}: {value}").expect(BUFFER_GROWS);
}
