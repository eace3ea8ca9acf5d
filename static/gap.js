// Reads the server's `gap` event and puts it into plain words.

import { parseEventId } from "./event-id.js";

const REASONS = new Set(["evicted", "epoch", "unknown"]);

/**
 * Reads the data of a `gap` event. Data that cannot be read still means that something is missing,
 * so it becomes a gap of which nothing is known rather than an error.
 * @param {string} data
 */
export function parseGap(data) {
  const said = parseObject(data);
  return {
    reason: REASONS.has(said.reason) ? said.reason : "unknown",
    requested: typeof said.requested === "string" ? said.requested : "",
    // The stream goes on with the event after this one; null: with the first of its log.
    resumedAfter: parseEventId(said.resumed_after),
    // How many events are gone; null where the server cannot know.
    missed: Number.isSafeInteger(said.missed) && said.missed >= 0 ? said.missed : null,
  };
}

function parseObject(data) {
  try {
    const value = JSON.parse(data);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** A gap that the server announced, as a sentence. */
export function gapSentence(gap) {
  switch (gap.reason) {
    case "evicted":
      return gap.missed === null
        ? "Gap: messages are gone; the server no longer had them."
        : `Gap: ${messagesAre(gap.missed)} gone; the server no longer had ${gap.missed === 1 ? "it" : "them"}.`;
    case "epoch":
      return "Gap: the server was restarted, or a part of its log was lost; numbering begins anew. How many messages are missing is not known.";
    default:
      return "Gap: the server did not know the last id. How many messages are missing is not known.";
  }
}

function messagesAre(count) {
  return count === 1 ? "1 message is" : `${count} messages are`;
}
