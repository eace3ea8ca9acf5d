// Decides when the page paints: in an animation frame, and at most once in `minInterval`.
//
// At most one paint is pending, however often one is requested. In a hidden tab there are no animation
// frames, so the paint waits until the tab is visible.

export class PaintPacer {
  #paint;
  #minInterval;
  #pending = false;
  #timer = null;
  #lastPaint = -Infinity;

  /**
   * @param {() => void} paint
   * @param {() => number} minInterval minimum time between two paints, in ms
   */
  constructor(paint, minInterval) {
    this.#paint = paint;
    this.#minInterval = minInterval;
  }

  /** Requests a paint. Cheap enough to call for each message. */
  request() {
    if (this.#pending) return;
    this.#pending = true;
    const wait = this.#lastPaint + this.#minInterval() - performance.now();
    if (wait > 0) this.#timer = setTimeout(() => this.#atNextFrame(), wait);
    else this.#atNextFrame();
  }

  /** Requests a paint in the next frame, so that a pressed button has an immediate effect. */
  hurry() {
    this.request();
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#atNextFrame();
  }

  #atNextFrame() {
    this.#timer = null;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#lastPaint = performance.now();
      this.#paint();
    });
  }
}
