// The playground's stream and what came in it: state, figures, the newest events. No DOM; panels read
// what it holds.
//
// An event only changes numbers and bounded buffers here, so a flood, or a hidden tab that never
// paints, costs the same for each event and keeps nothing.

import { readOwnEvent } from "./hub-event.js";
import { HubStream } from "./hub-stream.js";
import { RecentEntries } from "./recent-entries.js";
import { shorten } from "./shorten.js";

/** How many events are kept. One beyond that pushes out the oldest. */
export const EVENTS_KEPT = 100;

// Longer data is shown cut, so that all that is kept stays small. In UTF-16 code units.
const MAX_DATA = 2000;

export class HubSubscription {
  /** `idle` before the first `subscribe`, then `connecting`, `open`, `reconnecting` or `ended`. */
  state = "idle";
  /** Why it is in that state, as a sentence; may be empty. */
  detail = "";
  received = 0;
  gaps = 0;
  lastEventId = "";
  /** The newest gap or end of a token as `{ sentence, at }`, kept after its entry has left the list. */
  notice = null;
  /** Replaced with each `subscribe`. */
  entries = new RecentEntries(EVENTS_KEPT);

  #fetch;
  #token;
  #wallClock;
  #active;
  #changed;
  #stream = null;
  /** What `subscribe` was asked for, for `resume`. */
  #address = null;

  /**
   * @param {object} wiring
   * @param {typeof fetch} wiring.fetch
   * @param {() => string} wiring.token
   * @param {() => number} wiring.wallClock in ms since 1970
   * @param {import("./active-subscriptions.js").ActiveSubscriptions} wiring.active is told of
   *   subscription events
   * @param {(news: { state?: string, notice?: string } | null) => void} wiring.changed called on each
   *   change; `news` is what is worth saying aloud, null for a mere event
   */
  constructor({ fetch, token, wallClock, active, changed }) {
    this.#fetch = fetch;
    this.#token = token;
    this.#wallClock = wallClock;
    this.#active = active;
    this.#changed = changed;
  }

  /** Whether there is a stream, or is to be one again. */
  get isWanted() {
    return this.state !== "idle" && this.state !== "ended";
  }

  /** Begins anew: what was counted and kept before is forgotten. Replaces a stream that is open. */
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

  /** Closes the stream. What was counted and kept stays. */
  stop() {
    if (!this.isWanted) return;
    this.#close();
    this.#enter("ended", "Stopped here.");
  }

  /** Goes on where `stop` left off. */
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
    // A checkpoint moves it, too.
    if (this.#stream) this.lastEventId = this.#stream.lastEventId;
    const isNews = state !== this.state;
    this.state = state;
    this.detail = detail;
    this.#changed(isNews ? { state } : null);
  }

  #event({ type, id, retry, data }) {
    const at = this.#wallClock();
    const own = readOwnEvent({ type, data });
    this.received += 1;
    this.lastEventId = this.#stream.lastEventId;
    this.entries.add({
      kind: own ? `own ${type}` : "published",
      type,
      sentence: own?.sentence ?? "",
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
