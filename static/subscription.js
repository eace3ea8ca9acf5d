// One subscriber: its EventSource, its state, its figures. No DOM; panels read its properties.
//
// A message only updates numbers and bounded buffers. So each message costs the same during a flood or in a
// hidden tab, which never paints, and memory does not grow.

import { ArrivalHistory, MARK_CUT, MARK_GAP } from "./arrival-history.js";
import { ArrivalInterval } from "./arrival-interval.js";
import { gapSentence, parseGap } from "./gap.js";
import { RecentEntries } from "./recent-entries.js";
import { SequenceAccount } from "./sequence-account.js";
import { shorten } from "./shorten.js";

// `EventSource.CLOSED`. A literal, because the tests run without EventSource.
const CLOSED = 2;

// Longer messages are cut, so that the kept entries stay small. In UTF-16 code units.
const MAX_TEXT = 300;

// Backoff before the page replaces a stream that the browser has closed for good, in ms. It doubles with each
// failure, from the first to the longest. Jitter of 0.5 to 1.5 keeps pages that failed together from
// reconnecting together.
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

const CUT = "The stream was cut; the browser tries again by itself.";
const TURNED_AWAY = "The stream ended before anything came; the server may be full. The browser tries again by itself.";
const CLOSED_FOR_GOOD = "The browser closed the stream for good after an error. The page opens a new one by itself.";

export class Subscription {
  /** `connecting`, `open`, `reconnecting` or `ended`. */
  state = "ended";
  /** The reason for the state, as a sentence; may be empty. */
  detail = "";
  account = new SequenceAccount();
  interval = new ArrivalInterval();
  history = new ArrivalHistory();
  entries = new RecentEntries();
  /** The last gap as `{ sentence, at }`; null: none yet. It outlives its entry in the list. */
  lastGap = null;
  gaps = 0;
  /**
   * When the stream ended, in ms of `clock.now`; null while it is open or will reconnect. The plot stops
   * there.
   */
  endedAt = null;

  #address;
  #connect;
  #clock;
  #later;
  #changed;
  #source = null;
  /** Cancels the scheduled reconnect of the page. */
  #cancelAttempt = () => {};
  /** How many streams in a row the browser closed for good before they opened. */
  #failures = 0;
  /** Whether the open stream has received anything yet. */
  #heard = false;

  /**
   * @param {object} wiring
   * @param {string} wiring.address of the stream
   * @param {(url: string) => EventSource} wiring.connect
   * @param {{ now(): number, wallClock(): number }} wiring.clock both in ms; `now` never decreases
   * @param {(act: () => void, ms: number) => () => void} [wiring.later] calls `act` after a time, and returns
   *   a function that cancels this
   * @param {(news: { state?: string, gap?: string } | null) => void} wiring.changed called on each change;
   *   `news` is what screen readers announce, null for an ordinary message
   */
  constructor({ address, connect, clock, later = afterTime, changed }) {
    this.#address = address;
    this.#connect = connect;
    this.#clock = clock;
    this.#later = later;
    this.#changed = changed;
  }

  /** Opens the stream, after the last id if there is one. Replaces a stream that is open. */
  connect() {
    this.#failures = 0;
    const { lastId } = this.account;
    this.#open("connecting", lastId === null ? "" : `Asking for what came after ${lastId}.`);
  }

  #open(state, detail) {
    this.#close();
    const lastId = this.account.lastId;
    // An EventSource cannot set headers, so the first request carries the id in its address. When the browser
    // reconnects, it repeats the address and adds a `Last-Event-ID` header with a newer id. In the server,
    // the header has priority.
    const url = lastId === null
      ? this.#address
      : `${this.#address}?last_event_id=${encodeURIComponent(lastId)}`;
    this.endedAt = null;
    this.#enter(state, detail);
    const source = this.#connect(url);
    this.#source = source;
    source.onopen = () => {
      this.#heard = false;
      this.#failures = 0;
      this.#enter("open", "");
    };
    source.onerror = () => this.#lost(source.readyState === CLOSED);
    source.onmessage = (event) => this.#message(event);
    source.addEventListener("gap", (event) => this.#gap(event));
    source.addEventListener("checkpoint", (event) => this.#checkpoint(event));
  }

  /** Closes the stream. Counts stay, and `connect` resumes from there. */
  disconnect() {
    if (this.state === "ended") return;
    this.#end("Disconnected here. Reconnect continues after the last id.");
  }

  #lost(forGood) {
    if (forGood) {
      this.#close();
      const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
      this.#failures += 1;
      this.#enter("reconnecting", CLOSED_FOR_GOOD);
      const attempt = () => this.#open("reconnecting", CLOSED_FOR_GOOD);
      this.#cancelAttempt = this.#later(attempt, wait * (0.5 + Math.random()));
    } else {
      // A full server opens the stream and ends it: after an error status, the browser would not reconnect.
      const turnedAway = this.state === "open" && !this.#heard;
      this.#cut();
      this.#enter("reconnecting", turnedAway ? TURNED_AWAY : CUT);
    }
  }

  #end(detail) {
    this.#close();
    this.endedAt = this.#clock.now();
    this.#enter("ended", detail);
  }

  #close() {
    this.#cancelAttempt();
    if (!this.#source) return;
    this.#source.close();
    this.#source = null;
    this.#cut();
  }

  #cut() {
    this.interval.interrupt();
    this.history.mark(this.#clock.now(), MARK_CUT);
  }

  #enter(state, detail) {
    const isNews = state !== this.state;
    this.state = state;
    this.detail = detail;
    this.#changed(isNews ? { state } : null);
  }

  #message(event) {
    this.#heard = true;
    const now = this.#clock.now();
    const cameBefore = this.account.message(event.lastEventId);
    this.history.arrival(now, this.interval.arrival(now));
    this.entries.add({
      kind: "message",
      text: shorten(event.data, MAX_TEXT),
      note: cameBefore ? "came twice" : "",
      at: this.#clock.wallClock(),
    });
    this.#changed(null);
  }

  /** Updates the last id. A full server sends only a checkpoint that does not change it. */
  #checkpoint(event) {
    if (this.account.checkpoint(event.lastEventId)) this.#heard = true;
    this.#changed(null);
  }

  #gap(event) {
    this.#heard = true;
    const gap = parseGap(event.data);
    const sentence = gapSentence(gap);
    const at = this.#clock.wallClock();
    this.account.gap(gap);
    this.gaps += 1;
    this.lastGap = { sentence, at };
    this.history.mark(this.#clock.now(), MARK_GAP);
    this.entries.add({ kind: "gap", text: sentence, note: "", at });
    this.#changed({ gap: sentence });
  }
}

function afterTime(act, ms) {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
}
