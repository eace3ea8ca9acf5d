// Tells the hub's own events from those that were published, and puts them into words. No DOM.

import { readSubscription } from "./active-subscriptions.js";
import { gapSentence, parseGap } from "./gap.js";
import { timeOfDay } from "./time-of-day.js";

/**
 * Reads one of the hub's own events; null for one that was published.
 * `sentence` says it in words, `isNotice` whether a reader has to know, and `subscription` is the
 * document of a subscription event, null for any other.
 * @param {{ type: string, data: string }} event
 */
export function readOwnEvent({ type, data }) {
  switch (type) {
    case "gap":
      return { sentence: gapSentence(parseGap(data)), isNotice: true, subscription: null };
    case "expiring":
      return { sentence: expiringSentence(parse(data)), isNotice: true, subscription: null };
    case "mercure": {
      const subscription = readSubscription(parse(data));
      return { sentence: subscription ? subscriptionSentence(subscription) : "", isNotice: false, subscription };
    }
    default:
      return null;
  }
}

function expiringSentence(document) {
  const end = document?.expires_at;
  const when = Number.isFinite(end) ? `at ${timeOfDay(end * 1000).slice(0, 8)}` : "soon";
  return `The token ends ${when}. The next reconnect takes the one that is in the field then.`;
}

function subscriptionSentence({ active, matchType, match }) {
  return `${active ? "Subscribed" : "Unsubscribed"}: ${matchType} ${match}`;
}

/** Data that cannot be read says nothing; what kind of event it is still holds. */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
