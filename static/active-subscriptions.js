// The active subscriptions: as the hub lists them, kept up to date by its subscription events. No DOM.

import { shorten } from "./shorten.js";

/** How many are kept at most; of more it is only known that there are more. */
export const SUBSCRIPTIONS_KEPT = 500;

// Longer texts are shown cut, so that all of them stay small. In UTF-16 code units.
const MAX_TEXT = 300;

export class ActiveSubscriptions {
  /** Whether the hub has been asked; if not, there may be others than the stream told of. */
  isListed = false;
  /** Whether there are, or were, more than are kept. */
  hasMore = false;
  /** Counts up with each change, so that a reader sees that there is something new. */
  changes = 0;
  /** When the newest news came, in ms since 1970; null: none yet. */
  toldAt = null;
  #byId = new Map();
  /** What the stream told while the hub was being asked: its list may be older. null: not asking. */
  #meanwhile = null;

  get size() {
    return this.#byId.size;
  }

  /** @returns {IterableIterator<ReturnType<typeof readSubscription>>} in the order in which they came */
  values() {
    return this.#byId.values();
  }

  /** Call before the hub is asked for the list. */
  ask() {
    this.#meanwhile = [];
  }

  /** Call if the hub gave no list. */
  leaveUnlisted() {
    this.#meanwhile = null;
  }

  /**
   * Takes over the hub's list.
   * @param {unknown} document as the hub gave it
   * @param {number} at when it came, in ms since 1970
   */
  list(document, at) {
    this.#byId.clear();
    this.changes += 1;
    this.toldAt = at;
    this.isListed = true;
    this.hasMore = false;
    const listed = Array.isArray(document?.subscriptions) ? document.subscriptions : [];
    for (const item of listed) this.#take(readSubscription(item));
    for (const told of this.#meanwhile ?? []) this.#take(told);
    this.#meanwhile = null;
  }

  /** Takes over one subscription that the stream told of. */
  tell(subscription, at) {
    this.#take(subscription);
    this.toldAt = at;
    this.#meanwhile?.push(subscription);
    // Only the newest: the list will be a little older then, until it is asked for again.
    if (this.#meanwhile?.length > SUBSCRIPTIONS_KEPT) this.#meanwhile.shift();
  }

  #take(subscription) {
    if (subscription === null) return;
    this.changes += 1;
    const { id, active } = subscription;
    if (!active) this.#byId.delete(id);
    else if (this.#byId.size < SUBSCRIPTIONS_KEPT || this.#byId.has(id)) this.#byId.set(id, subscription);
    else this.hasMore = true;
  }
}

/**
 * Reads a subscription document; null for what is none.
 * @param {unknown} document
 */
export function readSubscription(document) {
  const { id, type, subscriber, active, payload } = document ?? {};
  // The protocol's older versions name a topic instead of a matcher.
  const { match = document?.topic, match_type: matchType = "topic" } = document ?? {};
  const isReadable = type === "subscription" && typeof active === "boolean"
    && [id, match, matchType, subscriber].every((value) => typeof value === "string");
  if (!isReadable) return null;
  return {
    id,
    matchType: shorten(matchType, MAX_TEXT),
    match: shorten(match, MAX_TEXT),
    subscriber: shorten(subscriber, MAX_TEXT),
    active,
    payload: payload === undefined ? "" : shorten(JSON.stringify(payload), MAX_TEXT),
  };
}
