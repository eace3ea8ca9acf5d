// The token field, and the claims of the token. The token is kept in the field only: it is never stored and
// never part of an address.

import { CopyLine } from "./copy-line.js";
import { exportLine } from "./curl-line.js";
import { partsOf, write } from "./parts.js";
import { isBearerToken, readClaims } from "./token-claims.js";

// The maximum delay of a timer.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const UNSENDABLE = "This cannot be a token: it has characters that a token never has.";

export class TokenPanel {
  #parts;
  #export;
  #changed;
  #timer = null;

  /**
   * @param {HTMLElement} panel
   * @param {() => void} changed called when the token has changed
   */
  constructor(panel, changed) {
    this.#parts = partsOf(panel);
    this.#export = new CopyLine(this.#parts.export);
    this.#changed = changed;
    this.#parts.token.addEventListener("input", () => this.#take());
    this.#parts.reveal.addEventListener("click", () => this.#reveal());
    this.#showClaims();
  }

  /** The token; "": none, or the text cannot be sent. */
  get token() {
    const text = this.#text();
    return isBearerToken(text) ? text : "";
  }

  /** Puts a token into the field. */
  set(token) {
    this.#parts.token.value = token;
    this.#take();
  }

  /** Whether requests can be sent. If not, the field shows why. */
  isSendable() {
    return this.#parts.token.reportValidity();
  }

  #text() {
    return this.#parts.token.value.trim();
  }

  #take() {
    const text = this.#text();
    this.#parts.token.setCustomValidity(text === "" || isBearerToken(text) ? "" : UNSENDABLE);
    this.#showClaims();
    this.#changed();
  }

  #reveal() {
    const { token, reveal } = this.#parts;
    const isHidden = token.type === "password";
    token.type = isHidden ? "text" : "password";
    write(reveal, isHidden ? "Hide" : "Show");
    reveal.setAttribute("aria-label", isHidden ? "Hide token" : "Show token");
  }

  #showClaims() {
    clearTimeout(this.#timer);
    const parts = this.#parts;
    const { token } = this;
    const claims = token === "" ? null : readClaims(token);
    write(parts["token-note"], this.#note(claims));
    parts.claims.hidden = claims === null;
    parts["export-note"].hidden = token === "";
    this.#export.show(exportLine(token), "export BROADCASTER_TOKEN=…");
    if (claims === null) return;
    const { expiresAt, publish, subscribe } = claims;
    write(parts.expires, expiresAt === null ? "not said (exp)" : new Date(expiresAt).toLocaleString());
    const left = expiresAt === null ? Infinity : expiresAt - Date.now();
    parts.expired.hidden = left > 0;
    write(parts["grants-publish"], grantsText(publish));
    write(parts["grants-subscribe"], grantsText(subscribe));
    if (left > 0 && left !== Infinity) {
      this.#timer = setTimeout(() => this.#showClaims(), Math.min(left, LONGEST_TIMER_MS));
    }
  }

  #note(claims) {
    if (this.#text() === "") return "No token: public updates only.";
    if (this.token === "") return UNSENDABLE;
    return claims === null
      ? "Not a JWT, so it cannot be read here. It is sent as it is."
      : "Read here, not verified: the hub does that.";
  }
}

function grantsText(topics) {
  return topics.length === 0 ? "nothing" : topics.join("\n");
}
