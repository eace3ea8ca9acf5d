// Finds the named parts of a piece of the page, and writes into them. Text only, never markup.

/**
 * The parts inside `element`, each by its `data-testid` or `data-part`.
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

/** Writes only what differs: an equal text would still cost a layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
