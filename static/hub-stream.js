// A stream of the hub that reconnects automatically, like an EventSource, but sends the token in a header,
// which an EventSource cannot do. No DOM.
//
// It reconnects after failures that may be temporary: a lost connection, the end of the stream, a 5xx status.
// A 4xx status or a response that is not an event stream ends it for good.

import { EventStreamParser, EventTooLarge } from "./event-stream-parser.js";
import { endsSnapshot } from "./hub-event.js";
import { problemSentence, readProblem } from "./problem.js";

/** Pause before a reconnect, in ms, as long as the server has sent no `retry`. */
const RETRY_MS = 2000;
// A publisher may set any `retry`. The minimum protects the server, the maximum fits into a timer.
const RETRY_AT_LEAST_MS = 250;
const RETRY_AT_MOST_MS = 24 * 60 * 60 * 1000;

const AGAIN = "Trying again by itself.";
const UNREACHABLE = `No answer. ${AGAIN}`;
const CUT = `The stream was cut. ${AGAIN}`;
const ENDED = `The stream ended. ${AGAIN}`;
const TURNED_AWAY = `The stream ended before anything came; the server may be full. ${AGAIN}`;

export class HubStream {
  /** `connecting`, `open`, `reconnecting` or `ended`. */
  state = "connecting";
  /** The reason for the state, as a sentence; may be empty. */
  detail = "";
  /** The id after which a reconnect resumes; "": none yet. */
  lastEventId = "";

  #address;
  #token;
  #fetch;
  #wait;
  #changed;
  #received;
  #retry = RETRY_MS;
  #abort = new AbortController();

  /**
   * @param {object} wiring
   * @param {string} wiring.address of the stream, including matchers
   * @param {() => string} wiring.token called for each connection, so that a changed token is used; "": none
   * @param {typeof fetch} wiring.fetch
   * @param {(ms: number, signal: AbortSignal) => Promise<void>} [wiring.wait] resolves early when aborted
   * @param {() => void} wiring.changed called when `state` or `detail` may have changed
   * @param {(event: ReturnType<EventStreamParser["push"]>[number]) => void} wiring.received
   */
  constructor({ address, token, fetch, wait = waitFor, changed, received }) {
    this.#address = address;
    this.#token = token;
    this.#fetch = fetch;
    this.#wait = wait;
    this.#changed = changed;
    this.#received = received;
  }

  /** Connects and reconnects. Resolves when the stream has ended for good. */
  async open() {
    const { signal } = this.#abort;
    this.#enter("connecting", "");
    while (!signal.aborted) {
      const { isFinal, detail } = await this.#connect(signal);
      if (signal.aborted) return;
      this.#enter(isFinal ? "ended" : "reconnecting", detail);
      if (isFinal) return;
      await this.#wait(this.#retry, signal);
    }
  }

  /** Ends the stream. No callback is called after this. */
  close() {
    this.state = "ended";
    this.#abort.abort();
  }

  /** One connection, from the request to its end. */
  async #connect(signal) {
    const asked = this.#askedId();
    let response;
    try {
      response = await this.#fetch(this.#address, {
        headers: this.#headers(),
        cache: "no-store",
        // No cookies: only the token in the field may authorize a request.
        credentials: "omit",
        signal,
      });
    } catch {
      return again(UNREACHABLE);
    }
    if (!response.ok) {
      const sentence = problemSentence(await readProblem(response));
      return response.status < 500 ? final(sentence) : again(`${sentence} ${AGAIN}`);
    }
    if (!/^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "")) {
      await response.body?.cancel();
      return final(`${response.status}, but the answer is not an event stream.`);
    }
    this.#enter("open", resumption(asked, fromHeader(response.headers.get("mercure-last-event-id"))));
    return this.#read(response.body.getReader(), signal);
  }

  async #read(reader, signal) {
    const parser = new EventStreamParser(this.lastEventId);
    let isHeard = false;
    for (;;) {
      let chunk;
      try {
        chunk = await reader.read();
      } catch {
        return again(CUT);
      }
      if (chunk.done) return again(isHeard ? ENDED : TURNED_AWAY);
      let events;
      try {
        events = parser.push(chunk.value);
      } catch (error) {
        if (!(error instanceof EventTooLarge)) throw error;
        await reader.cancel();
        return final(`The stream cannot be read on: ${error.message}.`);
      }
      this.lastEventId = parser.lastEventId;
      this.#retry = Math.min(Math.max(parser.retry ?? this.#retry, RETRY_AT_LEAST_MS), RETRY_AT_MOST_MS);
      if (events.some(({ type }) => type === "checkpoint")) this.#changed();
      for (const event of events) {
        // The callback for an event may have closed the stream.
        if (signal.aborted) break;
        // A full server sends only one checkpoint without an id. It does not count as received data.
        isHeard ||= event.type !== "checkpoint" || event.id !== null;
        if (event.type !== "checkpoint" || endsSnapshot(event)) this.#received(event);
      }
    }
  }

  /** The id that the next connection requests: the last one received, or else the one in the address. */
  #askedId() {
    const query = this.#address.split("?")[1] ?? "";
    return this.lastEventId || (new URLSearchParams(query).get("last_event_id") ?? "");
  }

  #headers() {
    const headers = { Accept: "text/event-stream" };
    const token = this.#token();
    if (token !== "") headers.Authorization = `Bearer ${token}`;
    // The header has priority over the id in the address, which the first request uses.
    if (this.lastEventId !== "") headers["Last-Event-ID"] = toHeader(this.lastEventId);
    return headers;
  }

  #enter(state, detail) {
    if (this.#abort.signal.aborted) return;
    this.state = state;
    this.detail = detail;
    this.#changed();
  }
}

function again(detail) {
  return { isFinal: false, detail };
}

function final(detail) {
  return { isFinal: true, detail };
}

/** Describes where the stream resumes, compared with the requested id. */
function resumption(asked, anchor) {
  if (asked === "") return "";
  if (anchor === null || anchor === asked) return `Continues after ${asked}.`;
  const from = anchor === "earliest" ? "with the first event it has" : `after ${anchor}`;
  return `Asked for what came after ${asked}; the hub continues ${from}.`;
}

/** Encodes an id as UTF-8, with one character for each byte, because a header value consists of bytes. */
function toHeader(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

function fromHeader(value) {
  if (value === null) return null;
  return new TextDecoder().decode(Uint8Array.from(value, (character) => character.charCodeAt(0)));
}

function waitFor(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
