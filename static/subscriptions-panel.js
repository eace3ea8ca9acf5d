// The table of active subscriptions: loaded by a button, then kept up to date by the stream.

import { SUBSCRIPTIONS_KEPT } from "./active-subscriptions.js";
import { showAnswer } from "./answer.js";
import { CopyLine } from "./copy-line.js";
import { partsOf, write } from "./parts.js";
import { timeOfDay } from "./time-of-day.js";

const COLUMNS = ["matchType", "match", "subscriber", "payload"];

const OFF = "404: this server keeps no list of subscriptions. It does with hub.subscriptions = true.";
const UNREADABLE = "The answer is not JSON.";

export class SubscriptionsPanel {
  #parts;
  #curl;
  #ask;
  #say;
  #active;
  #repaint;
  #isAsking = false;
  /** The painted rows by subscription. Each row is created once. */
  #rows = new Map();
  #painted = -1;

  /**
   * @param {HTMLElement} panel
   * @param {object} wiring
   * @param {import("./active-subscriptions.js").ActiveSubscriptions} wiring.active
   * @param {() => Promise<import("./hub-client.js").Answer | null>} wiring.ask
   * @param {(sentence: string) => void} wiring.say announces it to screen readers
   * @param {() => void} wiring.repaint requests a paint
   */
  constructor(panel, { active, ask, say, repaint }) {
    this.#parts = partsOf(panel);
    this.#curl = new CopyLine(this.#parts.curl);
    this.#active = active;
    this.#ask = ask;
    this.#say = say;
    this.#repaint = repaint;
    this.#parts.refresh.addEventListener("click", () => this.#refresh());
  }

  showCurl(line) {
    this.#curl.show(line);
  }

  paint() {
    if (this.#painted === this.#active.changes) return;
    this.#painted = this.#active.changes;
    const shown = new Set(this.#active.values());
    for (const [subscription, row] of this.#rows) {
      if (shown.has(subscription)) continue;
      row.remove();
      this.#rows.delete(subscription);
    }
    for (const subscription of shown) {
      if (this.#rows.has(subscription)) continue;
      const row = makeRow(subscription);
      this.#rows.set(subscription, row);
      this.#parts.rows.append(row);
    }
    this.#parts.table.hidden = this.#rows.size === 0;
    write(this.#parts.count, countSentence(this.#active));
  }

  async #refresh() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#active.ask();
    const answer = await this.#ask();
    this.#isAsking = false;
    const document = answer?.isGood ? parse(answer.body) : undefined;
    if (document === undefined) this.#active.leaveUnlisted();
    else this.#active.list(document, Date.now());
    if (answer === null) return;
    this.#show(answer, document);
    this.#repaint();
  }

  #show(answer, document) {
    if (document !== undefined) {
      showAnswer(this.#parts.answer, "", true);
      this.#say(countSentence(this.#active));
      return;
    }
    const failure = answer.status === 404 ? OFF : answer.sentence;
    const sentence = answer.isGood ? UNREADABLE : failure;
    showAnswer(this.#parts.answer, sentence, false);
    this.#say(sentence);
  }
}

/** Returns the parsed body, or undefined if it is not JSON. */
function parse(body) {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function makeRow(subscription) {
  const row = document.createElement("tr");
  for (const column of COLUMNS) {
    const cell = document.createElement("td");
    cell.textContent = subscription[column];
    row.append(cell);
  }
  return row;
}

function countSentence({ size, isListed, hasMore, toldAt }) {
  if (toldAt === null) return "Not asked yet.";
  const when = `as of ${timeOfDay(toldAt).slice(0, 8)}`;
  if (hasMore) return `More than ${SUBSCRIPTIONS_KEPT} active, ${when}; ${size} are shown.`;
  return isListed ? `${size} active, ${when}.` : `${size} that the stream told of, ${when}; Refresh asks for all.`;
}
