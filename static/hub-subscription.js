// The playground's stream and what it received: state, figures, the newest events. No DOM; panels read its
// properties.
//
// An event only updates numbers and bounded buffers. So each event costs the same during a flood or in a
// hidden tab, which never paints, and memory does not grow.

import { readOwnEvent } from "./hub-event.js";
import { HubStream } from "./hub-stream.js";
import { RecentEntries } from "./recent-entries.js";
import { shorten } from "./shorten.js";

/** How many events are kept. Each further event removes the oldest. */
export const EVENTS_KEPT = 100;

// Longer data is cut, so that the kept events stay small. In UTF-16 code units.
const MAX_DATA = 2000;

export class HubSubscription {
  /** `idle` before the first `subscribe`, then `connecting`, `open`, `reconnecting` or `ended`. */
  state = "idle";
  /** The reason for the state, as a sentence; may be empty. */
  detail = "";
  received = 0;
  gaps = 0;
  lastEventId = "";
  /** The newest gap or token expiry as `{ sentence, at }`. It outlives its entry in the list. */
  notice = null;
  /** Replaced by each `subscribe`. */
  entries = new RecentEntries(EVENTS_KEPT);

  #fetch;
  #token;
  #wallClock;
  #active;
  #changed;
  #stream = null;
  /** The address of the last `subscribe`, for `resume`. */
  #address = null;

  /**
   * @param {object} wiring
   * @param {typeof fetch} wiring.fetch
   * @param {() => string} wiring.token
   * @param {() => number} wiring.wallClock in ms since 1970
   * @param {import("./active-subscriptions.js").ActiveSubscriptions} wiring.active receives subscription
   *   events
   * @param {(news: { state?: string, notice?: string } | null) => void} wiring.changed called on each change;
   *   `news` is what screen readers announce, null for an ordinary event
   */
  constructor({ fetch, token, wallClock, active, changed }) {
    this.#fetch = fetch;
    this.#token = token;
    this.#wallClock = wallClock;
    this.#active = active;
    this.#changed = changed;
  }

  /** Whether a stream is open, or will reconnect. */
  get isWanted() {
    return this.state !== "idle" && this.state !== "ended";
  }

  /** Starts a new stream: closes an open one, and resets counts and entries. */
  subscribe(address) {
    this.#close();
    this.#address = address;
    this.received = 0;
    this.gaps = 0;
    this.lastEventId = "";
    this.notice = null;
    this.entries = new RecentEntries(EVENTS_KEPT);
    this.#open();
  }

  /** Closes the stream. Counts and entries stay. */
  stop() {
    if (!this.isWanted) return;
    this.#close();
    this.#enter("ended", "Stopped here.");
  }

  /** Continues where `stop` ended. */
  resume() {
    if (this.state === "ended") this.#open();
  }

  #open() {
    const stream = new HubStream({
      address: this.#address,
      token: this.#token,
      fetch: this.#fetch,
      changed: () => this.#enter(stream.state, stream.detail),
      received: (event) => this.#event(event),
    });
    stream.lastEventId = this.lastEventId;
    this.#stream = stream;
    stream.open();
  }

  #close() {
    if (!this.#stream) return;
    this.lastEventId = this.#stream.lastEventId;
    this.#stream.close();
    this.#stream = null;
  }

  #enter(state, detail) {
    // A checkpoint changes the id, too.
    if (this.#stream) this.lastEventId = this.#stream.lastEventId;
    const isNews = state !== this.state;
    this.state = state;
    this.detail = detail;
    this.#changed(isNews ? { state } : null);
  }

  #event({ type, id, retry, topics, data }) {
    const at = this.#wallClock();
    const own = readOwnEvent({ type, data });
    if (type !== "checkpoint") this.received += 1;
    this.lastEventId = this.#stream.lastEventId;
    this.entries.add({
      kind: own ? `own ${type}` : "published",
      type,
      sentence: own?.sentence ?? "",
      topic: topics.length === 0 ? null : shorten(topics.join("\n"), MAX_DATA),
      id,
      retry,
      data: shorten(data, MAX_DATA),
      at,
    });
    if (type === "gap") this.gaps += 1;
    if (own?.subscription) this.#active.tell(own.subscription, at);
    if (own?.isNotice) this.notice = { sentence: own.sentence, at };
    this.#changed(own?.isNotice ? { notice: own.sentence } : null);
  }
}
