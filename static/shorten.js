// Shortens texts that any client may have sent, so that many of them need little memory.

/**
 * Returns the text, or its beginning and its length.
 * @param {string} text
 * @param {number} most how much is kept, in UTF-16 code units
 */
export function shorten(text, most) {
  if (text.length <= most) return text;
  // Encodes and decodes, because a slice would keep the whole text in memory.
  const start = new TextDecoder().decode(new TextEncoder().encode(text.slice(0, most)));
  return `${start} … (${text.length} characters)`;
}
