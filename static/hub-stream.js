// A stream of the hub that reconnects by itself, as an EventSource does, with a token in a header,
// which an EventSource cannot send. No DOM.
//
// What the server may have had once (a cut, an end, an error of its own) is tried again; what it
// refuses (4xx, or anything that is not an event stream) ends the stream for good.

import { EventStreamParser, EventTooLarge } from "./event-stream-parser.js";
import { problemSentence, readProblem } from "./problem.js";

/** How long to wait before a reconnect until the server says, in ms. */
const RETRY_MS = 2000;
// A publisher may set any `retry`: no shorter than does no harm, no longer than a timer can run.
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
  /** Why it is in that state, as a sentence; may be empty. */
  detail = "";
  /** The id after which a reconnect goes on; "": none yet. */
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
   * @param {string} wiring.address of the stream, matchers and all
   * @param {() => string} wiring.token asked for at each connect, so that a new one is used; "": none
   * @param {typeof fetch} wiring.fetch
   * @param {(ms: number, signal: AbortSignal) => Promise<void>} [wiring.wait] ends early when aborted
   * @param {() => void} wiring.changed called when `state` or `detail` may differ
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

  /** Connects, and keeps connecting. Resolves when the stream has ended for good. */
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

  /** Ends the stream; nothing is called from now on. */
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
        // A cookie may carry a token, too; what counts here is the one that is seen.
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
        // Whoever gets an event may close the stream.
        if (signal.aborted) break;
        // A full server sends one checkpoint without an id, and nothing else.
        isHeard ||= event.type !== "checkpoint" || event.id !== null;
        if (event.type !== "checkpoint") this.#received(event);
      }
    }
  }

  /** The id that the next connect asks for: the last one, or else the one in the address. */
  #askedId() {
    const query = this.#address.split("?")[1] ?? "";
    return this.lastEventId || (new URLSearchParams(query).get("last_event_id") ?? "");
  }

  #headers() {
    const headers = { Accept: "text/event-stream" };
    const token = this.#token();
    if (token !== "") headers.Authorization = `Bearer ${token}`;
    // It wins over the one in the address, which is where the first request carries it.
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

/** What came of the wish to go on after an id. */
function resumption(asked, anchor) {
  if (asked === "") return "";
  if (anchor === null || anchor === asked) return `Goes on after ${asked}.`;
  const from = anchor === "earliest" ? "with the first event it has" : `after ${anchor}`;
  return `Asked for what came after ${asked}; the hub goes on ${from}.`;
}

/** A header holds bytes, one to a character; an id may hold any character, and goes as UTF-8. */
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
