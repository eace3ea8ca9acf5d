// Reads an event id, `<epoch>-<seq>`. Past this file an id is two numbers or null.
//
// `epoch` is the birth of the server's log in ms since 1970; `seq` counts from 0 without holes. So
// two ids of one epoch tell how many events lie between them, and two epochs tell of a restart; or of a
// log in Redis that goes on in a new epoch, where `seq` counts from 1 and nothing is missing.

const FORM = /^(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$/;

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
  return `${id.epoch}-${id.seq}`;
}
