// Shows what the playground's stream received: figures, and the newest events.

import { EventList } from "./event-list.js";
import { partsOf, write } from "./parts.js";
import { timeOfDay } from "./time-of-day.js";

export class StreamPanel {
  #parts;
  #subscription;
  #entries = null;
  #list = null;

  /**
   * @param {HTMLElement} panel
   * @param {import("./hub-subscription.js").HubSubscription} subscription
   */
  constructor(panel, subscription) {
    this.#parts = partsOf(panel);
    this.#subscription = subscription;
  }

  paint() {
    const parts = this.#parts;
    const { received, gaps, lastEventId, notice, entries } = this.#subscription;
    write(parts["events-received"], String(received));
    write(parts["events-gaps"], String(gaps));
    write(parts["events-last-id"], lastEventId || "–");
    parts.notice.hidden = notice === null;
    write(parts.notice, notice === null ? "" : `${timeOfDay(notice.at).slice(0, 8)} ${notice.sentence}`);
    if (entries !== this.#entries) {
      this.#entries = entries;
      parts.events.replaceChildren();
      this.#list = new EventList(parts.events);
    }
    this.#list.paint(entries);
  }
}
