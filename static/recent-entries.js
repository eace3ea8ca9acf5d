// Keeps the newest entries and forgets the rest, whether or not anybody looks. No DOM.

/** How many entries a list shows, unless told otherwise. One beyond that pushes out the oldest. */
export const ENTRIES_KEPT = 50;

export class RecentEntries {
  /** How many are kept at most. */
  kept;
  #ring;
  #added = 0;

  constructor(kept = ENTRIES_KEPT) {
    this.kept = kept;
    this.#ring = new Array(kept).fill(null);
  }

  /** How many were ever added; hand it to `since` later to get what is new. */
  get added() {
    return this.#added;
  }

  add(entry) {
    this.#ring[this.#added % this.kept] = entry;
    this.#added += 1;
  }

  /** The entries added after the count was `seen`, oldest first, at most `kept`. */
  since(seen) {
    const entries = [];
    for (let at = Math.max(seen, this.#added - this.kept); at < this.#added; at += 1) {
      entries.push(this.#ring[at % this.kept]);
    }
    return entries;
  }
}
