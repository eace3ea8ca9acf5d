// Records the arrivals of the last 30 seconds for the plot. No DOM; time is an argument.
//
// Its memory does not depend on the rate: time is divided into columns of 100 ms, and each column stores only
// a count and its shortest and longest interval.

export const COLUMN_MS = 100;
export const COLUMNS = 300;

export const MARK_NONE = 0;
/** The stream was interrupted in this column. */
export const MARK_CUT = 1;
/** Messages are missing in this column. */
export const MARK_GAP = 2;

export class ArrivalHistory {
  #counts = new Uint32Array(COLUMNS);
  #shortest = new Float64Array(COLUMNS);
  #longest = new Float64Array(COLUMNS);
  #marks = new Uint8Array(COLUMNS);
  /** The newest column, counted from time 0. */
  #newest = -1;

  /**
   * @param {number} now in ms, never decreasing
   * @param {number | null} interval since the previous message, in ms
   */
  arrival(now, interval) {
    const at = this.#column(now);
    this.#counts[at] += 1;
    if (interval === null) return;
    this.#shortest[at] = Math.min(this.#shortest[at], interval);
    this.#longest[at] = Math.max(this.#longest[at], interval);
  }

  /** Marks an interruption or a gap. A gap has priority if both are in one column. */
  mark(now, mark) {
    const at = this.#column(now);
    this.#marks[at] = Math.max(this.#marks[at], mark);
  }

  /**
   * Visits each column that is not empty, oldest first. `age` is the number of columns before the current
   * one.
   * @param {number} now
   * @param {(age: number, count: number, shortest: number, longest: number, mark: number) => void} visit
   *   `shortest` is Infinity if the column has no interval.
   */
  forEach(now, visit) {
    const current = Math.floor(now / COLUMN_MS);
    const first = Math.max(0, current - COLUMNS + 1, this.#newest - COLUMNS + 1);
    for (let column = first; column <= Math.min(current, this.#newest); column += 1) {
      const at = column % COLUMNS;
      if (this.#counts[at] === 0 && this.#marks[at] === MARK_NONE) continue;
      visit(current - column, this.#counts[at], this.#shortest[at], this.#longest[at], this.#marks[at]);
    }
  }

  /** The content of the plot in numbers. `shortest` and `longest` are null if there is no interval. */
  summary(now) {
    let count = 0;
    let shortest = Infinity;
    let longest = 0;
    let gaps = 0;
    this.forEach(now, (_age, inColumn, low, high, mark) => {
      count += inColumn;
      shortest = Math.min(shortest, low);
      longest = Math.max(longest, high);
      if (mark === MARK_GAP) gaps += 1;
    });
    const measured = shortest !== Infinity;
    return { count, gaps, shortest: measured ? shortest : null, longest: measured ? longest : null };
  }

  /** Returns the index of the column at `now`, after clearing the columns since the newest one. */
  #column(now) {
    const column = Math.max(Math.floor(now / COLUMN_MS), this.#newest);
    const skipped = Math.min(column - this.#newest, COLUMNS);
    for (let back = 0; back < skipped; back += 1) {
      const at = (column - back) % COLUMNS;
      this.#counts[at] = 0;
      this.#shortest[at] = Infinity;
      this.#longest[at] = 0;
      this.#marks[at] = MARK_NONE;
    }
    this.#newest = column;
    return column % COLUMNS;
  }
}
