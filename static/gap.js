// Parses the server's `gap` event and describes it in words.

import { parseEventId } from "./event-id.js";

const REASONS = new Set(["evicted", "epoch", "unknown"]);

/**
 * Parses the data of a `gap` event. Invalid data still means that something is missing, so it becomes a gap
 * of unknown size instead of an error.
 * @param {string} data
 */
export function parseGap(data) {
  const said = parseObject(data);
  return {
    reason: REASONS.has(said.reason) ? said.reason : "unknown",
    requested: typeof said.requested === "string" ? said.requested : "",
    // The stream continues after this event; null: with the first event of the log.
    resumedAfter: parseEventId(said.resumed_after),
    // Number of missing events; null if the server cannot know it.
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

/** Describes a gap in a sentence. */
export function gapSentence(gap) {
  switch (gap.reason) {
    case "evicted":
      return gap.missed === null
        ? "Gap: messages are gone; the server no longer had them."
        : `Gap: ${messagesAre(gap.missed)} gone; the server no longer had ${gap.missed === 1 ? "it" : "them"}.`;
    case "epoch":
      return "Gap: the server was restarted, or a part of its log was lost; numbering starts again. How many messages are missing is not known.";
    default:
      return "Gap: the server did not know the last id. How many messages are missing is not known.";
  }
}

function messagesAre(count) {
  return count === 1 ? "1 message is" : `${count} messages are`;
}
