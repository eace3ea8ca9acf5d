// Announces changes of state and gaps to screen readers, through one polite live region. Messages are not
// announced.
//
// Each subject has at most one sentence waiting, and a newer one replaces it. So a stream that keeps
// reconnecting, or a series of gaps, becomes one sentence every PAUSE_MS, and no queue builds up.

const GATHER_MS = 400;
const PAUSE_MS = 1500;

export class Announcer {
  #region;
  #waiting = new Map();
  #timer = null;

  /** @param {HTMLElement} region an element with `aria-live="polite"`, visually hidden */
  constructor(region) {
    this.#region = region;
  }

  /**
   * @param {string} subject what the sentence is about; a newer sentence on it replaces a waiting one
   * @param {string} sentence
   */
  say(subject, sentence) {
    this.#waiting.set(subject, sentence);
    this.#timer ??= setTimeout(() => this.#speak(), GATHER_MS);
  }

  #speak() {
    if (this.#waiting.size === 0) {
      // Empties the region, so that the same sentence is announced again the next time.
      this.#region.textContent = "";
      this.#timer = null;
      return;
    }
    this.#region.textContent = [...this.#waiting.values()].join(" ");
    this.#waiting.clear();
    this.#timer = setTimeout(() => this.#speak(), PAUSE_MS);
  }
}
