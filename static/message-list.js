// Shows the newest entries, newest first. Rows are made once and used again.

import { ENTRIES_KEPT } from "./recent-entries.js";

export class MessageList {
  #list;
  #shown = 0;
  #rows = 0;

  /** @param {HTMLOListElement} list */
  constructor(list) {
    this.#list = list;
  }

  /** Adds what is new since the last paint: at most as many rows as the list holds. */
  paint(recent) {
    if (recent.added === this.#shown) return;
    const fresh = recent.since(this.#shown);
    this.#shown = recent.added;
    const rows = fresh.map((entry) => {
      const row = this.#rows < ENTRIES_KEPT ? this.#makeRow() : this.#list.lastElementChild;
      row.remove();
      fillRow(row, entry);
      return row;
    });
    this.#list.prepend(...rows.reverse());
  }

  #makeRow() {
    this.#rows += 1;
    const row = document.createElement("li");
    for (const name of ["text", "note", "time"]) {
      const part = document.createElement(name === "time" ? "time" : "span");
      part.className = name;
      // The space keeps the number at the end of a message apart from the time after it.
      row.append(part, " ");
    }
    return row;
  }
}

function fillRow(row, entry) {
  const [text, note, time] = row.children;
  row.className = entry.kind;
  text.textContent = entry.text;
  note.textContent = entry.note;
  time.textContent = timeOfDay(entry.at);
}

/** Local time to the ms. `toLocaleTimeString` would cost more than the rest of the row. */
export function timeOfDay(at) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(
    date.getMilliseconds(),
  ).padStart(3, "0")}`;
}
