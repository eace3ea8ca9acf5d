// Shows the newest entries, newest first. Rows are reused.

export class RowList {
  #list;
  #make;
  #fill;
  #shown = 0;
  #rows = 0;

  /**
   * @param {HTMLOListElement} list empty
   * @param {object} rows
   * @param {() => HTMLLIElement} rows.make
   * @param {(row: HTMLLIElement, entry: unknown) => void} rows.fill replaces the row's content
   */
  constructor(list, { make, fill }) {
    this.#list = list;
    this.#make = make;
    this.#fill = fill;
  }

  /**
   * Adds the entries since the last paint: at most as many rows as `recent` keeps.
   * @param {import("./recent-entries.js").RecentEntries} recent must be the same object each time
   */
  paint(recent) {
    if (recent.added === this.#shown) return;
    const fresh = recent.since(this.#shown);
    this.#shown = recent.added;
    const rows = fresh.map((entry) => {
      const row = this.#rows < recent.kept ? this.#makeRow() : this.#list.lastElementChild;
      row.remove();
      this.#fill(row, entry);
      return row;
    });
    this.#list.prepend(...rows.reverse());
  }

  #makeRow() {
    this.#rows += 1;
    return this.#make();
  }
}
