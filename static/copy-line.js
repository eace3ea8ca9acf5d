// A shell command line, and the button that copies it.

import { partsOf, write } from "./parts.js";

// How long the result of a copy is shown, in ms.
const SAID_FOR_MS = 2000;

export class CopyLine {
  #parts;
  #text = "";
  #label;
  #timer = null;

  /** @param {HTMLElement} element with the parts `line` and `copy` */
  constructor(element) {
    this.#parts = partsOf(element);
    this.#label = this.#parts.copy.textContent;
    this.#parts.copy.addEventListener("click", () => this.#copy());
  }

  /**
   * @param {string} text what is copied
   * @param {string} [shown] what is displayed instead, if the text is secret
   */
  show(text, shown = text) {
    this.#text = text;
    write(this.#parts.line, shown);
  }

  async #copy() {
    write(this.#parts.copy, (await copied(this.#text)) ? "Copied" : "Not copied");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => write(this.#parts.copy, this.#label), SAID_FOR_MS);
  }
}

/** Copies the text to the clipboard. Returns whether that succeeded. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text);
  }
}

/** `navigator.clipboard` exists only on https and localhost. This older interface works on any origin. */
function copiedTheOldWay(text) {
  function put(event) {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  }
  document.addEventListener("copy", put, { once: true });
  try {
    return document.execCommand("copy");
  } finally {
    document.removeEventListener("copy", put);
  }
}
