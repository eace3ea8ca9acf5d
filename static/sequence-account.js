// Counts what one subscriber received, what is missing, and what arrived twice. No DOM, no clock.
//
// Ids number the events of all topics, so ids of consecutive messages may be any distance apart, and even in
// different epochs. Only the server knows what is missing. It says so in a `gap` event.

import { formatEventId, parseEventId } from "./event-id.js";

export class SequenceAccount {
  /** Messages that arrived, including duplicates. */
  received = 0;
  /** Messages that are known to be missing. */
  missed = 0;
  /** Messages that arrived although they, or later ones, had arrived before. */
  duplicated = 0;
  /** Whether an unknown number of messages is missing, too. Then `missed` is a lower bound. */
  missedMore = false;

  /** The highest id received; null: the next message starts the sequence. */
  #head = null;
  /** The id to resume after. It stays when a gap resets `#head` because numbering restarts. */
  #lastId = null;
  /** The last gap. If it is reported again after a reconnect, only the increase is added. */
  #lastGap = null;

  /** The id to resume after, or null before the first message. */
  get lastId() {
    return this.#lastId;
  }

  /**
   * Records a message. Returns whether it arrived before.
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
   * Records a checkpoint: everything up to this id has arrived. Returns whether the last id changed.
   * @param {string} idText
   */
  checkpoint(idText) {
    const id = parseEventId(idText);
    if (!id || formatEventId(id) === this.#lastId) return false;
    this.#goOnAfter(id);
    return true;
  }

  /**
   * Records a `gap` event, as `parseGap` returns it.
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
