// The rows of a subscriber's messages: text, note and time.

import { RowList } from "./row-list.js";
import { timeOfDay } from "./time-of-day.js";

export class MessageList extends RowList {
  /** @param {HTMLOListElement} list */
  constructor(list) {
    super(list, { make: makeRow, fill: fillRow });
  }
}

function makeRow() {
  const row = document.createElement("li");
  for (const name of ["text", "note", "time"]) {
    const part = document.createElement(name === "time" ? "time" : "span");
    part.className = name;
    // The space separates the number at the end of a message from the time that follows.
    row.append(part, " ");
  }
  return row;
}

function fillRow(row, entry) {
  const [text, note, time] = row.children;
  row.className = entry.kind;
  text.textContent = entry.text;
  note.textContent = entry.note;
  time.textContent = timeOfDay(entry.at);
}
