// Formats a time as the local time of day. No DOM.

/**
 * Local time with ms. `toLocaleTimeString` would cost more than the rest of a row.
 * @param {number} at in ms since 1970
 */
export function timeOfDay(at) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(
    date.getMilliseconds(),
  ).padStart(3, "0")}`;
}
