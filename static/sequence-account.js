// Keeps one subscriber's books: what came, what is missing, what came twice. No DOM, no clock.
//
// Ids number the events of every topic, so two that follow each other here may lie any distance
// apart, also in different epochs. What is missing the server alone can tell: in a `gap` event.

import { formatEventId, parseEventId } from "./event-id.js";

export class SequenceAccount {
  /** Messages that came, those that came twice included. */
  received = 0;
  /** Messages known to be missing. */
  missed = 0;
  /** Messages that came although they, or later ones, had come before. */
  duplicated = 0;
  /** True once something of unknown size is missing: `missed` is then a lower bound. */
  missedMore = false;

  /** The furthest id; null: the next message is the start. */
  #head = null;
  /** Where to resume; outlives `#head` when the server says that numbering begins anew. */
  #lastId = null;
  /** The last gap, so that being told of it again adds only what is new. */
  #lastGap = null;

  /** The id to resume after, or null before the first message. */
  get lastId() {
    return this.#lastId;
  }

  /**
   * Books a message. Returns whether it had come before.
   * @param {string} idText
   */
  message(idText) {
    this.received += 1;
    const id = parseEventId(idText);
    if (!id) return false;
    const head = this.#head;
    if (head && id.epoch === head.epoch && id.seq <= head.seq) {
      this.duplicated += 1;
      return true;
    }
    this.#goOnAfter(id);
    return false;
  }

  /**
   * Books a checkpoint: everything up to this id has come. Returns whether that is news.
   * @param {string} idText
   */
  checkpoint(idText) {
    const id = parseEventId(idText);
    if (!id || formatEventId(id) === this.#lastId) return false;
    this.#goOnAfter(id);
    return true;
  }

  /**
   * Books a `gap` event, as `parseGap` gives it.
   * @param {ReturnType<typeof import("./gap.js").parseGap>} gap
   */
  gap({ requested, resumedAfter, missed }) {
    if (missed === null) {
      this.missedMore = true;
    } else {
      const told = this.#lastGap?.requested === requested ? this.#lastGap.missed : 0;
      this.missed += Math.max(0, missed - told);
      this.#lastGap = { requested, missed: Math.max(missed, told) };
    }
    if (resumedAfter) this.#goOnAfter(resumedAfter);
    else this.#head = null;
  }

  #goOnAfter(id) {
    this.#head = id;
    this.#lastId = formatEventId(id);
  }
}
