// Distinguishes the hub's own events from published ones, and describes them in words. No DOM.

import { readSubscription } from "./active-subscriptions.js";
import { gapSentence, parseGap } from "./gap.js";
import { timeOfDay } from "./time-of-day.js";

/**
 * Reads one of the hub's own events. Returns null for a published event. `sentence` describes the event,
 * `isNotice` says whether the reader must see it, and `subscription` is the document of a subscription event,
 * or null.
 * @param {{ type: string, data: string }} event
 */
export function readOwnEvent({ type, data }) {
  switch (type) {
    case "gap":
      return { sentence: gapSentence(parseGap(data)), isNotice: true, subscription: null };
    case "checkpoint":
      return { sentence: snapshotSentence(parse(data)), isNotice: false, subscription: null };
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

/** Whether this is the checkpoint at the end of a snapshot, the current values of topics. */
export function endsSnapshot({ type, data }) {
  return type === "checkpoint" && typeof parse(data)?.snapshot === "string";
}

function snapshotSentence(document) {
  return document?.snapshot === "complete"
    ? "These were all current values. Changes follow."
    : "These were the current values that the hub has. Some may be missing or outdated. Changes follow.";
}

function expiringSentence(document) {
  const end = document?.expires_at;
  const when = Number.isFinite(end) ? `at ${timeOfDay(end * 1000).slice(0, 8)}` : "soon";
  return `The token ends ${when}. The next reconnect takes the one that is in the field then.`;
}

function subscriptionSentence({ active, matchType, match }) {
  return `${active ? "Subscribed" : "Unsubscribed"}: ${matchType} ${match}`;
}

/** Parses JSON. Invalid data becomes null; the type of the event is still valid. */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
