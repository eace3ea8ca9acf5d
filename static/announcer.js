// Says changes of state and gaps aloud, through one polite live region. Never a message.
//
// Each subject has at most one sentence waiting and a newer one replaces it, so a flapping stream
// or a storm of gaps is one sentence every PAUSE_MS and not a queue that falls behind.

const GATHER_MS = 400;
const PAUSE_MS = 1500;

export class Announcer {
  #region;
  #waiting = new Map();
  #timer = null;

  /** @param {HTMLElement} region an element with `aria-live="polite"`, not shown */
  constructor(region) {
    this.#region = region;
  }

  /**
   * @param {string} subject what the sentence is about; a newer sentence about it replaces this one
   * @param {string} sentence
   */
  say(subject, sentence) {
    this.#waiting.set(subject, sentence);
    this.#timer ??= setTimeout(() => this.#speak(), GATHER_MS);
  }

  #speak() {
    if (this.#waiting.size === 0) {
      // Emptied, so that the same sentence counts as a change the next time.
      this.#region.textContent = "";
      this.#timer = null;
      return;
    }
    this.#region.textContent = [...this.#waiting.values()].join(" ");
    this.#waiting.clear();
    this.#timer = setTimeout(() => this.#speak(), PAUSE_MS);
  }
}
