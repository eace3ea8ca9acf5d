// The rows of the playground's events: each with its fields as received. Events of the hub itself are marked.

import { RowList } from "./row-list.js";
import { timeOfDay } from "./time-of-day.js";

/** The fields of a row in their order. The type is in the head of the row. */
const FIELDS = ["topic", "id", "retry", "data"];

export class EventList extends RowList {
  /** @param {HTMLOListElement} list */
  constructor(list) {
    super(list, { make: makeRow, fill: fillRow });
  }
}

function makeRow() {
  const row = document.createElement("li");
  const head = make("p", "head");
  head.append(make("span", "type"), " ", make("span", "origin"), " ", make("time", "time"));
  const fields = document.createElement("dl");
  for (const name of FIELDS) {
    const field = make("div", name);
    const term = document.createElement("dt");
    term.textContent = name;
    field.append(term, document.createElement("dd"));
    fields.append(field);
  }
  row.append(head, make("p", "sentence"), fields);
  return row;
}

function make(tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  return element;
}

function fillRow(row, entry) {
  const [head, sentence, fields] = row.children;
  const [type, origin, time] = head.children;
  const isOwn = entry.kind !== "published";
  row.className = entry.kind;
  type.textContent = entry.type;
  origin.textContent = isOwn ? "the hub’s own" : "";
  time.textContent = timeOfDay(entry.at);
  sentence.textContent = entry.sentence;
  for (const [at, name] of FIELDS.entries()) {
    const field = fields.children[at];
    const value = entry[name];
    field.hidden = value === null;
    field.lastElementChild.textContent = value === null ? "" : String(value);
  }
}
