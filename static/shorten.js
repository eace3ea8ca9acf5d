// Shortens texts that anybody may have sent, so that many of them stay small.

/**
 * The text, or its beginning and how long it is.
 * @param {string} text
 * @param {number} most how much of it is kept, in UTF-16 code units
 */
export function shorten(text, most) {
  if (text.length <= most) return text;
  // Encoded and decoded, because a slice would keep all of the text in memory.
  const start = new TextDecoder().decode(new TextEncoder().encode(text.slice(0, most)));
  return `${start} … (${text.length} characters)`;
}
