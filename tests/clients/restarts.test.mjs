// Popular client libraries, unmodified, against the real binary. An application must see exactly the
// published events, once and in order, over four restarts of the server.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { FourRestarts } from "./support/four-restarts.mjs";
import { LIBRARIES } from "./support/libraries.mjs";

/** Time limit, longer than the longest run in which every wait fails. */
const TIMEOUT_MS = 600_000;

describe("over two kills and two shutdowns of the server", { timeout: TIMEOUT_MS }, () => {
  const run = new FourRestarts();

  before(() => run.run(LIBRARIES.filter(({ missing }) => !missing)), { timeout: TIMEOUT_MS });
  after(() => run.discard());

  for (const library of LIBRARIES) {
    it(`${library.name} delivers every event once, in order`, { skip: library.missing }, (context) => {
      const client = run.clientOf(library);
      const streams = client.streams();
      const seen = client.seen();
      context.diagnostic(summary(library, run.published, seen, streams));

      assert.equal(client.gaveUp, null, client.log);
      assert.deepEqual(streams.flatMap(messages), run.published, "the server sent every event once, in order");
      assert.deepEqual(seen.map(({ event }) => event), deliveries(streams, library), "the application saw what the server sent");
      const unreadable = seen.filter(({ event, problem }) => problem && event.data !== "");
      assert.deepEqual(unreadable, [], "the application could parse the data of every event");
      const previousIds = ["", ...streams.slice(0, -1).map(({ lastId }) => lastId)];
      assert.deepEqual(streams.map(({ asked }) => asked), previousIds, "each stream resumed after the last event of the previous one");
    });

    it(`${library.name} receives a checkpoint when it joins, when other topics fill the history, and at each shutdown`, { skip: library.missing }, () => {
      const checkpoints = run.clientOf(library).streams().map(({ events }) => events.filter(({ type }) => type !== "message"));

      for (const { type, data } of checkpoints.flat()) assert.deepEqual([type, data], ["checkpoint", "{}"]);
      const [joined, shutDown, quiet, shutDownAgain, ...others] = checkpoints.map(({ length }) => length);
      assert.deepEqual({ joined, shutDown, shutDownAgain, others }, { joined: 1, shutDown: 1, shutDownAgain: 1, others: [0] });
      assert.ok(quiet >= 1, `${quiet} checkpoints while other topics filled the history`);
    });
  }
});

function messages({ events }) {
  return events.filter(({ type }) => type === "message");
}

/** The events that the library should deliver. All streams but the last one have ended. */
function deliveries(streams, { messagesOnly, extras = () => [] }) {
  return streams.flatMap((stream, at) => {
    const events = messagesOnly ? messages(stream) : stream.events;
    return at < streams.length - 1 ? [...events, ...extras(stream)] : events;
  });
}

function summary({ name }, published, seen, streams) {
  const count = (condition) => seen.filter(condition).length;
  const events = published.filter(({ data }) => seen.some(({ event }) => event.data === data)).length;
  const others = count(({ event }) => event.type !== "message");
  const empty = count(({ event }) => event.data === "");
  const unreadable = count(({ problem }) => problem);
  return `${name}: ${events} of ${published.length} events, ${others} of other types, ${empty} empty, ${unreadable} unreadable, in ${streams.length} streams`;
}
