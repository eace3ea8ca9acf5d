// Reads the bytes of a text/event-stream into events, by the rules of the WHATWG. No DOM.
//
// Chunks may end anywhere: within a character, between CR and LF, in the middle of a field. An event
// is given out at the end of the line that completes it, and not before.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

/** The longest event, in UTF-16 code units. Beyond it the stream cannot be read on. */
export const EVENT_MAX = 4 * 1024 * 1024;

const DIGITS = /^[0-9]+$/;

/** An event, or a line of one, is longer than EVENT_MAX. */
export class EventTooLarge extends Error {}

export class EventStreamParser {
  /** What to send as `Last-Event-ID` after this; "": nothing. */
  lastEventId;
  /** The newest reconnection time in ms; null: none was given. May be Infinity. */
  retry = null;
  // It takes one byte order mark off the start, and puts U+FFFD for what is not UTF-8.
  #decoder = new TextDecoder();
  /** The line so far. */
  #line = "";
  /** Whether the last line ended with CR, so that an LF next belongs to it. */
  #afterCr = false;
  /** The id that holds once the block ends; unlike the rest of a block it outlives it. */
  #idBuffer;
  #block = emptyBlock();

  /**
   * @param {string} lastEventId the last id of the stream before this one. Without it, the first
   *   block without an id would take the id away.
   */
  constructor(lastEventId = "") {
    this.lastEventId = lastEventId;
    this.#idBuffer = lastEventId;
  }

  /**
   * Takes a chunk and gives the events that it completes. `id` and `retry` are null where the event
   * itself has none.
   * @param {Uint8Array} bytes
   * @returns {{ type: string, id: string | null, retry: number | null, data: string }[]}
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

  /** The end of a block: the id holds from now on, and with data there is an event. */
  #dispatch() {
    const { type, id, retry, data } = this.#block;
    this.#block = emptyBlock();
    this.lastEventId = this.#idBuffer;
    if (data === "") return null;
    return { type: type || "message", id, retry, data: data.slice(0, -1) };
  }

  #assertSize() {
    if (this.#line.length + this.#block.data.length > EVENT_MAX) {
      throw new EventTooLarge(`an event is longer than ${EVENT_MAX} characters`);
    }
  }
}

function emptyBlock() {
  return { type: "", id: null, retry: null, data: "" };
}
