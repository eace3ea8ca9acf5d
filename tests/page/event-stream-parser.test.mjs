// The event stream parser follows the WHATWG standard, wherever the bytes are split.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EVENT_MAX, EventStreamParser, EventTooLarge } from "../../static/event-stream-parser.js";

const encoder = new TextEncoder();

function read(text) {
  return readChunks([encoder.encode(text)]);
}

function readChunks(chunks, parser = new EventStreamParser()) {
  const events = chunks.flatMap((chunk) => parser.push(chunk));
  return { events, lastEventId: parser.lastEventId, retry: parser.retry };
}

/** The data of each event. */
function dataOf(text) {
  return read(text).events.map(({ data }) => data);
}

const event = (fields) => ({ type: "message", id: null, retry: null, topics: [], data: "", ...fields });

test("an event has the fields of its block", () => {
  const { events, lastEventId, retry } = read("topic: /a\nevent: book\nid: urn:1\ntopic: /b\nretry: 300\ndata: one\n\n");

  assert.deepEqual(events, [{ type: "book", id: "urn:1", retry: 300, topics: ["/a", "/b"], data: "one" }]);
  assert.deepEqual([lastEventId, retry], ["urn:1", 300]);
});

test("a block with only data is a message", () => {
  assert.deepEqual(read("data: one\n\n").events, [event({ data: "one" })]);
});

test("data lines are joined with LF, including empty ones", () => {
  assert.deepEqual(dataOf("data: one\ndata: two\n\n"), ["one\ntwo"]);
  assert.deepEqual(dataOf("data\n\n"), [""]);
  assert.deepEqual(dataOf("data:\ndata\ndata: x\n\n"), ["\n\nx"]);
});

test("exactly one space after the colon is removed", () => {
  assert.deepEqual(dataOf("data:one\n\ndata: one\n\ndata:  one\n\ndata:\tone\n\n"), ["one", "one", " one", "\tone"]);
});

test("CR, LF and CRLF end a line, in any mixture", () => {
  assert.deepEqual(dataOf("data: 1\r\n\r\ndata: 2\r\rdata: 3\n\ndata: 4\r\n\ndata: 5\n\r\ndata: 6\r\n\r"), ["1", "2", "3", "4", "5", "6"]);
  assert.deepEqual(dataOf("data: 1\rdata: 2\ndata: 3\r\ndata: 4\r\n\r\n"), ["1\n2\n3\n4"]);
});

test("no other character ends a line", () => {
  assert.deepEqual(dataOf("data: a\vb\fc\u0085d\u2028e\u2029f\n\n"), ["a\vb\fc\u0085d\u2028e\u2029f"]);
});

test("one byte order mark at the start is ignored", () => {
  assert.deepEqual(dataOf("\uFEFFdata: 1\n\n"), ["1"]);
  assert.deepEqual(dataOf("\uFEFF\uFEFFdata: 1\n\n"), []);
  assert.deepEqual(dataOf("data: 1\n\n\uFEFFdata: 2\n\n"), ["1"]);
});

test("comments and unknown fields are ignored", () => {
  assert.deepEqual(dataOf(": connected\n:\nDATA: no\ndatum: no\ndata : no\n data: no\nfoo\ndata: yes\n\n"), ["yes"]);
});

test("an id with NUL in it is ignored", () => {
  const { events, lastEventId } = read("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n");

  assert.deepEqual(events.map(({ id }) => id), ["1", null]);
  assert.equal(lastEventId, "1");
});

test("an empty id resets the last id", () => {
  assert.equal(read("id: 1\ndata: a\n\nid\ndata: b\n\n").lastEventId, "");
});

test("a block without data moves the last id, returns no event, and its type is dropped", () => {
  const { events, lastEventId } = read("event: book\nid: 7\n\ndata: a\n\n");

  assert.deepEqual(events, [event({ data: "a" })]);
  assert.equal(lastEventId, "7");
});

test("an id takes effect at the end of its block", () => {
  const parser = new EventStreamParser();

  parser.push(encoder.encode("id: 7\ndata: a\n"));
  assert.equal(parser.lastEventId, "");
  parser.push(encoder.encode("\n"));

  assert.equal(parser.lastEventId, "7");
});

test("blocks without an id keep the last id of the previous stream", () => {
  const { lastEventId } = readChunks([encoder.encode("retry: 10\n: connected\n\ndata: a\n\n")], new EventStreamParser("urn:6"));

  assert.equal(lastEventId, "urn:6");
});

test("a retry consists of digits only, and needs no data", () => {
  for (const [value, expected] of [["0", 0], ["0250", 250], ["", null], ["-1", null], ["1.5", null], ["1e3", null], ["+1", null], ["٣", null], [" 5", null]]) {
    assert.equal(read(`retry: ${value}\n\n`).retry, expected, `retry: ${value}`);
  }
  assert.equal(read("retry: 10\nretry: x\n\n").retry, 10);
});

test("a block that the stream does not complete is ignored", () => {
  const { events, lastEventId } = read("id: 1\ndata: a\n\nid: 2\ndata: b\n");

  assert.deepEqual(events, [event({ id: "1", data: "a" })]);
  assert.equal(lastEventId, "1");
});

test("an event is returned with the line end that completes it, even a CR", () => {
  const parser = new EventStreamParser();

  assert.deepEqual(parser.push(encoder.encode("data: a\r\n\r")), [event({ data: "a" })]);
  assert.deepEqual(parser.push(encoder.encode("\ndata: b\r\n")), []);
  assert.deepEqual(parser.push(encoder.encode("\r")), [event({ data: "b" })]);
});

test("invalid UTF-8 becomes U+FFFD and affects nothing else", () => {
  const bytes = Uint8Array.from([...encoder.encode("data: a"), 0xff, 0xc3, ...encoder.encode("\n\ndata: b\n\n")]);

  assert.deepEqual(readChunks([bytes]).events.map(({ data }) => data), ["a\uFFFD\uFFFD", "b"]);
});

const TRICKY = encoder.encode(
  "\uFEFFretry: 2524\r\n: connected\r\n\r\nid: urn:é1\r\nevent: bücher\r\ndata: {\"a\":1}\r\ndata: 😀\r\n\r\n"
    + "data: 2\r\rid: nul\0\ndata:\n\n\r\nid: 3\n\nevent: gap\ndata: x\rdata: y\nretry: 7\r\n\rdata: z\n\nid: 4\ndata: cut off",
);

test("the same bytes give the same events wherever they are split in two", () => {
  const whole = readChunks([TRICKY]);
  assert.equal(whole.events.length, 5);

  for (let at = 0; at <= TRICKY.length; at += 1) {
    assert.deepEqual(readChunks([TRICKY.slice(0, at), TRICKY.slice(at)]), whole, `cut at ${at}`);
  }
});

test("the same bytes give the same events in chunks of any size, down to single bytes", () => {
  const whole = readChunks([TRICKY]);

  for (let size = 1; size <= 16; size += 1) {
    const chunks = [];
    for (let at = 0; at < TRICKY.length; at += size) chunks.push(TRICKY.slice(at, at + size), new Uint8Array());
    assert.deepEqual(readChunks(chunks), whole, `chunks of ${size}`);
  }
});

test("random streams give the same events whole and split at random", () => {
  const random = generator(7);
  const words = ["data", "id", "event", "retry", ":", ": ", "\n", "\n", "\r", "\r\n", "\r\n\r\n", "é", "😀", "\0", "12", " ", "x", "\uFEFF"];
  for (let round = 0; round < 300; round += 1) {
    const bytes = encoder.encode(Array.from({ length: 60 }, () => words[random(words.length)]).join(""));
    const whole = readChunks([bytes]);
    const chunks = [];
    for (let at = 0; at < bytes.length;) {
      const size = 1 + random(9);
      chunks.push(bytes.slice(at, at + size));
      at += size;
    }

    assert.deepEqual(readChunks(chunks), whole, `round ${round}: ${JSON.stringify(new TextDecoder().decode(bytes))}`);
  }
});

test("an endless event is rejected instead of filling memory", () => {
  const chunk = encoder.encode("x".repeat(EVENT_MAX / 2));

  for (const start of ["data: ", "id: ", ": ", "data: a\ndata: "]) {
    const parser = new EventStreamParser();
    parser.push(encoder.encode(start));
    parser.push(chunk);
    assert.throws(() => parser.push(chunk), EventTooLarge, start);
  }
  const parser = new EventStreamParser();
  const lines = encoder.encode("data\n".repeat(100_000));
  assert.throws(() => {
    for (let round = 0; round < 50; round += 1) parser.push(lines);
  }, EventTooLarge);
});

test("a stream can be longer than the limit of one event", () => {
  const parser = new EventStreamParser();
  const chunk = encoder.encode(`data: ${"x".repeat(EVENT_MAX / 4)}\n\n`);

  for (let round = 0; round < 12; round += 1) assert.equal(parser.push(chunk).length, 1);
});

/** A deterministic generator of numbers below a limit. */
function generator(seed) {
  let state = seed;
  return (limit) => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
