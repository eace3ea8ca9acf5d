// The active subscriptions: the hub's list, kept up to date by subscription events of the stream. No DOM.

import { shorten } from "./shorten.js";

/** Maximum number of subscriptions that are kept. `hasMore` says that there are others. */
export const SUBSCRIPTIONS_KEPT = 500;

// Longer texts are cut, so that the kept subscriptions stay small. In UTF-16 code units.
const MAX_TEXT = 300;

export class ActiveSubscriptions {
  /** Whether the hub's list was loaded. If not, there may be subscriptions that the stream did not report. */
  isListed = false;
  /** Whether there are, or were, more subscriptions than are kept. */
  hasMore = false;
  /** Incremented with each change, so that a reader can detect one. */
  changes = 0;
  /** When the newest information arrived, in ms since 1970; null: none yet. */
  toldAt = null;
  #byId = new Map();
  /**
   * Subscriptions that the stream reported while the list is being loaded. They are applied after the list,
   * which may be older. null: no list is being loaded.
   */
  #meanwhile = null;

  get size() {
    return this.#byId.size;
  }

  /** @returns {IterableIterator<ReturnType<typeof readSubscription>>} in the order in which they arrived */
  values() {
    return this.#byId.values();
  }

  /** Call before the list is requested from the hub. */
  ask() {
    this.#meanwhile = [];
  }

  /** Call if the hub did not return a list: keeps what the stream reported. */
  leaveUnlisted() {
    this.#meanwhile = null;
  }

  /**
   * Replaces everything by the hub's list, then applies what the stream reported meanwhile.
   * @param {unknown} document as the hub returned it
   * @param {number} at when it arrived, in ms since 1970
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

  /** Applies one subscription that the stream reported. */
  tell(subscription, at) {
    this.#take(subscription);
    this.toldAt = at;
    this.#meanwhile?.push(subscription);
    // Keeps only the newest changes. The list then lacks older ones until it is loaded again.
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
 * Reads a subscription document. Returns null if it is not a valid one.
 * @param {unknown} document
 */
export function readSubscription(document) {
  const { id, type, subscriber, active, payload } = document ?? {};
  // Older Mercure versions name a topic instead of a matcher.
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
