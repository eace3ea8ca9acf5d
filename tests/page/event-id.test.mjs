// Event ids: parsed and formatted as the server writes them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { formatEventId, parseEventId } from "../../static/event-id.js";

test("an id is parsed into its two numbers and formatted unchanged", () => {
  for (const text of ["#1763856000000-42", "1763856000000-42"]) {
    const id = parseEventId(text);

    assert.deepEqual(id, { epoch: 1763856000000, seq: 42 });
    assert.equal(formatEventId(id), "#1763856000000-42");
  }
});

test("an id with epoch 0 and number 0 is valid", () => {
  assert.deepEqual(parseEventId("0-0"), { epoch: 0, seq: 0 });
});

test("text that is not exactly an id is rejected", () => {
  const notIds = ["", "42", "-42", "7-", "7-1-2", " 7-1", "7-1\n", "07-1", "7-01", "7--1", "7-1e3", "0x7-1", "##7-1", "earliest", null, undefined, 7];

  for (const text of notIds) assert.equal(parseEventId(text), null, `took ${JSON.stringify(text)} for an id`);
});

test("an id with a number too large to be exact is rejected", () => {
  assert.deepEqual(parseEventId("7-9007199254740991"), { epoch: 7, seq: 9007199254740991 });
  assert.equal(parseEventId("7-9007199254740992"), null);
});
