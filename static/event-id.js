// Parses an event id of the hub, `#<epoch>-<seq>`. Other files see only the two numbers, or null.
//
// `epoch` is when the current numbering of the log began, in ms since 1970. `seq` numbers the events of all
// topics since then.

const FORM = /^#?(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$/;

/**
 * Returns `{ epoch, seq }`, or null if the text is no id or a number is too large to be exact.
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
