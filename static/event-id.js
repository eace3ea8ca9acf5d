// Reads an event id of the hub, `#<epoch>-<seq>`. Past this file an id is two numbers or null.
//
// `epoch` is when the log, or a part of it, began, in ms since 1970; `seq` counts the events of every
// topic since, one by one.

const FORM = /^#?(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$/;

/**
 * Gives `{ epoch, seq }`, or null for anything that is not an id or too large to count exactly.
 * @param {unknown} text
 */
export function parseEventId(text) {
  const parts = typeof text === "string" ? FORM.exec(text) : null;
  if (!parts) return null;
  const id = { epoch: Number(parts[1]), seq: Number(parts[2]) };
  return Number.isSafeInteger(id.epoch) && Number.isSafeInteger(id.seq) ? id : null;
}

/** @param {{ epoch: number, seq: number }} id */
export function formatEventId(id) {
  return `#${id.epoch}-${id.seq}`;
}
