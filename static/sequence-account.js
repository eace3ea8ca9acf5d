// Keeps one subscriber's books: what came, what is missing, what came twice. No DOM, no clock.
//
// Every hole is counted once, whoever notices it first: the ids, or the server's `gap` event.

import { formatEventId, parseEventId } from "./event-id.js";

// Holes that a late message could still fill. At the bound the oldest hole is forgotten: it stays
// counted as missed, and a message that fills it after all counts as duplicated.
const MAX_OPEN_HOLES = 32;

export class SequenceAccount {
  /** Messages that came, those that came twice included. */
  received = 0;
  /** Messages known to be missing. */
  missed = 0;
  /** Messages that came although they, or later ones, had come before and nothing was open there. */
  duplicated = 0;
  /** True once something of unknown size is missing: `missed` is then a lower bound. */
  missedMore = false;

  /** The furthest id of the current epoch; null: take the next message as the start. */
  #head = null;
  /** Whether the server said that the next message is the first of its log. */
  #fromStart = false;
  /** Where to resume; outlives `#head` when the server says that numbering begins anew. */
  #lastId = null;
  /** Ranges of missing `seq` in the current epoch, each `{ from, to }`, both included. */
  #holes = [];
  /** The last gap without a known end, so that being told of it again adds only what is new. */
  #openGap = null;

  /** The id to resume after, or null before the first message. */
  get lastId() {
    return this.#lastId;
  }

  /**
   * Books a message and says what it was: `first`, `next`, `jump` (with `missed`), `repeat`, `late`
   * (fills a hole), `continued` (the first of an epoch that goes on from the last, as a log in Redis
   * has it), `restart` (another epoch, unannounced) or `unnumbered`.
   * @param {string} idText
   */
  message(idText) {
    this.received += 1;
    const id = parseEventId(idText);
    if (!id) return { kind: "unnumbered" };
    const head = this.#head;
    if (!head) {
      const missed = this.#fromStart ? id.seq : 0;
      this.#start(id);
      if (missed > 0) this.#openHole(0, id.seq - 1);
      return missed > 0 ? { kind: "jump", missed } : { kind: "first" };
    }
    if (id.epoch > head.epoch && id.seq === 1) {
      this.#start(id);
      return { kind: "continued" };
    }
    if (id.epoch !== head.epoch) {
      this.missedMore = true;
      this.#start(id);
      return { kind: "restart" };
    }
    if (id.seq <= head.seq) return this.#behind(id.seq);
    const missed = id.seq - head.seq - 1;
    if (missed > 0) this.#openHole(head.seq + 1, id.seq - 1);
    this.#advance(id);
    return missed > 0 ? { kind: "jump", missed } : { kind: "next" };
  }

  /**
   * Books a `gap` event, as `parseGap` gives it.
   * @param {ReturnType<typeof import("./gap.js").parseGap>} gap
   */
  gap(gap) {
    const head = this.#head;
    const target = gap.resumedAfter;
    if (gap.reason === "evicted" && head && target && head.epoch === target.epoch) {
      // Both ends of the hole are known, so count between them: what the ids have shown already,
      // or an earlier telling of the same gap, lies before `head` and is not counted again.
      if (target.seq > head.seq) {
        this.#openHole(head.seq + 1, target.seq);
        this.#advance(target);
      }
      return;
    }
    this.#bookUnplaced(gap);
    if (target) {
      this.#start(target);
    } else {
      this.#head = null;
      // Unless the server has counted what is missing there, see `#bookUnplaced`.
      this.#fromStart = gap.missed === null;
    }
  }

  /** Takes the server's word for the size of a hole whose ends are not both known. */
  #bookUnplaced({ requested, missed }) {
    if (missed === null) {
      this.missedMore = true;
      return;
    }
    const told = this.#openGap?.requested === requested ? this.#openGap.missed : 0;
    this.missed += Math.max(0, missed - told);
    this.#openGap = { requested, missed: Math.max(missed, told) };
  }

  #start(id) {
    this.#fromStart = false;
    this.#holes = [];
    this.#advance(id);
  }

  #advance(id) {
    this.#head = id;
    this.#lastId = formatEventId(id);
  }

  #openHole(from, to) {
    this.missed += to - from + 1;
    this.#holes.push({ from, to });
    if (this.#holes.length > MAX_OPEN_HOLES) this.#holes.shift();
  }

  #behind(seq) {
    const at = this.#holes.findIndex(({ from, to }) => from <= seq && seq <= to);
    if (at < 0) {
      this.duplicated += 1;
      return { kind: "repeat" };
    }
    const { from, to } = this.#holes[at];
    const rest = [
      { from, to: seq - 1 },
      { from: seq + 1, to },
    ].filter((hole) => hole.from <= hole.to);
    this.#holes.splice(at, 1, ...rest);
    if (this.#holes.length > MAX_OPEN_HOLES) this.#holes.shift();
    this.missed -= 1;
    return { kind: "late" };
  }
}
