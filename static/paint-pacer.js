// Decides when the page is painted: in an animation frame, and never more often than can be read.
//
// However many changes come, one paint is pending at most. Animation frames do not come in a
// hidden tab, so there the one paint waits until the tab is seen again.

export class PaintPacer {
  #paint;
  #minInterval;
  #pending = false;
  #timer = null;
  #lastPaint = -Infinity;

  /**
   * @param {() => void} paint
   * @param {() => number} minInterval the least time between two paints, in ms
   */
  constructor(paint, minInterval) {
    this.#paint = paint;
    this.#minInterval = minInterval;
  }

  /** Asks for a paint. Cheap enough to call for each message. */
  request() {
    if (this.#pending) return;
    this.#pending = true;
    const wait = this.#lastPaint + this.#minInterval() - performance.now();
    if (wait > 0) this.#timer = setTimeout(() => this.#atNextFrame(), wait);
    else this.#atNextFrame();
  }

  /** Asks for a paint in the very next frame: for what answers a press of a button. */
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
