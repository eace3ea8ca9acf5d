// Shows the hub's response to a request. The text says whether it succeeded; the colour only repeats that.

import { write } from "./parts.js";

/**
 * @param {HTMLElement} element
 * @param {string} sentence
 * @param {boolean} isGood
 */
export function showAnswer(element, sentence, isGood) {
  element.dataset.outcome = isGood ? "good" : "bad";
  write(element, sentence);
}
