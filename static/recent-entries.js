// Keeps the newest entries and forgets the rest, whether or not anybody looks. No DOM.

/** How many entries a list shows. A message beyond that pushes out the oldest. */
export const ENTRIES_KEPT = 50;

export class RecentEntries {
  #ring = new Array(ENTRIES_KEPT).fill(null);
  #added = 0;

  /** How many were ever added; hand it to `since` later to get what is new. */
  get added() {
    return this.#added;
  }

  add(entry) {
    this.#ring[this.#added % ENTRIES_KEPT] = entry;
    this.#added += 1;
  }

  /** The entries added after the count was `seen`, oldest first, at most ENTRIES_KEPT. */
  since(seen) {
    const entries = [];
    for (let at = Math.max(seen, this.#added - ENTRIES_KEPT); at < this.#added; at += 1) {
      entries.push(this.#ring[at % ENTRIES_KEPT]);
    }
    return entries;
  }
}
