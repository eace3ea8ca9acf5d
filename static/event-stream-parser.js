// Parses the bytes of a text/event-stream into events, by the rules of the WHATWG. No DOM.
//
// Chunks may end anywhere: within a character, between CR and LF, in the middle of a field. An event is
// returned with the chunk that ends its last line, never earlier.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

/** Maximum size of an event in UTF-16 code units. Beyond it, `push` throws EventTooLarge. */
export const EVENT_MAX = 4 * 1024 * 1024;

const DIGITS = /^[0-9]+$/;

/** An event, or a line of one, is longer than EVENT_MAX. */
export class EventTooLarge extends Error {}

export class EventStreamParser {
  /** The id to send as `Last-Event-ID` when reconnecting; "": none. */
  lastEventId;
  /** The newest reconnection time in ms; null: none was received. May be Infinity. */
  retry = null;
  // Removes one byte order mark at the start, and replaces invalid UTF-8 with U+FFFD.
  #decoder = new TextDecoder();
  /** The current line, as far as it was received. */
  #line = "";
  /** Whether the last line ended with CR, so that an LF that follows belongs to it. */
  #afterCr = false;
  /**
   * The newest id, which becomes `lastEventId` when the block ends. Unlike other fields it is kept across
   * blocks.
   */
  #idBuffer;
  #block = emptyBlock();

  /**
   * @param {string} lastEventId the last id of the previous stream. Without it, the first block without an id
   *   would reset the id to "".
   */
  constructor(lastEventId = "") {
    this.lastEventId = lastEventId;
    this.#idBuffer = lastEventId;
  }

  /**
   * Parses a chunk and returns the events that it completes. `id` and `retry` are null if the event itself
   * does not have the field. `topics` are the values of the fields `topic`, which the hub sends with `topics=1`.
   * @param {Uint8Array} bytes
   * @returns {{ type: string, id: string | null, retry: number | null, topics: string[], data: string }[]}
   * @throws {EventTooLarge}
   */
  push(bytes) {
    const text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    const events = [];
    const lineEnd = /\r\n?|\n/g;
    let from = this.#afterCr && text[0] === "\n" ? 1 : 0;
    lineEnd.lastIndex = from;
    for (let end = lineEnd.exec(text); end; end = lineEnd.exec(text)) {
      const line = this.#line + text.slice(from, end.index);
      this.#line = "";
      from = lineEnd.lastIndex;
      const event = line === "" ? this.#dispatch() : this.#field(line);
      if (event) events.push(event);
    }
    this.#line += text.slice(from);
    this.#afterCr = text.endsWith("\r");
    this.#assertSize();
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    // A comment.
    if (colon === 0) return;
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    switch (name) {
      case "data":
        this.#block.data += `${value}\n`;
        this.#assertSize();
        break;
      case "event":
        this.#block.type = value;
        break;
      case "topic":
        this.#block.topics.push(value);
        this.#block.topicsLength += value.length + 1;
        this.#assertSize();
        break;
      case "id":
        if (value.includes("\0")) break;
        this.#idBuffer = value;
        this.#block.id = value;
        break;
      case "retry":
        if (!DIGITS.test(value)) break;
        this.retry = Number(value);
        this.#block.retry = this.retry;
        break;
      default:
    }
  }

  /** Ends a block: the id takes effect, and if the block has data, returns an event. */
  #dispatch() {
    const { type, id, retry, topics, data } = this.#block;
    this.#block = emptyBlock();
    this.lastEventId = this.#idBuffer;
    if (data === "") return null;
    return { type: type || "message", id, retry, topics, data: data.slice(0, -1) };
  }

  #assertSize() {
    if (this.#line.length + this.#block.topicsLength + this.#block.data.length > EVENT_MAX) {
      throw new EventTooLarge(`an event is longer than ${EVENT_MAX} characters`);
    }
  }
}

function emptyBlock() {
  return { type: "", id: null, retry: null, topics: [], topicsLength: 0, data: "" };
}
