// Keeps the newest entries and discards older ones, whether or not anything reads them. No DOM.

/** Default number of entries that are kept. Each further entry removes the oldest. */
export const ENTRIES_KEPT = 50;

export class RecentEntries {
  /** Maximum number of entries that are kept. */
  kept;
  #ring;
  #added = 0;

  constructor(kept = ENTRIES_KEPT) {
    this.kept = kept;
    this.#ring = new Array(kept).fill(null);
  }

  /** How many entries were ever added. Pass it to `since` later to get the entries added meanwhile. */
  get added() {
    return this.#added;
  }

  add(entry) {
    this.#ring[this.#added % this.kept] = entry;
    this.#added += 1;
  }

  /** Returns the entries added since the count was `seen`, oldest first, at most `kept`. */
  since(seen) {
    const entries = [];
    for (let at = Math.max(seen, this.#added - this.kept); at < this.#added; at += 1) {
      entries.push(this.#ring[at % this.kept]);
    }
    return entries;
  }
}
