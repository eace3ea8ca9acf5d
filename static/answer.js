// Shows what the hub answered to a request. The words say whether it is good; the colour only repeats it.

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
