// Finds the named parts of a piece of the page, and writes text into them, never markup.

/**
 * Returns the parts inside `element`, by `data-testid` or else `data-part`.
 * @param {HTMLElement} element
 * @returns {Record<string, HTMLElement>}
 */
export function partsOf(element) {
  const parts = {};
  for (const part of element.querySelectorAll("[data-testid], [data-part]")) {
    parts[part.dataset.testid ?? part.dataset.part] = part;
  }
  return parts;
}

/** Writes only if the text differs: writing an equal text would still cause a layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
