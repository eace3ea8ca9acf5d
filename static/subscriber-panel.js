// Shows one subscriber: state, figures, plot, messages, and its buttons.

import { ArrivalPlot } from "./arrival-plot.js";
import { MessageList } from "./message-list.js";
import { partsOf, write } from "./parts.js";
import { timeOfDay } from "./time-of-day.js";

// Minimum time between updates of the plot's description for screen readers, in ms.
const SUMMARY_EVERY_MS = 1000;

export class SubscriberPanel {
  element;
  #subscription;
  #parts;
  #list;
  #plot;
  #resizes;
  #summarisedAt = -Infinity;

  /**
   * @param {object} wiring
   * @param {HTMLTemplateElement} wiring.template
   * @param {number} wiring.number names the subscriber on the page
   * @param {import("./subscription.js").Subscription} wiring.subscription
   * @param {() => void} wiring.onRemove
   * @param {() => void} wiring.repaint requests a paint
   */
  constructor({ template, number, subscription, onRemove, repaint }) {
    this.#subscription = subscription;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.#parts = partsOf(this.element);
    this.#name(number);
    this.#list = new MessageList(this.#parts.messages);
    this.#plot = new ArrivalPlot(this.#parts.plot);
    this.#resizes = new ResizeObserver(([{ contentRect }]) => {
      this.#plot.resize(contentRect.width, contentRect.height);
      repaint();
    });
    this.#resizes.observe(this.#parts.plot);
    this.#parts.disconnect.addEventListener("click", () => subscription.disconnect());
    this.#parts.reconnect.addEventListener("click", () => subscription.connect());
    this.#parts.remove.addEventListener("click", onRemove);
  }

  /** Moves the focus to the heading, so that no button is pressed by accident. */
  focus() {
    this.#parts.heading.focus();
  }

  /** Removes the element and its observer. */
  discard() {
    this.#resizes.disconnect();
    this.element.remove();
  }

  recolour() {
    this.#plot.recolour();
  }

  /** @param {number} now in ms of the subscription's clock */
  paint(now) {
    const { state, detail, account, interval, history, entries, endedAt } = this.#subscription;
    const parts = this.#parts;
    parts.badge.dataset.state = state;
    write(parts.state, state);
    write(parts.detail, detail);
    // Not `disabled`: the button would lose the focus when it is pressed.
    parts.disconnect.setAttribute("aria-disabled", String(state === "ended"));
    write(parts["last-id"], account.lastId ?? "–");
    write(parts.received, String(account.received));
    write(parts.missed, String(account.missed));
    write(parts["missed-more"], account.missedMore ? "and an unknown number" : "");
    write(parts.duplicated, String(account.duplicated));
    this.#paintInterval(interval.typical());
    this.#paintLastGap();
    this.#list.paint(entries);
    const until = endedAt ?? now;
    this.#plot.paint(history, until, entries.added);
    if (now - this.#summarisedAt >= SUMMARY_EVERY_MS) {
      this.#summarisedAt = now;
      write(parts.summary, plotSentence(history.summary(until)));
    }
  }

  #paintInterval(typical) {
    write(this.#parts.interval, typical === null ? "–" : formatInterval(typical));
    write(this.#parts.rate, typical > 0 ? `${formatRate(1000 / typical)} / s` : "");
  }

  #paintLastGap() {
    const { lastGap, gaps } = this.#subscription;
    this.#parts["last-gap"].hidden = lastGap === null;
    if (lastGap === null) return;
    const count = gaps === 1 ? "" : ` (the newest of ${gaps})`;
    write(this.#parts["last-gap"], `${timeOfDay(lastGap.at).slice(0, 8)} ${lastGap.sentence}${count}`);
  }

  #name(number) {
    const name = `Subscriber ${number}`;
    const parts = this.#parts;
    parts.heading.id = `subscriber-${number}`;
    parts.heading.textContent = name;
    this.element.setAttribute("aria-labelledby", parts.heading.id);
    parts.disconnect.setAttribute("aria-label", `Disconnect subscriber ${number}`);
    parts.reconnect.setAttribute("aria-label", `Reconnect subscriber ${number}`);
    parts.remove.setAttribute("aria-label", `Remove subscriber ${number}`);
    parts.log.setAttribute("aria-label", `Messages of subscriber ${number}, newest first`);
    parts.summary.id = `summary-${number}`;
    parts.plot.setAttribute("aria-label", `Plot of arrivals, subscriber ${number}`);
    parts.plot.setAttribute("aria-describedby", parts.summary.id);
  }
}

function formatInterval(interval) {
  if (interval >= 100) return interval.toFixed(0);
  return interval.toFixed(interval >= 10 ? 1 : 2);
}

function formatRate(rate) {
  return rate >= 10 ? rate.toFixed(0) : String(Number(rate.toFixed(2)));
}

function wholeMs(interval) {
  return interval < 1 ? "under 1" : interval.toFixed(0);
}

function plotSentence({ count, gaps, shortest, longest }) {
  const messages = count === 1 ? "1 message" : `${count} messages`;
  const apart = shortest === null ? "" : `, ${wholeMs(shortest)} to ${wholeMs(longest)} ms apart`;
  const withGaps = gaps === 0 ? "" : `, ${gaps === 1 ? "a gap" : "gaps"}`;
  return `Last 30 s: ${messages}${apart}${withGaps}.`;
}
