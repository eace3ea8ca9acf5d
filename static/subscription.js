// One subscriber: its EventSource, its state, its figures. No DOM; panels read what it holds.
//
// A message only changes numbers and bounded buffers here, so a flood, or a hidden tab that never
// paints, costs the same for each message and keeps nothing.

import { ArrivalHistory, MARK_CUT, MARK_GAP } from "./arrival-history.js";
import { ArrivalInterval } from "./arrival-interval.js";
import { gapSentence, parseGap } from "./gap.js";
import { RecentEntries } from "./recent-entries.js";
import { SequenceAccount } from "./sequence-account.js";
import { shorten } from "./shorten.js";

// `EventSource.CLOSED`, spelled out because there is no EventSource where the tests run.
const CLOSED = 2;

// Longer messages are shown cut, so that fifty of them stay small. In UTF-16 code units.
const MAX_TEXT = 300;

// The wait before the page replaces a stream that the browser has closed for good, in ms: it doubles
// from the first to the longest with each failure, times 0.5 to 1.5 at random, so that pages that
// failed together do not come back together.
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

const CUT = "The stream was cut; the browser tries again by itself.";
const TURNED_AWAY = "The stream ended before anything came; the server may be full. The browser tries again by itself.";
const CLOSED_FOR_GOOD = "The browser closed the stream for good after an error. The page opens a new one by itself.";

export class Subscription {
  /** `connecting`, `open`, `reconnecting` or `ended`. */
  state = "ended";
  /** Why it is in that state, as a sentence; may be empty. */
  detail = "";
  account = new SequenceAccount();
  interval = new ArrivalInterval();
  history = new ArrivalHistory();
  entries = new RecentEntries();
  /** The last gap as `{ sentence, at }`, kept after its entry has left the list; null: none yet. */
  lastGap = null;
  gaps = 0;
  /** When the stream ended, in ms of `clock.now`; null while it is wanted. The plot stops there. */
  endedAt = null;

  #address;
  #connect;
  #clock;
  #later;
  #changed;
  #source = null;
  /** Takes back the attempt that the page makes itself. */
  #cancelAttempt = () => {};
  /** Streams in a row that the browser closed for good before they were open. */
  #failures = 0;
  /** Whether the stream that is open has brought anything yet. */
  #heard = false;

  /**
   * @param {object} wiring
   * @param {string} wiring.address of the stream
   * @param {(url: string) => EventSource} wiring.connect
   * @param {{ now(): number, wallClock(): number }} wiring.clock both in ms; `now` never goes back
   * @param {(act: () => void, ms: number) => () => void} [wiring.later] acts after a time, unless the
   *   function that it returns is called before
   * @param {(news: { state?: string, gap?: string } | null) => void} wiring.changed called on each
   *   change; `news` is what is worth saying aloud, null for a mere message
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
    // An EventSource cannot set headers, so the first request carries the id in its address. When
    // the browser reconnects by itself it repeats the address and adds a `Last-Event-ID` header
    // with a newer id; the server lets the header win.
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

  /** Closes the stream. What was counted stays; `connect` goes on from there. */
  disconnect() {
    if (this.state === "ended") return;
    this.#end("Disconnected here. Reconnect goes on after the last id.");
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
      // A server without room opens the stream and ends it: an error would end it for good.
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

  /** Moves the last id. A full server sends one that moves nothing, and nothing else. */
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
