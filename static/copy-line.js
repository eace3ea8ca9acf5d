// A line for the shell, and the button that copies it.

import { partsOf, write } from "./parts.js";

// Long enough to be read.
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
   * @param {string} [shown] what is shown instead, where the text is not for everybody's eyes
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

/** Puts the text into the clipboard, and says whether it is there. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text);
  }
}

/** The clipboard's interface is there for https and localhost only; a page of any address may do this. */
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
