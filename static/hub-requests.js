// The requests to the hub as plain data. The requests that are sent and their curl commands are both made
// from it, so they cannot differ.
//
// What the hub validates is not validated here: the playground shows the hub's response.

const HUB = "/.well-known/mercure";

/**
 * @typedef {object} HubRequest
 * @property {string} address path and query
 * @property {boolean} [stream] whether the answer is an event stream
 * @property {[string, string][]} [fields] of a form to POST; without them, the request is a GET
 */

/** The lines of a text field, trimmed and without blank ones. */
export function lines(text) {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

/**
 * @param {object} asked
 * @param {string[]} asked.topics
 * @param {string[]} asked.patterns
 * @param {string} asked.lastEventId "": none
 * @param {boolean} [asked.snapshot] whether to begin with the current value of each topic
 * @param {boolean} [asked.namesTopics] whether each event names its topics
 * @returns {HubRequest}
 */
export function subscribeRequest({ topics, patterns, lastEventId, snapshot = false, namesTopics = false }) {
  const query = String(new URLSearchParams([
    ...topics.map((topic) => ["match", topic]),
    ...patterns.map((pattern) => ["match_urlpattern", pattern]),
    ...(lastEventId === "" ? [] : [["last_event_id", lastEventId]]),
    ...(snapshot ? [["snapshot", "1"]] : []),
    ...(namesTopics ? [["topics", "1"]] : []),
  ]));
  return { address: query === "" ? HUB : `${HUB}?${query}`, stream: true };
}

/**
 * Omits empty fields.
 * @param {{ topics: string[], data: string, type: string, id: string, retry: string, isPrivate: boolean }} update
 * @returns {HubRequest}
 */
export function publishRequest({ topics, data, type, id, retry, isPrivate }) {
  const given = Object.entries({ data, type, id, retry }).filter(([, value]) => value !== "");
  return {
    address: HUB,
    fields: [...topics.map((topic) => ["topic", topic]), ...given, ...(isPrivate ? [["private", "on"]] : [])],
  };
}

/** @returns {HubRequest} */
export function subscriptionsRequest() {
  return { address: `${HUB}/subscriptions` };
}
